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
from typing import Literal, NamedTuple

from synthkd.teachers.limits.sends import Sends

Unit = Literal["requests", "tokens"]
UNITS: tuple[Unit, Unit] = ("requests", "tokens")

_WIDEST, _NARROWEST = 0.1, 0.01  # how far the pace swings around the rate, as shares of it
_BRIEF = 0.5, 12  # the shortest half swing, in seconds and in requests
_LONG = 30.0, 150  # the longest
_DOUBLING = 0.25  # seconds in which a ramp doubles
_LOW = 8  # how many times slower than before everything was refused a ramp begins
_WINDOW = 5.0  # seconds without a drop that no bucket shows, but a count per minute does
_RESTED = 3  # requests that a server has room for after a wait that it asked for
_ENOUGH = 8  # requests between two refusals that make a slope
_REMEMBERED = 6  # refusals
_TOO_EARLY = 3  # refusals below the rate that make it doubtful
_CHANCE = 0.02  # a share of refusals that may be chance at any pace
_DOUBTS = 2  # measurements that did not end the refusals: there is no such rate


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
    doubts: int = 0
    early: list[float] = field(default_factory=list)  # when the refused went in this swing
    moments: list[Moment] = field(default_factory=list)
    _refused: deque[tuple[float, float]] = field(default_factory=lambda: deque(maxlen=1024))
    _refused_before: list[float] = field(default_factory=lambda: [0.0, 0.0])  # beyond the deque

    @property
    def is_learning(self) -> bool:
        """Whether a limit is felt, measured or not."""
        return self.rate is not None or self.ramp is not None

    def note_refused(self, tokens: float, sent_at: float) -> None:
        """Note that a request was not let through that went at `sent_at`."""
        if len(self._refused) == self._refused.maxlen:
            self._refused_before[0] += 1
            self._refused_before[1] += self._refused[0][1]
        self._refused.append((sent_at, tokens))

    def pace(self, now: float) -> float | None:
        """Return the units a second to send now; None for no bound."""
        if self.rate is not None:
            x = (now - self.since) / self.half - 1
            return self.rate * (1 + self.swing * x * x * x)
        if self.ramp is not None:
            return self.ramp * 2.0 ** min(20.0, (now - self.since) / _DOUBLING)
        return None

    def idle(self, since: float, now: float) -> None:
        """Do not let the pace rise for a time in which it was not used."""
        self.since += now - max(since, self.since)

    def run_dry(self, sent_at: float) -> None:
        """Note that everything is refused, beginning with a request that went at `sent_at`."""
        self._remember(sent_at)

    def flow_again(self, now: float) -> None:
        """Note that a request was let through after all were refused."""
        # Only by now has every refusal of that moment come back.
        self._remember(self.moments.pop().at)
        if self._measure():
            self._swing(now)
            return
        self._ramp(now)

    def hit(self, sent_at: float, now: float, rest: float) -> bool:
        """Learn from one refusal while a limit is felt; return whether to go on believing in it.

        `rest`: the seconds that nothing will be sent for.
        """
        if self.rate is not None and now - self.since < self.half / 2:
            return self._doubt(sent_at, now)
        rate = self.rate
        if 1 + len(self.early) < _CHANCE * self._sent_since(sent_at):
            self.doubts = 0
        self._remember(sent_at)
        if not self._measure():
            del self.moments[1:]
            self._ramp(now)
            return True
        if rate is not None and abs((self.rate or 0.0) / rate - 1) < self.swing:
            self.swing = max(_NARROWEST, self.swing / 2)
            self.half *= 3
        self._swing(now, rest)
        return True

    def forget(self) -> None:
        """Believe in no limit."""
        self.rate = self.ramp = None
        self.moments.clear()
        self.early.clear()
        self.doubts = 0
        self.swing = _WIDEST
        self.half = _BRIEF[0]

    def _doubt(self, sent_at: float, now: float) -> bool:
        """Take a refusal below the rate for chance, unless there are many.

        Then the rate is another than before; and if the refusals go on all the same,
        it is not what they come from.
        """
        self.early.append(sent_at)
        if len(self.early) < max(_TOO_EARLY, _CHANCE * self._sent_since(sent_at)):
            return True
        self.doubts += 1
        if self.doubts > _DOUBTS:
            self.forget()
            return False
        self.moments.clear()
        self._remember(self.early[0])
        self._remember(sent_at)
        self.rate = (self.rate or 1.0) * (1 - self.swing)
        self._measure()
        self.swing = _WIDEST
        self.half /= 3
        self._swing(now)
        return True

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

    def _sent_since(self, moment: float) -> float:
        """Return the requests of the present swing that went until `moment`."""
        return self.sends.until(moment).requests - self.sends.before(self.since).requests

    def _swing(self, now: float, rest: float = 0.0) -> None:
        """Begin a swing: its length is bounded in seconds, and in requests for slow limits."""
        requests = (self.rate or 1.0) / self._mean()
        shortest, longest = (max(s, n / requests) for s, n in (_BRIEF, _LONG))
        self.half = min(max(self.half, shortest), longest)
        # What was not used during a rest is there still: begin at the rate, not below it.
        self.since = now + rest - self.half * (rest * requests >= _RESTED)
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
        requests, tokens = self.sends.until(moment)
        refused = [amount for at, amount in self._refused if at <= moment + 1e-4]
        return Moment(
            moment,
            requests - len(refused) - self._refused_before[0],
            tokens - sum(refused) - self._refused_before[1],
        )

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
