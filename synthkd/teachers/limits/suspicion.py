"""Telling what happens all the time from what happens by chance."""

from math import log

_ALARM = 8.0  # four failures nearly in a row, where one in twenty fails by chance
_FAILING = 0.5  # the share of failures where there is a cause
_CHANCE = 0.05  # the share that is put down to chance before anything is known


class Suspicion:
    """A cumulative sum test (Page 1954): has the share of failures risen from `chance`?

    One failure in twenty never raises it, and half of them do within a handful.
    """

    __slots__ = ("chance", "level")

    def __init__(self) -> None:
        """Start without suspicion."""
        self.level = 0.0
        self.chance = _CHANCE

    def clear(self) -> None:
        """Forgive what was."""
        self.level = 0.0

    def expect(self, chance: float) -> None:
        """Put the share `chance` of failures down to chance from now on."""
        self.chance = min(max(_CHANCE, 1.5 * chance), 0.8 * _FAILING)
        self.level = 0.0

    def passed(self) -> None:
        """Note an attempt that did not fail."""
        if self.level:
            self.level = max(0.0, self.level + log((1 - _FAILING) / (1 - self.chance)))

    def failed(self) -> bool:
        """Note one that did; return whether there is a cause."""
        self.level += log(_FAILING / self.chance)
        return self.level >= _ALARM
