"""Batch mode: what can wait is handed in at a share of the price, and collected when it ended.

collect what ended ─► journal, corpus        pending ─► batches ─► (run again) ─► collect
"""

import asyncio
import json
from collections.abc import Callable, Collection, Coroutine, Iterator, Sequence
from datetime import UTC, datetime
from itertools import chain

from synthkd.corpus import batches, ledger
from synthkd.corpus.journal import pack
from synthkd.corpus.plans import Plan
from synthkd.errors import BudgetError, ConfigError
from synthkd.records import Attempt, Request
from synthkd.teachers.amounts import spell_count
from synthkd.teachers.base import Teacher
from synthkd.teachers.batch import BatchService, Collected, Returned, collect, connect, submit_all
from synthkd.teachers.budget import Budget, require_budget
from synthkd.teachers.engine import Asked, Watch
from synthkd.teachers.options import TeacherOptions
from synthkd.teachers.reading import read_attempt
from synthkd.teachers.scribe import Entry, Scribe
from synthkd.teachers.watching import watch_batches

_PAGE = 256  # requests read at a time


def collect_batches(plan: Plan, teacher: Teacher, options: TeacherOptions, asked: Asked) -> None:
    """Take in what batches brought that were handed in earlier; note in `asked` what came.

    Raises:
        TeacherError: The provider cannot be reached. What was collected is kept.
    """
    _take(plan, teacher, asked, lambda: _collect(plan, options))


def wait_for_batches(
    plan: Plan,
    teacher: Teacher,
    options: TeacherOptions,
    asked: Asked,
    *,
    step: str,
    watcher: Watch,
) -> None:
    """Wait for batches as long as `wait_hours` says, telling `watcher`; as `collect_batches`."""
    _take(plan, teacher, asked, lambda: _wait(plan, teacher, options, step, watcher))


def submit_batches(
    plan: Plan, teacher: Teacher, options: TeacherOptions, asked: Asked, *, run_id: str
) -> None:
    """Hand in what of `plan` is neither answered nor waits in a batch.

    Raises:
        BudgetError: The budget allows no more; what it allowed is handed in.
        ConfigError: A request is too large, or what a batch costs is not known.
        TeacherError: The provider refuses it, or cannot be reached.
    """
    require_budget(options, teacher)
    online = options.price(teacher.host)
    price = online.for_batch() if online else None
    if options.budget_usd is not None and price is None:
        raise ConfigError(
            f"budget_usd cannot be held: what a batch of {options.model} costs is not known. "
            "Write batch_share into price_usd_per_million, or mode: online."
        )
    ledger.read_leftovers(plan.corpus, read_attempt)
    found = plan.find_pending()
    budget = Budget(options.budget_usd, price, ledger.read_spent(plan.corpus))
    budget.reserved = batches.reserved(plan.corpus)
    over: list[BudgetError] = []
    charge = online.charge(is_batch=True) if online else None
    if found.pending:
        submitted = asyncio.run(
            _submit(
                plan,
                options,
                _fitting(plan, budget, asked.refused, over),
                run_id=run_id,
                budget=budget,
                price=json.dumps(charge) if charge else None,
            )
        )
        went = spell_count(
            found.pending - plan.find_pending().pending,
            "request was handed in",
            "requests were handed in",
        )
        went += f", in {spell_count(len(submitted), 'batch', 'batches')}"
        if submitted and over:
            raise BudgetError(
                f"{went}; run again to collect the answers and go on. No more were, since {over[0]}"
            )
        if submitted:
            later = "" if options.wait_hours else "; run again to collect the answers"
            asked.notes.append(f"{went}{later}.")
    if over:
        raise over[0]


def _fitting(
    plan: Plan, budget: Budget, hopeless: Collection[str], over: list[BudgetError]
) -> Iterator[Request]:
    """Yield the pending requests that the budget allows; note in `over` why no more.

    Those whose key is in `hopeless` were refused just now, and would be again.
    """
    for request in chain.from_iterable(plan.pending(_PAGE)):
        if request.key in hopeless:
            continue
        worst = budget.worst([request])
        if not budget.fits(worst):
            over.append(budget.explain(worst))
            return
        budget.reserved += worst
        yield request


async def _submit(
    plan: Plan,
    options: TeacherOptions,
    requests: Iterator[Request],
    *,
    run_id: str,
    budget: Budget,
    price: str | None,
) -> list[str]:
    service = connect(options)
    try:
        return await submit_all(
            plan.corpus,
            service,
            requests,
            run_id=run_id,
            price=price,
            worst=lambda request: budget.worst([request]),
        )
    finally:
        await service.close()


def _take(
    plan: Plan,
    teacher: Teacher,
    asked: Asked,
    collecting: Callable[[], Coroutine[None, None, Collected]],
) -> None:
    """Note in `asked` what `collecting` brings, if anything is waited for."""
    if not batches.count_waiting(plan.corpus, teacher.provider, teacher.endpoint):
        return
    before = plan.find_pending()
    collected = asyncio.run(collecting())
    asked.failures |= {key: why for key, why in collected.failed.items() if why}
    asked.refused |= collected.failed.keys() - collected.again
    asked.notes += collected.problems
    # Batches of other plans are collected as well.
    asked.answered += plan.find_pending().answered - before.answered


async def _wait(
    plan: Plan, teacher: Teacher, options: TeacherOptions, step: str, watcher: Watch
) -> Collected:
    async with watch_batches(plan, teacher, options, step, watcher) as show:
        return await _collect(plan, options, show)


async def _collect(
    plan: Plan, options: TeacherOptions, show: Callable[[], None] | None = None
) -> Collected:
    """Look once; or, where there is somebody to `show`, until `wait_hours` are over."""
    service: BatchService = connect(options)
    scribe = Scribe(plan.corpus)

    async def keep(page: Sequence[Returned]) -> None:
        await scribe.write([_as_entry(returned) for returned in page])

    async def settle() -> None:
        """Have what came in the corpus while the rest is waited for."""
        nonlocal scribe
        await scribe.close()
        scribe = Scribe(plan.corpus)
        if show:
            show()

    try:
        return await collect(
            plan.corpus,
            service,
            keep,
            wait=show is not None,
            deadline_seconds=options.wait_hours * 3600,
            looked=settle,
        )
    finally:
        await scribe.close()
        await service.close()


def _as_entry(returned: Returned) -> Entry:
    batch = returned.batch
    attempt = Attempt(
        attempt_id=returned.attempt_id,
        request_key=returned.request_key,
        provider=batch.provider,
        run_id=batch.run_id,
        started_at=datetime.now(UTC).isoformat(),
        latency_ms=0.0,
        frame=pack(returned.body),
        status=returned.status,
        error=returned.error,
        batch_size=batch.requests,
        price=batch.price,
    )
    return Entry(attempt, returned.body)
