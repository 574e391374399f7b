import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from synthkd.filters import (
    ConfidenceFilter,
    ExactDuplicateFilter,
    LengthFilter,
    TruncatedFilter,
    UnsplitFilter,
)
from synthkd.records import Message, Sample
from tests.filters.samples import judge_seed, make_sample


@pytest.mark.parametrize(
    ("completion", "reason"),
    [
        pytest.param("one", "too_short", id="under"),
        pytest.param("one two", "", id="at-the-least"),
        pytest.param("one\n\ttwo  three ", "", id="at-the-most-however-spaced"),
        pytest.param("one two three four", "too_long", id="over"),
        pytest.param("", "too_short", id="nothing"),
    ],
)
def test_length_counts_words(completion: str, reason: str) -> None:
    verdict = LengthFilter(min_words=2, max_words=3).judge(make_sample(completion))

    assert (verdict.keep, verdict.reason) == (not reason, reason)
    assert verdict.score == len(completion.split())


def test_a_length_that_keeps_nothing_is_refused() -> None:
    with pytest.raises(ValidationError, match="no completion would be kept"):
        LengthFilter(min_words=10, max_words=9)


def test_a_cut_completion_is_truncated() -> None:
    assert TruncatedFilter().judge(make_sample(finish_reason="length")).reason == "truncated"
    assert TruncatedFilter().judge(make_sample(finish_reason="stop")).keep


def test_a_completion_without_its_parts_is_unsplit() -> None:
    assert UnsplitFilter().judge(make_sample(is_split=False)).reason == "unsplit"
    assert UnsplitFilter().judge(make_sample()).keep


def _mark(text: str, user: str = "hi", **parts: Any) -> Sample:
    return make_sample(text, messages=(Message("user", user),), **parts)


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        pytest.param({}, [True, False, True, True, True], id="both"),
        pytest.param({"by": "completion"}, [True, False, False, True, True], id="completion"),
        pytest.param({"by": "prompt"}, [True, False, True, False, False], id="prompt"),
        pytest.param({"fold": True}, [True, False, True, False, True], id="both-folded"),
    ],
)
def test_the_first_of_equal_samples_is_kept(options: dict[str, Any], kept: list[bool]) -> None:
    samples = [_mark("Yes."), _mark("Yes."), _mark("Yes.", "ho"), _mark("yes. \n"), _mark("No.")]

    verdicts = [verdict for _, verdict in ExactDuplicateFilter(**options).judge_all(samples)]

    assert [verdict.keep for verdict in verdicts] == kept
    assert {verdict.reason for verdict in verdicts if not verdict.keep} == {"duplicate"}


def test_who_spoke_and_where_a_turn_ends_are_part_of_a_prompt() -> None:
    prompts = [
        (Message("user", "a"), Message("user", "b")),
        (Message("user", "ab"),),
        (Message("system", "ab"),),
    ]
    samples = [make_sample(messages=messages) for messages in prompts]

    assert all(verdict.keep for _, verdict in ExactDuplicateFilter().judge_all(samples))


def test_a_second_run_of_a_duplicate_filter_starts_afresh() -> None:
    rule = ExactDuplicateFilter()

    assert judge_seed(rule, ["a", "a"]) == judge_seed(rule, ["a", "a"])
    assert rule.judge(make_sample("a")).keep


@given(st.lists(st.text(st.characters(exclude_categories=()), max_size=3), max_size=12))
def test_one_of_each_completion_is_kept(completions: list[str]) -> None:
    verdicts = judge_seed(ExactDuplicateFilter(), completions)
    kept = [text for text, verdict in zip(completions, verdicts, strict=True) if verdict.keep]

    assert kept == list(dict.fromkeys(completions))


@pytest.mark.parametrize(
    ("logprobs", "reason"),
    [
        pytest.param((-0.1, -0.2), "", id="sure"),
        pytest.param((-0.1, -1.9), "low_mean", id="unsure-overall"),
        pytest.param((-0.1,) * 9 + (-4.0,), "low_token", id="unsure-of-one"),
        pytest.param((-math.inf, -0.1), "low_mean", id="impossible-token"),
        pytest.param((math.nan, -0.1), "low_mean", id="nan-is-never-sure"),
        pytest.param((), "no_logprobs", id="no-tokens"),
        pytest.param(None, "no_logprobs", id="teacher-gave-none"),
    ],
)
def test_confidence_is_that_of_the_teacher(logprobs: tuple[float, ...] | None, reason: str) -> None:
    rule = ConfidenceFilter(min_mean=-0.6, min_lowest=-3)

    verdict = rule.judge(make_sample(token_logprobs=logprobs))

    assert (verdict.keep, verdict.reason) == (not reason, reason)
    assert (verdict.score is None) == (not logprobs)


def test_each_bound_works_alone() -> None:
    sample = make_sample(token_logprobs=(-0.1, -1.9))

    assert ConfidenceFilter(min_lowest=-2).judge(sample).keep
    assert ConfidenceFilter(min_mean=-1).judge(sample).score == pytest.approx(-1)
    assert ConfidenceFilter.needs_logprobs


@pytest.mark.parametrize("options", [{}, {"min_mean": 0.5}, {"min_lowest": 1}])
def test_confidence_without_a_usable_bound_is_refused(options: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        ConfidenceFilter(**options)
