from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from synthkd.evaluation import METRICS, EvaluationOptions, Score, evaluate
from synthkd.evaluation.comparison import Interval
from synthkd.evaluation.options import MetricName

ANSWERS = st.sampled_from(["refund", "Refund.", "invoice", "late parcel", None])
ROWS = st.lists(st.tuples(ANSWERS, ANSWERS, ANSWERS), min_size=1, max_size=30)


def make_options(*metrics: str, **others: object) -> EvaluationOptions:
    given = {"held_out": {"path": "test.jsonl"}, "resamples": 200, **others}
    return EvaluationOptions.model_validate({**given, **({"metrics": metrics} if metrics else {})})


def find(scores: list[Score], model: str, metric: str) -> Score:
    [score] = [score for score in scores if (score.model, score.metric) == (model, metric)]
    return score


def test_models_are_scored_on_the_same_rows() -> None:
    scores = evaluate(
        ["refund", "invoice", "refund", "refund"],
        {"T": ["refund", "invoice", "refund", "x"], "S": ["refund", "x", "refund", "x"]},
        make_options("exact_match", "agreement"),
        teacher="T",
    )

    assert [(score.model, score.metric) for score in scores] == [
        ("T", "exact_match"),
        ("S", "exact_match"),
        ("T", "agreement"),
        ("S", "agreement"),
    ]
    student = find(scores, "S", "exact_match")
    assert find(scores, "T", "exact_match").interval.mean == 0.75
    assert student.interval.mean == 0.5
    assert student.difference is not None
    assert student.difference.mean == -0.25
    assert student.retained is not None
    assert student.retained.mean == pytest.approx(2 / 3)
    assert find(scores, "S", "agreement").interval.mean == 0.75


def test_an_invalid_answer_scores_nothing_and_is_counted() -> None:
    [score] = evaluate(
        ["a", "b", "c", "d"], {"S": ["a", None, None, "x"]}, make_options("exact_match")
    )

    assert score.interval.mean == 0.25
    assert (score.n, score.invalid, score.invalid_share) == (4, 2, 0.5)
    assert score.difference is None
    assert score.retained is None


def test_an_empty_answer_is_an_answer_that_is_right_where_nothing_is() -> None:
    silent = ["", "", "", ""]

    scores = evaluate(
        ["refund", "", "?", None], {"T": ["refund", "", "?", ""], "S": silent}, make_options(), "T"
    )

    for metric, n, right in (("exact_match", 3, 1), ("token_f1", 3, 1), ("agreement", 4, 2)):
        student = find(scores, "S", metric)
        assert (student.n, student.invalid) == (n, 0)
        assert student.interval.mean == pytest.approx(right / n)


def test_a_teacher_and_a_student_that_say_nothing_are_equally_wrong() -> None:
    silent = ["", "", ""]

    scores = evaluate(["a", "b", "c"], {"T": silent, "S": silent}, make_options(), "T")

    student = find(scores, "S", "exact_match")
    assert (student.interval, student.difference) == (Interval(0, 0, 0), Interval(0, 0, 0))
    assert student.retained is None
    assert find(scores, "S", "agreement").interval == Interval(1, 1, 1)


def test_a_row_without_a_reference_counts_for_agreement_alone() -> None:
    scores = evaluate(
        [None, "b", None],
        {"T": ["a", "b", None], "S": ["a", "b", "c"]},
        make_options("exact_match", "agreement"),
        "T",
    )

    assert find(scores, "S", "exact_match").n == 1
    assert find(scores, "S", "agreement").n == 2


def test_agreement_needs_a_teacher_and_a_reference_metric_references() -> None:
    everything = make_options()

    without_teacher = evaluate(["a"], {"S": ["a"]}, everything)
    without_references = evaluate([None], {"S": ["a"], "T": ["a"]}, everything, "T")

    assert {score.metric for score in without_teacher} == {"exact_match", "token_f1"}
    assert {score.metric for score in without_references} == {"agreement"}


def test_a_teacher_that_is_never_right_leaves_no_share_to_retain() -> None:
    scores = evaluate(["a"], {"T": ["x"], "S": ["a"]}, make_options("exact_match"), "T")

    student = find(scores, "S", "exact_match")
    assert student.difference == Interval(1, 1, 1)
    assert student.retained is None


@given(rows=ROWS)
def test_a_student_that_answers_as_its_teacher_is_its_equal(
    rows: list[tuple[str | None, ...]],
) -> None:
    references, answers, _ = zip(*rows, strict=True)

    scores = evaluate(references, {"T": answers, "S": answers}, make_options(), "T")

    for score in scores:
        other = find(scores, "T", score.metric)
        assert (score.interval, score.n, score.invalid) == (other.interval, other.n, other.invalid)
        assert score.difference in (None, Interval(0, 0, 0))
        assert score.retained in (None, Interval(1, 1, 1))
        assert score.metric != "agreement" or score.interval.mean == 1


@given(rows=ROWS)
def test_the_difference_is_that_of_the_means(rows: list[tuple[str | None, ...]]) -> None:
    references, teacher, student = zip(*rows, strict=True)

    scores = evaluate(references, {"T": teacher, "S": student}, make_options("token_f1"), "T")

    for score in scores:
        whole = find(scores, "T", "token_f1").interval.mean
        assert 0 <= score.invalid <= score.n
        if score.difference:
            assert score.difference.mean == pytest.approx(score.interval.mean - whole, abs=1e-9)


@pytest.mark.parametrize(
    ("predictions", "teacher", "message"),
    [
        pytest.param({"S": ["a", "b"]}, None, "S has 2 predictions for 1 rows", id="too-many"),
        pytest.param({"S": ["a"]}, "T", "teacher 'T' has no predictions", id="no-teacher"),
    ],
)
def test_predictions_that_fit_no_rows_are_refused(
    predictions: dict[str, list[str]], teacher: str | None, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        evaluate(["a"], predictions, make_options(), teacher)


def test_every_metric_can_be_asked_for() -> None:
    assert set(get_args(MetricName)) == set(METRICS)


@pytest.mark.parametrize(
    "wrong",
    [
        {"metrics": ["exactmatch"]},
        {"metrics": []},
        {"held_out": {"path": "x", "license": "nothing known"}},
        {"resample": 3},
    ],
)
def test_options_that_mean_nothing_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        make_options(**wrong)
