"""When an endpoint is not worth asking any more."""

from math import inf

import pytest

from synthkd.teachers.base import AttemptError
from synthkd.teachers.breaker import Breaker, explain

WRONG_KEY = AttemptError("wrong key", status=401, is_fatal=True)
NOT_THERE = AttemptError("nobody there", is_retryable=True)
BROKEN = AttemptError("broken", status=500, is_retryable=True)
REFUSED = AttemptError("too long", status=400)
LATER = AttemptError("later", status=429, is_retryable=True, retry_after=2.0)
TOMORROW = AttemptError("tomorrow", status=429, is_retryable=True, retry_after=86400.0)


@pytest.mark.parametrize(
    ("error", "after", "after_an_answer"),
    [
        pytest.param(WRONG_KEY, 1, 1, id="a-wrong-key-at-once"),
        pytest.param(TOMORROW, 1, 1, id="another-day-at-once"),
        pytest.param(NOT_THERE, 1, 5, id="nobody-there"),
        pytest.param(BROKEN, 5, 5, id="down"),
        pytest.param(REFUSED, 20, None, id="refused-all-but-never-one-among-many"),
    ],
)
def test_it_opens_after_so_many_requests_given_up_in_a_row(
    error: AttemptError, after: int, after_an_answer: int | None
) -> None:
    fresh, known = Breaker(), Breaker()
    known.answered()

    assert [fresh.is_open(error) for _ in range(after)] == [False] * (after - 1) + [True]
    opened = [known.is_open(error) for _ in range(100)]
    assert (opened.index(True) + 1 if True in opened else None) == after_an_answer


def test_an_answer_in_between_closes_it() -> None:
    breaker = Breaker()
    breaker.answered()

    for _ in range(20):
        assert not any(breaker.is_open(BROKEN) for _ in range(4))
        breaker.answered()


@pytest.mark.parametrize(
    ("error", "seconds"),
    [(WRONG_KEY, inf), (TOMORROW, 86400.0), (NOT_THERE, 0), (REFUSED, 0), (LATER, 0)],
)
def test_others_are_asked_instead_where_this_one_cannot_answer(
    error: AttemptError, seconds: float
) -> None:
    assert Breaker().failed(error) == seconds


def test_others_are_asked_for_a_while_where_this_one_fails_every_time() -> None:
    breaker = Breaker()

    assert [breaker.failed(BROKEN) for _ in range(10)] == [0.0] * 9 + [60.0]
    assert breaker.failed(BROKEN) == 60.0  # back from its rest, and no better
    breaker.answered()
    assert breaker.failed(BROKEN) == 0.0
    assert not any(breaker.failed(LATER) for _ in range(50))


def test_the_reason_says_what_to_do() -> None:
    wrong, tomorrow = explain("openai/m at h", WRONG_KEY, 3), explain("m", TOMORROW, 0)

    assert "openai/m at h cannot be asked: wrong key\n3 new answers are kept" in str(wrong)
    assert "Check the address, the key" in str(wrong)
    assert "It asks to come back in 24.0 hours: run again then." in str(tomorrow)
