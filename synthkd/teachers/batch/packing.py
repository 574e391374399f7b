"""Requests packed into the files of batches: on disk, since a file can be 256 MB.

The custom id of a line is the id of its batch, a hyphen, and as much of the request key
as fits: what comes back names both, and can be no other batch's answer.
"""

import tempfile
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from synthkd.corpus import batches
from synthkd.corpus.rows import pages
from synthkd.corpus.store import Corpus
from synthkd.errors import ConfigError
from synthkd.records import Request
from synthkd.teachers.batch.base import BatchService, Limits

_PAGE = 1024  # requests looked up at a time
_LONGEST = 64  # characters of a custom id, at both providers


@dataclass
class Pack:
    """The file of one batch, as far as it is filled. `lines` are (custom id, request key)."""

    service: BatchService
    file: BinaryIO
    batch_id: str = field(default_factory=lambda: uuid.uuid4().hex[:16])
    model: str = ""
    lines: list[tuple[str, str]] = field(default_factory=list)
    size: int = 0
    worst_usd: float = 0.0

    def write(self, request: Request) -> tuple[str, bytes]:
        """Return the custom id of `request` in this batch, and its line."""
        custom_id = f"{self.batch_id}-{request.key}"[:_LONGEST]
        return custom_id, self.service.write_line(custom_id, request)

    def holds(self, limits: Limits, request: Request, line: bytes) -> bool:
        """Whether `line` still goes in: a file is for one model."""
        frame = self.service.frame
        size = (
            self.size
            + len(frame.separator if self.lines else frame.opening)
            + len(line)
            + len(frame.closing)
        )
        fits = len(self.lines) < limits.requests and size <= limits.size
        return fits and self.model in ("", request.model)

    def add(self, custom_id: str, request: Request, line: bytes, worst_usd: float) -> None:
        """Write `line` after the others."""
        frame = self.service.frame
        self.size += self.file.write(frame.separator if self.lines else frame.opening)
        self.size += self.file.write(line)
        self.lines.append((custom_id, request.key))
        self.model = request.model
        self.worst_usd += worst_usd

    def finish(self) -> None:
        """Write what stands after the last line."""
        self.size += self.file.write(self.service.frame.closing)


def pack(
    corpus: Corpus,
    service: BatchService,
    requests: Iterable[Request],
    *,
    limits: Limits,
    worst: Callable[[Request], float],
) -> Iterator[Pack]:
    """Yield `requests` in as few files as `limits` allow, each gone when the next is asked for.

    What waits in a batch already is left out, and so is what is given twice.

    Raises:
        ConfigError: A request is too large for any batch.
    """
    with _open(corpus.path.parent) as file:
        current = Pack(service, file)
        for page in pages(requests, _PAGE):
            # What is in this file, and in files of this page, the corpus may not know yet.
            passed = batches.waiting(corpus, [request.key for request in page])
            passed.update(key for _, key in current.lines)
            for request in page:
                if request.key in passed:
                    continue
                passed.add(request.key)
                custom_id, line = current.write(request)
                if current.lines and not current.holds(limits, request, line):
                    current.finish()
                    yield current
                    file.seek(0)
                    file.truncate()
                    current = Pack(service, file)
                    custom_id, line = current.write(request)
                if not current.holds(limits, request, line):
                    raise _too_large(request, line, limits)
                current.add(custom_id, request, line, worst(request))
        if current.lines:
            current.finish()
            yield current


def _open(folder: Path) -> BinaryIO:
    """Return a file without a name, which no crash leaves behind."""
    return tempfile.TemporaryFile(dir=folder)


def _too_large(request: Request, line: bytes, limits: Limits) -> ConfigError:
    return ConfigError(
        f"a prompt for {request.model} makes {len(line):,} bytes, and a batch holds "
        f"{limits.size:,}; the batches before it are kept. Shorten the prompt that begins "
        f"{request.messages[0].content[:60]!r}, or ask it online."
    )
