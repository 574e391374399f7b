"""Learning a rate that a server enforces and does not state.

A server that refuses has nothing left at that moment. Between two such moments it let
through what its limit allows, no matter how we spread it, so each refusal is a
measurement and the rate is the steepest slope between two of them:

    accepted │          x   refusals: x
             │     x  /     rate = slope
             │  x/
             └────────────► time

Between refusals the pace follows CUBIC (Ha, Rhee, Xu 2008; RFC 9438): it comes back to the
rate, stays there, and rises past it slowly at first, so that a longer time without a
refusal measures better and a rate that was raised is found. Refusals that come no less
often when we slow down have another cause, and then there is no rate.
"""

from bisect import bisect_left
from collections import deque
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

Unit = Literal["requests", "tokens"]
UNITS: tuple[Unit, Unit] = ("requests", "tokens")

_WIDEST, _NARROWEST = 0.3, 0.01  # how far the pace swings around the rate, as shares of it
_FIRST = 0.1  # the swing after the first measurement
_DOUBLING = 0.25  # seconds in which the pace doubles before there is a measurement
_BRIEF = 0.5, 12  # the shortest half swing, in seconds and in requests
_LONG = 30.0, 150  # the longest
_ENOUGH = 8  # requests between two refusals that make a slope
_REMEMBERED = 6  # refusals
_TOO_EARLY = 3  # refusals below the rate, one after the other, that make it doubtful
_TICK = 1e-4  # seconds between counting a request and starting its clock, at most
_LOG = 4096  # requests whose moment is remembered


class Moment(NamedTuple):
    """A moment at which nothing was left, and what had been let through until then."""

    at: float
    requests: float
    tokens: float


@dataclass
class Learner:
    """What refusals tell of a rate. `rate` is None where none is known.

    Amounts are requests or tokens, whichever makes the slopes agree; `unit` says which.
    Times are on the caller's clock.
    """

    unit: Unit = "requests"
    rate: float | None = None
    ramp: float | None = None  # the pace to double from, where a limit is felt but not measured
    since: float = 0.0  # when the present swing or ramp began
    swing: float = _FIRST
    half: float = _BRIEF[0]  # seconds until the pace is back at the rate
    early: int = 0
    doubts: int = 0  # how often a rate was given up
    moments: list[Moment] = field(default_factory=list)
    sent: list[float] = field(default_factory=lambda: [0.0, 0.0])  # requests, tokens
    refused: list[float] = field(default_factory=lambda: [0.0, 0.0])  # of those
    _log: deque[tuple[float, float, float]] = field(default_factory=lambda: deque(maxlen=_LOG))
    _refusals: deque[tuple[float, float]] = field(default_factory=lambda: deque(maxlen=_LOG))

    @property
    def is_learning(self) -> bool:
        """Whether a limit is felt, measured or not."""
        return self.rate is not None or self.ramp is not None

    def note_sent(self, tokens: float, now: float) -> None:
        """Count one request that goes now."""
        sent = self.sent
        self._log.append((now, sent[0], sent[1]))
        sent[0] += 1
        sent[1] += tokens

    def note_refused(self, tokens: float, sent_at: float) -> None:
        """Take back one request that went at `sent_at`: it was not let through."""
        self.refused[0] += 1
        self.refused[1] += tokens
        self._refusals.append((sent_at, tokens))

    def pace(self, now: float) -> float | None:
        """Return the units a second to send now; None for no bound."""
        if self.rate is not None:
            x = (now - self.since) / self.half - 1
            return self.rate * (1 + self.swing * x * x * x)
        if self.ramp is not None:
            return self.ramp * 2.0 ** min(60.0, (now - self.since) / _DOUBLING)
        return None

    def idle(self, seconds: float) -> None:
        """Do not let the pace rise for a time in which it was not used."""
        self.since += seconds

    def run_dry(self, sent_at: float) -> None:
        """Note that everything is refused, beginning with a request that went at `sent_at`."""
        self._remember(sent_at)
        if self.rate is not None and len(self.moments) > 1:
            self._measure()

    def flow_again(self, now: float) -> None:
        """Note that a request was let through after all were refused."""
        if self.rate is not None:
            self._swing(now)
            return
        index = UNITS.index(self.unit)
        dry = self.moments[-1]
        passed = self._passed()[index + 1] - dry[index + 1]
        self.ramp = max(passed, self._mean()) / max(now - dry.at, 1e-3)
        self.since = now

    def hit(self, sent_at: float, now: float) -> bool:
        """Learn from one refusal while a limit is felt; return whether to go on believing in it."""
        if self.rate is None:
            self._remember(sent_at)
            if not self._measure():
                self.ramp, self.since = (self.pace(now) or 1.0) / 2, now
            else:
                self._swing(now)
            return True
        if now - self.since >= self.half / 2:
            self.early = 0
            self._remember(sent_at)
            self._measure()
            self.swing = max(_NARROWEST, self.swing / 2)
            self.half *= 3
            self._swing(now)
            return True
        self.early += 1
        if self.early >= _TOO_EARLY * 2**self.doubts:
            self.doubts += 1
            self.forget()
            return False
        self.moments.clear()
        self._remember(sent_at)
        self.rate *= 1 - self.swing
        self.swing = min(_WIDEST, self.swing * 2)
        self.half /= 2
        self._swing(now)
        return True

    def forget(self) -> None:
        """Believe in no limit."""
        self.rate = self.ramp = None
        self.early = 0
        self.moments.clear()
        self.swing = _FIRST
        self.half = _BRIEF[0]

    def _swing(self, now: float) -> None:
        """Begin a swing: its length is bounded in seconds, and in requests for slow limits."""
        requests = (self.rate or 1.0) / self._mean()
        shortest, longest = (max(s, n / requests) for s, n in (_BRIEF, _LONG))
        self.half = min(max(self.half, shortest), longest)
        self.since = now

    def requests_per_second(self, now: float) -> float:
        """Return the pace in requests of the usual size."""
        return (self.pace(now) or 1.0) / self._mean()

    def _mean(self) -> float:
        """Return what a request is in the unit, on average."""
        return self.sent[1] / self.sent[0] if self.unit == "tokens" and self.sent[0] else 1.0

    def _remember(self, sent_at: float) -> None:
        """Add the moment just before a request that went at `sent_at`."""
        place = bisect_left(self._log, sent_at - _TICK, key=lambda entry: entry[0])
        sent = self._log[place][1:] if place < len(self._log) else tuple(self.sent)
        later = [tokens for at, tokens in self._refusals if at >= sent_at - _TICK]
        requests = sent[0] - (self.refused[0] - len(later))
        tokens = sent[1] - (self.refused[1] - sum(later))
        self.moments.append(Moment(sent_at, requests, tokens))
        del self.moments[:-_REMEMBERED]

    def _passed(self) -> Moment:
        """Return what was let through until now."""
        requests, tokens = (s - r for s, r in zip(self.sent, self.refused, strict=True))
        return Moment(0.0, requests, tokens)

    def _measure(self) -> bool:
        """Set the rate to the steepest slope that ends now; return whether there is one."""
        index = UNITS.index(self.unit) + 1
        last, mean = self.moments[-1], self._mean()
        slopes = [
            (last[index] - moment[index] - 0.5 * mean) / (last.at - moment.at)
            for moment in self.moments[:-1]
            if last[index] - moment[index] >= _ENOUGH * mean and last.at > moment.at
        ]
        if not slopes:
            return False
        self.rate, self.ramp = max(slopes), None
        return True
