import json
import math
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from synthkd.corpus.logprobs import fold
from synthkd.corpus.positions import Positions
from synthkd.records import Completion, TokenLogprobs
from synthkd.teachers import MalformedAnswerError
from synthkd.teachers.chat import parse
from tests.teachers.loopback import chat
from tests.teachers.plain_reading import read_entries, read_token


def parse_json(answer: Any, choice: int = 0) -> Completion:
    return parse(json.dumps(answer).encode(), choice)


def with_logprobs(entries: Any, **fields: Any) -> Any:
    answer = chat("4", **fields)
    answer["choices"][0]["logprobs"] = {"content": entries}
    return answer


def several(*texts: str, usage: Any, tokens: tuple[int, ...] = ()) -> Any:
    """An answer with a choice for each of `texts`; `tokens` is how many logprobs each gives."""
    choices = [chat(text)["choices"][0] for text in texts]
    for choice, count in zip(choices, tokens, strict=False):
        choice["logprobs"] = {"content": [{"token": "a", "logprob": -0.1}] * count}
    return {"choices": choices, "usage": usage}


USAGE = {
    "prompt_tokens": 10,
    "completion_tokens": 7,
    "prompt_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 2},
    "completion_tokens_details": {"reasoning_tokens": 3},
}


def test_usage_is_read_to_its_details() -> None:
    read = parse_json({**chat("4"), "usage": USAGE})

    assert (read.prompt_tokens, read.completion_tokens) == (10, 7)
    assert (read.cached_tokens, read.cache_write_tokens, read.reasoning_tokens) == (4, 2, 3)


@pytest.mark.parametrize(
    "usage",
    [
        pytest.param(None, id="none"),
        pytest.param("7", id="no-object"),
        pytest.param({"prompt_tokens": "7", "completion_tokens": 1.5}, id="no-numbers"),
        pytest.param({"prompt_tokens_details": [1]}, id="no-details"),
        pytest.param({"prompt_tokens": -1, "completion_tokens": 2**63}, id="out-of-range"),
    ],
)
def test_a_usage_that_cannot_be_read_is_unknown_and_the_text_is_kept(usage: Any) -> None:
    read = parse_json({**chat("4"), "usage": usage})

    assert read == Completion("4", "stop")


def test_what_is_broken_beside_the_text_is_as_if_not_given() -> None:
    answer = chat("4", finish_reason=["stop"], reasoning={"steps": []})
    answer["choices"][0] |= {"logprobs": "none", "token_ids": ["19"]}

    assert parse_json({**answer, "usage": None}) == Completion("4", "unknown")


def test_choices_share_one_usage_and_lose_nothing_of_it() -> None:
    answer = several("a", "b", "c", usage=USAGE)

    read = [parse_json(answer, choice) for choice in range(3)]

    assert [each.text for each in read] == ["a", "b", "c"]
    assert [each.prompt_tokens for each in read] == [10, 0, 0]
    assert [each.cached_tokens for each in read] == [4, 0, 0]
    assert [each.completion_tokens for each in read] == [3, 2, 2]
    assert [each.reasoning_tokens for each in read] == [1, 1, 1]


@pytest.mark.parametrize(
    ("counts", "parts"),
    [
        pytest.param((1, 5, 1), [1, 5, 1], id="as-many-as-were-counted"),
        pytest.param((2, 2, 3), [2, 2, 3], id="the-last-has-most"),
        pytest.param((7, 7, 7), [3, 2, 2], id="llama.cpp-counts-one-choice"),
        pytest.param((7, 7), [3, 2, 2], id="one-has-none"),
    ],
)
def test_completion_tokens_are_parted_by_the_logprobs_given(
    counts: tuple[int, ...], parts: list[int]
) -> None:
    answer = several("a", "b", "c", usage=USAGE, tokens=counts)

    assert [parse_json(answer, choice).completion_tokens for choice in range(3)] == parts


def test_each_choice_has_its_own_logprobs() -> None:
    answer = several("a", "b", usage=USAGE, tokens=(2, 5))

    read = [parse_json(answer, choice).logprobs for choice in range(2)]

    assert [len(logprobs.positions) for logprobs in read if logprobs] == [2, 5]


@pytest.mark.parametrize("text", ["4", "\ud83d"])
def test_a_choice_that_is_not_there_is_no_answer(text: str) -> None:
    with pytest.raises(MalformedAnswerError, match="not a chat completion"):
        parse_json(several(text, text, usage=USAGE), 2)


def test_the_ids_a_server_returns_are_kept() -> None:
    answer = chat("4")
    answer["choices"][0]["token_ids"] = [19, 2]

    assert parse_json(answer).token_ids == (19, 2)


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(json.dumps({**chat("4"), "x": "\ud83d"}).encode(), id="half-a-character"),
        pytest.param(json.dumps({**chat("4"), "x": math.nan}).encode(), id="nan"),
        pytest.param(json.dumps({**chat("4"), "x": 10**400}).encode(), id="a-large-number"),
        pytest.param(b"\xef\xbb\xbf" + json.dumps(chat("4")).encode(), id="a-mark-of-byte-order"),
        pytest.param(json.dumps(chat("4")).encode("utf-16"), id="utf-16"),
    ],
)
def test_what_the_standard_parser_reads_is_read(body: bytes) -> None:
    assert parse(body).text == "4"


def test_half_a_character_in_the_text_is_kept() -> None:
    assert parse_json(chat("a\ud83d")).text == "a\ud83d"


@pytest.mark.parametrize("depth", [100_000])
def test_an_answer_that_is_too_deep_is_malformed(depth: int) -> None:
    with pytest.raises(MalformedAnswerError):
        parse(b'{"choices": ' + b"[" * depth)


@pytest.mark.parametrize(
    "entries",
    [
        pytest.param([], id="none"),
        pytest.param("a", id="no-list"),
        pytest.param([{"token": "a", "logprob": None}], id="no-number"),
        pytest.param([{"token": "a", "logprob": math.nan}], id="nan"),
        pytest.param([{"token": "a", "logprob": -(10**400)}], id="no-float"),
        pytest.param([{"logprob": -1.0}], id="no-token"),
        pytest.param([{"token": "é", "bytes": [300], "logprob": -1.0}], id="no-byte"),
        pytest.param(["a"], id="no-entry"),
        pytest.param([{"token": "a", "logprob": -0.5}, {"token": "a"}], id="one-of-two"),
        pytest.param(
            [
                {
                    "id": 1,
                    "token": "a",
                    "logprob": -0.5,
                    "top_logprobs": [{"token": "b", "logprob": -1}],
                }
            ],
            id="an-id-for-one-of-two",
        ),
    ],
)
def test_logprobs_that_cannot_be_read_leave_the_text_that_was_paid_for(entries: Any) -> None:
    read = parse_json(with_logprobs(entries))

    assert (read.text, read.logprobs) == ("4", None)


SPELLINGS = [
    "a", " the", "\n", "", "é", "é ", "你", "\ufffd", "▁the", "<0x0A>", "bytes:\\xe2", "<|im_end|>",
    '"', "\x00", "\ud83d", "\udc00",
]  # fmt: skip
BYTES = {"▁the": [b" the"], "<0x0A>": [b"\n"], "bytes:\\xe2": [b"\xe2"], "\ufffd": [b"\xc3", b""]}


@st.composite
def candidates(draw: st.DrawFn, has_bytes: bool, has_id: bool, has_halves: bool) -> Any:
    token = draw(st.sampled_from(SPELLINGS if has_halves else SPELLINGS[:-2]))
    # Nothing between what is kept and what is so improbable that its mass makes no difference.
    logprob = draw(st.floats(-9, 0.01) | st.floats(-40, -30) | st.sampled_from([-9999.0, -1, 0]))
    spelled = draw(st.sampled_from(BYTES.get(token, [token.encode("utf-8", "surrogatepass")])))
    given = {"token": token, "logprob": logprob}
    if has_bytes:
        given["bytes"] = draw(st.sampled_from([list(spelled), None]))
    # An id stands for one text and one spelling.
    return {**given, "id": hash((token, str(given.get("bytes"))))} if has_id else given


@st.composite
def contents(draw: st.DrawFn) -> list[Any]:
    kind = candidates(draw(st.booleans()), draw(st.booleans()), draw(st.booleans()))
    entries = draw(st.lists(kind, min_size=1, max_size=4))
    for entry in entries:
        entry["top_logprobs"] = draw(st.lists(kind, max_size=6) | st.none())
        if entry["top_logprobs"] and draw(st.booleans()):
            entry["top_logprobs"][0] = {k: v for k, v in entry.items() if k != "top_logprobs"}
        for listed in entry["top_logprobs"] or []:
            if read_token(listed) == read_token(entry):
                listed["logprob"] = entry["logprob"]  # no server says two things of one token
    return entries


def by_bytes(logprobs: TokenLogprobs) -> list[Any]:
    """What is said of each position, ready to be compared."""
    return [
        (
            logprobs.tokens[position.sampled.token_id],
            pytest.approx(position.tail, abs=1e-9),
            {logprobs.tokens[i]: pytest.approx(math.exp(n), abs=1e-9) for i, n in position.top},
        )
        for position in logprobs.positions
    ]


@settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow])
@given(contents())
def test_the_fast_reading_is_the_plain_one_but_for_what_no_blob_keeps(entries: list[Any]) -> None:
    plain = read_entries(entries)
    assert plain is not None
    plain = TokenLogprobs("", fold(Positions.of(plain.positions)), plain.tokens)

    read = parse_json(with_logprobs(entries)).logprobs

    assert read is not None
    assert by_bytes(read) == by_bytes(plain)


@pytest.mark.parametrize(
    ("told", "served"),
    [
        pytest.param(
            {"model": "m-2026", "provider": "Together"}, ("m-2026", "Together"), id="both"
        ),
        pytest.param({"model": None, "provider": None}, ("", ""), id="null"),
        pytest.param({"model": "m", "provider": {"name": "x"}}, ("m", ""), id="another-shape"),
        pytest.param({"model": 7}, ("", ""), id="a-number"),
    ],
)
@pytest.mark.parametrize("choice", [0, 1])
def test_an_answer_says_who_gave_it(told: Any, served: tuple[str, str], choice: int) -> None:
    read = parse_json({**several("a", "b", usage=None), **told}, choice)

    assert (read.served_model, read.served_by) == served
    assert read.text == "ab"[choice]
