import unicodedata
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synthkd.answers import (
    Number,
    are_equal,
    normalize_answer,
    read_number,
    read_whole_number,
)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (" Paris.\n", "paris"),
        ("**Paris**", "paris"),
        ("`__init__`", "init"),
        ("“New  York”;", "new york"),
        ("((A)).", "a"),
        ("(a)(b)", "(a)(b)"),
        ('"a" or "b"', '"a" or "b"'),
        ("[0, 1)", "[0, 1)"),
        ("-5", "-5"),
        (".5", ".5"),
        ("5!", "5!"),
        ("C++", "c++"),
        ("STRASSE", "strasse"),
        ("Straße", "strasse"),
        ("ﬁve", "five"),
        ("...", "..."),
        ("", ""),
    ],
)
def test_an_answer_is_its_words(text: str, words: str) -> None:
    assert normalize_answer(text) == words


def _is_plain(text: str) -> bool:
    return unicodedata.normalize("NFKC", text).isalnum()


@given(st.text())
def test_normalizing_twice_changes_nothing(text: str) -> None:
    assert normalize_answer(normalize_answer(text)) == normalize_answer(text)


@given(st.text(st.characters(categories=["L", "Nd"]), min_size=1).filter(_is_plain))
def test_wrapping_case_and_a_full_stop_change_nothing(text: str) -> None:
    for other in (f"  {text}\n", f"**{text}**.", f'"{text}"', f"({text})", f"{text}."):
        assert normalize_answer(other) == normalize_answer(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("42", "42"),
        ("It takes 3 men 12 days.", "12"),
        ("#### 1,234,567", "1234567"),
        ("so it costs $1,234.50.", "1234.50"),
        ("1'234.5 and 1\u2009234\u2009567", "1234567"),
        ("2\u00a0000", "2000"),
        ("10-20", "20"),
        ("x=-3", "-3"),
        ("x-3", "3"),
        ("5 - 3", "3"),
        ("\N{MINUS SIGN}7", "-7"),
        ("-$5", "-5"),
        ("$-5", "-5"),
        ("US$5", "5"),
        ("5€", "5"),
        (".5", "0.5"),
        ("about...5", "5"),
        ("3/4", "0.75"),
        ("-3/4", "-0.75"),
        ("1 1/2", "1.5"),
        ("1½", "1.5"),
        ("½ cup", "0.5"),
        (r"\frac{3}{4}", "0.75"),
        (r"-1\frac{1}{2}", "-1.5"),
        (r"1{,}234", "1234"),
        ("2e-3", "0.002"),
        ("1.5 \N{MULTIPLICATION SIGN} 10^3", "1500"),
        (r"1.5 \times 10^{-3}", "0.0015"),
        ("50 %", "50"),
        (r"50\%", "50"),
        ("(3, 5)", "5"),
        ("12/05/2024", "12"),
        ("7/0", "7"),
        ("12km", "12"),
        ("٣", "3"),
    ],
)
def test_the_last_number_is_read(text: str, value: str) -> None:
    number = read_number(text)

    assert number is not None
    assert number.value == Decimal(value)
    assert number.is_percent == ("%" in text)


@pytest.mark.parametrize(
    "text", ["", "none", "GPT4", "B2B", "v1.2.3", "²", "1e99999999999999999999"]
)
def test_what_is_no_number_is_not_read(text: str) -> None:
    assert read_number(text) is None


def test_a_decimal_comma_is_read_where_it_is_asked_for() -> None:
    assert read_number("Es kostet 1.234,50 €.", ",") == Number(Decimal("1234.50"), is_percent=False)
    assert read_number("3,5 Liter", ",") == Number(Decimal("3.5"), is_percent=False)
    assert read_number("1.234", ",") == Number(Decimal(1234), is_percent=False)


@pytest.mark.parametrize("text", ["42", " **42**. ", "$1,000", "50%", "(-3/4)", "1½", "2\u202f000"])
def test_a_text_that_is_a_number_is_read_whole(text: str) -> None:
    assert read_whole_number(text) == read_number(text)


@pytest.mark.parametrize("text", ["room 42", "42 apples", "1, 2", "3-4", "", "12/05/2024"])
def test_a_text_that_holds_a_number_is_not_one(text: str) -> None:
    assert read_whole_number(text) is None


@given(
    st.decimals(
        allow_nan=False, allow_infinity=False, places=4, min_value=-(10**9), max_value=10**9
    )
)
def test_every_way_of_writing_a_number_is_that_number(value: Decimal) -> None:
    for text in (
        f"{value}",
        f"{value:,}",
        f"the answer is {value:,}.",
        f"{value:e}",
        f"**{value}**",
    ):
        assert read_number(text) == Number(value, is_percent=False), text


numbers = st.builds(
    Number,
    st.decimals(allow_nan=False, allow_infinity=False, places=3, min_value=-9, max_value=9),
    st.booleans(),
)


@given(numbers, numbers, st.floats(0, 10), st.floats(0, 10))
def test_equality_is_symmetric_and_grows_with_the_tolerance(
    left: Number, right: Number, tolerance: float, more: float
) -> None:
    assert are_equal(left, left)
    assert are_equal(left, right, tolerance) == are_equal(right, left, tolerance)
    assert are_equal(left, right, tolerance + more) >= are_equal(left, right, tolerance)


@pytest.mark.parametrize(
    ("left", "right", "tolerance", "equal"),
    [
        ("50%", "50", 0, True),
        ("50%", "0.5", 0, True),
        ("50%", "0.5%", 0, False),
        ("50", "0.5", 0, False),
        ("1.01", "1.00", 0.01, True),
        ("1.3", "1.0", 0.3, True),
        ("1.02", "1.00", 0.01, False),
        ("2/6", "1/3", 0, True),
        ("0.333", "1/3", 0.001, True),
        ("9007199254740993", "9007199254740992", 0, False),
        ("1e400000", "1", 0.1, False),
        ("1e999999999", "1e-999999999", 0.1, False),
        ("-0", "0", 0, True),
    ],
)
def test_two_numbers_are_equal_or_not(left: str, right: str, tolerance: float, equal: bool) -> None:
    first, second = read_number(left), read_number(right)

    assert first is not None
    assert second is not None
    assert are_equal(first, second, tolerance) == equal
