"""The scribe: what comes from a teacher is on disk, then read, then in the corpus.

    attempts of many tasks ─► journal (one write, one fdatasync) ─► parse ─► corpus, by the hundred

One task does all of it, group after group, so that at any moment the journal holds
just what the corpus does not, and may be emptied when the corpus has taken it in.
"""

import asyncio
import dataclasses
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from synthkd.corpus import ledger
from synthkd.corpus.ledger import Reading
from synthkd.corpus.store import Corpus
from synthkd.records import Attempt
from synthkd.teachers.base import MalformedAnswerError
from synthkd.teachers.reading import read_attempt

logger = logging.getLogger(__name__)

_MANY = 1024  # attempts that wait in the journal before the corpus takes them in
_MUCH = 16 << 20  # bytes of their answers

Outcome = Reading | MalformedAnswerError | None


class Entry(NamedTuple):
    """An attempt and the body it got, which several entries may share."""

    attempt: Attempt
    body: bytes


class _Group(NamedTuple):
    entries: Sequence[Entry]
    done: "asyncio.Future[list[Outcome]]"


class Scribe:
    """Writes down what tasks hand it. Use it in one event loop, and `close` it."""

    def __init__(self, corpus: Corpus) -> None:
        """Begin with nothing to write."""
        self._corpus = corpus
        self._waiting: list[_Group] = []
        self._unsaved: list[tuple[Attempt, Reading | None]] = []
        self._size = 0
        self._writing: asyncio.Task[None] | None = None
        self._thread = ThreadPoolExecutor(max_workers=1)
        self.lock = asyncio.Lock()
        """Held while the corpus is written; hold it to read the corpus meanwhile."""

    async def write(self, entries: Sequence[Entry]) -> list[Outcome]:
        """Return what each attempt says, once all are on the disk; None for one that failed.

        Raises:
            CorpusError: They cannot be written down.
        """
        group = _Group(entries, asyncio.get_running_loop().create_future())
        self._waiting.append(group)
        if self._writing is None:
            self._writing = asyncio.create_task(self._write_groups())
        return await asyncio.shield(group.done)

    async def close(self) -> None:
        """Have everything in the corpus, also what nobody waits for any more."""
        if self._writing is not None:
            await asyncio.shield(self._writing)
        await self._flush()
        self._thread.shutdown()

    async def _apart(self, write: Callable[..., None], *what: object) -> None:
        """Call `write` in the one thread that does nothing else."""
        await asyncio.get_running_loop().run_in_executor(self._thread, write, *what)

    async def _write_groups(self) -> None:
        """Write what waits, all of it at once, until nothing does."""
        while self._waiting:
            groups, self._waiting = self._waiting, []
            attempts = [entry.attempt for group in groups for entry in group.entries]
            try:
                await self._apart(self._corpus.journal.append, attempts)
                outcomes = [[self._read(entry) for entry in group.entries] for group in groups]
                if len(self._unsaved) >= _MANY or self._size >= _MUCH:
                    await self._flush()
            except Exception as error:  # noqa: BLE001 - whoever waits has to be told, of anything
                for group in groups:
                    group.done.set_exception(error)
                    group.done.exception()  # also where whoever waited is gone
            else:
                for group, outcome in zip(groups, outcomes, strict=True):
                    group.done.set_result(outcome)
        self._writing = None

    def _read(self, entry: Entry) -> Outcome:
        """Parse what is in the journal already."""
        attempt = entry.attempt
        self._size += len(entry.body)
        if attempt.error:
            self._unsaved.append((attempt, None))
            return None
        try:
            reading = read_attempt(attempt, entry.body)
        except MalformedAnswerError as error:
            logger.info("malformed answer: request=%s %s", attempt.request_key, error)
            failed = dataclasses.replace(attempt, error=f"malformed: {error}")
            self._unsaved.append((failed, None))
            return error
        self._unsaved.append((attempt, reading))
        return reading

    async def _flush(self) -> None:
        if self._unsaved:
            async with self.lock:
                await self._apart(ledger.record, self._corpus, self._unsaved)
        # Not before: what could not be recorded stands in the journal, which the next one empties.
        self._unsaved, self._size = [], 0
