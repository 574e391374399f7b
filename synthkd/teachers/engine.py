"""The engine: asks a teacher everything that was not answered yet, and keeps every answer.

    pending ─► at most `concurrency` in flight ─► journal ─► parse ─► corpus, by the hundred
                     │        ▲
                     └─ tenacity: again, after a while, if another try may do better

An answer is in the journal before it is parsed. Whatever stops the engine (an error,
the budget, Ctrl-C, kill -9), what was answered is kept and will not be asked again.
"""

import asyncio
import dataclasses
import logging
import time
import uuid
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, stop_after_attempt
from tenacity.wait import wait_exponential_jitter

from synthkd.corpus import ledger
from synthkd.corpus.rows import pages
from synthkd.corpus.store import Corpus
from synthkd.errors import BudgetError, CorpusError, SynthkdError, TeacherError
from synthkd.records import Attempt, Completion, Request
from synthkd.teachers import parse
from synthkd.teachers.base import AttemptError, MalformedAnswerError, Teacher, TeacherOptions

logger = logging.getLogger(__name__)

_FLUSH = 256  # answers that wait in the journal before the corpus takes them in
_BACKOFF = wait_exponential_jitter(multiplier=0.5, max=60.0)  # seconds
_TURN = 16  # tokens that a chat template puts around a message, at most
_DOWN_AFTER = 5  # requests in a row that failed after every try: the endpoint is down

Progress = Callable[[int, int], None]


@dataclass
class Asked:
    """What became of the requests: how many were answered before, now, and why some were not."""

    already: int = 0
    answered: int = 0
    failures: dict[str, str] = field(default_factory=dict)
    without_logprobs: int = 0


def ask_all(
    corpus: Corpus,
    teacher: Teacher,
    options: TeacherOptions,
    requests: Sequence[Request],
    *,
    run_id: str,
    progress: Progress = lambda _done, _total: None,
) -> Asked:
    """Ask `teacher` each of `requests` that has no answer in `corpus` yet.

    Raises:
        BudgetError: The budget is spent.
        TeacherError: The teacher cannot be reached, or refuses everything.
        CorpusError: An answer cannot be written down.
    """
    ledger.read_leftovers(corpus, parse)
    unique = {request.key: request for request in requests}
    done = ledger.answered(corpus, list(unique))
    pending = [request for key, request in unique.items() if key not in done]
    asked = Asked(already=len(done))
    if not pending:
        return asked
    ledger.add_requests(corpus, pending, teacher.host)
    engine = _Engine(
        corpus, teacher, options, run_id=run_id, asked=asked, total=len(unique), progress=progress
    )
    asyncio.run(engine.run(pending))
    return asked


class _Engine:
    """One run of `ask_all`."""

    def __init__(
        self,
        corpus: Corpus,
        teacher: Teacher,
        options: TeacherOptions,
        *,
        run_id: str,
        asked: Asked,
        total: int,
        progress: Progress,
    ) -> None:
        self.corpus = corpus
        self.teacher = teacher
        self.options = options
        self.run_id = run_id
        self.asked = asked
        self.total = total
        self.progress = progress
        self.unsaved: list[tuple[Attempt, Completion | None]] = []
        self.reserved = 0.0
        self.spent = _read_spent(corpus)
        self.failed_in_a_row = 0
        self.stopped: SynthkdError | None = None

    async def run(self, pending: Sequence[Request]) -> None:
        """Ask `pending`, and have everything that was answered in the corpus at the end."""
        batches = deque(pages(pending, self.teacher.batch_size))
        lanes = 1 if self.teacher.batch_size > 1 else self.options.concurrency
        self._tell()
        try:
            self._learn_vocabulary()
            async with asyncio.TaskGroup() as group:
                for _ in range(lanes):
                    group.create_task(self._work(batches))
        except ExceptionGroup as group:
            # Several lanes stop for the same reason; one telling is enough.
            broken = group.subgroup(CorpusError)
            raise (broken.exceptions[0] if broken else group) from None
        finally:
            self._flush()
            await self.teacher.close()
        if self.stopped:
            raise self.stopped

    def _learn_vocabulary(self) -> None:
        """Write down what token ids stand for before the first answer refers to them."""
        if not self.options.logprobs:
            return
        try:
            known = self.teacher.vocabulary()
        except AttemptError as error:
            raise TeacherError(f"{self.options.model} cannot be asked: {error}") from error
        if known:
            ledger.add_vocabulary(self.corpus, *known)

    async def _work(self, batches: deque[list[Request]]) -> None:
        """Take batches until there are none, or until there is a reason to stop.

        A lane that finds the reason lets the others finish: what is in flight is paid for.
        """
        while batches and self.stopped is None:
            worst = self._worst_cost(batches[0])
            over = self._over_budget(worst)
            if over and self.reserved:
                return  # a lane in flight may cost less than its worst, and go on
            if over:
                self.stopped = over
                return
            self.reserved += worst
            try:
                await self._ask(batches.popleft())
            finally:
                self.reserved -= worst
            self._tell()

    async def _ask(self, batch: list[Request]) -> None:
        """Ask one batch until it is answered or is not worth another try."""
        try:
            async for attempt in self._retrying():
                with attempt:
                    await self._try(batch)
        except AttemptError as error:
            self.failed_in_a_row += 1
            if error.is_fatal or self._is_down(error):
                self.stopped = self.stopped or TeacherError(
                    f"{self.options.model} at {self.teacher.host} cannot be asked: {error}\n"
                    f"{self.asked.answered} new answers are kept, and nothing more is asked. "
                    "Check the address, the key and the model's name, then run again."
                )
            elif len(batch) > 1:
                for request in batch:
                    await self._ask([request])
                return
            for request in batch:
                self.asked.failures[request.key] = str(error)
        else:
            self.failed_in_a_row = 0

    def _is_down(self, error: AttemptError) -> bool:
        """Whether the endpoint is, rather than this one request is at fault."""
        if not error.is_retryable:
            return False
        never = not self.asked.answered and error.status is None
        return never or self.failed_in_a_row >= _DOWN_AFTER

    def _worst_cost(self, batch: list[Request]) -> float:
        """Return the most that `batch` can cost in US dollars; 0 where no budget is to be held."""
        price, longest = self.options.price_usd_per_million, self.options.max_tokens
        if self.options.budget_usd is None or price is None or longest is None:
            return 0.0
        # No token is shorter than a byte.
        prompt = sum(len(m.content.encode()) + _TURN for r in batch for m in r.messages)
        return price.cost(prompt, longest * len(batch))

    def _over_budget(self, worst: float) -> BudgetError | None:
        budget = self.options.budget_usd
        if budget is None or self.spent + self.reserved + worst <= budget:
            return None
        return BudgetError(
            f"the budget of ${budget:.2f} is spent: ${self.spent:.4f} so far, and the next call "
            f"may cost ${worst:.4f}. All answers are kept; raise budget_usd and run again to go on."
        )

    def _retrying(self) -> AsyncRetrying:
        return AsyncRetrying(
            stop=stop_after_attempt(self.options.max_attempts),
            wait=_wait,
            retry=retry_if_exception(lambda e: isinstance(e, AttemptError) and e.is_retryable),
            reraise=True,
        )

    async def _try(self, batch: list[Request]) -> None:
        """Make one attempt; whatever comes of it is in the journal when this returns."""
        started, clock = datetime.now(UTC).isoformat(), time.perf_counter()
        price = self.options.price_usd_per_million

        def journal(request: Request, body: bytes, status: int | None, error: str) -> Attempt:
            attempt = Attempt(
                attempt_id=uuid.uuid4().hex,
                request_key=request.key,
                provider=self.teacher.provider,
                run_id=self.run_id,
                started_at=started,
                latency_ms=(time.perf_counter() - clock) * 1000,
                response=body,
                status=status,
                error=error,
                batch_size=len(batch),
                price=price.model_dump() if price else None,
            )
            self.corpus.journal.append(attempt)
            return attempt

        try:
            bodies = await self.teacher.ask(batch)
        except AttemptError as error:
            for request in batch:
                self._keep(journal(request, error.body, error.status, str(error)), None)
            raise
        attempts = [
            journal(request, body, None, "") for request, body in zip(batch, bodies, strict=True)
        ]
        malformed = [why for attempt in attempts if (why := self._read(attempt))]
        if malformed:
            raise AttemptError(str(malformed[0]), is_retryable=len(batch) == 1)

    def _read(self, attempt: Attempt) -> MalformedAnswerError | None:
        """Parse what is in the journal already; return why it cannot be, if it cannot."""
        try:
            completion = parse(attempt.provider, attempt.response)
        except MalformedAnswerError as error:
            logger.info("malformed answer: request=%s %s", attempt.request_key, error)
            self._keep(dataclasses.replace(attempt, error=f"malformed: {error}"), None)
            return error
        self.spent += ledger.cost(attempt.price, completion) or 0.0
        self.asked.answered += 1
        self.asked.without_logprobs += bool(self.options.logprobs and not completion.logprobs)
        self._keep(attempt, completion)
        return None

    def _keep(self, attempt: Attempt, completion: Completion | None) -> None:
        self.unsaved.append((attempt, completion))
        if len(self.unsaved) >= _FLUSH:
            self._flush()

    def _flush(self) -> None:
        unsaved, self.unsaved = self.unsaved, []
        if unsaved:
            ledger.record(self.corpus, unsaved)

    def _tell(self) -> None:
        asked = self.asked
        self.progress(asked.already + asked.answered + len(asked.failures), self.total)


def _wait(state: RetryCallState) -> float:
    """Return the seconds until the next try: what the server asks for, else ever longer."""
    error = state.outcome.exception() if state.outcome else None
    if isinstance(error, AttemptError) and error.retry_after is not None:
        return error.retry_after
    return _BACKOFF(state)


def _read_spent(corpus: Corpus) -> float:
    """Return the US dollars that the corpus cost until now."""
    row = corpus.first("SELECT coalesce(sum(cost_usd), 0) FROM store.completions")
    return float(row[0]) if row else 0.0
