"""The journal: every attempt, on disk before anything reads it.

One JSON line an attempt, in `CORPUS.journal` beside the corpus. A line is written
whole or, after a crash, is the torn last one; what is torn was never acknowledged.
The corpus takes the lines in by the hundred and empties the journal afterwards; taking
a line in twice changes nothing.
"""

import base64
import dataclasses
import json
import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from synthkd.errors import CorpusError
from synthkd.records import Attempt


class Journal:
    """An append-only file of attempts. Open it only while the corpus is held."""

    def __init__(self, path: Path) -> None:
        """Open the journal at `path`, making it if need be.

        A torn last line is cut off, so that the next line begins on its own.
        """
        self.path = path
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        self._end = self._cut_torn_line()

    def append(self, attempt: Attempt) -> None:
        """Write `attempt`; when this returns it is on the disk.

        Raises:
            CorpusError: The disk is full or gone. What was written before is kept.
        """
        fields = dataclasses.asdict(attempt)
        fields["response"] = _to_text(attempt.response)
        line = json.dumps(fields, ensure_ascii=False, separators=(",", ":")) + "\n"
        try:
            # A lone surrogate becomes its JSON escape, which reads back as itself.
            data = line.encode("utf-8", "backslashreplace")
            size = len(data)
            while data:
                data = data[os.write(self._file, data) :]
            os.fdatasync(self._file)
        except OSError as error:
            os.ftruncate(self._file, self._end)
            raise CorpusError(
                f"{self.path} cannot be written ({error.strerror}), so nothing more is asked. "
                "All answers before this one are kept; make room and run again."
            ) from error
        self._end += size

    def read(self) -> Iterator[Attempt]:
        """Yield the attempts in the journal, in the order they were written.

        Raises:
            CorpusError: A line that is not the last cannot be read.
        """
        with self.path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                try:
                    fields: dict[str, Any] = json.loads(line)
                    fields["response"] = _to_bytes(fields["response"])
                    yield Attempt(**fields)
                except (ValueError, KeyError, TypeError) as error:
                    raise CorpusError(
                        f"{self.path}:{number} is not an attempt ({error}); the answers in this "
                        "file are kept as they are. Move the line to another file and run again."
                    ) from error

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to take in."""
        return self._end == 0

    def clear(self) -> None:
        """Empty the journal. The corpus has all of it on disk."""
        os.ftruncate(self._file, 0)
        os.fsync(self._file)
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

    def _cut_torn_line(self) -> int:
        """Return the size of the journal after cutting what follows its last line end."""
        size = os.fstat(self._file).st_size
        end, block = size, 1 << 16
        while end > 0:
            start = max(0, end - block)
            found = os.pread(self._file, end - start, start).rfind(b"\n")
            if found >= 0:
                end = start + found + 1
                break
            end = start
        if end < size:
            os.ftruncate(self._file, end)
        return end


def _to_text(body: bytes) -> str | dict[str, str]:
    """Return `body` as readable text where it is UTF-8, and in base64 where it is not."""
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(body).decode("ascii")}


def _to_bytes(text: str | dict[str, str]) -> bytes:
    return text.encode() if isinstance(text, str) else base64.b64decode(text["base64"])
