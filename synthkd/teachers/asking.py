"""One call: some requests, the answers that came, and what was written of both."""

import time
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from synthkd.corpus.journal import pack
from synthkd.corpus.ledger import Reading
from synthkd.records import Attempt, Request
from synthkd.teachers.base import NOTHING_SAID, Answer, AttemptError, Teacher
from synthkd.teachers.ignored import find_ignored
from synthkd.teachers.scribe import Entry
from synthkd.teachers.standing import name_failure

if TYPE_CHECKING:
    from synthkd.teachers.engine import Engine


class Call:
    """One call of `engine` to `teacher`. What it found is in its fields when `make` returns."""

    def __init__(self, engine: "Engine", requests: Sequence[Request], teacher: Teacher) -> None:
        """Make ready; nothing is sent yet."""
        self.engine = engine
        self.teacher = teacher
        self.unanswered = list(requests)
        self.answered = 0
        self.headers: Mapping[str, str] = NOTHING_SAID
        self.tokens: int | None = None
        self.started = datetime.now(UTC).isoformat()
        self.clock = time.perf_counter()
        self.seconds = 0.0
        self.size = len(requests)

    async def make(self) -> None:
        """Ask, and have whatever comes on the disk.

        Raises:
            AttemptError: It failed, or something that came cannot be read.
        """
        requests = list(self.unanswered)
        try:
            if hasattr(self.teacher, "ask_each"):
                async for place, answer in self.teacher.ask_each(requests):
                    self.seconds = time.perf_counter() - self.clock
                    await self._keep([requests[place]], [answer])
                return
            async with self.engine.patience.waiting():
                answers = await self.teacher.ask(requests)
        except AttemptError as error:
            self.seconds = time.perf_counter() - self.clock
            self.headers = error.headers
            await self._keep_failure(error)
            raise
        self.seconds = time.perf_counter() - self.clock
        self.engine.patience.answered(self.seconds)
        await self._keep(requests, answers)

    async def _keep(self, requests: Sequence[Request], answers: Sequence[Answer]) -> None:
        """Write down answers and read them; those beyond the answers stay unanswered."""
        if not answers:
            return
        self.headers = answers[0].headers
        entries: list[Entry] = []
        for request, answer in zip(requests, answers, strict=False):
            first = entries[0] if entries and entries[0].body is answer.body else None
            attempt = self._attempt(
                request,
                b"" if first else pack(answer.body),
                choice=answer.choice,
                shared=first.attempt.attempt_id if first else "",
            )
            entries.append(Entry(attempt, answer.body))
        malformed: list[Exception] = []
        outcomes = await self.engine.scribe.write(entries)
        for request, outcome in zip(requests, outcomes, strict=False):
            if isinstance(outcome, Reading):
                self.unanswered.remove(request)
                self._count(request, outcome)
            elif outcome is not None:
                malformed.append(outcome)
        if malformed:
            raise AttemptError(f"malformed: {malformed[0]}", status=200, is_retryable=True)

    def _count(self, request: Request, reading: Reading) -> None:
        """Add an answer to what the engine knows."""
        engine, completion = self.engine, reading.completion
        tokens = (completion.prompt_tokens or 0) + (completion.completion_tokens or 0)
        self.answered += 1
        self.tokens = (self.tokens or 0) + tokens if tokens else self.tokens
        engine.asked.answered += 1
        engine.budget.spent += reading.cost_usd or 0.0
        engine.rates.add(1, tokens)
        if engine.telemetry:
            engine.telemetry.count(
                latency_ms=self.seconds * 1000,
                prompt_tokens=completion.prompt_tokens,
                completion_tokens=completion.completion_tokens,
                cost_usd=reading.cost_usd,
            )
        for what in find_ignored(request, completion, self.size, self.size):
            engine.asked.ignored[what] += 1

    async def _keep_failure(self, error: AttemptError) -> None:
        if self.engine.telemetry:
            reason = name_failure(error.status, str(error))
            self.engine.telemetry.count(latency_ms=self.seconds * 1000, reason=reason)
        frame, first = pack(error.body), ""
        entries = []
        for request in self.unanswered:
            attempt = self._attempt(
                request,
                b"" if first else frame,
                status=error.status,
                error=str(error),
                shared=first,
            )
            first = first or attempt.attempt_id
            entries.append(Entry(attempt, b""))
        await self.engine.scribe.write(entries)

    def _attempt(
        self,
        request: Request,
        frame: bytes,
        *,
        status: int | None = None,
        error: str = "",
        choice: int = 0,
        shared: str = "",
    ) -> Attempt:
        return Attempt(
            attempt_id=uuid.uuid4().hex,
            request_key=request.key,
            provider=self.teacher.provider,
            run_id=self.engine.run_id,
            started_at=self.started,
            latency_ms=self.seconds * 1000,
            frame=frame,
            status=status,
            error=error,
            batch_size=self.size,
            price=self.engine.charge,
            choice=choice,
            shared=shared,
        )
