"""What a completion shares with a source, beside a count that tries everything."""

import time
import unicodedata
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synthkd.records import SPANS
from synthkd.rights import overlap
from synthkd.rights.folding import SHORTEST, fold, fold_row
from synthkd.rights.overlap import NONE, Overlap, band, compare

SENTENCE = "the return of a lamp that came broken is paid for by us, always"
FEW = st.sampled_from(["a", "ab", "abc", "ab \n", "aé漢"])
MILLION = 1_000_000


def count_naively(completion: str, source: str) -> Overlap:
    """Compare every place of one text with every place of the other."""
    longest, covered = 0, [False] * len(completion)
    before = [0] * (len(source) + 1)
    for end, letter in enumerate(completion, start=1):
        now = [0] * (len(source) + 1)
        for place, other in enumerate(source):
            if letter == other:
                length = now[place + 1] = before[place] + 1
                if length >= SHORTEST:
                    longest = max(longest, length)
                    covered[end - length : end] = [True] * length
        before = now
    return Overlap(longest, sum(covered) * MILLION // len(completion)) if longest else NONE


def compare_one(completion: str, source: str) -> Overlap:
    """Compare one pair."""
    return compare([(completion, source)]).get(0, NONE)


@st.composite
def pairs(draw: st.DrawFn) -> tuple[str, str]:
    """A source of few letters, and a completion that takes passages of it: the worst there is."""
    letters = st.text(draw(FEW), max_size=90)
    source = draw(letters)
    parts = []
    for own in draw(st.lists(st.text("abz", max_size=8), max_size=5)):
        start = draw(st.integers(0, len(source)))
        parts += [own, source[start : start + draw(st.integers(0, 70))]]
    return "".join(parts) + draw(st.text("ab", max_size=50)), source


@given(pairs())
@settings(max_examples=300)
def test_every_passage_of_32_characters_is_found(both: tuple[str, str]) -> None:
    completion, source = both

    assert compare_one(completion, source) == count_naively(completion, source)


@given(st.lists(pairs(), max_size=6))
def test_a_page_of_pairs_shares_what_each_of_them_does(page: list[tuple[str, str]]) -> None:
    with patch.object(overlap, "_AT_ONCE", 200):
        found = compare(page)

    assert [found.get(place, NONE) for place in range(len(page))] == [
        count_naively(*both) for both in page
    ]


@given(pairs())
@settings(max_examples=300)
def test_hashes_find_what_a_search_finds(both: tuple[str, str]) -> None:
    completion, source = both
    if min(len(completion), len(source)) >= SHORTEST:
        assert overlap._count_by_hashes(completion, source) == count_naively(completion, source)


@given(pairs())
def test_case_white_space_and_composition_are_no_difference(both: tuple[str, str]) -> None:
    completion, source = both
    spaced = unicodedata.normalize("NFD", completion.upper()).replace(" ", " \t\n")

    assert compare_one(fold(spaced), fold(source)) == compare_one(fold(completion), fold(source))


@given(st.text())
def test_folding_what_was_folded_changes_nothing_but_composition(text: str) -> None:
    assert fold(fold(text)) == fold(unicodedata.normalize("NFC", fold(text)))
    assert "\n" not in fold(text)


def test_31_characters_are_nobodys_expression() -> None:
    words = "abcdefghijklmnopqrstuvwxyzABCDEFGH"

    assert compare_one(f"..{words[:31]}..", f"--{words[:31]}--") == NONE
    assert compare_one(f"..{words[:32]}..", f"--{words[:32]}--") == Overlap(32, 888_888)


def test_a_passage_that_is_taken_twice_is_covered_twice_and_as_long_as_once() -> None:
    taken = compare_one(f"{SENTENCE} / {SENTENCE}", SENTENCE)

    assert taken.max_span == len(SENTENCE)
    assert taken.containment_ppm == 2 * len(SENTENCE) * MILLION // (2 * len(SENTENCE) + 3)


def test_no_passage_goes_on_from_one_field_to_the_next() -> None:
    row = {"id": "7", "head": SENTENCE, "body": [{"text": SENTENCE.upper()}], "n": None}

    assert fold_row(row) == f"{SENTENCE}\n{SENTENCE}"
    assert compare_one(SENTENCE + SENTENCE, fold_row(row)).max_span == len(SENTENCE)
    assert fold_row(row, SENTENCE) == SENTENCE


@given(st.integers(0, 5000))
def test_a_band_is_the_longest_that_is_not_longer(span: int) -> None:
    assert band(span) == max(each for each in SPANS if each <= span)


@pytest.mark.parametrize(
    ("completion", "source"),
    [
        pytest.param("a" * MILLION, "a" * MILLION, id="one-letter"),
        pytest.param("a" * MILLION, "a" * 1000, id="one-letter-in-little"),
        pytest.param("ab" * 500_000, "ba" * 400_000, id="two-letters"),
        pytest.param("a" * 4000, "a" * 2000, id="every-place-is-another-passage"),
        pytest.param(SENTENCE, "x" * MILLION, id="a-long-source"),
    ],
)
def test_hostile_texts_take_a_bounded_time(completion: str, source: str) -> None:
    began = time.process_time()
    found = compare_one(completion, source)

    assert time.process_time() - began < 20  # a second or two here; naively, hours
    shared = min(len(completion), len(source)) if completion[0] in source else 0
    assert found.max_span in {shared, shared - 1}
