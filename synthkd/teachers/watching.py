"""What the engine tells of itself while it runs: to whoever watches, to a file, to metrics."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING

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

    async def keep_telling() -> None:
        while True:
            tell("running")
            if engine.options.timeout_s is None:
                engine.patience.look()
            await asyncio.sleep(_EVERY)

    engine.tell = tell
    telling = asyncio.create_task(keep_telling())
    try:
        yield
    finally:
        telling.cancel()
        with suppress(asyncio.CancelledError):
            await telling
        tell("stopped" if engine.stopped else "done")


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


def _add(limits: list[float | None]) -> float | None:
    """Return what all lanes allow together, if that is known of each."""
    known = [limit for limit in limits if limit is not None]
    return sum(known) if len(known) == len(limits) else None
