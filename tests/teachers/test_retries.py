"""What is tried again, how often, and after how long."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synthkd.teachers import retries
from synthkd.teachers.base import AttemptError
from synthkd.teachers.retries import PATIENCE, Policy, Ticket
from tests.corpus.builders import make_request

LATER = AttemptError("later", status=429, is_retryable=True)
BROKEN = AttemptError("broken", status=500, is_retryable=True)
REFUSED = AttemptError("refused", status=400)
ERRORS = st.sampled_from([LATER, BROKEN])


def ticket() -> Ticket:
    return Ticket([make_request()])


def tries(policy: Policy, errors: list[AttemptError]) -> int:
    """Return how many of `errors` are followed by another try before it is given up."""
    asked = ticket()
    for count, error in enumerate(errors):
        if policy.wait(asked, error) is None:
            return count
    return len(errors)


@given(st.lists(ERRORS, max_size=30), st.integers(1, 9))
def test_failures_have_so_many_tries_and_being_told_to_wait_uses_none_up(
    errors: list[AttemptError], most: int
) -> None:
    failed = [place for place, error in enumerate(errors) if error is BROKEN]
    expected = failed[most - 1] if len(failed) >= most else len(errors)

    assert tries(Policy(most), errors) == expected


@given(st.lists(ERRORS, max_size=30), st.integers(1, 9), st.integers(0, 5))
def test_more_tries_never_give_up_sooner(errors: list[AttemptError], most: int, more: int) -> None:
    assert tries(Policy(most + more), errors) >= tries(Policy(most), errors)


def test_what_cannot_do_better_is_not_tried_again() -> None:
    assert Policy(6).wait(ticket(), REFUSED) is None


def test_the_longest_wait_grows_threefold_with_every_failure_up_to_a_minute() -> None:
    policy, asked = Policy(100), ticket()

    waits = [policy.wait(asked, BROKEN) for _ in range(60)]

    assert all(
        wait is not None and 0 <= wait <= min(60, 0.25 * 3**n) for n, wait in enumerate(waits)
    )
    assert 10 < max(wait for wait in waits if wait is not None) <= 60.0


def test_who_is_told_to_wait_and_not_how_long_goes_as_soon_as_the_limits_let_it() -> None:
    assert Policy(6).wait(ticket(), LATER) == 0


@given(st.floats(0, PATIENCE), ERRORS)
def test_a_server_is_waited_for_as_long_as_it_asks(seconds: float, error: AttemptError) -> None:
    asks = AttemptError("x", status=error.status, is_retryable=True, retry_after=seconds)

    assert Policy(6).wait(ticket(), asks) == seconds


def test_nobody_waits_until_another_day() -> None:
    tomorrow = AttemptError("x", status=429, is_retryable=True, retry_after=86400)

    assert Policy(6).wait(ticket(), tomorrow) is None


def test_an_hour_of_being_told_to_wait_begins_with_the_first_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A ticket may have waited for its turn for long; that is not the server's doing."""
    now = [1000.0]
    monkeypatch.setattr(retries.time, "monotonic", lambda: now[0])
    policy, asked = Policy(6), ticket()

    now[0] += 2 * PATIENCE
    assert policy.wait(asked, LATER) is not None
    now[0] += PATIENCE - 1
    assert policy.wait(asked, LATER) is not None
    now[0] += 2
    assert policy.wait(asked, LATER) is None
