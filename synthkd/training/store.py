"""Encoded rows on disk, as the trainer reads them: memory does not grow with their number.

They are written as they come, a few megabytes at a time, and then mapped into memory.
The file loses its name once it is open, so that it is gone with the last process that
reads it, however that ends.
"""

import hashlib
from array import array
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pyarrow as pa
from datasets import Dataset
from numpy.typing import NDArray

from synthkd.errors import ConfigError

IGNORED = -100  # the label of a token that is not learned

_FILE = "rows.arrow"
_BATCH = 1 << 22  # bytes of rows that are in memory before they are written
_SCHEMA = pa.schema(
    [
        ("input_ids", pa.large_list(pa.int32())),
        ("labels", pa.large_list(pa.int32())),
        ("teacher", pa.large_binary()),
        ("weight", pa.float32()),
    ]
)


class RowWriter:
    """Writes rows to an Arrow file; `digest` is of those written, `lengths` are in tokens."""

    def __init__(self, path: Path) -> None:
        """Write to `path`, over what is there.

        Raises:
            ConfigError: It cannot be written; so do `add` and `finish` when the disk is full.
        """
        self.path = path
        with _told(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._sink = pa.OSFile(str(path), "wb")
            self._stream = pa.ipc.new_stream(self._sink, _SCHEMA)
        self._hasher = hashlib.sha256()
        self.lengths = array("i")
        self._start_batch()

    def add(self, ids: NDArray[np.int32], prompt: int, teacher: bytes, weight: float) -> None:
        """Write a row of token ids, the first `prompt` of which are not learned."""
        labels = ids.copy()
        labels[:prompt] = IGNORED
        head = np.array([len(ids), prompt, len(teacher)], dtype=np.uint32).tobytes()
        self._hasher.update(head + np.float32(weight).tobytes() + ids.tobytes() + teacher)
        self.lengths.append(len(ids))
        self._ids.append(ids)
        self._labels.append(labels)
        self._teacher.append(teacher)
        self._weights.append(weight)
        self._size += 2 * ids.nbytes + len(teacher)
        if self._size >= _BATCH:
            self._write()

    @property
    def digest(self) -> str:
        """Equal for equal rows in equal order."""
        return self._hasher.hexdigest()

    def finish(self) -> None:
        """Write what is left."""
        self._write()
        with _told(self.path):
            self._stream.close()
            self._sink.close()

    def abandon(self) -> None:
        """Remove the file."""
        # On a full disk closing fails as writing did.
        with suppress(OSError):
            self._sink.close()
        self.path.unlink(missing_ok=True)

    def _write(self) -> None:
        if self._ids:
            columns = [
                _as_lists(self._ids),
                _as_lists(self._labels),
                pa.array(self._teacher, type=pa.large_binary()),
                pa.array(self._weights, type=pa.float32()),
            ]
            with _told(self.path):
                self._stream.write_batch(pa.record_batch(columns, schema=_SCHEMA))
            self._start_batch()

    def _start_batch(self) -> None:
        self._ids: list[NDArray[np.int32]] = []
        self._labels: list[NDArray[np.int32]] = []
        self._teacher: list[bytes] = []
        self._weights: list[float] = []
        self._size = 0


@contextmanager
def writing_rows(folder: Path) -> Iterator[RowWriter]:
    """Give a writer of rows to a file in `folder`, which is whole after the block, or gone.

    Raises:
        ConfigError: The disk is full, or the folder cannot be written.
    """
    writer = RowWriter(folder / _FILE)
    try:
        yield writer
        writer.finish()
    except BaseException:
        writer.abandon()
        raise


def open_rows(path: Path) -> Dataset:
    """Return the rows in a file, mapped into memory."""
    return Dataset.from_file(str(path))


def forget(path: Path) -> None:
    """Take the name of a file that everybody who reads it has open."""
    # Where an open file keeps its name (Windows) it stays until the next training overwrites it.
    with suppress(PermissionError):
        path.unlink(missing_ok=True)


def _as_lists(arrays: list[NDArray[np.int32]]) -> pa.LargeListArray:
    offsets = np.cumsum([0, *map(len, arrays)], dtype=np.int64)
    return pa.LargeListArray.from_arrays(offsets, pa.array(np.concatenate(arrays)))


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Say in our words that the disk is full or gone."""
    try:
        yield
    except OSError as error:
        raise ConfigError(
            f"the rows to train on cannot be written to {path.parent} as token ids: "
            f"{error.strerror or error}. Nothing was trained and nothing is lost; make room and "
            "run again."
        ) from error
