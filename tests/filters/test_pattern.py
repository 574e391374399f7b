from typing import Any

import pytest
from pydantic import ValidationError

from synthkd.filters import PatternFilter
from tests.filters.samples import make_sample


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        pytest.param({"must_match": r"order \d+"}, "", id="wanted-and-there"),
        pytest.param({"must_match": r"^\d+$"}, "no_match", id="wanted-and-missing"),
        pytest.param({"must_not_match": "(?i)ORDER"}, "forbidden_match", id="unwanted-and-there"),
        pytest.param({"must_not_match": "refund"}, "", id="unwanted-and-missing"),
        pytest.param(
            {"must_match": "order", "must_not_match": "late"}, "forbidden_match", id="both"
        ),
        pytest.param({"must_match": "late", "part": "answer"}, "no_match", id="answer"),
        pytest.param({"must_match": "think", "part": "rationale"}, "", id="rationale"),
    ],
)
def test_a_pattern_is_searched_for_in_its_part(options: dict[str, Any], reason: str) -> None:
    sample = make_sample("I think order 12 is late.", answer="12", rationale="I think")

    verdict = PatternFilter(**options).judge(sample)

    assert (verdict.keep, verdict.reason) == (not reason, reason)


def test_a_missing_rationale_matches_nothing() -> None:
    sample = make_sample(rationale=None)

    assert PatternFilter(must_match=".*", part="rationale").judge(sample).reason == "no_match"
    assert PatternFilter(must_not_match=".*", part="rationale").judge(sample).keep


def test_a_wrong_pattern_says_where_it_is_wrong() -> None:
    with pytest.raises(ValidationError, match=r"unterminated character set at character 6"):
        PatternFilter(must_match="order[0-9")


def test_two_wrong_patterns_are_named_at_once() -> None:
    with pytest.raises(ValidationError, match="2 validation errors"):
        PatternFilter(must_match="(", must_not_match="*")


def test_a_filter_without_a_pattern_is_refused() -> None:
    with pytest.raises(ValidationError, match="every sample would be kept"):
        PatternFilter(part="answer")


@pytest.mark.parametrize(
    "pattern",
    [r"^(a+)+$", r"(\w+\s?)*$", r"^(x|x)*$", r"^(\d+)*$", r"(.*)*$", r"^(-+-+)+$", r"^(a|aa)*$"],
)
def test_a_pattern_whose_time_explodes_is_refused(pattern: str) -> None:
    with pytest.raises(ValidationError, match="exponential time"):
        PatternFilter(must_match=pattern)


@pytest.mark.parametrize(
    "pattern",
    [
        r"^(?:\d{1,3},)*\d+$",
        r"(?:,\d+)*",
        r"^(?:\w++\s?)*+$",
        r"^\s*\{.*\}\s*$",
        r"^(?:[^\n]+\n)+$",
        r"(?i)\b(?:as an ai|language model)\b",
        r"<answer>.*?</answer>",
        "",
    ],
)
def test_an_honest_pattern_passes_the_probe(pattern: str) -> None:
    assert PatternFilter(must_match=pattern).must_match == pattern
