from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from synthkd.filters import AnswerMatchFilter
from tests.filters.samples import make_sample


@pytest.mark.parametrize(
    ("mode", "answer", "reference", "right"),
    [
        pytest.param("exact", " Paris\n", "Paris", True, id="exact-white-space-around"),
        pytest.param("exact", "paris", "Paris", False, id="exact-case"),
        pytest.param("normalized", "**paris**.", "Paris", True, id="normalized-wrapping"),
        pytest.param("normalized", "Paris, France", "Paris", False, id="normalized-more-words"),
        pytest.param("normalized", "1,000", "1000", False, id="normalized-is-no-number"),
        pytest.param("numeric", "6 * 7 = 42 apples", "#### 42", True, id="numeric-last-of-each"),
        pytest.param("numeric", "42, I checked it 3 times", "42", False, id="numeric-not-last"),
        pytest.param("numeric", "many", "42", False, id="numeric-none-given"),
        pytest.param("auto", "They pay $1,000.", "1000", True, id="auto-number"),
        pytest.param("auto", "Room 42", "room 42", True, id="auto-words-with-a-number"),
        pytest.param("auto", "Room 43, 42", "room 42", False, id="auto-words-differ"),
        pytest.param("auto", "50%", "0.5", True, id="auto-percentage"),
    ],
)
def test_an_answer_is_compared_as_the_mode_says(
    mode: str, answer: str, reference: str, right: bool
) -> None:
    rule = AnswerMatchFilter(mode=mode)

    verdict = rule.judge(make_sample(answer, reference=reference))

    assert (verdict.keep, verdict.reason) == (right, "" if right else "wrong_answer")


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        pytest.param({"reference": None}, "no_reference", id="none"),
        pytest.param({"reference": " "}, "no_reference", id="blank"),
        pytest.param({"reference": "many"}, "no_reference", id="no-number-in-it"),
        pytest.param({"reference": "42", "is_split": False}, "not_split", id="no-answer"),
    ],
)
def test_what_cannot_be_compared_says_why(parts: dict[str, Any], reason: str) -> None:
    assert AnswerMatchFilter(mode="numeric").judge(make_sample("42", **parts)).reason == reason


def test_tolerance_and_decimal_mark_are_options() -> None:
    sample = make_sample("3,14", reference="3,1415")

    assert AnswerMatchFilter(tolerance=0.002, decimal_mark=",").judge(sample).keep
    assert not AnswerMatchFilter(tolerance=0.001, decimal_mark=",").judge(sample).keep


@pytest.mark.parametrize("tolerance", [-1, float("inf"), float("nan")])
def test_a_tolerance_must_be_a_distance(tolerance: float) -> None:
    with pytest.raises(ValidationError):
        AnswerMatchFilter(tolerance=tolerance)


@given(st.text(), st.sampled_from(["exact", "normalized", "auto"]))
def test_every_reference_answers_itself(reference: str, mode: str) -> None:
    verdict = AnswerMatchFilter(mode=mode).judge(make_sample(reference, reference=reference))

    assert verdict.keep or verdict.reason == "no_reference"


@given(st.text(), st.text())
def test_a_stricter_mode_keeps_no_more(answer: str, reference: str) -> None:
    sample = make_sample(answer, reference=reference)

    if AnswerMatchFilter(mode="exact").judge(sample).keep:
        assert AnswerMatchFilter(mode="normalized").judge(sample).keep
    if AnswerMatchFilter(mode="normalized").judge(sample).keep:
        assert AnswerMatchFilter(mode="auto").judge(sample).keep
