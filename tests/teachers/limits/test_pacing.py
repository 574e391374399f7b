"""A rate is used up, and never exceeded."""

from hypothesis import given
from hypothesis import strategies as st

from synthkd.teachers.limits.pacing import CATCH_UP, Pacer

calls = st.lists(
    st.tuples(st.floats(0, 2), st.floats(0, 3), st.floats(0.5, 20)), min_size=1, max_size=60
)


@given(rate=st.floats(0.1, 100), calls=calls)
def test_no_stretch_of_time_sees_more_than_its_rate_and_the_burst(
    rate: float, calls: list[tuple[float, float, float]]
) -> None:
    """Each call comes a while after the last one went, and is looked at a while too late."""
    pacer, now, went = Pacer(), 1000.0, []
    for pause, delay, amount in calls:
        came = now + pause
        now = max(came, pacer.ready_at(amount, rate, came, came)) + delay
        pacer.take(amount, rate, came, now)
        went.append((now, amount))

    for first in range(len(went)):
        total = 0.0
        for at, amount in went[first:]:
            total += amount
            stretch = at - went[first][0]
            assert total <= rate * (stretch + CATCH_UP) + went[first][1] + 1e-6


@given(rate=st.floats(0.1, 100), amounts=st.lists(st.floats(0.5, 500), max_size=20))
def test_every_amount_goes_some_time_however_large(rate: float, amounts: list[float]) -> None:
    pacer, now = Pacer(), 0.0
    for amount in amounts:
        ready_at = pacer.ready_at(amount, rate, now, now)

        assert ready_at <= now + amount / rate + 1e-6

        now = max(now, ready_at)
        pacer.take(amount, rate, now, now)


def test_the_first_call_waits_for_nothing() -> None:
    assert Pacer().ready_at(1, 3 / 60, 1000.0, 1000.0) == 1000.0


def test_what_was_estimated_too_low_is_waited_for() -> None:
    pacer = Pacer()
    pacer.take(100, 100, 5.0, 5.0)
    pacer.owe(50, 100)

    assert pacer.ready_at(100, 100, 5.0, 5.0) == 6.5
