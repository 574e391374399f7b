import json
from dataclasses import replace
from typing import Any

import pytest

from synthkd.errors import ConfigError
from synthkd.records import Message
from synthkd.teachers import MalformedAnswerError, TeacherOptions
from synthkd.teachers.anthropic import AnthropicTeacher, parse
from synthkd.teachers.base import AttemptError
from tests.teachers.asking import HELLO, ask, put
from tests.teachers.loopback import Loopback, Reply, message

SECRET = "sk-ant-that-nobody-may-see"  # noqa: S105  opens nothing


@pytest.fixture(autouse=True)
def _no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_BASE_URL"):
        monkeypatch.delenv(name, raising=False)


def options(loopback: Loopback, **given: Any) -> TeacherOptions:
    return TeacherOptions(**{"model": "anthropic/m", "base_url": loopback.url, **given})


def parse_json(answer: Any) -> Any:
    return parse(json.dumps(answer).encode())


def test_an_answer_comes_back_to_the_byte(loopback: Loopback) -> None:
    body = b'{ "content": [ {"type": "text", "text": "\xc3\xa9"} ],  "unknown": 1.50 }\n'
    loopback.script(Reply(body))

    assert ask(options(loopback)) == body


def test_system_messages_go_where_the_protocol_wants_them(loopback: Loopback) -> None:
    conversation = [
        Message("system", "Be brief."),
        Message("user", "Hi."),
        Message("assistant", "Hi!"),
        Message("user", "Well?"),
        Message("system", "Be kind."),
    ]

    ask(options(loopback, parameters={"thinking": {"type": "adaptive"}}), conversation)

    (asked,) = loopback.requests
    assert asked.path == "/v1/messages"
    assert asked.body == {
        "model": "m",
        "max_tokens": 1024,
        "system": "Be brief.\n\nBe kind.",
        "messages": [
            {"role": "user", "content": "Hi."},
            {"role": "assistant", "content": "Hi!"},
            {"role": "user", "content": "Well?"},
        ],
        "thinking": {"type": "adaptive"},
    }


def test_a_longer_answer_can_be_asked_for_than_the_sdk_would_wait_for(loopback: Loopback) -> None:
    ask(options(loopback, parameters={"max_tokens": 64_000}))

    assert loopback.requests[0].body["max_tokens"] == 64_000


def test_the_longest_answer_is_part_of_the_request_even_if_nobody_says_it(
    loopback: Loopback,
) -> None:
    unsaid, said = options(loopback), options(loopback, parameters={"max_tokens": 1024})

    keys = {each.request(each.connect(), HELLO).key for each in (unsaid, said)}

    assert len(keys) == 1
    assert options(loopback).connect().defaults == {"max_tokens": 1024}


def remembered(text: str, lifetime: str = "5m") -> Any:
    control = {"type": "ephemeral", "ttl": lifetime}
    return [{"type": "text", "text": text, "cache_control": control}]


FEW_SHOT = [Message("user", "1?"), Message("assistant", "One."), Message("user", "2?")]


@pytest.mark.parametrize(
    ("conversation", "system", "contents"),
    [
        pytest.param(
            [Message("system", "Count."), *FEW_SHOT],
            remembered("Count."),
            ["1?", remembered("One."), "2?"],
            id="what-comes-before-the-last-turn",
        ),
        pytest.param(
            [*FEW_SHOT, Message("assistant", "Tw")],
            None,
            ["1?", remembered("One."), "2?", "Tw"],
            id="a-begun-answer-is-of-the-last-turn",
        ),
        pytest.param(
            [Message("system", "Count."), Message("user", "2?")],
            remembered("Count."),
            ["2?"],
            id="the-system-prompt-alone",
        ),
        pytest.param(
            [Message("user", "1?"), Message("assistant", ""), Message("user", "2?")],
            None,
            ["1?", "", "2?"],
            id="nothing-is-not-remembered",
        ),
        pytest.param([Message("user", "2?")], None, ["2?"], id="nothing-is-shared"),
    ],
)
def test_what_prompts_share_is_remembered_when_asked_for(
    loopback: Loopback, conversation: list[Message], system: Any, contents: list[Any]
) -> None:
    ask(options(loopback, prompt_caching="5m"), conversation)

    (asked,) = loopback.requests
    assert asked.body.get("system") == system
    assert [turn["content"] for turn in asked.body["messages"]] == contents


def test_remembering_is_no_other_request(loopback: Loopback) -> None:
    keys = set()
    for lifetime in (None, "5m", "1h"):
        each = options(loopback, prompt_caching=lifetime)
        keys.add(each.request(each.connect(), HELLO).key)

    assert len(keys) == 1


@pytest.mark.parametrize("given", [{"api": "responses"}, {"share_prompt": True}])
def test_options_of_another_protocol_are_refused(loopback: Loopback, given: Any) -> None:
    with pytest.raises(ConfigError, match="OpenAI's protocol; drop it"):
        options(loopback, **given).connect()


def test_what_openai_remembers_is_not_for_us_to_say(loopback: Loopback) -> None:
    wrong = TeacherOptions(model="openai/m", base_url=loopback.url, prompt_caching="5m")

    with pytest.raises(ConfigError, match="caches by itself"):
        wrong.connect()


def test_a_schema_and_tools_are_sent_with_the_request(loopback: Loopback) -> None:
    low = options(loopback, parameters={"output_config": {"effort": "low"}})
    teacher = AnthropicTeacher.connect(low)
    schema, tools = {"type": "object"}, [{"name": "f", "input_schema": {"type": "object"}}]

    put(teacher, replace(low.request(teacher, HELLO), schema=schema, tools=tools))

    (asked,) = loopback.requests
    assert asked.body["output_config"] == {
        "effort": "low",
        "format": {"type": "json_schema", "schema": schema},
    }
    assert asked.body["tools"] == tools


@pytest.mark.parametrize("name", ["temperature", "top_p", "top_k"])
def test_sampling_parameters_are_refused_with_both_ways_out(loopback: Loopback, name: str) -> None:
    with pytest.raises(ConfigError, match=rf"{name}.*drop it.*anthropic_version: '2023-06-01'"):
        options(loopback, parameters={name: 1}).connect()


def test_an_older_version_of_the_api_takes_sampling_parameters(loopback: Loopback) -> None:
    ask(options(loopback, parameters={"temperature": 0.3, "anthropic_version": "2023-06-01"}))

    (asked,) = loopback.requests
    assert asked.headers["anthropic-version"] == "2023-06-01"
    assert asked.body["temperature"] == 0.3
    assert "anthropic_version" not in asked.body


def test_every_mistake_is_told_at_once_before_anything_is_sent() -> None:
    wrong = TeacherOptions(
        model="anthropic/m",
        base_url="https://api.anthropic.com/v1",
        logprobs=5,
        parameters={"max_tokens": 0, "system": "Hi", "temperature": 1},
    )

    with pytest.raises(ConfigError) as caught:
        wrong.connect()

    assert len(caught.value.mistakes) == 6
    for word in ("ANTHROPIC_API_KEY", "/v1", "gives none", "1 or more", "prompt", "drop it"):
        assert word in str(caught.value)


def test_the_key_goes_only_into_the_header(
    loopback: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", SECRET)
    loopback.script(Reply.fault(401, "authentication_error", f"no such key: {SECRET}"))

    with pytest.raises(AttemptError, match="ANTHROPIC_API_KEY") as caught:
        ask(options(loopback))

    (asked,) = loopback.requests
    assert SECRET in asked.headers["authorization"]
    assert SECRET not in str(caught.value) + caught.value.body.decode()
    assert caught.value.is_fatal


def test_without_a_base_url_anthropic_itself_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", SECRET)
    monkeypatch.setenv("ANTHROPIC_BASE_URL", "http://elsewhere")

    teacher = TeacherOptions(model="anthropic/claude-x").connect()

    assert (teacher.endpoint, teacher.host) == ("https://api.anthropic.com", "api.anthropic.com")
    assert (teacher.provider, teacher.model, teacher.batch_size) == ("anthropic", "claude-x", 1)


def spent(code: str) -> Reply:
    error = {"type": "rate_limit_error", "message": "no", "details": {"error_code": code}}
    return Reply.of({"type": "error", "error": error}, 429)


@pytest.mark.parametrize(
    ("reply", "is_retryable", "is_fatal"),
    [
        pytest.param(Reply.fault(529, "overloaded_error"), True, False, id="overloaded"),
        pytest.param(Reply.fault(429, "rate_limit_error"), True, False, id="rate-limit"),
        pytest.param(spent("ramp_limit_exceeded"), True, False, id="a-ramp-is-a-rate"),
        pytest.param(spent("contract_spend_limit_reached"), False, True, id="contract-limit"),
        pytest.param(spent("enforced_spend_limit_reached"), False, True, id="spend-limit"),
        pytest.param(
            Reply.fault(400, "invalid_request_error", "Your credit balance is too low to ask."),
            False,
            True,
            id="no-credit-is-a-400",
        ),
        pytest.param(Reply.fault(400, "invalid_request_error"), False, False, id="bad-request"),
        pytest.param(Reply.fault(404, "not_found_error"), False, True, id="unknown-model"),
        pytest.param(Reply.fault(500, "api_error"), True, False, id="server-error"),
        pytest.param(Reply.html(), True, False, id="html"),
        pytest.param(Reply.cut(), True, False, id="connection-lost"),
    ],
)
def test_a_failure_says_whether_another_try_can_do_better(
    loopback: Loopback, reply: Reply, is_retryable: bool, is_fatal: bool
) -> None:
    loopback.script(reply)

    with pytest.raises(AttemptError) as caught:
        ask(options(loopback))

    assert (caught.value.is_retryable, caught.value.is_fatal) == (is_retryable, is_fatal)
    assert len(loopback.requests) == 1


def test_thinking_is_kept_apart_from_the_text() -> None:
    completion = parse_json(
        message(
            {"type": "thinking", "thinking": "2 + 2", "signature": "s"},
            {"type": "redacted_thinking", "data": "x"},
            {"type": "thinking", "thinking": " is 4", "signature": "s"},
            {"type": "text", "text": "It is "},
            {"type": "text", "text": "4."},
        )
    )

    assert (completion.text, completion.thinking) == ("It is 4.", "2 + 2 is 4")
    assert (completion.prompt_tokens, completion.completion_tokens) == (7, 3)


def test_tokens_of_the_cache_are_prompt_tokens_too() -> None:
    answer = message()
    answer["usage"] |= {"cache_creation_input_tokens": 10, "cache_read_input_tokens": 100}

    completion = parse_json(answer)

    assert completion.prompt_tokens == 117
    assert (completion.cached_tokens, completion.cache_write_tokens) == (100, 10)


@pytest.mark.parametrize(
    ("stop_reason", "finish_reason"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("refusal", "refusal"),
        ("pause_turn", "pause_turn"),
    ],
)
def test_finish_reasons_are_the_same_words_as_everywhere(
    stop_reason: str, finish_reason: str
) -> None:
    assert parse_json(message(stop_reason=stop_reason)).finish_reason == finish_reason


def test_a_message_without_text_is_still_an_answer() -> None:
    cut = message({"type": "thinking", "thinking": "hmm"}, stop_reason="max_tokens")

    completion = parse_json(cut)

    assert (completion.text, completion.finish_reason) == ("", "length")


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"null", id="no-object"),
        pytest.param(b'{"content": null}', id="null-content"),
        pytest.param(b'{"content": "text"}', id="content-is-a-string"),
        pytest.param(Reply.fault(200).body, id="an-error"),
    ],
)
def test_what_is_no_message_is_told(body: bytes) -> None:
    with pytest.raises(MalformedAnswerError, match="not a message"):
        parse(body)
