"""How many requests may be in flight: more while it goes well, half when it does not."""

from synthkd.teachers.limits.sends import Sends, Suspicion

_MODEST = 4  # requests in flight before the first answer
_DOUBLING = 0.3, 1.0  # seconds in which the window doubles at first: the least, the most
_LATENCIES = 4  # and in how many latencies, between those
_CAREFUL = 8  # times slower, once it was halved


class Window:
    """Additive increase in proportion, multiplicative decrease (AIMD), with a slow start.

    It grows only while it is what holds requests back, and starts to with the first
    answer. It is halved once for what happened to requests that went before the last
    halving, and only where failures are more than chance.
    """

    __slots__ = ("_careful", "_fastest", "_halved_at", "_last", "_overload", "size", "top")

    def __init__(self, top: int, sends: Sends) -> None:
        """Start modestly; `top` is the most that may be in flight."""
        self.top = top
        self.size = float(min(_MODEST, top))
        self._careful = 1
        self._fastest = 0.0
        self._halved_at = 0.0
        self._last: float | None = None
        self._overload = Suspicion(sends)

    def answered(self, now: float, seconds: float, *, is_full: bool) -> None:
        """Grow for an answer that took `seconds`, if the window is what holds us back."""
        if self.size >= self.top:
            return
        self._fastest = min(self._fastest or seconds, seconds)
        last, self._last = self._last, now
        if last is None or not is_full or now <= last:
            return
        least, most = _DOUBLING
        doubling = min(max(_LATENCIES * self._fastest, least), most) * self._careful
        self.size = min(self.top, self.size * 2 ** (min(now - last, doubling) / doubling))

    def overloaded(self, now: float, sent_at: float) -> None:
        """Halve for an attempt that the server was too busy for, unless it may be chance."""
        if sent_at >= self._halved_at and self._overload.failed(sent_at):
            self._overload.clear()
            self._halved_at = now
            self._careful = _CAREFUL
            self.size = max(1.0, self.size / 2)
