"""What follows from a refusal: slow down, stop and probe, or put it down to chance.

flowing ──many in a row──► dry: nothing goes, then one probe, each wait twice the last
▲  └──one, and a rate is felt──► the rate is measured anew         │
└──────────────────────────── a probe is let through ──────────────┘
"""

from synthkd.teachers.limits.learning import Learner
from synthkd.teachers.limits.sends import Sends, Suspicion

_PATIENCE = 0.05, 15.0  # seconds between two probes of a server that refuses all
_VERDICT = 0.05, 1.0  # seconds after which a probe that was not refused was let through
_MEMORY = 200  # attempts over which the share of refusals is averaged
_NOISY = 0.02  # a share of refusals that were put down to chance
_ROW = 4.0  # the suspicion that early refusals leave where they are no chance
_GAP = 2  # requests that are left out after a refusal, so that the next has room


class Refusals:
    """Decides from refusals when calls may go, and how fast.

    `cool_until` is the moment before which nothing may go, on the caller's clock.
    """

    def __init__(self, sends: Sends) -> None:
        """Start with a server that refuses nothing."""
        self.learner = Learner(sends)
        self.cool_until = 0.0
        self._suspicion = Suspicion(sends)
        self._settled = 0.0  # what becomes of calls that went before is dealt with already
        self._patience = 0.0  # seconds until the next probe; 0 unless dry
        self._probe: float | None = None  # when it went
        self._delay = 0.0  # seconds that a refusal takes to come
        self._share = 0.0  # of attempts that were refused
        self._is_chance = False  # that calls are refused has nothing to do with their rate

    def is_calm(self, now: float) -> bool:
        """Whether nothing speaks for a limit that is not known."""
        return self._suspicion.level(now - 2 * self._delay) <= 0

    def wait(self, now: float) -> float:
        """Return the seconds until a call may go, as far as refusals tell; 0 for now."""
        if now < self.cool_until:
            return self.cool_until - now
        if self._probe is None:
            return 0.0
        verdict = self._probe + min(max(2 * self._delay, _VERDICT[0]), _VERDICT[1])
        if now < verdict:
            return verdict - now
        self._flow(now)
        return 0.0

    def sent(self, now: float) -> None:
        """Note a call that goes now."""
        if self._patience and self._probe is None:
            self._probe = now

    def passed(self, sent_at: float, now: float) -> None:
        """Note that a call was let through."""
        self._share -= self._share / _MEMORY
        if self._probe is not None and sent_at >= self._probe:
            self._flow(now)

    def cool(self, seconds: float, now: float) -> None:
        """Obey a server that asks for `seconds` without calls."""
        self.cool_until = max(self.cool_until, now + seconds)

    def refused(self, tokens: float, sent_at: float, now: float, rest: float) -> None:
        """Learn from a call that was refused.

        `rest`: the seconds the server asked to wait; one that asks refuses by no mishap.
        """
        self.learner.note_refused(tokens, sent_at)
        self._share += (1 - self._share) / _MEMORY
        self._delay = max(now - sent_at, 0.7 * self._delay)
        if self._patience:
            if self._probe is not None and sent_at >= self._probe:
                self._patience = min(2 * self._patience, _PATIENCE[1])
                self._hold(now)
            return
        if sent_at < self._settled:
            return
        is_sure = self._suspicion.failed(sent_at)
        if is_sure or (rest and not self.learner.is_learning and not self._is_noisy()):
            self._dry(now)
        elif self.learner.is_learning:
            self._hit(sent_at, now, rest)

    def _is_noisy(self) -> bool:
        return self._is_chance and self._share > _NOISY

    def _hit(self, sent_at: float, now: float, rest: float) -> None:
        """Measure, or doubt that there is anything to be measured."""
        self._settled = now
        if self.learner.hit(sent_at, now, rest):
            self.cool(_GAP / self.learner.requests_per_second(now), now)
        elif self._suspicion.level(sent_at) >= _ROW:
            self._dry(now)
        else:
            self._is_chance = True
            self._suspicion.expect(self._share)

    def _dry(self, now: float) -> None:
        """Stop: everything is refused."""
        self.learner.run_dry(self._suspicion.since)
        self._suspicion.clear()
        self._settled = now
        self._patience = min(max(2 * self._delay, _PATIENCE[0]), _VERDICT[1])
        self._hold(now)

    def _hold(self, now: float) -> None:
        self._probe = None
        self.cool(self._patience, now)

    def _flow(self, now: float) -> None:
        """Go on: the probe was let through."""
        self._patience = 0.0
        self._probe = None
        self._settled = now
        self.learner.flow_again(now)
