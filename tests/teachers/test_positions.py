import json
import math
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from synthkd.corpus.logprobs import FLOOR
from synthkd.records import Position, TokenLogprobs
from synthkd.teachers import positions
from synthkd.teachers.positions import Entry, loosen, read_positions


def entry(token: str, p: float, *listed: dict[str, Any], **more: Any) -> dict[str, Any]:
    """An entry as servers write it, of a token with probability `p`."""
    given = {"token": token, "logprob": math.log(p), "bytes": list(token.encode())}
    return {**given, "top_logprobs": list(listed), **more}


def read(*entries: dict[str, Any]) -> TokenLogprobs:
    """Return what both roads say of `entries`; only the loose one takes half a character."""
    logprobs = read_positions([loosen(entry) for entry in entries])
    assert logprobs is not None
    try:
        typed = msgspec.json.decode(json.dumps(entries), type=list[Entry])
    except msgspec.DecodeError:
        return logprobs
    assert read_positions(typed) == logprobs
    return logprobs


def candidates(logprobs: TokenLogprobs, index: int = 0) -> list[tuple[bytes, float]]:
    """What is known of a position: (bytes, probability), most probable first."""
    top = logprobs.positions[index].top
    return [(logprobs.tokens[a.token_id], round(math.exp(a.logprob), 6)) for a in top]


def sampled(logprobs: TokenLogprobs, index: int = 0) -> bytes:
    return logprobs.tokens[logprobs.positions[index].sampled.token_id]


def test_alternatives_are_sorted_and_the_sampled_token_is_found_among_them() -> None:
    # As vLLM does it: the sampled token first, whatever its rank.
    logprobs = read(entry("b", 0.1, entry("b", 0.1), entry("a", 0.7), entry("c", 0.15)))

    assert candidates(logprobs) == [(b"a", 0.7), (b"c", 0.15), (b"b", 0.1)]
    assert sampled(logprobs) == b"b"
    assert logprobs.positions[0].rank == 2
    assert logprobs.positions[0].tail == pytest.approx(0.05)


def test_a_sampled_token_that_is_not_listed_joins_the_list() -> None:
    # As llama.cpp does it: a pure top-k.
    logprobs = read(entry("z", 0.01, entry("a", 0.7, id=1), entry("b", 0.2, id=2), id=3))

    assert candidates(logprobs) == [(b"a", 0.7), (b"b", 0.2), (b"z", 0.01)]
    assert sampled(logprobs) == b"z"


def test_tokens_of_one_text_are_one_candidate_with_the_mass_of_both() -> None:
    listed = [entry("\ufffd", 0.5), entry("a", 0.2), entry("\ufffd", 0.1)]

    logprobs = read(entry("\ufffd", 0.5, *listed))

    assert candidates(logprobs) == [("\ufffd".encode(), 0.6), (b"a", 0.2)]
    assert logprobs.positions[0].tail == pytest.approx(0.2)


def test_token_ids_tell_tokens_of_one_text_apart_where_the_server_gives_them() -> None:
    # The sampled token reads like a listed one and is another: its mass counts too.
    logprobs = read(entry("", 0.1, entry("", 0.6, id=1), entry("a", 0.2, id=2), id=3))

    assert candidates(logprobs) == [(b"", 0.7), (b"a", 0.2)]
    assert sampled(logprobs) == b""


def test_bytes_tell_tokens_apart_that_read_the_same() -> None:
    half, other = ({"token": "\ufffd", "logprob": math.log(0.4), "bytes": [b]} for b in (195, 196))

    logprobs = read({**half, "top_logprobs": [half, other]})

    assert [token for token, _ in candidates(logprobs)] == [b"\xc3", b"\xc4"]


@pytest.mark.parametrize(
    ("token", "expected"), [("é", b"\xc3\xa9"), ("\ud83d", b"\xed\xa0\xbd"), ("", b"")]
)
def test_a_server_without_bytes_has_its_tokens_read_as_utf8(token: str, expected: bytes) -> None:
    given = {"token": token, "logprob": -0.5, "bytes": None}

    assert sampled(read({**given, "top_logprobs": [given]})) == expected


def test_a_token_has_one_number_wherever_it_stands() -> None:
    logprobs = read(entry("b", 0.6, entry("a", 0.3)), entry("a", 0.9, entry("<|im_end|>", 0.1)))

    assert logprobs.vocabulary == ""
    assert candidates(logprobs, 1) == [(b"a", 0.9), (b"<|im_end|>", 0.1)]
    assert logprobs.positions[0].top[1].token_id == logprobs.positions[1].top[0].token_id


def test_numbers_begin_anew_before_a_server_fills_the_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(positions, "_MOST_STRINGS", 100)
    words = [f"word {number}" for number in range(300)]

    given = [read_positions([loosen(entry(word, 0.5))]) for word in words]

    assert [sampled(logprobs).decode() for logprobs in given] == words
    assert max(len(logprobs.tokens) for logprobs in given[100:]) <= 102


def test_candidates_no_blob_keeps_are_left_to_the_tail_and_the_sampled_one_is_not() -> None:
    logprobs = read(entry("z", 1e-6, entry("a", 0.9), entry("b", FLOOR / 2), entry("z", 1e-6)))

    assert candidates(logprobs) == [(b"a", 0.9), (b"z", 1e-6)]
    assert sampled(logprobs) == b"z"
    assert logprobs.positions[0].tail == pytest.approx(0.1 - 1e-6)


@pytest.mark.parametrize(
    ("token", "spelled"),
    [
        pytest.param("\u2581the", b" the", id="a-sentencepiece"),
        pytest.param("<0x0A>", b"\n", id="a-byte"),
        pytest.param("bytes:\\xe2\\x9c", b"\xe2\x9c", id="half-a-character"),
        pytest.param("", b"\xe2", id="nothing"),
    ],
)
def test_bytes_tell_what_a_text_does_not(token: str, spelled: bytes) -> None:
    given = {"token": token, "logprob": -0.5, "bytes": list(spelled)}

    assert sampled(read({**given, "top_logprobs": [given, entry("a", 0.1)]})) == spelled


@pytest.mark.parametrize("logprob", [-9999.0, -math.inf])
def test_hardly_ever_is_a_number_of_some_size(logprob: float) -> None:
    never = {"token": "z", "logprob": logprob, "bytes": [122]}

    (position,) = read({**never, "top_logprobs": [entry("a", 1.0)]}).positions

    assert position.sampled.logprob == -100
    assert position.tail == 0


def test_a_sampled_token_alone_leaves_the_rest_to_the_tail() -> None:
    (position,) = read(entry("a", 0.25)).positions

    assert len(position.top) == 1
    assert position.tail == pytest.approx(0.75)


_logprob = st.floats(-9999, 0.01, allow_nan=False)
_token = st.text(max_size=2)


@given(st.lists(st.tuples(_token, _logprob, st.lists(st.tuples(_token, _logprob))), min_size=1))
def test_whatever_a_server_gives_becomes_a_regular_position(
    given_entries: list[tuple[str, float, list[tuple[str, float]]]],
) -> None:
    def as_entry(token: str, logprob: float) -> dict[str, Any]:
        return {"token": token, "logprob": logprob, "bytes": None}

    logprobs = read(
        *(
            {**as_entry(token, logprob), "top_logprobs": [as_entry(*each) for each in listed]}
            for token, logprob, listed in given_entries
        )
    )

    for index, (position, (token, _, listed)) in enumerate(
        zip(logprobs.positions, given_entries, strict=True)
    ):
        assert_is_regular(position)
        assert sampled(logprobs, index) == token.encode("utf-8", "surrogatepass")
        likely = {each for each, logprob in listed if logprob >= math.log(FLOOR)}
        assert len(position.top) == len({token} | likely)


def assert_is_regular(position: Position) -> None:
    values = [a.logprob for a in position.top]
    ids = [a.token_id for a in position.top]
    assert values == sorted(values, reverse=True)
    assert len(set(ids)) == len(ids)
    assert all(-100 <= value <= 0 for value in values)
    assert 0 <= position.tail <= 1
