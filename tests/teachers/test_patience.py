import asyncio

import pytest

from synthkd.teachers.base import AttemptError
from synthkd.teachers.patience import Patience


def used_to(seconds: float, answers: int = 100) -> Patience:
    patience = Patience()
    for _ in range(answers):
        patience.answered(seconds)
    return patience


@pytest.mark.parametrize(
    ("patience", "seconds"),
    [
        pytest.param(used_to(0.05, answers=99), None, id="too-few-answers-tell-nothing"),
        pytest.param(used_to(0.05), 60.0, id="a-minute-at-least"),
        pytest.param(used_to(12.0), 240.0, id="twenty-times-the-longest"),
    ],
)
def test_a_call_is_waited_for_by_what_others_took(
    patience: Patience, seconds: float | None
) -> None:
    assert patience.seconds == seconds


def test_a_call_that_takes_far_too_long_is_given_up_and_others_are_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    patience = used_to(0.05)

    async def wait_for_an_hour() -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        never = asyncio.Event()

        async def ask() -> None:
            async with patience.waiting():
                await never.wait()

        first = asyncio.create_task(ask())
        await asyncio.sleep(0)
        monkeypatch.setattr(loop, "time", lambda: began + 61)
        second = asyncio.create_task(ask())
        await asyncio.sleep(0)
        patience.look()
        with pytest.raises(AttemptError, match="timed out: no answer in 60 s") as caught:
            await first
        assert caught.value.is_retryable
        assert not second.done()
        never.set()
        await second

    asyncio.run(wait_for_an_hour())
