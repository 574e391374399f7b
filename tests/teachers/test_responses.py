import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest

from synthkd.errors import ConfigError
from synthkd.records import Completion, Message
from synthkd.teachers import MalformedAnswerError, TeacherOptions
from synthkd.teachers.base import AttemptError
from synthkd.teachers.openai import OpenAITeacher
from synthkd.teachers.responses import parse
from tests.teachers.asking import HELLO, ask, put
from tests.teachers.loopback import Loopback, Reply, response


def options(loopback: Loopback, **given: Any) -> TeacherOptions:
    base = {"model": "openai/m", "base_url": f"{loopback.url}/v1", "api": "responses"}
    return TeacherOptions(**{**base, **given})


def parse_json(answer: Any) -> Completion:
    return parse(json.dumps(answer).encode())


def says(*parts: Any, **fields: Any) -> Any:
    return {"type": "message", "role": "assistant", "content": list(parts), **fields}


def text(words: str, **fields: Any) -> Any:
    return {"type": "output_text", "text": words, **fields}


def test_a_question_takes_the_form_of_the_api(loopback: Loopback) -> None:
    conversation = [
        Message("system", "Be brief."),
        Message("user", "Hi."),
        Message("assistant", "Hi!"),
        Message("user", "Well?"),
    ]
    parameters = {
        "max_tokens": 20,
        "reasoning_effort": "low",
        "reasoning": {"summary": "auto"},
        "include": ["reasoning.encrypted_content"],
        "temperature": 0.5,
    }

    ask(options(loopback, parameters=parameters, logprobs=5), conversation)

    (asked,) = loopback.requests
    assert asked.path == "/v1/responses"
    assert asked.body == {
        "model": "m",
        "instructions": "Be brief.",
        "input": [
            {"role": "user", "content": "Hi."},
            {"role": "assistant", "content": "Hi!"},
            {"role": "user", "content": "Well?"},
        ],
        "store": False,
        "stream": False,
        "max_output_tokens": 20,
        "reasoning": {"effort": "low", "summary": "auto"},
        "include": ["reasoning.encrypted_content", "message.output_text.logprobs"],
        "top_logprobs": 5,
        "temperature": 0.5,
    }


def test_a_lone_instruction_is_the_question(loopback: Loopback) -> None:
    ask(options(loopback, parameters={"store": True}), [Message("system", "Say a colour.")])

    (asked,) = loopback.requests
    assert asked.body["input"] == [{"role": "system", "content": "Say a colour."}]
    assert "instructions" not in asked.body
    assert asked.body["store"] is True


def test_a_schema_and_tools_are_sent_with_the_request(loopback: Loopback) -> None:
    brief = options(loopback, parameters={"text": {"verbosity": "low"}})
    teacher = OpenAITeacher.connect(brief)
    schema, tools = {"type": "object"}, [{"type": "function", "name": "f"}]

    put(teacher, replace(brief.request(teacher, HELLO), schema=schema, tools=tools))

    (asked,) = loopback.requests
    form = {"type": "json_schema", "name": "answer", "schema": schema, "strict": True}
    assert asked.body["text"] == {"verbosity": "low", "format": form}
    assert asked.body["tools"] == tools


def test_what_the_api_has_not_is_told_before_anything_is_sent() -> None:
    names = ("n", "seed", "stop", "logit_bias", "stream", "previous_response_id")
    wrong = TeacherOptions(
        model="openai/gpt-x",
        base_url="http://127.0.0.1:1/v1",
        api="responses",
        share_prompt=True,
        parameters=dict.fromkeys(names, 1),
    )

    with pytest.raises(ConfigError) as caught:
        wrong.connect()

    assert len(caught.value.mistakes) == 7
    for word in (*names, "share_prompt", "api: chat"):
        assert word in str(caught.value)


def test_its_answers_have_a_parser_of_their_own(loopback: Loopback) -> None:
    assert options(loopback).connect().provider == "openai-responses"
    assert options(loopback, api="chat").connect().provider == "openai"


def test_a_completion_is_read_with_its_tokens_and_its_thoughts() -> None:
    summary = [
        {"type": "summary_text", "text": "First."},
        {"type": "summary_text", "text": "Then."},
    ]
    answer = response(
        {"type": "reasoning", "id": "rs_1", "summary": summary, "encrypted_content": "x"},
        says(text("Let me see."), phase="commentary"),
        says(text("It is "), text("4."), phase="final_answer"),
    )
    answer["usage"] |= {
        "input_tokens_details": {"cached_tokens": 5, "cache_write_tokens": 1},
        "output_tokens_details": {"reasoning_tokens": 2},
    }

    completion = parse_json(answer)

    assert (completion.text, completion.thinking) == ("It is 4.", "First.\n\nThen.")
    assert completion.finish_reason == "stop"
    assert (completion.prompt_tokens, completion.completion_tokens) == (7, 3)
    assert (completion.cached_tokens, completion.cache_write_tokens) == (5, 1)
    assert completion.reasoning_tokens == 2


def test_thoughts_themselves_are_better_than_their_summary() -> None:
    thought = {
        "type": "reasoning",
        "content": [{"type": "reasoning_text", "text": "2 + 2"}],
        "summary": [{"type": "summary_text", "text": "A sum."}],
    }

    assert parse_json(response(thought, says(text("4")))).thinking == "2 + 2"


@pytest.mark.parametrize(
    ("answer", "words", "finish_reason"),
    [
        pytest.param(
            response(
                says(text("It is")),
                status="incomplete",
                incomplete_details={"reason": "max_output_tokens"},
            ),
            "It is",
            "length",
            id="cut",
        ),
        pytest.param(
            response(
                {"type": "reasoning", "summary": []},
                status="incomplete",
                incomplete_details={"reason": "max_output_tokens"},
            ),
            "",
            "length",
            id="cut-in-thought",
        ),
        pytest.param(
            response(
                says(text("")), status="incomplete", incomplete_details={"reason": "content_filter"}
            ),
            "",
            "content_filter",
            id="filtered",
        ),
        pytest.param(
            response(says(text("So")), status="incomplete", incomplete_details=None),
            "So",
            "incomplete",
            id="cut-for-no-reason",
        ),
        pytest.param(
            response(says({"type": "refusal", "refusal": "I will not."})),
            "I will not.",
            "refusal",
            id="refused",
        ),
        pytest.param(
            response({"type": "function_call", "name": "f"}), "", "tool_calls", id="only-tools"
        ),
    ],
)
def test_an_answer_says_how_it_ended(answer: Any, words: str, finish_reason: str) -> None:
    completion = parse_json(answer)

    assert (completion.text, completion.finish_reason) == (words, finish_reason)


def test_logprobs_are_read_with_the_text() -> None:
    top = [{"token": "4", "logprob": -0.1, "bytes": [52]}, {"token": "5", "logprob": -3.0}]
    entry = {"token": "4", "logprob": -0.1, "bytes": [52], "top_logprobs": top}

    logprobs = parse_json(response(says(text("4", logprobs=[entry])))).logprobs

    assert logprobs is not None
    assert logprobs.positions[0].sampled.logprob == -0.1
    read = {logprobs.tokens[a.token_id] for a in logprobs.positions[0].top}
    assert read == {b"4", b"5"}


@pytest.mark.parametrize("given", [None, [], [{"token": "4"}], ["4"]])
def test_broken_logprobs_do_not_cost_the_text(given: Any) -> None:
    completion = parse_json(response(says(text("4", logprobs=given))))

    assert (completion.text, completion.logprobs) == ("4", None)


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"[]", id="no-object"),
        pytest.param(b'{"output": null}', id="null-output"),
        pytest.param(b'{"output": [{"type": "message", "content": [{}]}]}', id="no-part"),
        pytest.param(b'{"choices": []}', id="a-chat-completion"),
        pytest.param(
            json.dumps(response(status="failed", error={"message": "boom"})).encode(), id="failed"
        ),
    ],
)
def test_what_is_no_response_is_told(body: bytes) -> None:
    with pytest.raises(MalformedAnswerError, match="not a response"):
        parse(body)


def test_samples_are_requests_of_their_own(loopback: Loopback) -> None:
    asked_for = options(loopback)
    teacher = OpenAITeacher.connect(asked_for)
    requests = [asked_for.request(teacher, HELLO, index) for index in range(2)]

    with pytest.raises(ValueError, match="too many values"):
        asyncio.run(teacher.ask(requests))

    assert loopback.requests == []


def test_an_answer_of_another_kind_is_asked_for_again(loopback: Loopback) -> None:
    loopback.script(Reply.of({"choices": []}))

    with pytest.raises(AttemptError, match="no answer") as caught:
        ask(options(loopback))

    assert caught.value.is_retryable
