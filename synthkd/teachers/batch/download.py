"""What a batch that ended brought: each line kept once, under the request it was asked for.

The file is read as it comes, and handed on by the page. Read again after a cut or a kill,
it is the same file: what is in the corpus already is passed over.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from synthkd.corpus import batches
from synthkd.corpus.batches import Batch
from synthkd.corpus.store import Corpus
from synthkd.teachers.batch.base import BatchResult, BatchService, Standing

_PAGE = 256  # answers handed on at a time
_PAGE_SIZE = 16_000_000  # bytes of them
_PASSES = 3  # times a file is read that does not hold what it should


class Returned(NamedTuple):
    """One line of `batch`, ready to become an attempt.

    `attempt_id` is the same whenever the line is read; `body` is the answer to the byte.
    `error` is empty for an answer.
    """

    attempt_id: str
    request_key: str
    batch: Batch
    body: bytes
    status: int | None
    error: str


Keep = Callable[[Sequence[Returned]], Awaitable[None]]
"""Keeps a page of lines: when it returns, they are on the disk."""


@dataclass
class Taken:
    """What became of the requests of a batch; `again` are those worth another try."""

    answered: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    again: set[str] = field(default_factory=set)
    problems: list[str] = field(default_factory=list)


async def take(
    corpus: Corpus, service: BatchService, batch: Batch, standing: Standing, keep: Keep
) -> Taken:
    """Hand every line of `batch` to `keep`, and say what became of each request.

    An answer under an id that was not asked is told, and belongs to nobody. A request
    without a line failed for the reason that the provider gives.

    Raises:
        AttemptError: The results cannot be had; what was kept of them stays kept.
    """
    taking = _Taking(corpus, service, batch, standing, keep)
    for _ in range(_PASSES):
        async for attempt in service.wire.retrying():
            with attempt:
                doubts = await taking.read()
        if not doubts:
            break
    await taking.finish()
    taking.taken.problems += [f"batch {standing.remote_id}: {doubt}" for doubt in doubts]
    return taking.taken


class _Taking:
    """One `take`: `done` are the custom ids whose line was seen."""

    def __init__(
        self, corpus: Corpus, service: BatchService, batch: Batch, standing: Standing, keep: Keep
    ) -> None:
        self.service = service
        self.batch = batch
        self.standing = standing
        self.keep = keep
        self.lines = batches.read_lines(corpus, batch.batch_id)
        self.numbers = batches.read_numbers(corpus, batch.batch_id)
        # Lines of requests that were erased since come back all the same.
        self.erased = max(batch.requests - len(self.lines), 0)
        self.kept = batches.read_kept(corpus, batch.batch_id)
        self.done: set[str] = set()
        self.taken = Taken()
        self.page: list[Returned] = []
        self.page_size = 0

    async def read(self) -> list[str]:
        """Read the results once; return what is wrong with them."""
        seen: set[str] = set()
        answers, strangers, doubles, unreadable = 0, 0, 0, 0
        try:
            async for result in self.service.results(self.standing):
                custom_id = result.custom_id
                answers += not result.error
                unreadable += not custom_id
                strangers += bool(custom_id) and custom_id not in self.lines
                doubles += custom_id in seen
                if custom_id in self.lines:
                    seen.add(custom_id)
                    await self._take(result)
        finally:
            await self._flush()
        strangers = max(strangers - self.erased, 0)
        counted = self.standing.answers or 0
        told = {
            f"{strangers} lines answer what was not asked, and were left out": strangers,
            f"{doubles} requests were answered twice, and their first answers kept": doubles,
            f"{unreadable} lines cannot be read": unreadable,
            f"{counted} answers are counted, and {answers} came": answers < counted,
        }
        return [doubt for doubt, is_so in told.items() if is_so]

    async def finish(self) -> None:
        """Give the requests without a line the reason for it."""
        for custom_id, key in self.lines.items():
            if custom_id in self.done:
                continue
            refused = self.standing.refused.get(self.numbers[custom_id])
            self._fail(
                key, refused or self.standing.reason, again=not refused and self.standing.again
            )
            # Another id than that of the line, which may still turn up.
            await self._add(f"{custom_id}-none", key, b"", None, self.taken.failed[key])
        await self._flush()

    async def _take(self, result: BatchResult) -> None:
        custom_id = result.custom_id
        if custom_id in self.done:
            return
        self.done.add(custom_id)
        key = self.lines[custom_id]
        if result.error:
            self._fail(key, result.error, again=result.again)
        else:
            self.taken.answered += 1
        await self._add(custom_id, key, result.body, result.status, result.error)

    def _fail(self, key: str, why: str, *, again: bool) -> None:
        self.taken.failed[key] = why
        if again:
            self.taken.again.add(key)

    async def _add(
        self, attempt_id: str, key: str, body: bytes, status: int | None, error: str
    ) -> None:
        if attempt_id in self.kept:
            return
        self.page.append(Returned(attempt_id, key, self.batch, body, status, error))
        self.page_size += len(body)
        if len(self.page) >= _PAGE or self.page_size >= _PAGE_SIZE:
            await self._flush()

    async def _flush(self) -> None:
        page, self.page, self.page_size = self.page, [], 0
        if page:
            await self.keep(page)
