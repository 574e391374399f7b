"""Patience: a call that takes far longer than every other is not waited for to the end.

An answer may take ten minutes, and a server that lost a call never says so. Once many
answers have come, the longest tells what to expect; what takes many times as long, and
over a minute, is given up and tried again. It may be paid for twice, so this is rare.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from synthkd.teachers.base import AttemptError

_ENOUGH = 100  # answers that tell what to expect
_LEAST = 60.0  # seconds that every call is given
_TIMES = 20.0  # times the longest that a call is given


class Patience:
    """What calls took, and those that are waited for. Use it in one event loop."""

    def __init__(self) -> None:
        """Begin without a call."""
        self._answers = 0
        self._longest = 0.0
        self._waiting: dict[asyncio.Timeout, float] = {}

    @property
    def seconds(self) -> float | None:
        """How long a call is waited for, or None where too little is known."""
        return max(_LEAST, _TIMES * self._longest) if self._answers >= _ENOUGH else None

    def answered(self, seconds: float) -> None:
        """Note that an answer took so long."""
        self._answers += 1
        self._longest = max(self._longest, seconds)

    def look(self) -> None:
        """Give up what took too long; to be called every now and then."""
        limit, now = self.seconds, asyncio.get_running_loop().time()
        for timeout, since in self._waiting.items() if limit else ():
            if now - since > (limit or 0.0):
                timeout.reschedule(now)

    @asynccontextmanager
    async def waiting(self) -> AsyncIterator[None]:
        """Wait for a call.

        Raises:
            AttemptError: It took too long.
        """
        try:
            async with asyncio.timeout(None) as timeout:
                self._waiting[timeout] = asyncio.get_running_loop().time()
                try:
                    yield
                finally:
                    del self._waiting[timeout]
        except TimeoutError:
            raise AttemptError(
                f"timed out: no answer in {self.seconds:.0f} s, while {self._answers} others took "
                f"{self._longest:.1f} s at most; set timeout_s to wait for longer",
                is_retryable=True,
            ) from None
