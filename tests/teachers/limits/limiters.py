"""How servers limit: each decides whether an amount that comes at a moment is let through."""

import math
import time
from collections import deque
from typing import Protocol


class Limiter(Protocol):
    """Decides. `wait` is the seconds until it may let the amount through."""

    def take(self, amount: float, now: float) -> bool: ...

    def wait(self, amount: float, now: float) -> float: ...


class Bucket:
    """A token bucket: `rate` a second, never more than `capacity` at once."""

    def __init__(self, rate: float, capacity: float, *, level: float = 0.0) -> None:
        self.rate = rate
        self.capacity = capacity
        self.level = level
        self.at: float | None = None

    def take(self, amount: float, now: float) -> bool:
        self._fill(now)
        if self.level < amount - 1e-9:
            return False
        self.level -= amount
        return True

    def wait(self, amount: float, now: float) -> float:
        self._fill(now)
        return max(0.0, amount - self.level) / self.rate

    def _fill(self, now: float) -> None:
        at, self.at = self.at, now
        passed = 0.0 if at is None else now - at
        self.level = min(self.capacity, self.level + passed * self.rate)


class SlidingWindow:
    """At most `most` in any `seconds`."""

    def __init__(self, most: float, seconds: float = 60.0) -> None:
        self.most = most
        self.seconds = seconds
        self.total = 0.0
        self.taken: deque[tuple[float, float]] = deque()

    def take(self, amount: float, now: float) -> bool:
        self._forget(now)
        if self.total + amount > self.most:
            return False
        self.total += amount
        self.taken.append((now, amount))
        return True

    def wait(self, amount: float, now: float) -> float:
        self._forget(now)
        excess = self.total + amount - self.most
        for at, taken in self.taken:
            if excess <= 0:
                break
            excess -= taken
            if excess <= 0:
                return at + self.seconds - now
        return 0.0

    def _forget(self, now: float) -> None:
        while self.taken and self.taken[0][0] <= now - self.seconds:
            self.total -= self.taken.popleft()[1]


class FixedWindow:
    """At most `most` in each `seconds` of the clock."""

    def __init__(self, most: float, seconds: float = 60.0) -> None:
        self.most = most
        self.seconds = seconds
        self.window = -1
        self.total = 0.0

    def take(self, amount: float, now: float) -> bool:
        window = int(now // self.seconds)
        if window != self.window:
            self.window, self.total = window, 0.0
        if self.total + amount > self.most:
            return False
        self.total += amount
        return True

    def wait(self, amount: float, now: float) -> float:
        return 0.0 if self.total + amount <= self.most else self.seconds - now % self.seconds


class PerMinute:
    """A limit per minute, and what the headers say of it."""

    def __init__(self, name: str, per_minute: float, *, burst: float, full: bool) -> None:
        capacity = max(1.0, per_minute / 60 * burst)
        level = capacity if full else 0.0
        self.name = name
        self.per_minute = per_minute
        self.bucket = Bucket(per_minute / 60, capacity, level=level)
        self.bucket.take(0, time.monotonic())

    def headers(self, *, anthropic: bool) -> str:
        bucket, name = self.bucket, self.name
        reset = (bucket.capacity - bucket.level) / bucket.rate
        said = {"limit": f"{self.per_minute:.0f}", "remaining": f"{int(bucket.level)}"}
        if anthropic:
            at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + reset))
            pairs = [
                (f"anthropic-ratelimit-{name}-{k}", v) for k, v in [*said.items(), ("reset", at)]
            ]
        else:
            pairs = [(f"x-ratelimit-{k}-{name}", v) for k, v in said.items()]
            pairs.append((f"x-ratelimit-reset-{name}", f"{math.ceil(reset * 1000)}ms"))
        return "".join(f"{key}: {value}\r\n" for key, value in pairs)
