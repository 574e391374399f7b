import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from synthkd.evaluation.comparison import Interval, bootstrap, paired_difference, retained_share

SCORES = st.lists(st.floats(0, 1), min_size=1, max_size=60)
PAIRS = st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=60)


@given(scores=SCORES, seed=st.integers(0, 2**32), resamples=st.integers(1, 300))
def test_an_interval_holds_the_mean_within_the_scores(
    scores: list[float], seed: int, resamples: int
) -> None:
    interval = bootstrap(scores, seed, resamples)

    assert interval.mean == pytest.approx(np.mean(scores))
    assert interval.low <= interval.mean <= interval.high
    assert min(scores) - 1e-9 <= interval.low
    assert interval.high <= max(scores) + 1e-9


@given(scores=SCORES)
def test_a_seed_gives_one_interval_whatever_the_order(scores: list[float]) -> None:
    assert bootstrap(scores, 7) == bootstrap(scores[::-1], 7)


@given(score=st.floats(-10, 10), n=st.integers(1, 50))
def test_scores_all_alike_have_no_width(score: float, n: int) -> None:
    interval = bootstrap([score] * n)

    assert interval.low == interval.mean == interval.high


def test_another_seed_draws_other_rows() -> None:
    scores = np.random.default_rng(0).random(40)

    assert bootstrap(scores, seed=1) != bootstrap(scores, seed=2)


@pytest.mark.parametrize("p", [0.5, 0.8])
def test_an_interval_is_as_wide_as_the_normal_one_for_many_rows(p: float) -> None:
    n = 2000
    scores = np.arange(n) < p * n
    reach = 1.96 * np.sqrt(p * (1 - p) / n)

    interval = bootstrap(scores, resamples=20_000)

    assert interval.low == pytest.approx(p - reach, abs=0.1 * reach)
    assert interval.high == pytest.approx(p + reach, abs=0.1 * reach)


def test_intervals_cover_the_truth_about_as_often_as_they_say() -> None:
    generator = np.random.default_rng(1)
    n, trials, truth = 200, 400, 0.7
    scores = generator.random((trials, n)) < truth

    covered = [
        interval.low <= truth <= interval.high
        for interval in (bootstrap(row, resamples=400) for row in scores)
    ]

    assert 0.90 <= np.mean(covered) <= 0.98


def test_a_higher_level_is_wider() -> None:
    scores = np.random.default_rng(0).random(100)
    narrow, wide = bootstrap(scores, level=0.5), bootstrap(scores, level=0.99)

    assert wide.low < narrow.low < narrow.high < wide.high


def test_many_distinct_scores_are_drawn_in_parts() -> None:
    scores = np.random.default_rng(0).random(4000)

    interval = bootstrap(scores, resamples=1100)

    reach = 1.96 * scores.std() / np.sqrt(len(scores))
    assert interval.high - interval.low == pytest.approx(2 * reach, rel=0.15)


@given(pairs=PAIRS)
def test_a_difference_turns_round_with_its_sides(pairs: list[tuple[float, float]]) -> None:
    left, right = zip(*pairs, strict=True)

    there, back = paired_difference(left, right), paired_difference(right, left)

    assert there.mean == pytest.approx(-back.mean, abs=1e-12)
    assert there.mean == pytest.approx(np.mean(left) - np.mean(right), abs=1e-12)


def test_a_pair_that_differs_nowhere_differs_surely_by_nothing() -> None:
    scores = np.random.default_rng(0).random(50)

    assert paired_difference(scores, scores) == Interval(0, 0, 0)
    assert retained_share(scores, scores) == Interval(1, 1, 1)


def test_rows_in_common_make_a_difference_surer() -> None:
    hard = np.arange(400) % 2
    worse = hard * (np.arange(400) % 10 != 1)

    paired = paired_difference(worse, hard)
    apart = bootstrap(hard)

    assert paired.high < 0
    assert paired.high - paired.low < (apart.high - apart.low) / 1.5


def test_a_share_is_of_the_teachers_mean() -> None:
    teacher = np.arange(1000) < 800
    student = np.arange(1000) < 720

    share = retained_share(student, teacher)

    assert share.mean == pytest.approx(0.9)
    assert 0.87 < share.low < 0.9 < share.high < 0.93


def test_draws_in_which_the_teacher_scores_nothing_are_left_out() -> None:
    share = retained_share([1, 0, 0], [1, 0, 0])

    assert share == Interval(1, 1, 1)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        pytest.param(lambda: bootstrap([]), "no scores", id="none"),
        pytest.param(lambda: bootstrap([float("nan")]), "not finite", id="nan"),
        pytest.param(lambda: paired_difference([1], [1, 2]), "same rows", id="unpaired"),
        pytest.param(lambda: paired_difference([], []), "no scores", id="no-pairs"),
        pytest.param(lambda: retained_share([1, 1], [0, 0]), "scored nothing", id="no-teacher"),
    ],
)
def test_what_has_no_mean_is_refused(call: object, message: str) -> None:
    assert callable(call)
    with pytest.raises(ValueError, match=message):
        call()
