"""What was sent when, and whether failures among it are more than chance.

Failures come back sooner than answers, and a hundred requests may go in one moment; so
failures are counted against what was *sent* in the meantime, never against what came back.
"""

from bisect import bisect_left, bisect_right
from collections import deque
from math import log
from typing import NamedTuple

_LENGTH = 4096  # requests whose moment is remembered
TICK = 1e-4  # seconds between noting a request and starting its clock, at most
_ALARM = 8.0  # four failures in a row, where one in twenty fails by chance
_FAILING = 0.5  # the share of failures where there is a cause
_CHANCE = 0.05  # the share that is put down to chance before anything is known
_CHANCE_AT_MOST = 0.15


class Sent(NamedTuple):
    """How much was sent until a moment."""

    requests: float
    tokens: float


class Sends:
    """The latest requests, in the order they went."""

    __slots__ = ("_at", "_tokens", "began", "elsewhere", "own")

    def __init__(self) -> None:
        """Start with none."""
        self.own = Sent(0, 0)
        self.elsewhere = Sent(0, 0)  # by other processes
        self.began = 0.0  # when the first one went
        self._at: deque[float] = deque(maxlen=_LENGTH)
        self._tokens: deque[float] = deque(maxlen=_LENGTH)  # sent until then, with it

    def add(self, tokens: float, now: float) -> None:
        """Note one request."""
        self.began = self.began or now
        self.own = own = Sent(self.own.requests + 1, self.own.tokens + tokens)
        self._at.append(now)
        self._tokens.append(own.tokens)

    @property
    def total(self) -> Sent:
        """What was sent until now."""
        (requests, tokens), (more, tokens_too) = self.own, self.elsewhere
        return Sent(requests + more, tokens + tokens_too)

    def until(self, moment: float) -> Sent:
        """Return what was sent until `moment`, what went in it included."""
        return self._sent(bisect_right(self._at, moment + TICK))

    def before(self, moment: float) -> Sent:
        """Return what was sent before `moment`, what went in it left out."""
        return self._sent(bisect_left(self._at, moment - TICK))

    def _sent(self, place: int) -> Sent:
        total = self.total
        if place == len(self._at):
            return total
        tokens = self._tokens[place - 1] if place else self._tokens[0]
        later = len(self._at) - place, self.own.tokens - tokens
        return Sent(total.requests - later[0], total.tokens - later[1])


class Suspicion:
    """A cumulative sum test (Page 1954): has the share of failures risen from chance?

    One failure in twenty never raises it, and half of them do within a handful.
    """

    __slots__ = ("_chance", "_failed", "_sends", "_until", "since")

    def __init__(self, sends: Sends) -> None:
        """Start without suspicion of `sends`."""
        self.since = 0.0  # when the request went that raised it
        self._sends = sends
        self._failed = 0
        self._until = 0.0
        self._chance = _CHANCE

    def level(self, until: float) -> float:
        """How many times likelier a cause is than chance, as a logarithm.

        Judged by the requests that went from the first failure `until` a moment.
        """
        if not self._failed:
            return 0.0
        sent = self._sends.until(until).requests - self._sends.before(self.since).requests
        passed = max(0.0, sent - self._failed)
        return self._failed * log(_FAILING / self._chance) + passed * log(
            (1 - _FAILING) / (1 - self._chance)
        )

    def failed(self, sent_at: float) -> bool:
        """Note that a request failed that went at `sent_at`; return whether there is a cause."""
        # One moment's requests are judged together, whichever of them comes back first.
        if not self._failed or (sent_at > self._until + TICK and self.level(sent_at) <= 0):
            self.since, self._failed = sent_at, 0
        # A time-out is told long after it was sent: then what went since then counts too.
        self.since = min(self.since, sent_at)
        self._until = max(self._until, sent_at)
        self._failed += 1
        return self.level(self._until) >= _ALARM

    def clear(self) -> None:
        """Forgive what was."""
        self._failed = 0

    def expect(self, chance: float) -> None:
        """Put the share `chance` of failures down to chance from now on."""
        self._chance = min(max(_CHANCE, 1.5 * chance), _CHANCE_AT_MOST)
        self._failed = 0
