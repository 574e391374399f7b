"""Batches from the intent to the last answer.

    submit_all    requests ─► files ─► intent on disk ─► provider ─► its name on disk
    collect       look for what has no name ─► look how far each is ─► keep what ended

Both can be killed anywhere. What was sent is found again by what it carries, not sent
again; what was half collected is collected to its end, each line kept once.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus

from synthkd.corpus import batches
from synthkd.corpus.batches import Batch
from synthkd.corpus.store import Corpus
from synthkd.errors import TeacherError
from synthkd.records import Request
from synthkd.teachers.amounts import spell_count
from synthkd.teachers.base import AttemptError
from synthkd.teachers.batch.base import BatchService, Limits, Sought
from synthkd.teachers.batch.download import Keep, Taken, take
from synthkd.teachers.batch.packing import Pack, pack
from synthkd.teachers.batch.wire import UnsureError

logger = logging.getLogger(__name__)

GRACE = 60.0  # seconds after which a batch that was taken is in the provider's list
_FIRST_PAUSE = 1.0  # seconds until the second look; each pause is twice the one before

# What a server says to a call that it does not know: no, or something that is no batch.
_KNOWS_NO_BATCHES = (
    HTTPStatus.OK,
    HTTPStatus.NOT_FOUND,
    HTTPStatus.METHOD_NOT_ALLOWED,
    HTTPStatus.NOT_IMPLEMENTED,
)


async def submit_all(
    corpus: Corpus,
    service: BatchService,
    requests: Iterable[Request],
    *,
    run_id: str,
    price: str | None = None,
    worst: Callable[[Request], float] = lambda _request: 0.0,
    limits: Limits | None = None,
) -> list[str]:
    """Hand `requests` to `service` in as few batches as it allows; return our ids of them.

    They are read as they are needed, and those that wait in a batch already are left out.
    `worst` is the most one can cost, in US dollars; `price` is kept with the batch, as JSON,
    for what it will have cost.
    A batch of which nobody can tell whether it arrived is among them: `collect` finds out.

    Raises:
        TeacherError: The provider refuses a batch, or cannot be reached. Those before it
            are submitted; it and those after it are not.
        ConfigError: A request is too large for any batch.
    """
    submitted: list[str] = []
    for packed in pack(corpus, service, requests, limits=limits or service.limits, worst=worst):
        batch = _intend(service, packed, run_id, price)
        batches.add_intent(corpus, batch, packed.lines)
        try:
            remote_id = await service.submit(batch.batch_id, packed.file)
        except UnsureError as error:
            batches.note(corpus, batch.batch_id, f"it may have arrived: {error}")
            logger.warning("batch may have arrived: batch=%s %s", batch.batch_id, error)
        except AttemptError as error:
            batches.mark_void(corpus, batch.batch_id, str(error))
            raise _explain(batch, len(submitted), error) from error
        else:
            batches.mark_submitted(corpus, batch.batch_id, remote_id)
            logger.info("batch submitted: batch=%s remote=%s", batch.batch_id, remote_id)
        submitted.append(batch.batch_id)
    return submitted


@dataclass
class Collected(Taken):
    """What came of every batch that was looked at.

    `pending` requests are still waited for; `problems` are for a person to read.
    """

    pending: int = 0


async def collect(
    corpus: Corpus,
    service: BatchService,
    keep: Keep,
    *,
    wait: bool = False,
    poll_seconds: float = 60.0,
    deadline_seconds: float = float("inf"),
    grace_seconds: float = GRACE,
    looked: Callable[[], Awaitable[None]] | None = None,
) -> Collected:
    """Hand everything that batches of `service` brought to `keep`.

    Looks once, or, to `wait`, again and again until all have ended or the deadline is over:
    soon at first, then every `poll_seconds`. `looked` is awaited after each look. A batch that
    was meant and has no name is looked for first: it is taken over, or, if the provider does
    not list it `grace_seconds` after it was meant, void.

    Raises:
        TeacherError: The provider cannot be reached, or refuses the key. What was kept by
            then stays kept, and is not collected again.
    """
    collecting = _Collecting(corpus, service, keep, grace_seconds)
    until, pause = time.monotonic() + deadline_seconds, min(_FIRST_PAUSE, poll_seconds)
    try:
        while True:
            await collecting.look_once()
            if looked:
                await looked()
            left = until - time.monotonic()
            if not wait or left <= 0 or not collecting.is_waiting():
                break
            await asyncio.sleep(min(pause, left))
            pause = min(2 * pause, poll_seconds)
    except AttemptError as error:
        raise TeacherError(
            f"batches cannot be collected: {error}\nWhat was collected is kept; the rest waits "
            "at the provider. Run again to go on."
        ) from error
    return collecting.collected


class _Collecting:
    """One `collect`. Batches that are `lost` are not looked at twice."""

    def __init__(
        self, corpus: Corpus, service: BatchService, keep: Keep, grace_seconds: float
    ) -> None:
        self.corpus = corpus
        self.service = service
        self.keep = keep
        self.grace_seconds = grace_seconds
        self.collected = Collected()
        self.lost: set[str] = set()

    async def look_once(self) -> None:
        """Find what has no name, and keep what ended."""
        for batch in self._read("intent"):
            await self._adopt(batch)
        for batch in self._read("submitted"):
            if batch.batch_id not in self.lost:
                await self._look(batch)
        self.collected.pending = batches.count_waiting(
            self.corpus, self.service.provider, self.service.endpoint
        )

    def is_waiting(self) -> bool:
        """Whether another look, later, may find more."""
        waiting = [*self._read("intent"), *self._read("submitted")]
        return any(batch.batch_id not in self.lost for batch in waiting)

    def _read(self, status: batches.Status) -> list[Batch]:
        return batches.read_batches(
            self.corpus, self.service.provider, self.service.endpoint, status
        )

    async def _adopt(self, batch: Batch) -> None:
        """Find a batch that was meant, and never learnt its name."""
        sought = await self._seek(batch)
        if sought.remote_id:
            batches.mark_submitted(self.corpus, batch.batch_id, sought.remote_id)
            logger.info("batch found: batch=%s remote=%s", batch.batch_id, sought.remote_id)
        elif sought.candidates:
            listed = ", ".join(sought.candidates)
            batches.note(self.corpus, batch.batch_id, f"it may be one of {listed}")
            logger.warning("batch not told apart yet: batch=%s among=%s", batch.batch_id, listed)
        else:
            keys = batches.read_lines(self.corpus, batch.batch_id).values()
            batches.mark_void(self.corpus, batch.batch_id, "the provider never had it")
            self.collected.again.update(keys)
            logger.info("batch void: batch=%s", batch.batch_id)

    async def _seek(self, batch: Batch) -> Sought:
        """Look for `batch`, and once more when what was sent last must have been listed."""
        known = batches.read_remote_ids(self.corpus)
        sought = await self.service.find(batch, known)
        age = (datetime.now(UTC) - batch.intent_at).total_seconds()
        # A clock that was set back makes an age below zero: then all of the grace is waited for.
        left = min(self.grace_seconds, self.grace_seconds - age)
        if left > 0 and not (sought.remote_id or sought.candidates):
            logger.info("batch not listed yet: batch=%s seconds=%.0f", batch.batch_id, left)
            await asyncio.sleep(left)
            sought = await self.service.find(batch, known)
        return sought

    async def _look(self, batch: Batch) -> None:
        """See how far `batch` is, and keep what it brought if it has ended."""
        try:
            taken = await self._take(batch)
        except AttemptError as error:
            if error.status not in (HTTPStatus.NOT_FOUND, HTTPStatus.GONE):
                raise
            self.lost.add(batch.batch_id)
            self.collected.problems.append(
                f"batch {batch.remote_id} or its results are not there any more, or belong to "
                f"another key ({error}); its {batch.requests:,} requests go on waiting. Use the "
                f"key it was submitted with, or give up batch {batch.batch_id} to have them "
                "asked again."
            )
        else:
            if taken is not None:
                self._finish(batch, taken)

    async def _take(self, batch: Batch) -> Taken | None:
        """Return what became of the requests of `batch`, or None while it runs."""
        standing = await self.service.look(batch.remote_id)
        batches.note_standing(
            self.corpus,
            batch.batch_id,
            remote_status=standing.said,
            output_file_id=standing.output_file_id,
            error_file_id=standing.error_file_id,
            ended_at=standing.ended_at,
        )
        if standing.is_running:
            return None
        if standing.is_gone:
            raise AttemptError("the provider deleted them", status=HTTPStatus.GONE)
        return await take(self.corpus, self.service, batch, standing, self.keep)

    def _finish(self, batch: Batch, taken: Taken) -> None:
        answered, failed = taken.answered, len(taken.failed)
        told = "; ".join(taken.problems)
        batches.mark_collected(
            self.corpus, batch.batch_id, answered=answered, failed=failed, note=told
        )
        logger.info(
            "batch collected: batch=%s answered=%d failed=%d", batch.batch_id, answered, failed
        )
        self.collected.answered += answered
        self.collected.failed |= taken.failed
        self.collected.again |= taken.again
        self.collected.problems += taken.problems


def _explain(batch: Batch, before: int, error: AttemptError) -> TeacherError:
    """Return why `batch` was not taken, when as many as `before` were."""
    if not before and error.status in _KNOWS_NO_BATCHES:
        return TeacherError(
            f"{batch.endpoint} takes no batches, it seems: it answers like a server that does not "
            f"know them ({error}).\nNothing was handed in, and nothing of it is charged. Drop "
            "`spill`, or write mode: online, and run again to have the rest asked online."
        )
    earlier = ""
    if before:
        are = spell_count(before, "batch before it is", "batches before it are")
        earlier = f"{are} submitted, and will be collected. "
    return TeacherError(
        f"a batch of {spell_count(batch.requests, 'request')} was not taken: {error}\n{earlier}"
        "Nothing of this one was charged; run again to submit it."
    )


def _intend(service: BatchService, packed: Pack, run_id: str, price: str | None) -> Batch:
    return Batch(
        batch_id=packed.batch_id,
        provider=service.provider,
        endpoint=service.endpoint,
        model=packed.model,
        run_id=run_id,
        requests=len(packed.lines),
        size=packed.size,
        worst_usd=packed.worst_usd,
        price=price,
        intent_at=datetime.now(UTC),
    )
