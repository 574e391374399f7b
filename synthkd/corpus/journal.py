r"""The journal: every attempt, on disk before anything reads it.

    {"attempt_id": ..., "size": 123}\n <123 bytes: the body as a zstd frame> \n

One entry an attempt, in `CORPUS.journal` beside the corpus. An entry is written whole
or, after a crash, is the torn last one; what is torn was never acknowledged. The
corpus takes the entries in by the hundred and empties the journal afterwards; taking
an entry in twice changes nothing.

Entries of one moment are written together and share one `fdatasync`: a disk makes
some hundred of them a second, and teachers answer faster.
"""

import dataclasses
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import zstandard

from synthkd.errors import CorpusError
from synthkd.records import Attempt

_LONGEST_HEADER = 1 << 20  # bytes; an error message may be long, but not that long

_COMPRESSOR = zstandard.ZstdCompressor(level=1, write_checksum=True)


def pack(body: bytes) -> bytes:
    """Return `body` as one zstd frame that knows when it was damaged."""
    return _COMPRESSOR.compress(body) if body else b""


def unpack(frame: bytes) -> bytes:
    """Return the body in a frame.

    Raises:
        CorpusError: The frame is damaged.
    """
    if not frame:
        return b""
    try:
        return zstandard.ZstdDecompressor().decompress(frame)
    except zstandard.ZstdError as error:
        raise CorpusError(
            f"a stored answer is damaged ({error}); restore the corpus from a copy."
        ) from error


class Journal:
    """An append-only file of attempts. Open it only while the corpus is held."""

    def __init__(self, path: Path) -> None:
        """Open the journal at `path`, making it if need be.

        A torn last entry is cut off, so that the next one begins on its own.
        """
        self.path = path
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        except OSError as error:
            raise CorpusError(
                f"{path} cannot be written ({error.strerror}), so no answer would be kept, and "
                "nothing is asked. See to its rights."
            ) from error
        self._end = self._cut_torn_entry()

    def append(self, attempts: Iterable[Attempt]) -> None:
        """Write `attempts`; when this returns they are on the disk.

        Raises:
            CorpusError: The disk is full or gone. What was written before is kept.
        """
        data = b"".join(map(_write, attempts))
        size = len(data)
        try:
            while data:
                data = data[os.write(self._file, data) :]
            os.fdatasync(self._file)
        except OSError as error:
            with suppress(OSError):
                os.ftruncate(self._file, self._end)
            raise CorpusError(
                f"{self.path} cannot be written ({error.strerror}), so nothing more is asked. "
                "All answers before this one are kept; make room and run again."
            ) from error
        self._end += size

    def read(self) -> Iterator[Attempt]:
        """Yield the attempts in the journal, in the order they were written.

        Raises:
            CorpusError: An entry that is not the last cannot be read.
        """
        with self.path.open("rb") as file:
            while (place := file.tell()) < self._end:
                try:
                    yield _read(file)
                except (ValueError, KeyError, TypeError) as error:
                    raise CorpusError(
                        f"{self.path} holds no attempt at byte {place} ({error}); the answers in "
                        "this file are kept as they are. Move it away and run again."
                    ) from error

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to take in."""
        return self._end == 0

    @property
    def size(self) -> int:
        """How many bytes wait to be taken in."""
        return self._end

    def clear(self) -> None:
        """Empty the journal. The corpus has all of it on disk."""
        os.ftruncate(self._file, 0)
        self._end = 0

    def close(self) -> None:
        """Give back the file; an empty journal is removed."""
        os.close(self._file)
        if self._end == 0:
            self.path.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _cut_torn_entry(self) -> int:
        """Return the size of the journal after cutting what is not a whole entry at its end."""
        size = os.fstat(self._file).st_size
        end = 0
        with self.path.open("rb") as file:
            while end < size:
                header = file.readline(_LONGEST_HEADER)
                if not header.endswith(b"\n"):
                    break
                try:
                    length = json.loads(header)["size"]
                except (ValueError, KeyError, TypeError):
                    return size  # not torn but damaged: `read` says where
                file.seek(length, os.SEEK_CUR)
                if file.read(1) != b"\n":
                    break
                end = file.tell()
        if end < size:
            os.ftruncate(self._file, end)
        return end


def _write(attempt: Attempt) -> bytes:
    fields = {
        name: value
        for name, default in _FIELDS.items()
        if (value := getattr(attempt, name)) != default
    }
    # A lone surrogate is written as its JSON escape, which reads back as itself.
    header = json.dumps({**fields, "size": len(attempt.frame)}, separators=(",", ":"))
    return b"%b\n%b\n" % (header.encode(), attempt.frame)


def _read(file: BinaryIO) -> Attempt:
    fields: dict[str, Any] = json.loads(file.readline())
    frame = file.read(fields.pop("size"))
    unpack(frame)
    file.read(1)
    return Attempt(**fields, frame=frame)


# What is as it would be without being said is left out.
_FIELDS = {f.name: f.default for f in dataclasses.fields(Attempt) if f.name != "frame"}
