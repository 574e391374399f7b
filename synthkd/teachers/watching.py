"""What the engine tells of itself while it runs: to whoever watches, to a file, to metrics."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from synthkd.corpus import batches, ledger
from synthkd.corpus.plans import Plan
from synthkd.teachers.base import Teacher
from synthkd.teachers.options import TeacherOptions
from synthkd.teachers.standing import Standing, State, standing_path, write_standing

if TYPE_CHECKING:
    from synthkd.teachers.engine import Engine

_EVERY = 1.0  # seconds


@asynccontextmanager
async def watch(
    engine: "Engine", step: str, watcher: Callable[[Standing], None]
) -> AsyncIterator[None]:
    """Tell how `engine` stands about once a second, and at the end."""
    started = datetime.now(UTC).isoformat()
    path = standing_path(engine.corpus.path)

    def tell(state: State) -> None:
        standing = describe(engine, step, started, state)
        write_standing(path, standing)
        if engine.telemetry:
            engine.telemetry.show(standing)
        watcher(standing)

    def look() -> None:
        tell("running")
        if engine.options.timeout_s is None:
            engine.patience.look()

    engine.tell = tell
    try:
        async with _repeating(look):
            yield
    finally:
        tell("stopped" if engine.stopped else "done")


@asynccontextmanager
async def watch_batches(
    plan: Plan,
    teacher: Teacher,
    options: TeacherOptions,
    step: str,
    watcher: Callable[[Standing], None],
) -> AsyncIterator[Callable[[], None]]:
    """Tell what of `plan` waits in batches about once a second, and at the end.

    What is told is what the corpus held when the function that this gives was last called.
    """
    started = datetime.now(UTC).isoformat()
    path = standing_path(plan.corpus.path)
    already = plan.find_pending().answered
    standing = _describe_batches(plan, teacher, options, step, already)

    def look() -> None:
        nonlocal standing
        standing = _describe_batches(plan, teacher, options, step, already)

    def tell(state: State = "running", reason: str = "") -> None:
        now = datetime.now(UTC).isoformat()
        told = replace(standing, started_at=started, at=now, state=state, reason=reason)
        write_standing(path, told)
        watcher(told)

    try:
        async with _repeating(tell):
            yield look
    except BaseException as error:
        tell("stopped", str(error) or "interrupted")
        raise
    look()
    tell("done")


@asynccontextmanager
async def _repeating(act: Callable[[], None]) -> AsyncIterator[None]:
    """Call `act` now and about once a second."""

    async def go_on() -> None:
        while True:
            act()
            await asyncio.sleep(_EVERY)

    task = asyncio.create_task(go_on())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def describe(engine: "Engine", step: str, started: str, state: State) -> Standing:
    """Return how `engine` stands now."""
    asked, budget = engine.asked, engine.budget
    failed = sum(engine.failed.values())
    limits = [lane.limits.snapshot() for lane in engine.lanes]
    in_flight = len(engine.tasks)
    left = max(0, engine.total - asked.already - asked.answered - failed)
    rate = engine.rates.measure()
    known = budget.is_known
    mean = (budget.spent - engine.spent_before) / asked.answered if asked.answered else None
    return Standing(
        step=step,
        total=engine.total,
        corpus=str(engine.corpus.path),
        started_at=started,
        already=asked.already,
        answered=asked.answered,
        failed=dict(engine.failed),
        retried=dict(engine.retried),
        in_flight=in_flight,
        waiting=max(0, left - in_flight),
        requests_per_second=rate.requests,
        tokens_per_second=rate.tokens,
        requests_per_minute_limit=_add([limit.requests_per_minute for limit in limits]),
        tokens_per_minute_limit=_add([limit.tokens_per_minute for limit in limits]),
        window=sum(limit.window for limit in limits),
        bottleneck=limits[0].bottleneck,
        spent_usd=budget.spent if known else None,
        reserved_usd=budget.reserved if known else None,
        projected_usd=budget.spent + mean * left if known and mean is not None else None,
        budget_usd=budget.limit,
        eta_s=engine.rates.foretell(left),
        is_draining=engine.is_draining,
        state=state,
        reason=str(engine.stopped or ""),
    )


def _describe_batches(
    plan: Plan, teacher: Teacher, options: TeacherOptions, step: str, already: int
) -> Standing:
    """Return how `plan` stands in a corpus into which batches are collected."""
    corpus, provider, endpoint = plan.corpus, teacher.provider, teacher.endpoint
    found = plan.find_pending()
    handed_in = [
        batch.submitted_at or batch.intent_at
        for batch in (
            *batches.read_batches(corpus, provider, endpoint, "intent"),
            *batches.read_batches(corpus, provider, endpoint, "submitted"),
        )
    ]
    is_known = options.price(teacher.host) is not None
    return Standing(
        step=step,
        total=sum(found),
        corpus=str(corpus.path),
        already=already,
        answered=found.answered - already,
        waiting=found.pending,
        in_batches=batches.count_waiting(corpus, provider, endpoint),
        in_batches_since=min(handed_in).isoformat() if handed_in else None,
        spent_usd=ledger.read_spent(corpus) if is_known else None,
        reserved_usd=batches.reserved(corpus) if is_known else None,
        budget_usd=options.budget_usd,
    )


def _add(limits: list[float | None]) -> float | None:
    """Return what all lanes allow together, if that is known of each."""
    known = [limit for limit in limits if limit is not None]
    return sum(known) if len(known) == len(limits) else None
