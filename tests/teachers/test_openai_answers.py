import json
from typing import Any

import pytest

from synthkd.records import Completion
from synthkd.teachers import MalformedAnswerError
from synthkd.teachers.chat import parse
from tests.teachers.loopback import chat


def parse_json(answer: Any) -> Completion:
    return parse(json.dumps(answer).encode())


def test_a_completion_is_read_with_its_tokens() -> None:
    completion = parse_json(chat("Blue.", finish_reason="length"))

    assert (completion.text, completion.finish_reason) == ("Blue.", "length")
    assert (completion.prompt_tokens, completion.completion_tokens) == (7, 3)
    assert (completion.thinking, completion.logprobs) == (None, None)


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
def test_reasoning_is_kept_apart_from_the_text(field: str) -> None:
    completion = parse_json(chat("4", **{field: "2 + 2"}))

    assert (completion.text, completion.thinking) == ("4", "2 + 2")


@pytest.mark.parametrize(
    ("answer", "text", "finish_reason"),
    [
        pytest.param(
            chat(None, refusal="I will not."), "I will not.", "refusal", id="a-refusal-is-a-text"
        ),
        pytest.param(
            chat(None, finish_reason="tool_calls", tool_calls=[{"id": "1"}]),
            "",
            "tool_calls",
            id="only-tools",
        ),
        pytest.param(
            chat(None, finish_reason="length", reasoning="hmm"), "", "length", id="cut-in-thought"
        ),
        pytest.param(
            chat(None, finish_reason="content_filter"), "", "content_filter", id="filtered"
        ),
        pytest.param(chat(""), "", "stop", id="empty"),
    ],
)
def test_an_answer_without_content_may_still_be_one(
    answer: Any, text: str, finish_reason: str
) -> None:
    completion = parse_json(answer)

    assert (completion.text, completion.finish_reason) == (text, finish_reason)


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"[]", id="no-object"),
        pytest.param(b'{"choices": []}', id="no-choice"),
        pytest.param(b'{"choices": null}', id="null-choices"),
        pytest.param(b'{"choices": [{"message": null}]}', id="no-message"),
        pytest.param(json.dumps(chat(None)).encode(), id="no-content"),
        pytest.param(json.dumps(chat(["part"])).encode(), id="content-is-no-text"),  # type: ignore[arg-type]
        pytest.param(b'{"choices": [{"mess', id="cut"),
        pytest.param(b"\xff\xfe\xfd", id="no-text"),
    ],
)
def test_what_is_no_chat_completion_is_told(body: bytes) -> None:
    with pytest.raises(MalformedAnswerError, match="not a chat completion"):
        parse(body)


def test_logprobs_are_read_with_the_text() -> None:
    answer = chat("4")
    listed = [{"token": "4", "logprob": -0.1}, {"token": "5", "logprob": -3.0}]
    answer["choices"][0]["logprobs"] = {
        "content": [{"token": "4", "logprob": -0.1, "bytes": [52], "top_logprobs": listed}]
    }

    logprobs = parse_json(answer).logprobs

    assert logprobs is not None
    assert logprobs.positions[0].sampled.logprob == -0.1
    top = [logprobs.tokens[a.token_id] for a in logprobs.positions[0].top]
    assert top == [b"4", b"5"]


@pytest.mark.parametrize("given", [None, {}, {"content": None}, {"content": []}])
def test_a_server_that_ignores_logprobs_gives_a_completion_without(given: Any) -> None:
    answer = chat("4")
    answer["choices"][0]["logprobs"] = given

    assert parse_json(answer).logprobs is None
