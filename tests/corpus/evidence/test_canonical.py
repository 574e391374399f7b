"""What is hashed has one text, and it is RFC 8785's."""

import json

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from synthkd.corpus.evidence.canonical import (
    LARGEST,
    canonical_bytes,
    plain,
    seal,
    tagged_hash,
    unseal,
)

TEXTS = st.text(st.characters(codec="utf-8"))
NAMES = st.text(st.characters(codec="ascii"))
VALUES = st.recursive(
    TEXTS | st.integers(-LARGEST, LARGEST),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=20,
)


@given(VALUES)
def test_it_is_written_as_rfc_8785_says(value: object) -> None:
    assert canonical_bytes(value) == rfc8785.dumps(value)


@pytest.mark.parametrize("text", ["\x00\x1f\x7f", '\b\t\n\f\r"\\/', "\u2028\ue000\U0001f600", "é"])
def test_what_other_writers_escape_is_written_as_rfc_8785_says(text: str) -> None:
    assert canonical_bytes({"text": text}) == rfc8785.dumps({"text": text})


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (0.5, "neither a string nor a whole number"),
        (None, "neither a string nor a whole number"),
        (True, "neither a string nor a whole number"),
        (2**53, "within 2\\^53"),
        ({"é": "sorts otherwise in UTF-16"}, "not ASCII"),
        ({1: "no name"}, "not ASCII"),
        ("\ud800", "surrogates not allowed"),
    ],
)
def test_what_has_more_than_one_text_is_refused(value: object, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        canonical_bytes([value])


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4),
        max_leaves=20,
    )
)
def test_anything_made_plain_can_be_hashed(value: object) -> None:
    once = plain(value)

    assert canonical_bytes(once) == rfc8785.dumps(once)
    assert plain(once) == once


def test_a_hash_of_one_kind_is_none_of_another() -> None:
    assert tagged_hash("synthkd.event.v1", b"x") != tagged_hash("synthkd.record.v1", b"x")


@given(st.dictionaries(NAMES.filter(lambda name: name != "sha256"), VALUES, max_size=4))
def test_what_was_sealed_comes_back(value: dict[str, object]) -> None:
    assert unseal(seal(value)) == value


@given(st.data())
def test_a_flipped_byte_in_a_sealed_line_is_found(data: st.DataObject) -> None:
    line = seal({"name": "tickets", "places": [1, 2, {"text": "naïve \U0001f600"}]}).encode()
    at = data.draw(st.integers(0, len(line) - 1))
    mask = data.draw(st.integers(1, 255))

    with pytest.raises(ValueError, match=r"it is|it does"):
        unseal(line[:at] + bytes([line[at] ^ mask]) + line[at + 1 :])


def test_a_sealed_line_written_otherwise_is_not_what_was_written() -> None:
    spaced = json.dumps(json.loads(seal({"b": 1, "a": 2})))

    with pytest.raises(ValueError, match="not what was written"):
        unseal(spaced)
