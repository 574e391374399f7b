"""Several endpoints and keys share the work; who fails is left out while others go on."""

import asyncio
from collections import Counter
from math import inf

import pytest

from synthkd.teachers.base import AttemptError
from synthkd.teachers.lanes import Lane, leave_out, open_lanes, take_lane
from synthkd.teachers.options import TeacherOptions
from synthkd.teachers.retries import Ticket
from synthkd.teachers.scripted import ScriptedTeacher
from tests.corpus.builders import make_request

WRONG_KEY = AttemptError("wrong key", status=401, is_fatal=True)
BROKEN = AttemptError("broken", status=500, is_retryable=True)


def ticket() -> Ticket:
    return Ticket([make_request()])


def lanes(count: int, concurrency: int = 4, **given: object) -> list[Lane]:
    options = TeacherOptions(model="scripted/x", concurrency=concurrency, **given)
    return open_lanes([ScriptedTeacher({}) for _ in range(count)], options)


async def take(all_lanes: list[Lane], asked: Ticket | None = None) -> Lane:
    """Take a lane, looking again all the time for one that is free."""
    lane, _ = await take_lane(all_lanes, asked or ticket(), 1, lambda _until: asyncio.sleep(0))
    return lane


def end(lane: Lane) -> None:
    lane.limits.release(
        headers={}, status=200, estimated=1, used=None, retry_after=None, seconds=0.01
    )


def test_work_is_shared_evenly() -> None:
    async def run() -> Counter[int]:
        all_lanes = lanes(3)
        taken = [await take(all_lanes) for _ in range(12)]
        return Counter(map(id, taken))

    assert sorted(asyncio.run(run()).values()) == [4, 4, 4]


def test_whoever_is_free_first_is_taken_although_another_was_thought_to_be() -> None:
    async def run() -> None:
        first, second = all_lanes = lanes(2, concurrency=1)
        assert {await take(all_lanes) for _ in range(2)} == {first, second}
        for freed in (second, first, first, second):
            waiting = asyncio.create_task(take(all_lanes))
            await asyncio.sleep(0)
            end(freed)
            assert await asyncio.wait_for(waiting, 30) is freed

    asyncio.run(run())


def test_a_take_that_is_given_up_takes_no_place() -> None:
    async def run() -> None:
        all_lanes = lanes(2, concurrency=1)
        for _ in all_lanes:
            await take(all_lanes)
        waiting = asyncio.create_task(take(all_lanes))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)

        assert [lane.limits.snapshot().in_flight for lane in all_lanes] == [1, 1]

    asyncio.run(run())


def test_another_is_asked_where_one_just_failed() -> None:
    async def run() -> None:
        first, second = all_lanes = lanes(2)
        for failed, asked in ((first, second), (second, first)):
            again = ticket()
            again.failed_at = failed
            assert [await take(all_lanes, again) for _ in range(3)] == [asked] * 3

    asyncio.run(run())


def test_the_only_one_is_asked_again() -> None:
    async def run() -> None:
        (only,) = all_lanes = lanes(1)
        again = ticket()
        again.failed_at = only
        assert await take(all_lanes, again) is only

    asyncio.run(run())


def test_who_is_left_out_is_not_asked_until_it_has_rested() -> None:
    async def run() -> None:
        first, second = all_lanes = lanes(2)
        assert leave_out(all_lanes, first, WRONG_KEY, [])
        assert first.rests_until == inf
        assert [await take(all_lanes) for _ in range(3)] == [second] * 3

        first.rests_until = 0.0  # on a clock that began long ago
        assert await take(all_lanes) is first

    asyncio.run(run())


@pytest.mark.parametrize("error", [WRONG_KEY, BROKEN])
def test_the_last_one_is_never_left_out(error: AttemptError) -> None:
    first, second = all_lanes = lanes(2)
    for lane, is_left_out in ((first, True), (second, False)):
        told = [leave_out(all_lanes, lane, error, []) for _ in range(20)]
        assert told[-1] == is_left_out

    assert [lane.is_out for lane in all_lanes] == [True, False]


def test_a_rest_is_over_after_a_while() -> None:
    first, _ = all_lanes = lanes(2)
    for _ in range(10):
        leave_out(all_lanes, first, BROKEN, [])

    assert first.is_out
    assert first.rests_until != inf


def test_who_is_left_out_for_good_is_told_once() -> None:
    first, second, third = all_lanes = lanes(3)
    notes: list[str] = []

    for lane, error in ((first, WRONG_KEY), (first, WRONG_KEY), *[(second, BROKEN)] * 20):
        leave_out(all_lanes, lane, error, notes)

    assert notes == ["one of 3 addresses and keys was left out: wrong key"]
    assert not third.is_out


def test_nobody_queues_where_every_place_is_taken() -> None:
    """Whoever queues at one lane does not see that another has become free."""

    async def run() -> None:
        _, second = all_lanes = lanes(2, concurrency=1)
        for _ in all_lanes:
            await take(all_lanes)
        waits = []

        async def wait(until: float) -> None:
            waits.append(until)
            end(second)

        lane, _ = await asyncio.wait_for(take_lane(all_lanes, ticket(), 1, wait), 30)
        assert lane is second
        assert len(waits) == 1

    asyncio.run(run())
