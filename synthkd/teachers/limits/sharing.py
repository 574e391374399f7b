"""What one process tells the others of its limits, and what it takes from them."""

from collections.abc import Callable
from math import inf
from typing import Any

from synthkd.teachers.limits.learning import Moment
from synthkd.teachers.limits.pacing import CATCH_UP, Pacer
from synthkd.teachers.limits.refusals import Refusals
from synthkd.teachers.limits.sends import Sends, Sent
from synthkd.teachers.limits.shared import SharedBudget

_SLICE = 0.1  # seconds of a rate that one process takes at a time
_OLD = 60.0  # seconds without a call, after which moments measure nothing
_PLAIN = "unit", "rate", "ramp", "swing", "half", "hits", "felt_at"


class Sharing:
    """Keeps one controller and the shared file in step.

    Whatever changes what is shared is done inside `exchange`, so that no two processes
    change it at once; `is_due` tells when it is time to look what the others did.
    """

    def __init__(self, budget: SharedBudget, sends: Sends, refusals: Refusals) -> None:
        """Share the limits that `sends` and `refusals` know."""
        self._budget = budget
        self._sends = sends
        self._refusals = refusals
        self._told = [0.0] * 4  # of what was sent and refused here
        self._next = 0.0

    def is_due(self, now: float) -> bool:
        """Whether it was long enough since the file was looked at."""
        return now >= self._next and self._budget.is_shared

    def exchange(self, now: float, change: Callable[[], None] = lambda: None) -> None:
        """Take over what the others know, make `change`, and tell them."""
        self._next = now + _SLICE
        with self._budget.exchange() as state:
            ahead = self._budget.wall() - state["epoch"] - now  # of our clock
            if "learner" in state:
                self._load(state, ahead, now)
            change()
            self._store(state, ahead, now)

    def lease(self, index: int, pacer: Pacer, amount: float, rate: float, now: float) -> None:
        """Take the next slice of a rate that is large enough for `amount`."""
        if not self._budget.is_shared:
            pacer.lease_end = inf
            return
        # What is left of the last slice is used first, or made up for if it was overdrawn.
        left = pacer.lease_end - pacer.paid_until if pacer.lease_end < inf else 0.0
        left = min(left, _SLICE) if now < pacer.lease_end + _SLICE else 0.0
        cost = amount / rate
        with self._budget.exchange() as state:
            ahead = self._budget.wall() - state["epoch"] - now
            given = state.setdefault("given", [0.0, 0.0])
            start = max(given[index] - ahead, now - max(CATCH_UP, cost))
            pacer.lease_end = start + max(_SLICE, cost - left)
            pacer.paid_until = start - left
            given[index] = pacer.lease_end + ahead

    def _load(self, state: dict[str, Any], ahead: float, now: float) -> None:
        sends, refusals, learner = self._sends, self._refusals, self._refusals.learner
        counted = [total - told for total, told in zip(state["counted"], self._told, strict=True)]
        sends.elsewhere = Sent(*counted[:2])
        learner.refused_elsewhere = counted[2:]
        said = state["learner"]
        for name in _PLAIN:
            setattr(learner, name, said[name])
        idle = max(0.0, now + ahead - state["at"] - 1.0)
        learner.since = said["since"] - ahead + idle
        learner.moments = [Moment(at - ahead, *rest) for at, *rest in said["moments"]]
        if idle > _OLD:
            learner.moments.clear()
        sends.began = min(sends.began or now, state["began"] - ahead)
        refusals.settled = max(refusals.settled, min(now, state["settled"] - ahead))
        refusals.cool_until = max(refusals.cool_until, state["cool_until"] - ahead)

    def _store(self, state: dict[str, Any], ahead: float, now: float) -> None:
        sends, refusals, learner = self._sends, self._refusals, self._refusals.learner
        self._told = [*sends.own, *learner.refused]
        elsewhere = [*sends.elsewhere, *learner.refused_elsewhere]
        state["counted"] = [a + b for a, b in zip(self._told, elsewhere, strict=True)]
        state["learner"] = {name: getattr(learner, name) for name in _PLAIN} | {
            "since": learner.since + ahead,
            "moments": [[moment.at + ahead, *moment[1:]] for moment in learner.moments],
        }
        state["at"] = now + ahead
        state["began"] = sends.began + ahead
        state["settled"] = refusals.settled + ahead
        state["cool_until"] = refusals.cool_until + ahead
