"""Spacing: what may go at which moment, so that a rate is used up and never exceeded."""

from math import inf

CATCH_UP = 0.2  # seconds that a late sender may make up for: an event loop stalls at times


class Pacer:
    """Spaces amounts evenly: each waits until its own share of the rate has come by.

    In any `t` seconds at a rate `r` it lets through `r * (t + CATCH_UP)` at most, and one
    amount more. An amount larger than that waits longer; it never waits for ever.
    """

    __slots__ = ("lease_end", "paid_until")

    def __init__(self, *, is_leased: bool = False) -> None:
        """Start with nothing owed; the future is all ours, or to be leased bit by bit."""
        self.paid_until = -inf
        self.lease_end = -inf if is_leased else inf  # from then on the rate is someone else's

    def ready_at(self, amount: float, rate: float, came: float, now: float) -> float:
        """Return the moment at which `amount` may go that waits since `came`."""
        cost = amount / rate
        return max(self.paid_until, max(came, now - CATCH_UP) - cost) + cost

    def take(self, amount: float, rate: float, came: float, now: float) -> None:
        """Let `amount` go now that waited since `came`."""
        self.paid_until = self.ready_at(amount, rate, came, now)

    def owe(self, amount: float, rate: float) -> None:
        """Charge `amount` more than was thought, or give back a negative one."""
        self.paid_until += amount / rate
