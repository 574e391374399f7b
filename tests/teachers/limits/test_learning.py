"""A server that refuses is used to its limit; the clock is virtual, the rest is real."""

import math
import random

import pytest

from tests.teachers.limits.limiters import Bucket, FixedWindow, Limiter, SlidingWindow
from tests.teachers.limits.simulated import Run, Server, simulate

RATE = 50.0  # requests a second: 3,000 a minute


def share(run: Run, requests: int = 3000, rate: float = RATE) -> float:
    """Return the share of the allowed rate that was used."""
    return requests / run.seconds / rate


@pytest.mark.parametrize("refusal", [0.001, 0.05], ids=["refused-at-once", "refused-late"])
@pytest.mark.parametrize("level", [0.0, RATE], ids=["empty", "full"])
@pytest.mark.parametrize("burst", [0.25, 1.0])
def test_a_limit_nobody_states_is_found_and_used(
    burst: float, level: float, refusal: float
) -> None:
    server = Server(Bucket(RATE, RATE * burst, level=min(level, RATE * burst)), refusal=refusal)

    run = simulate(server, 3000)

    assert run.answered == 3000
    assert share(run) >= 0.97
    assert run.refused <= 30


def test_a_limit_of_tokens_is_found_and_used() -> None:
    sizes = random.Random(5)  # noqa: S311  # no secret
    server = Server(Bucket(5000, 5000), unit="tokens")

    run = simulate(server, 3000, tokens=lambda: sizes.randrange(50, 151))

    assert share(run) >= 0.97
    assert run.refused <= 30
    assert run.limits.snapshot().tokens_per_minute == pytest.approx(300_000, rel=0.05)
    assert run.limits.snapshot().requests_per_minute is None


@pytest.mark.parametrize(
    ("limiter", "least", "refused"),
    [
        pytest.param(Bucket(RATE, 5 * RATE, level=5 * RATE), 0.97, 90, id="a-large-bucket"),
        pytest.param(SlidingWindow(50, 1), 0.85, 60, id="one-second-slides"),
        pytest.param(FixedWindow(50, 1), 0.85, 90, id="each-second-apart"),
        pytest.param(SlidingWindow(500, 10), 0.8, 300, id="ten-seconds-slide"),
        pytest.param(FixedWindow(3000), 0.97, 1, id="each-minute-apart"),
    ],
)
def test_other_ways_of_limiting_are_lived_with(
    limiter: Limiter, least: float, refused: int
) -> None:
    run = simulate(Server(limiter), 3000)

    assert run.answered == 3000
    assert share(run) >= least
    assert run.refused <= refused


def test_a_count_per_minute_is_waited_for_and_then_paced() -> None:
    run = simulate(Server(SlidingWindow(3000)), 9000)

    assert run.seconds < 200
    assert run.refused < 0.03 * 9000


@pytest.mark.parametrize(
    "said", [lambda wait: wait, math.ceil], ids=["to-the-moment", "in-seconds"]
)
def test_a_server_that_says_when_is_asked_then(said) -> None:
    server = Server(Bucket(RATE, RATE), retry_after=said)

    run = simulate(server, 3000)

    assert share(run) >= 0.9
    assert run.refused <= 30


def test_slow_answers_do_not_hide_the_limit() -> None:
    dice = random.Random(3)  # noqa: S311  # no secret
    server = Server(Bucket(RATE, RATE), latency=lambda: dice.uniform(2, 10))

    run = simulate(server, 6000, concurrency=1000)

    assert 6000 / (run.seconds - 10) / RATE >= 0.85  # it begins and ends slowly
    assert run.refused <= 60


def test_without_a_limit_nothing_is_slowed_down() -> None:
    run = simulate(Server(), 5000)

    assert run.seconds < 2.7  # 5,000 calls of 50 ms, 256 at a time, after a slow start
    assert run.limits.snapshot()[1:4] == (256, None, None)


@pytest.mark.parametrize("kind", ["noise", "failing"])
def test_calls_that_fail_by_chance_slow_nothing_down(kind: str) -> None:
    server = Server()
    setattr(server, kind, 0.05)

    run = simulate(server, 5000)

    assert run.answered == 5000
    assert run.seconds < 3.2
    assert run.limits.snapshot().window == 256


def test_a_limit_that_is_lowered_is_found_again() -> None:
    bucket = Bucket(RATE, RATE)
    server = Server(bucket)
    lowered = iter([*[False] * 1500, True])

    def size() -> int:
        if next(lowered, False):
            bucket.rate = RATE / 2
        return 100

    run = simulate(server, 3000, tokens=size)

    assert run.answered == 3000
    assert run.refused < 100
