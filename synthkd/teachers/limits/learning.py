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

from collections import deque
from dataclasses import dataclass, field
from itertools import pairwise
from math import exp2
from statistics import fmean, pstdev
from typing import Literal, NamedTuple

from synthkd.teachers.limits.sends import TICK, Sends

Unit = Literal["requests", "tokens"]
UNITS: tuple[Unit, Unit] = ("requests", "tokens")

_WIDEST, _NARROWEST = 0.1, 0.01  # how far the pace swings around the rate, as shares of it
_BRIEF = 0.5, 4  # the shortest half swing, in seconds and in requests
_LONG = 30.0, 150  # the longest
_STEEPEST = 2.0  # seconds in which the pace doubles at most, once the rate was measured
_DOUBLING = 0.4  # seconds in which a ramp doubles
_LOW = 8  # how many times slower than before everything was refused a ramp begins
_WINDOW = 5.0  # seconds without a drop that no bucket shows, but a count per minute does
_RESTED = 3  # requests that a server has room for after a wait that it asked for
_ENOUGH = 8  # requests between two refusals that make a slope
_AGREEING = 3  # slopes that can agree in one unit and not in the other
_REMEMBERED = 6  # refusals
_TOO_EARLY = 3  # refusals below the rate that make it doubtful
_MOST = 0.4  # the share of requests that is refused at least where nothing is left
_ENOUGH_HITS, _CHANCE = 6, 0.03  # refusals, and their share, that slowing down did not end


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

    sends: Sends
    unit: Unit = "requests"
    rate: float | None = None
    ramp: float | None = None  # the pace to double from, where a limit is felt but not measured
    since: float = 0.0  # when the present swing or ramp began
    swing: float = _WIDEST
    half: float = _BRIEF[0]  # seconds until the pace is back at the rate
    hits: int = 0  # refusals since a limit was felt,
    felt_at: float = 0.0  # which was after so many requests
    early: list[float] = field(default_factory=list)  # when the refused went in this swing
    moments: list[Moment] = field(default_factory=list)
    refused: list[float] = field(default_factory=lambda: [0.0, 0.0])  # requests, tokens
    refused_elsewhere: list[float] = field(default_factory=lambda: [0.0, 0.0])
    _refused: deque[tuple[float, float]] = field(default_factory=lambda: deque(maxlen=1024))

    @property
    def is_learning(self) -> bool:
        """Whether a limit is felt, measured or not."""
        return self.rate is not None or self.ramp is not None

    def note_refused(self, tokens: float, sent_at: float) -> None:
        """Note that a request was not let through that went at `sent_at`."""
        self.refused[0] += 1
        self.refused[1] += tokens
        self._refused.append((sent_at, tokens))

    def pace(self, now: float) -> float | None:
        """Return the units a second to send now; None for no bound."""
        if self.rate is not None:
            x = (now - self.since) / self.half - 1
            most = exp2(min(20.0, max(0.0, (x - 1) * self.half / _STEEPEST)))
            return self.rate * min(1 + self.swing * x * x * x, (1 + self.swing) * most)
        if self.ramp is not None:
            return self.ramp * exp2(min(20.0, (now - self.since) / _DOUBLING))
        return None

    def idle(self, since: float, now: float) -> None:
        """Do not let the pace rise for a time in which it was not used."""
        self.since += now - max(since, self.since)

    def run_dry(self, sent_at: float) -> None:
        """Note that everything is refused, beginning with a request that went at `sent_at`."""
        if not self.is_learning:
            self.hits, self.felt_at = 0, self.sends.total.requests
        self._remember(sent_at)

    def flow_again(self, now: float, stopped_at: float) -> bool:
        """Note that a request was let through after all were refused until `stopped_at`.

        Only by now has every refusal come back. Returns False if they were too few for a
        limit: then there is none.
        """
        if not self.moments:
            return True
        self._remember(dry_at := self.moments.pop().at)
        sent = self.sends.until(stopped_at).requests - self.sends.before(dry_at).requests
        refused = sum(dry_at - TICK <= at <= stopped_at + TICK for at, _ in self._refused)
        if not self.is_learning and sent >= _ENOUGH and refused < _MOST * sent:
            self.forget()
            return False
        if self._measure():
            self._swing(now)
        else:
            self._ramp(now)
        return True

    def hit(self, sent_at: float, now: float, rest: float) -> bool:
        """Learn from one refusal while a limit is felt; return whether to go on believing in it.

        `rest`: the seconds that nothing will be sent for.
        """
        self.hits += self.rate is not None
        if self.hits > max(_ENOUGH_HITS, _CHANCE * (self.sends.total.requests - self.felt_at)):
            self.forget()
            return False
        rate = self.rate
        if rate is not None and now - self.since < self.half / 2:
            self._doubt(sent_at, now)
            return True
        self._remember(sent_at)
        if not self._measure():
            pace = self.pace(now) or 0.0
            del self.moments[1:]
            self._ramp(now)
            self.ramp = self.ramp and max(self.ramp, pace / 2)
            return True
        if rate and self.rate and abs(self.rate / rate - 1) < self.swing:
            self.swing = max(_NARROWEST, self.swing / 2)
            self.half *= 3
        self._swing(now, rest)
        return True

    def forget(self) -> None:
        """Believe in no limit."""
        self.rate = self.ramp = None
        self.moments.clear()
        self.early.clear()
        self.hits = 0
        self.swing = _WIDEST
        self.half = _BRIEF[0]

    def _doubt(self, sent_at: float, now: float) -> None:
        """Take a refusal below the rate for chance; after a few, the rate is another now."""
        self.early.append(sent_at)
        if len(self.early) < _TOO_EARLY:
            return
        self.moments.clear()
        self._remember(self.early[0])
        self._remember(sent_at)
        self.rate = (self.rate or 1.0) * (1 - self.swing)
        self._measure()
        self.swing = _WIDEST
        self.half /= 3
        self._swing(now)

    def _ramp(self, now: float) -> None:
        """Begin to double from what is certainly allowed: what passed since all was refused."""
        dry, passed = self.moments[0], self._passed(now)
        index = UNITS.index(self.unit) + 1
        if now - dry.at > _WINDOW and self.ramp is None:
            self.rate = passed[index] / (now - self.sends.began)
            self._swing(now)
            return
        amount = max(passed[index] - dry[index], self._mean())
        before = dry[index] / max(dry.at - self.sends.began, 1.0)
        self.ramp = max(amount / max(now - dry.at, 1e-3), before / _LOW)
        self.rate, self.since = None, now

    def _swing(self, now: float, rest: float = 0.0) -> None:
        """Begin a swing: its length is bounded in seconds, and in requests for slow limits."""
        requests = (self.rate or 1.0) / self._mean()
        shortest, longest = (max(s, n / requests) for s, n in (_BRIEF, _LONG))
        self.half = min(max(self.half, shortest), longest)
        # What was not used during a rest is there still: begin above the rate, not below it.
        self.since = now + rest - 2 * self.half * (rest * requests >= _RESTED)
        self.early.clear()

    def requests_per_second(self, now: float) -> float:
        """Return the pace in requests of the usual size."""
        return (self.pace(now) or 1.0) / self._mean()

    def _mean(self) -> float:
        """Return what a request is in the unit, on average."""
        requests, tokens = self.sends.total
        return tokens / requests if self.unit == "tokens" and requests else 1.0

    def _remember(self, sent_at: float) -> None:
        """Add the moment at which a request went that was refused."""
        self.moments.append(self._passed(sent_at))
        del self.moments[:-_REMEMBERED]

    def _passed(self, moment: float) -> Moment:
        """Return what was let through of all that was sent until `moment`."""
        sent = self.sends.until(moment)
        later = [tokens for at, tokens in self._refused if at > moment + TICK]
        requests, tokens = map(sum, zip(self.refused, self.refused_elsewhere, strict=True))
        return Moment(
            moment, sent.requests - requests + len(later), sent.tokens - tokens + sum(later)
        )

    def _measure(self) -> bool:
        """Set the rate to the steepest slope that ends now; return whether there is one."""
        self.unit = self._choose_unit()
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

    def _choose_unit(self) -> Unit:
        """Return the unit whose slopes agree clearly better, else the present one."""
        pairs = [
            (before, after)
            for before, after in pairwise(self.moments)
            if after.requests - before.requests >= _ENOUGH and after.at > before.at
        ]
        if len(pairs) < _AGREEING:
            return self.unit
        spreads = {}
        for index, unit in enumerate(UNITS, start=1):
            slopes = [
                (after[index] - before[index]) / (after.at - before.at) for before, after in pairs
            ]
            spreads[unit] = pstdev(slopes) / max(fmean(slopes), 1e-9)
        best = min(UNITS, key=lambda unit: spreads[unit])
        return best if spreads[best] < spreads[self.unit] / 2 else self.unit
