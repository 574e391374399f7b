"""What follows from a refusal: slow down, stop and probe, or put it down to chance.

    flowing ──many in a row──► dry: nothing goes, then one probe, each wait twice the last
       ▲ └──one, and a rate is felt──► the rate is measured anew       │
       └────────────────────── a probe is let through ─────────────────┘

A server that says how long to wait is obeyed, whatever else follows.
"""

from math import inf

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

    `cool_until` is the moment before which nothing may go, on the caller's clock. What
    becomes of calls that went before `settled` is dealt with already.
    """

    def __init__(self, sends: Sends) -> None:
        """Start with a server that refuses nothing."""
        self.learner = Learner(sends)
        self.cool_until = 0.0
        self._suspicion = Suspicion(sends)
        self.settled = 0.0
        self._stopped_at = 0.0
        self._cleared = 0.0  # nothing that went before raises a suspicion
        self._patience = 0.0  # seconds until the next probe; 0 unless dry
        self._probe = inf  # when it went
        self._delay = 0.0  # seconds that a refusal takes to come
        self._share = 0.0  # of attempts that were refused
        self._is_chance = False  # that calls are refused has nothing to do with their rate

    def is_calm(self, now: float) -> bool:
        """Whether nothing speaks for a limit that is not known."""
        return self._suspicion.level(now) <= 0

    def wait(self, now: float) -> float:
        """Return the seconds until a call may go, as far as refusals tell; 0 for now.

        Where a probe is out and it is 0, the probe was let through: `flow` again.
        """
        if now < self.cool_until:
            return self.cool_until - now
        if self._probe == inf:
            return 0.0
        verdict = self._probe + min(max(2 * self._delay, _VERDICT[0]), _VERDICT[1])
        return max(0.0, verdict - now)

    def sent(self, now: float) -> None:
        """Note a call that goes now."""
        if self._patience and self._probe == inf:
            self._probe = now

    def passed(self, sent_at: float) -> bool:
        """Note that a call was let through; return whether that means to `flow` again."""
        self._share -= self._share / _MEMORY
        return self.is_probing and sent_at >= self._probe

    @property
    def is_probing(self) -> bool:
        """Whether the only call that may go now is one that tries."""
        return self._probe < inf

    def flow(self, now: float) -> None:
        """Go on: the probe was let through."""
        self._patience = 0.0
        self._probe = inf
        self.settled = self._cleared = now
        if not self.learner.flow_again(now, self._stopped_at):
            self._put_down_to_chance()

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
            if self._probe < inf and sent_at >= self._probe:
                self._patience = min(2 * self._patience, _PATIENCE[1])
                self._hold(now)
            return
        is_sure = sent_at >= self._cleared and self._suspicion.failed(sent_at)
        is_told = bool(rest) and not self.learner.is_learning and not self._is_noisy()
        if is_sure or (is_told and sent_at >= self.settled):
            self._dry(now)
        elif self.learner.is_learning and sent_at >= self.settled:
            self._hit(sent_at, now, rest)

    def _is_noisy(self) -> bool:
        return self._is_chance and self._share > _NOISY

    def _hit(self, sent_at: float, now: float, rest: float) -> None:
        """Measure, or doubt that there is anything to be measured."""
        self.settled = now
        if self.learner.hit(sent_at, now, rest):
            self.cool(_GAP / self.learner.requests_per_second(now), now)
        elif self._suspicion.level(sent_at) >= _ROW:
            self._dry(now)
        else:
            self._put_down_to_chance()

    def _put_down_to_chance(self) -> None:
        self._is_chance = True
        self._suspicion.expect(self._share)

    def _dry(self, now: float) -> None:
        """Stop: everything is refused."""
        self.learner.run_dry(self._suspicion.since)
        self._suspicion.clear()
        self.settled = self._cleared = self._stopped_at = now
        self._patience = min(max(2 * self._delay, _PATIENCE[0]), _VERDICT[1])
        self._hold(now)

    def _hold(self, now: float) -> None:
        self._probe = inf
        self.cool(self._patience, now)
