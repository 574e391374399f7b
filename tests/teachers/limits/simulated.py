"""A client, a server and the time between them, none of it real.

    run = simulate(Limits, Server(Bucket(50, 50)), requests=3000)
    run.seconds, run.refused, run.answered

The event loop is asyncio's own with a clock that jumps to the next timer.
"""

import asyncio
import random
import selectors
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from synthkd.teachers.limits import Limits
from tests.teachers.limits.limiters import Limiter


class _NoWait(selectors.DefaultSelector):
    """Instead of waiting for a time-out, puts the clock forward."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout:
            self.now += timeout
        return super().select(0)


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop in which a minute takes no time."""

    def __init__(self) -> None:
        self._virtual = _NoWait()
        super().__init__(self._virtual)

    def time(self) -> float:
        return self._virtual.now


def run_virtually(main: Callable[[], Any]) -> Any:
    """Run the coroutine of `main` in virtual time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main())


@dataclass
class Server:
    """A simulated server. `latency` and `refusal` are the seconds that each takes.

    `noise` is the share of calls refused for no reason; `unit` what `limiter` counts;
    `retry_after` turns the seconds to wait into what it says of them.
    """

    limiter: Limiter | None = None
    latency: Callable[[], float] = lambda: 0.05
    refusal: float = 0.05
    noise: float = 0.0
    failing: float = 0.0
    unit: str = "requests"
    retry_after: Callable[[float], float] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    asked: int = 0
    refused: int = 0
    at: list[float] = field(default_factory=list)
    chance: random.Random = field(default_factory=lambda: random.Random(7))  # noqa: S311  # no secret

    async def ask(self, tokens: int) -> tuple[int, float | None]:
        """Return the status and the retry-after of one call."""
        now = asyncio.get_running_loop().time()
        self.asked += 1
        amount = tokens if self.unit == "tokens" else 1
        is_noise = self.chance.random() < self.noise
        if is_noise or (self.limiter and not self.limiter.take(amount, now)):
            self.refused += 1
            wait = self.limiter.wait(amount, now) if self.limiter else 0.0
            await asyncio.sleep(self.refusal)
            return 429, self.retry_after(wait) if self.retry_after else None
        is_failure = self.chance.random() < self.failing
        await asyncio.sleep(self.latency())
        if not is_failure:
            self.at.append(now)
        return (503 if is_failure else 200), None


class Run(NamedTuple):
    """What became of it. `rate` is requests a second, from the first to the last answer."""

    seconds: float
    refused: int
    answered: int
    limits: Limits


def simulate(
    server: Server,
    requests: int = 3000,
    *,
    concurrency: int = 256,
    tokens: Callable[[], int] = lambda: 100,
    backoff: float = 0.0,
    **options: Any,
) -> Run:
    """Ask `server` all of `requests`, each until it is answered."""

    async def main() -> Run:
        loop = asyncio.get_running_loop()
        limits = Limits(concurrency=concurrency, clock=loop.time, **options)
        todo, started = [tokens() for _ in range(requests)], loop.time()
        answered = 0

        async def work() -> None:
            nonlocal answered
            while todo:
                size, status = todo.pop(), 0
                while status != 200:
                    went = await limits.admit(size)
                    began = loop.time()
                    status, retry_after = await server.ask(size)
                    limits.release(
                        headers=server.headers,
                        status=status,
                        estimated=size,
                        used=size if status == 200 else None,
                        retry_after=retry_after,
                        seconds=loop.time() - began,
                        went=went,
                    )
                    if status != 200 and backoff:
                        await asyncio.sleep(backoff * server.chance.random())
                answered += 1

        await asyncio.gather(*(work() for _ in range(concurrency)))
        return Run(loop.time() - started, server.refused, answered, limits)

    return run_virtually(main)
