"""What holds a call back, and what lets it go."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synthkd.teachers.limits import Limits
from tests.teachers.limits.limiters import Bucket
from tests.teachers.limits.simulated import Server, run_virtually, simulate

RATE = 50.0


def virtually(main: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Run an async test in virtual time; it gets a maker of controllers."""

    def test() -> None:
        async def start() -> None:
            loop = asyncio.get_running_loop()
            await main(lambda **options: Limits(**{"concurrency": 8} | options, clock=loop.time))

        run_virtually(start)

    test.__name__, test.__doc__ = main.__name__, main.__doc__
    return test


def end(limits: Limits, status: int | None = 200, **said: Any) -> None:
    """End a call."""
    said = {
        "headers": {},
        "estimated": 100,
        "used": None,
        "retry_after": None,
        "seconds": 0.1,
    } | said
    limits.release(status=status, **said)


async def passes(limits: Limits, within: float) -> bool:
    """Whether a call is let go `within` some seconds."""
    try:
        await asyncio.wait_for(limits.admit(100), within)
    except TimeoutError:
        return False
    return True


@pytest.mark.parametrize(
    ("options", "headers", "unit"),
    [
        pytest.param({"requests_per_minute": 3000}, {}, "requests", id="requests-given"),
        pytest.param({"tokens_per_minute": 300_000}, {}, "tokens", id="tokens-given"),
        pytest.param({}, {"x-ratelimit-limit-requests": "3000"}, "requests", id="requests-told"),
        pytest.param({}, {"x-ratelimit-limit-tokens": "300000"}, "tokens", id="tokens-told"),
    ],
)
def test_a_stated_limit_is_used_and_hardly_ever_refused(
    options: dict[str, float], headers: dict[str, str], unit: str
) -> None:
    rate = RATE if unit == "requests" else RATE * 100
    server = Server(Bucket(rate, rate, level=rate), unit=unit, headers=headers)

    run = simulate(server, 3000, **options)

    assert 3000 / run.seconds / RATE >= 0.97
    assert run.refused <= 1
    assert not run.limits.snapshot().is_learnt


@virtually
async def test_what_the_user_gives_is_not_raised_by_what_the_server_says(make) -> None:
    limits = make(requests_per_minute=60)
    await limits.admit(100)
    end(limits, headers={"x-ratelimit-limit-requests": "6000"})

    assert limits.snapshot().requests_per_minute == pytest.approx(59.4)


@virtually
async def test_an_answer_that_states_nothing_takes_nothing_back(make) -> None:
    limits = make()
    for headers in ({"x-ratelimit-limit-requests": "100"}, {"server": "proxy"}):
        await limits.admit(100)
        end(limits, headers=headers)

    assert limits.snapshot().requests_per_minute == pytest.approx(99)


@virtually
async def test_all_calls_wait_when_one_is_told_to(make) -> None:
    limits = make()
    await limits.admit(100)
    end(limits, 503, retry_after=20.0)

    assert limits.soonest(100) == 20.0
    assert limits.snapshot().cooling_s == 20.0
    assert not await passes(limits, within=19.9)
    assert await passes(limits, within=0.2)


@virtually
async def test_no_more_calls_are_in_flight_than_the_window_has_room_for(make) -> None:
    limits = make(concurrency=2)
    await limits.admit(100)
    await limits.admit(100)

    assert not await passes(limits, within=60)

    end(limits)

    assert await passes(limits, within=0.01)
    assert limits.snapshot().in_flight == 2


@virtually
async def test_the_bottleneck_is_named(make) -> None:
    named = []
    for options in ({"concurrency": 1}, {"requests_per_minute": 6}, {"tokens_per_minute": 6}, {}):
        limits = make(**options)
        await limits.admit(100)
        if not options:
            end(limits, 503, retry_after=9.0)
        waiting = asyncio.create_task(limits.admit(100))
        await asyncio.sleep(0)
        named.append(limits.snapshot().bottleneck)
        waiting.cancel()

    assert named == ["concurrency", "requests per minute", "tokens per minute", "cool-down"]
    assert make().snapshot().bottleneck == "teacher"


@virtually
async def test_a_call_that_gives_up_waiting_takes_no_place(make) -> None:
    limits = make(concurrency=1)
    await limits.admit(100)
    waiting = [asyncio.create_task(limits.admit(100)) for _ in range(3)]
    await asyncio.sleep(0)
    end(limits)
    waiting[0].cancel()  # it was let go, and does not know it yet
    waiting[1].cancel()
    await asyncio.gather(*waiting, return_exceptions=True)

    assert waiting[2].result()
    assert limits.snapshot().in_flight == 1


@virtually
async def test_estimates_become_what_calls_really_use(make) -> None:
    limits = make(tokens_per_minute=60_000)
    for _ in range(200):
        await limits.admit(100)
        end(limits, used=50)

    assert limits.correct(100) == pytest.approx(50, abs=1)


@virtually
async def test_a_server_that_is_too_busy_is_asked_half_as_much_once_for_one_reason(make) -> None:
    limits = make(concurrency=64)
    loop = asyncio.get_running_loop()
    while limits.snapshot().window < 64:
        went = [await limits.admit(100) for _ in range(limits.snapshot().window)]
        await asyncio.sleep(0.1)
        for moment in went:
            end(limits, went=moment)
    went = [await limits.admit(100) for _ in range(64)]
    await asyncio.sleep(0.1)
    for moment in went:
        end(limits, 529, went=moment, seconds=loop.time() - moment)

    assert limits.snapshot().window == 32


statuses = st.sampled_from([200, 200, 200, 200, 429, 500, 503, 529, None])


@settings(max_examples=40)
@given(
    concurrency=st.integers(1, 20),
    ends=st.lists(
        st.tuples(statuses, st.floats(0, 5), st.none() | st.floats(0, 3), st.integers(1, 5000)),
        max_size=60,
    ),
    requests=st.none() | st.floats(30, 10_000),
    tokens=st.none() | st.floats(10_000, 1e6),
)
def test_whatever_happens_every_call_is_let_go_and_the_window_holds(
    concurrency: int,
    ends: list[tuple[int | None, float, float | None, int]],
    requests: float | None,
    tokens: float | None,
) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        limits = Limits(
            concurrency=concurrency,
            requests_per_minute=requests,
            tokens_per_minute=tokens,
            clock=loop.time,
        )
        in_flight = 0

        async def call(status: int | None, seconds: float, wait: float | None, size: int) -> None:
            nonlocal in_flight
            went = await limits.admit(size)
            in_flight += 1
            state = limits.snapshot()
            assert 1 <= state.window <= concurrency
            assert in_flight <= concurrency
            await asyncio.sleep(seconds)
            in_flight -= 1
            end(
                limits,
                status,
                seconds=seconds,
                retry_after=wait,
                estimated=size,
                used=size,
                went=went,
            )

        await asyncio.wait_for(asyncio.gather(*(call(*ending) for ending in ends)), 100_000)
        assert limits.snapshot().in_flight == 0

    run_virtually(main)
