"""The engine: asks teachers everything that was not answered yet, and keeps every answer.

    plan ─► pending ─► dispatcher ─► lanes (endpoint and key, each with its limits) ─► scribe
                          ▲                      │
                          └── put aside ◄── failed, and another try may do better

An answer is in the journal before it is parsed. Whatever stops the engine (an error,
the budget, Ctrl-C, kill -9), what was answered is kept and will not be asked again.
"""

import asyncio
import heapq
import itertools
import json
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from synthkd.corpus import batches, ledger
from synthkd.corpus.plans import Plan
from synthkd.corpus.store import Corpus
from synthkd.corpus.tokens import add_vocabulary
from synthkd.errors import TeacherError
from synthkd.records import Request
from synthkd.teachers.asking import Call
from synthkd.teachers.base import AttemptError, Teacher
from synthkd.teachers.breaker import explain
from synthkd.teachers.budget import Budget, estimate_tokens, require_budget
from synthkd.teachers.interrupts import catching_interrupts
from synthkd.teachers.lanes import Lane, leave_out, open_lanes, take_lane
from synthkd.teachers.options import Spill, TeacherOptions
from synthkd.teachers.patience import Patience
from synthkd.teachers.pending import Pending
from synthkd.teachers.reading import read_attempt
from synthkd.teachers.retries import Policy, Ticket
from synthkd.teachers.scribe import Scribe
from synthkd.teachers.standing import Rates, Standing, State, name_failure
from synthkd.teachers.telemetry import open_telemetry
from synthkd.teachers.watching import watch

Watch = Callable[[Standing], None]


@dataclass
class Asked:
    """What became of the requests: how many were answered before, now, and why some were not.

    `ignored` counts answers by what their teacher was asked for and did not heed;
    `waiting` are in batches that have not ended; `refused` are keys that a batch refused
    for good; `notes` are for a person to read.
    """

    already: int = 0
    answered: int = 0
    failures: dict[str, str] = field(default_factory=dict)
    ignored: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)
    refused: set[str] = field(default_factory=set)
    waiting: int = 0
    is_spilled: bool = False


def ask_all(
    plan: Plan,
    teachers: Sequence[Teacher],
    options: TeacherOptions,
    *,
    run_id: str,
    asked: Asked | None = None,
    step: str = "generate",
    watcher: Watch = lambda _standing: None,
) -> Asked:
    """Ask `teachers`, who share the work, each request of `plan` that has no answer yet.

    What came of it is added to `asked`. What waits in a batch is not asked.

    Raises:
        BudgetError: The budget is spent.
        ConfigError: The budget cannot be held.
        CorpusError: An answer cannot be written down.
        KeyboardInterrupt: Somebody asked to stop; what was in flight is kept.
        TeacherError: The teacher cannot be reached, or refuses everything.
    """
    require_budget(options, teachers[0])
    found, asked = plan.find_pending(), asked or Asked()
    if found.pending:
        _learn_vocabulary(plan.corpus, teachers[0], options)
        if ledger.read_leftovers(plan.corpus, read_attempt):
            found = plan.find_pending()
    asked.already, asked.waiting = found.answered - asked.answered, found.waiting
    if found.pending:
        total = found.answered + found.pending
        engine = Engine(plan, teachers, options, asked, run_id=run_id, total=total)
        asyncio.run(engine.run(step, watcher))
    return asked


def _learn_vocabulary(corpus: Corpus, teacher: Teacher, options: TeacherOptions) -> None:
    """Write down what token ids stand for before the first answer refers to them."""
    if not options.logprobs:
        return
    try:
        known = teacher.vocabulary()
    except AttemptError as error:
        raise TeacherError(f"{options.model} cannot be asked: {error}") from error
    if known:
        add_vocabulary(corpus, *known)


class Engine:
    """One run of `ask_all`."""

    def __init__(
        self,
        plan: Plan,
        teachers: Sequence[Teacher],
        options: TeacherOptions,
        asked: Asked,
        *,
        run_id: str,
        total: int,
    ) -> None:
        """Make ready; nothing is asked yet."""
        self.corpus, self.options, self.asked = plan.corpus, options, asked
        self.run_id, self.total = run_id, total
        self.price = options.price(teachers[0].host)
        charge = self.price.charge() if self.price else None
        self.charge = json.dumps(charge) if charge else None
        spent = ledger.read_spent(self.corpus)
        self.budget = Budget(options.budget_usd, self.price, spent)
        self.budget.reserved = batches.reserved(self.corpus)
        self.spent_before = spent
        self.policy = Policy(options.max_attempts)
        self.scribe = Scribe(self.corpus)
        self.pending = Pending(plan, teachers[0].batch_size, self.scribe.lock)
        self.share = options.share_prompt
        self.lanes = open_lanes(teachers, options)
        self.aside: list[tuple[float, int, Ticket]] = []
        self.numbers = itertools.count()
        self.tasks: set[asyncio.Task[None]] = set()
        self.happened = asyncio.Event()
        self.rates = Rates()
        self.patience = Patience()
        self.telemetry = open_telemetry(teachers[0].provider, options.model_name, teachers[0].host)
        self.tell: Callable[[State], None] = lambda _state: None
        self.started = time.monotonic()
        self.spill = options.spill or Spill()
        self.retried: Counter[str] = Counter()
        self.failed: Counter[str] = Counter()
        self.stopped: BaseException | None = None
        self.dispatcher: asyncio.Task[None] | None = None
        self.is_draining = False

    async def run(self, step: str, watcher: Watch) -> None:
        """Ask what is pending, and have everything that was answered in the corpus at the end."""
        try:
            with catching_interrupts(self.interrupt):
                async with watch(self, step, watcher):
                    self.dispatcher = asyncio.create_task(self._dispatch())
                    try:
                        with suppress(asyncio.CancelledError):
                            await self.dispatcher
                    finally:
                        await asyncio.gather(*self.tasks, return_exceptions=True)
                        await self.scribe.close()
        finally:
            for lane in self.lanes:
                await lane.close()
        if self.stopped:
            raise self.stopped

    def interrupt(self) -> None:
        """Ask nothing more; the second time, do not wait for what is in flight either."""
        if self.is_draining:
            for task in self.tasks:
                task.cancel()
        self.is_draining = True
        self.stop(KeyboardInterrupt("interrupted"))
        self.tell("running")

    def stop(self, reason: BaseException) -> None:
        """Ask nothing more, and let what is in flight end: it is paid for."""
        self.stopped = self.stopped or reason
        if self.dispatcher:
            self.dispatcher.cancel()

    async def _dispatch(self) -> None:
        """Hand out tickets until there are none, one at a time, at the pace of the limits."""
        while True:
            ticket = self._take_due() or await self.pending.take(share=self.share)
            if ticket is None:
                if not self.tasks and not self.aside:
                    return
                await self._something(until=self.aside[0][0] if self.aside else None)
                continue
            worst = self.budget.worst(ticket.requests)
            while not self.budget.fits(worst, self.spill.usd):
                if not self.tasks:
                    self.asked.is_spilled = self.budget.fits(worst)
                    if not self.asked.is_spilled:
                        self.stopped = self.budget.explain(worst)
                    return
                await self._something()  # what is in flight may cost less than its worst
            if self._is_late() and not ticket.failures:
                self.asked.is_spilled = True
                return
            tokens = sum(map(estimate_tokens, ticket.requests))
            lane, went = await take_lane(self.lanes, ticket, tokens, self._something)
            self.budget.reserved += worst
            task = asyncio.create_task(self._ask(ticket, lane, tokens, worst, went))
            self.tasks.add(task)
            task.add_done_callback(self._end)

    def _is_late(self) -> bool:
        hours = (time.monotonic() - self.started) / 3600
        return self.spill.hours is not None and hours >= self.spill.hours

    def _take_due(self) -> Ticket | None:
        if self.aside and self.aside[0][0] <= time.monotonic():
            return heapq.heappop(self.aside)[2]
        return None

    async def _something(self, until: float | None = None) -> None:
        """Wait until a task has ended, or until then on the monotonic clock."""
        self.happened.clear()
        timeout = None if until is None else max(0.0, until - time.monotonic())
        with suppress(TimeoutError):
            await asyncio.wait_for(self.happened.wait(), timeout)

    def _end(self, task: "asyncio.Task[None]") -> None:
        self.tasks.discard(task)
        self.happened.set()
        if not task.cancelled() and (error := task.exception()):
            self.stop(error)

    async def _ask(
        self, ticket: Ticket, lane: Lane, tokens: int, worst: float, went: float
    ) -> None:
        """Make one attempt; whatever comes of it is on the disk when this returns."""
        call = Call(self, ticket.requests, lane.teacher)
        error: AttemptError | None = None
        try:
            await call.make()
        except AttemptError as raised:
            error = raised
        except Exception as broken:
            self.stop(broken)  # before the place that is free now is taken
            raise
        finally:
            self.budget.reserved -= worst
            lane.limits.release(
                headers=call.headers,
                status=error.status if error else 200,
                estimated=tokens,
                used=call.tokens,
                retry_after=error.retry_after if error else None,
                seconds=call.seconds,
                went=went,
            )
        if call.answered:
            lane.breaker.answered()
        if error is None and call.unanswered:  # one choice, whatever is asked for
            self.share = False
            self.asked.ignored["n"] += 1
        if error and not call.answered:
            self._fail(ticket, lane, error)
        else:
            self._split(call.unanswered)

    def _split(self, requests: Sequence[Request]) -> None:
        """Ask `requests` again, each on its own."""
        for request in requests:
            self._put_aside(Ticket([request]), 0.0)

    def _put_aside(self, ticket: Ticket, seconds: float) -> None:
        due = time.monotonic() + seconds
        heapq.heappush(self.aside, (due, next(self.numbers), ticket))

    def _fail(self, ticket: Ticket, lane: Lane, error: AttemptError) -> None:
        """Put a ticket aside until its next try, or give it up."""
        reason, ticket.failed_at = name_failure(error.status, str(error)), lane
        is_left_out = leave_out(self.lanes, lane, error, self.asked.notes)
        wait = self.policy.wait(ticket, error)
        wait = 0.0 if wait is None and is_left_out else wait  # another lane may well take it
        if wait is not None:
            self.retried[reason] += 1
            self._put_aside(ticket, wait)
            return
        if len(ticket.requests) > 1 and not error.is_fatal:
            self._split(ticket.requests)
            return
        if lane.breaker.is_open(error):
            name = f"{self.options.model} at {lane.teacher.host}"
            self.stop(explain(name, error, self.asked.answered))
            return
        self.asked.failures |= {request.key: str(error) for request in ticket.requests}
        self.failed[reason] += len(ticket.requests)
        self.rates.add()
