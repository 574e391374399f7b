"""What is still to be asked, a page of it in memory at a time."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synthkd.records import Message, Request
from synthkd.teachers.pending import Pending


def request(text: str, index: int = 0) -> Request:
    return Request((Message("user", text),), "e", "m", sample_index=index)


class CountedPlan:
    """A plan that counts the pages that were read of it."""

    def __init__(self, requests: list[Request]) -> None:
        self.requests = requests
        self.read = 0
        self.lock: asyncio.Lock | None = None

    def pending(self, size: int) -> Iterator[list[Request]]:
        for start in range(0, len(self.requests), size):
            self.read += 1
            assert self.lock is None or self.lock.locked()
            yield self.requests[start : start + size]


def take_all(plan: Any, *, batch_size: int = 1, share: bool = False) -> list[list[Request]]:
    async def take() -> list[list[Request]]:
        pending, taken = Pending(plan, batch_size, asyncio.Lock()), []
        while ticket := await pending.take(share=share):
            taken.append(list(ticket.requests))
        assert await pending.take(share=share) is None
        return taken

    return asyncio.run(take())


def test_half_a_million_requests_are_never_in_memory_at_once() -> None:
    plan = CountedPlan([request(str(number)) for number in range(4000)])

    async def take() -> None:
        plan.lock = asyncio.Lock()
        pending: Any = Pending(plan, 1, plan.lock)
        assert plan.read == 0
        for taken in range(2400):
            await pending.take(share=False)

            assert plan.read == taken // 1024 + 1
            assert len(pending._tickets) < 1024

    asyncio.run(take())


@given(st.integers(0, 40), st.integers(1, 7))
def test_a_local_teacher_gets_full_batches_in_order(count: int, size: int) -> None:
    requests = [request(str(number)) for number in range(count)]

    taken = take_all(CountedPlan(requests), batch_size=size)

    assert [each for ticket in taken for each in ticket] == requests
    assert all(len(ticket) == size for ticket in taken[:-1])


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 4)), max_size=12), st.integers(1, 6))
def test_samples_of_a_prompt_go_in_one_call_wherever_a_page_ends(
    runs: list[tuple[int, int]], page: int
) -> None:
    prompts = [prompt for prompt, _ in dict(runs).items()]
    requests = [request(str(p), index) for p in prompts for index in range(dict(runs)[p])]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("synthkd.teachers.pending._PAGE", page)
        taken = take_all(CountedPlan(requests), share=True)

    assert [each for ticket in taken for each in ticket] == requests
    assert len(taken) == len(prompts)


def test_no_call_asks_for_more_samples_than_a_server_takes() -> None:
    requests = [request("same", index) for index in range(300)]

    taken = take_all(CountedPlan(requests), share=True)

    assert [len(ticket) for ticket in taken] == [128, 128, 44]
    assert [each for ticket in taken for each in ticket] == requests


def test_a_server_that_turns_out_to_give_one_choice_is_asked_one_by_one() -> None:
    requests = [request(str(prompt), index) for prompt in range(400) for index in range(3)]

    async def take() -> list[int]:
        pending = Pending(CountedPlan(requests), 1, asyncio.Lock())  # type: ignore[arg-type]
        first = await pending.take(share=True)
        rest = []
        while ticket := await pending.take(share=False):
            rest.append(ticket)
        assert first is not None
        asked = [each for ticket in (first, *rest) for each in ticket.requests]
        assert asked == requests
        return [len(ticket.requests) for ticket in rest]

    sizes = asyncio.run(take())
    # What was grouped stays so; the samples that lay over the page's end do not.
    assert sizes == [3] * 340 + [1] * 177
