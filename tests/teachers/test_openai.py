from dataclasses import replace
from typing import Any

import pytest

from synthkd.errors import ConfigError
from synthkd.records import Message
from synthkd.teachers import TeacherOptions
from synthkd.teachers.openai import OpenAITeacher
from tests.teachers.asking import HELLO, ask, put
from tests.teachers.loopback import Loopback, Reply

SECRET = "sk-a-key-that-nobody-may-see"  # noqa: S105  opens nothing


@pytest.fixture(autouse=True)
def _no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_ADMIN_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)


def options(loopback: Loopback, **given: Any) -> TeacherOptions:
    return TeacherOptions(**{"model": "openai/m", "base_url": f"{loopback.url}/v1", **given})


def test_an_answer_comes_back_to_the_byte(loopback: Loopback) -> None:
    body = b'{ "choices": [ {"message": {"content": "\xc3\xa9"}} ],  "unknown": 1.50 }\n'
    loopback.script(Reply(body))

    assert ask(options(loopback)) == body


def test_parameters_reach_the_server_as_they_are_written(loopback: Loopback) -> None:
    parameters = {"temperature": 0.7, "top_k": 5, "chat_template_kwargs": {"enable_thinking": True}}

    ask(
        options(loopback, parameters=parameters),
        [Message("system", "Be brief."), Message("user", "é?")],
    )

    (asked,) = loopback.requests
    assert asked.path == "/v1/chat/completions"
    assert asked.body == {
        "model": "m",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "é?"},
        ],
        **parameters,
    }


def test_logprobs_are_asked_for_as_the_protocol_calls_them(loopback: Loopback) -> None:
    ask(options(loopback, logprobs=7))

    (asked,) = loopback.requests
    assert asked.body["logprobs"] is True
    assert asked.body["top_logprobs"] == 7


@pytest.mark.parametrize(
    ("parameters", "sent"),
    [
        pytest.param({"seed": 40}, 42, id="a-seed-grows-by-the-sample-index"),
        pytest.param({}, None, id="none-is-invented"),
    ],
)
def test_samples_of_one_prompt_differ_by_their_seed(
    loopback: Loopback, parameters: dict[str, int], sent: int | None
) -> None:
    ask(options(loopback, parameters=parameters), sample_index=2)

    (asked,) = loopback.requests
    assert asked.body.get("seed") == sent


def test_a_schema_and_tools_are_sent_with_the_request(loopback: Loopback) -> None:
    teacher = OpenAITeacher.connect(options(loopback))
    schema, tools = {"type": "object"}, [{"type": "function", "function": {"name": "f"}}]
    plain = options(loopback).request(teacher, HELLO)

    put(teacher, replace(plain, schema=schema, tools=tools))

    (asked,) = loopback.requests
    assert asked.body["response_format"]["json_schema"]["schema"] == schema
    assert asked.body["tools"] == tools


def test_the_key_goes_only_into_the_header(
    loopback: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", f" {SECRET}\n")
    monkeypatch.setenv("OPENAI_ADMIN_KEY", "sk-admin")

    teacher = OpenAITeacher.connect(options(loopback))
    put(teacher, options(loopback).request(teacher, HELLO))

    (asked,) = loopback.requests
    assert asked.headers["authorization"] == f"Bearer {SECRET}"
    assert SECRET not in repr(teacher)


def test_a_server_of_ones_own_needs_no_key(loopback: Loopback) -> None:
    ask(options(loopback))

    assert loopback.requests[0].headers["authorization"] == "Bearer none"


@pytest.mark.parametrize(
    ("base_url", "endpoint", "host"),
    [
        ("http://Example.COM:8000/V1/", "http://example.com:8000/V1", "example.com"),
        ("HTTPS://host/v1//", "https://host/v1", "host"),
        ("http://[::1]:8000/v1", "http://[::1]:8000/v1", "::1"),
    ],
)
def test_an_endpoint_is_one_text_per_place(base_url: str, endpoint: str, host: str) -> None:
    teacher = TeacherOptions(model="openai/org/name:tag", base_url=base_url).connect()

    assert (teacher.endpoint, teacher.host) == (endpoint, host)
    assert (teacher.provider, teacher.model, teacher.batch_size) == ("openai", "org/name:tag", 1)


def test_a_host_can_be_stated(loopback: Loopback) -> None:
    assert options(loopback, host="together").connect().host == "together"


def test_without_a_base_url_openai_itself_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    monkeypatch.setenv("OPENAI_BASE_URL", "http://elsewhere/v1")

    teacher = TeacherOptions(model="openai/gpt-x", logprobs=20).connect()

    assert teacher.endpoint == "https://api.openai.com/v1"
    assert teacher.host == "api.openai.com"


def test_every_mistake_is_told_at_once_before_anything_is_sent() -> None:
    wrong = TeacherOptions(
        model="openai/gpt-x", logprobs=21, parameters={"n": 3, "stream": True, "seed": "7"}
    )

    with pytest.raises(ConfigError) as caught:
        wrong.connect()

    assert len(caught.value.mistakes) == 5
    for cure in ("OPENAI_API_KEY", "base_url", "20 or less", "teacher.samples", "whole number"):
        assert cure in str(caught.value)


def test_another_server_may_give_more_logprobs_than_openai(loopback: Loopback) -> None:
    ask(options(loopback, logprobs=50))

    assert loopback.requests[0].body["top_logprobs"] == 50


@pytest.mark.parametrize(
    ("base_url", "cure"),
    [
        ("127.0.0.1:8000/v1", "http://127.0.0.1:8000/v1"),
        ("http://host:port/v1", "http://127.0.0.1:8000/v1"),
        ("http://me:hunter2@host/v1", "environment"),
        ("http://host/v1?key=hunter2", "leave it out"),
    ],
)
def test_a_base_url_that_cannot_be_is_refused_without_repeating_it(
    base_url: str, cure: str
) -> None:
    with pytest.raises(ConfigError, match=cure) as caught:
        TeacherOptions(model="openai/m", base_url=base_url).connect()

    assert "hunter2" not in str(caught.value)


def test_a_key_that_is_none_is_refused_without_repeating_it(
    loopback: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-one\nsk-two")

    with pytest.raises(ConfigError, match="OPENAI_API_KEY") as caught:
        options(loopback).connect()

    assert "sk-" not in str(caught.value)
