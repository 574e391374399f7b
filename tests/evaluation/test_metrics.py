import pytest
from hypothesis import given
from hypothesis import strategies as st

from synthkd.evaluation.metrics import (
    METRICS,
    exact_match,
    normalize,
    numeric_match,
    token_f1,
)

# Few characters, so that equal words are common.
TEXTS = st.text(st.sampled_from("aA the.-,15½ﬁé") | st.characters(exclude_categories=["Cs"]))


@pytest.mark.parametrize(
    ("left", "right"),
    [
        pytest.param("Card arrival", "  card   ARRIVAL. ", id="case-space-punctuation"),
        pytest.param("the order", "an order", id="articles"),
        pytest.param("ﬁnal\u00a0ﬁgure", "final figure", id="compatibility-forms"),
        pytest.param("straße", "STRASSE", id="case-folded-not-lowered"),
        pytest.param("1,234,567", "1234567", id="thousands"),
        pytest.param("\N{MINUS SIGN}5", "-5", id="minus-signs"),
        pytest.param("A", "a.", id="a-choice-that-is-an-article"),
    ],
)
def test_what_reads_alike_matches(left: str, right: str) -> None:
    assert exact_match(left, right) == 1


@pytest.mark.parametrize(
    ("left", "right"),
    [
        pytest.param("-5", "5", id="sign"),
        pytest.param("-.5", ".5", id="sign-of-a-fraction"),
        pytest.param("3.5", "35", id="point"),
        pytest.param("1,5", "15", id="decimal-comma"),
        pytest.param("15:30", "1530", id="time"),
        pytest.param("3/4", "34", id="fraction"),
        pytest.param("A", "the", id="articles-with-nothing-else"),
        pytest.param("C++", "C", id="symbols-are-not-punctuation"),
        pytest.param("refund", "no refund", id="another-word"),
        pytest.param("!", "?", id="punctuation-with-nothing-else"),
        pytest.param("", ":)", id="nothing-and-punctuation"),
    ],
)
def test_what_means_something_else_does_not(left: str, right: str) -> None:
    assert exact_match(left, right) == 0


@pytest.mark.parametrize("name", METRICS)
@given(text=TEXTS)
def test_nothing_equals_what_is_empty_and_no_more(name: str, text: str) -> None:
    assert METRICS[name]("", text) == (not text.strip())


@given(text=TEXTS)
def test_normalizing_twice_changes_nothing(text: str) -> None:
    assert normalize(normalize(text)) == normalize(text)


@pytest.mark.parametrize("name", METRICS)
@given(left=TEXTS, right=TEXTS)
def test_a_metric_is_a_symmetric_share_that_is_whole_for_equals(
    name: str, left: str, right: str
) -> None:
    metric = METRICS[name]

    assert 0 <= metric(left, right) <= 1
    assert metric(left, right) == metric(right, left)
    assert metric(left, left) == 1


@given(left=TEXTS, right=TEXTS)
def test_an_exact_match_is_a_match_by_every_metric(left: str, right: str) -> None:
    if exact_match(left, right):
        assert token_f1(left, right) == 1
        assert numeric_match(left, right) == 1


@pytest.mark.parametrize(
    ("prediction", "f1"),
    [
        pytest.param("red green", 1.0, id="same-words"),
        pytest.param("green red", 1.0, id="order-aside"),
        pytest.param("red", 2 / 3, id="one-of-two"),
        pytest.param("red red red red", 2 / 6, id="repeating-does-not-pay"),
        pytest.param("blue", 0.0, id="none"),
        pytest.param("", 0.0, id="empty"),
    ],
)
def test_f1_is_precision_and_recall_of_words(prediction: str, f1: float) -> None:
    assert token_f1(prediction, "red green") == pytest.approx(f1)


@pytest.mark.parametrize(
    ("prediction", "reference", "matches"),
    [
        pytest.param("1,000.0", "1000", True, id="however-written"),
        pytest.param("$ 5", "5.", True, id="money"),
        pytest.param("12 %", "12", True, id="percent"),
        pytest.param("+.50", "0.5", True, id="bare-fraction"),
        pytest.param("-5", "5", False, id="sign"),
        pytest.param("5 apples", "5", False, id="not-only-a-number"),
        pytest.param("refund", "Refund!", True, id="no-number-at-all"),
        pytest.param("0.1", "0.10000000000000001", False, id="exact-not-floating"),
    ],
)
def test_numbers_match_by_their_value(prediction: str, reference: str, *, matches: bool) -> None:
    assert numeric_match(prediction, reference) == float(matches)
