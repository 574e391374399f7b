"""The limits of one endpoint under one key: when the next call may go.

    admit ─► cool-down ─► window ─► requests per minute ─► tokens per minute ─► the call ─► release
               ▲            ▲               ▲                      ▲                          │
               └────────────┴───────────────┴──────────────────────┴──── what the server said ┘

Limits are stated by the user, stated by the server in its headers, or learnt from its
refusals; the lowest holds. Where there is none, nothing here slows a call down.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Mapping
from http import HTTPStatus
from math import inf
from typing import Literal, NamedTuple

from synthkd.teachers.limits.headers import LIMITS, Stated, read_limits
from synthkd.teachers.limits.learning import UNITS
from synthkd.teachers.limits.pacing import Pacer
from synthkd.teachers.limits.refusals import Refusals
from synthkd.teachers.limits.sends import Sends
from synthkd.teachers.limits.shared import SharedBudget
from synthkd.teachers.limits.sharing import Sharing
from synthkd.teachers.limits.window import Window

Bottleneck = Literal[
    "concurrency", "requests per minute", "tokens per minute", "cool-down", "teacher"
]

_MINUTE = 60.0
_SHARE = 0.99  # of a stated rate: the server's clock and ours are not one
_OVERLOADED = {None, 408, 503, 504, 529}
_ROUNDING = 1e-6  # seconds
_PER_MINUTE: tuple[Bottleneck, Bottleneck] = "requests per minute", "tokens per minute"
_GLANCE = 0.1  # seconds at most between two looks: a pace that is being learnt rises
_MEMORY = 0.98  # of earlier calls, when estimates are corrected


class LimitState(NamedTuple):
    """What the controller knows, at one moment.

    `window` is how many calls may be in flight now. A rate that is None is not known to be
    limited; `is_learnt` says that one was found out from refusals. `bottleneck` is what
    holds the next call back; `teacher`, if nothing does or it is the teacher who is slow.
    """

    in_flight: int
    window: int
    requests_per_minute: float | None
    tokens_per_minute: float | None
    is_learnt: bool
    cooling_s: float
    bottleneck: Bottleneck


class _Waiter(NamedTuple):
    tokens: int
    came: float
    go: asyncio.Future[float]


class Limits:
    """Lets calls go when the server will take them: `admit` before each, `release` after.

    Rates are per minute. An estimate of tokens is corrected by what earlier calls used,
    so pass `admit` and `release` the plain estimate. One event loop at a time.
    """

    def __init__(
        self,
        *,
        concurrency: int,
        requests_per_minute: float | None = None,
        tokens_per_minute: float | None = None,
        shared: SharedBudget | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Allow `concurrency` calls in flight at most; a rate that is given is never exceeded.

        The rates, but not the calls in flight, are those of all processes that have `shared`.
        """
        self._clock = clock
        self._sends = Sends()
        self._window = Window(concurrency, self._sends)
        self._given = Stated(requests_per_minute, tokens_per_minute)
        self._headers = Stated()
        self._said: tuple[str | None, ...] = ()  # the headers that were read last
        self._rates: list[float | None] = [None, None]  # stated, a second: requests, tokens
        self._refusals = Refusals(self._sends)
        self._sharing = Sharing(shared, self._sends, self._refusals) if shared else None
        self._pacers = tuple(Pacer(is_leased=self._sharing is not None) for _ in UNITS)
        self._in_flight = 0
        self._waiting: deque[_Waiter] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._used = self._estimated = 1.0
        self._latency = 0.0
        self._went_at = 0.0
        self._holding: Bottleneck = "teacher"  # what held the next call back when we last looked
        self._state_rates()

    async def admit(self, tokens: int) -> float:
        """Wait until one more call may go, count it in flight, and return when it was let go."""
        now = self._clock()
        if not self._waiting and self._wait(tokens, now, now)[0] <= 0:
            self._go(tokens, now, now)
            return now
        waiter = _Waiter(tokens, now, asyncio.get_running_loop().create_future())
        self._waiting.append(waiter)
        self._pump()
        try:
            return await waiter.go
        except asyncio.CancelledError:
            if not waiter.go.cancelled():
                self._in_flight -= 1
            self._pump()
            raise

    def release(
        self,
        *,
        headers: Mapping[str, str],
        status: int | None,
        estimated: int,
        used: int | None,
        retry_after: float | None,
        seconds: float,
        went: float | None = None,
    ) -> None:
        """Learn from the end of one call, however it ended, and let the next ones go.

        `status` is None where the connection failed or the time was up. `estimated` is what
        `admit` was told, `used` the tokens that were counted, `seconds` how long it took, and
        `went` what `admit` returned: calls that were let go together are told apart by it.
        """
        now = self._clock()
        sent_at = now - seconds if went is None else went
        tokens = estimated * self._used / self._estimated
        if headers:
            self._read(headers)
        rest = (retry_after or 0.0) if status != HTTPStatus.OK else 0.0
        if rest:
            self._learn(now, lambda: self._refusals.cool(rest, now))
        if status == HTTPStatus.TOO_MANY_REQUESTS:
            self._learn(now, lambda: self._refusals.refused(tokens, sent_at, now, rest))
        elif status in _OVERLOADED:
            self._window.overloaded(now, sent_at)
        elif status == HTTPStatus.OK:
            self._latency += (seconds - self._latency) / 8 if self._latency else seconds
            if self._refusals.passed(sent_at):
                self._learn(now, lambda: self._refusals.flow(now))
            is_full = self._in_flight >= int(self._window.size) and self._refusals.is_calm(now)
            self._window.answered(now, seconds, is_full=is_full)
            if used is not None:
                self._correct(estimated, used, tokens)
        self._in_flight -= 1
        if self._waiting:
            self._pump()

    def correct(self, estimate: int) -> int:
        """Return `estimate` tokens as earlier calls turned out."""
        return round(estimate * self._used / self._estimated)

    def soonest(self, tokens: int) -> float:
        """Return the seconds until a call of `tokens` may go; 0 for now."""
        now = self._clock()
        seconds, _ = self._wait(tokens, now, now)
        if seconds == inf:
            seconds = self._latency / max(1, self._in_flight)
        return seconds + len(self._waiting) * self._interval()

    def snapshot(self) -> LimitState:
        """Return what is known now."""
        now = self._clock()
        rates = [self._rate(index, self._went_at or now) for index in (0, 1)]
        bottleneck: Bottleneck = "teacher"
        if self._waiting:
            _, bottleneck = self._wait(self._waiting[0].tokens, self._waiting[0].came, now)
        return LimitState(
            in_flight=self._in_flight,
            window=int(self._window.size),
            requests_per_minute=rates[0] and rates[0] * _MINUTE,
            tokens_per_minute=rates[1] and rates[1] * _MINUTE,
            is_learnt=self._refusals.learner.is_learning,
            cooling_s=max(0.0, self._refusals.cool_until - now),
            bottleneck=bottleneck,
        )

    def _wait(self, tokens: int, came: float, now: float) -> tuple[float, Bottleneck]:
        """Return the seconds until a call may go, and what holds it; `inf` until one ends."""
        if self._in_flight >= int(self._window.size):
            is_top = self._window.size >= self._window.top
            return inf, "concurrency" if is_top else "teacher"
        if self._sharing and self._sharing.is_due(now):
            self._sharing.exchange(now)
        seconds = self._refusals.wait(now)
        if seconds > 0:
            return seconds, "cool-down"
        if self._refusals.is_probing:
            self._learn(now, lambda: self._refusals.flow(now))
        bottleneck: Bottleneck = "teacher"
        for index, amount in enumerate((1, tokens * self._used / self._estimated)):
            rate = self._rate(index, now)
            if rate is not None:
                pacer = self._pacers[index]
                ready_at = pacer.ready_at(amount, rate, came, now)
                if self._sharing and ready_at > pacer.lease_end + _ROUNDING:
                    self._sharing.lease(index, pacer, amount, rate, now)
                    ready_at = pacer.ready_at(amount, rate, came, now)
                wait = ready_at - now
                if wait > seconds:
                    seconds, bottleneck = wait, _PER_MINUTE[index]
        return seconds, bottleneck

    def _learn(self, now: float, change: Callable[[], None]) -> None:
        """Change what is known of the limits, and tell other processes."""
        if self._sharing:
            self._sharing.exchange(now, change)
        else:
            change()

    def _rate(self, index: int, now: float) -> float | None:
        """Return the requests (0) or tokens (1) a second that may go; None for no bound."""
        stated, learner = self._rates[index], self._refusals.learner
        if not learner.is_learning or learner.unit != UNITS[index]:
            return stated
        learnt = learner.pace(now)
        return learnt if stated is None or learnt is None else min(stated, learnt)

    def _interval(self) -> float:
        rate = self._rate(0, self._clock())
        return 1 / rate if rate else 0.0

    def _go(self, tokens: int, came: float, now: float) -> None:
        self._in_flight += 1
        amounts = 1.0, tokens * self._used / self._estimated
        for index, pacer in enumerate(self._pacers):
            rate = self._rate(index, now)
            if rate is not None:
                pacer.take(amounts[index], rate, came, now)
        if self._holding not in _PER_MINUTE:
            self._refusals.learner.idle(self._went_at, now)
        self._went_at = now
        self._sends.add(amounts[1], now)
        self._refusals.sent(now)

    def _pump(self) -> None:
        """Let everyone go who may, in the order they came."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._waiting:
            waiter, now = self._waiting[0], self._clock()
            if waiter.go.done():
                self._waiting.popleft()
                continue
            seconds, bottleneck = self._wait(waiter.tokens, waiter.came, now)
            if seconds > 0:
                self._holding = bottleneck
                if seconds < inf:
                    delay = min(seconds, _GLANCE)
                    self._timer = waiter.go.get_loop().call_later(delay, self._pump)
                return
            self._waiting.popleft()
            self._go(waiter.tokens, waiter.came, now)
            waiter.go.set_result(now)
        self._holding = "teacher"

    def _read(self, headers: Mapping[str, str]) -> None:
        """Take over the limits that the server states, if it states others than before."""
        said = tuple([headers.get(name) for name in LIMITS])
        if said == self._said or not any(said):
            return  # a proxy in between states nothing, and takes nothing back
        before, stated = self._headers, read_limits(headers)
        self._headers = Stated(stated.requests or before.requests, stated.tokens or before.tokens)
        self._said = said if any(stated) else ()
        self._state_rates()

    def _state_rates(self) -> None:
        for index, stated in enumerate(zip(self._given, self._headers, strict=True)):
            lowest = min((rate for rate in stated if rate), default=None)
            self._rates[index] = lowest and lowest / _MINUTE * _SHARE

    def _correct(self, estimated: int, used: int, charged: float) -> None:
        """Let the next estimates be better, and settle what this one was off by."""
        self._used = self._used * _MEMORY + used
        self._estimated = self._estimated * _MEMORY + estimated
        rate = self._rate(1, self._clock())
        if rate is not None:
            self._pacers[1].owe(used - charged, rate)
