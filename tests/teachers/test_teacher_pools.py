"""Several addresses and keys that are one teacher, and several samples in one call."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from synthkd.errors import ConfigError
from synthkd.teachers import TeacherOptions, parse
from synthkd.teachers.anthropic import AnthropicTeacher
from synthkd.teachers.base import Answer
from synthkd.teachers.openai import OpenAITeacher
from tests.teachers.asking import HELLO, put
from tests.teachers.loopback import Asked, Json, Loopback, Reply, chat

FIRST, SECOND = "sk-first-that-nobody-may-see", "sk-second-that-nobody-may-see"
HERE, THERE = "http://127.0.0.1:8001/v1", "http://127.0.0.1:8002/v1"


@pytest.fixture(autouse=True)
def _two_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("FIRST_KEY", FIRST)
    monkeypatch.setenv("SECOND_KEY", SECOND)


def pool(**given: Any) -> tuple[OpenAITeacher, ...]:
    return OpenAITeacher.connect_all(TeacherOptions(**{"model": "openai/m", **given}))


def test_every_address_is_asked_with_every_key(loopback: Loopback) -> None:
    keys = ("FIRST_KEY", "SECOND_KEY")
    options = TeacherOptions(
        model="openai/m",
        base_url=(f"{loopback.url}/v1", f"{loopback.url}/x/v1"),
        key_variables=keys,
    )

    teachers = OpenAITeacher.connect_all(options)
    for teacher in teachers:
        put(teacher, options.request(teacher, HELLO))

    asked = {(asked.path, asked.headers["authorization"]) for asked in loopback.requests}
    assert asked == {
        (path, f"Bearer {key}")
        for path in ("/v1/chat/completions", "/x/v1/chat/completions")
        for key in (FIRST, SECOND)
    }


def test_a_request_has_one_key_whoever_answers_it() -> None:
    options = TeacherOptions(
        model="openai/m", base_url=(HERE, THERE), key_variables=("FIRST_KEY", "SECOND_KEY")
    )

    teachers = OpenAITeacher.connect_all(options)

    assert {teacher.endpoint for teacher in teachers} == {HERE}
    assert len({options.request(teacher, HELLO).key for teacher in teachers}) == 1


def test_each_address_and_key_has_limits_of_its_own() -> None:
    keys = ("FIRST_KEY", "SECOND_KEY")
    teachers = pool(base_url=(HERE, THERE), key_variables=keys)

    names = [teacher.limit_name for teacher in teachers]

    assert len(set(names)) == 4
    assert names == [
        teacher.limit_name for teacher in pool(base_url=(HERE, THERE), key_variables=keys)
    ]
    assert not any(key in name for key in (FIRST, SECOND) for name in names)
    assert not any(key in repr(teachers) for key in (FIRST, SECOND))


def test_what_is_there_twice_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECOND_KEY", FIRST)

    assert len(pool(base_url=(HERE, f"{HERE}/"), key_variables=("FIRST_KEY", "SECOND_KEY"))) == 1


def test_several_hosts_are_one_teacher_only_if_someone_says_so() -> None:
    hosts = ("http://a.example/v1", "http://b.example/v1")

    with pytest.raises(ConfigError, match=r"a\.example, b\.example.*rights.*write host"):
        pool(base_url=hosts)

    assert {teacher.host for teacher in pool(base_url=hosts, host="us")} == {"us"}


def test_a_key_that_is_not_there_is_told_by_its_name() -> None:
    with pytest.raises(ConfigError, match="THIRD_KEY is not set") as caught:
        pool(key_variables=("FIRST_KEY", "THIRD_KEY"))

    assert len(caught.value.mistakes) == 1


def test_anthropic_is_a_pool_too() -> None:
    options = TeacherOptions(model="anthropic/m", key_variables=("FIRST_KEY", "SECOND_KEY"))

    teachers = AnthropicTeacher.connect_all(options)

    assert [teacher.endpoint for teacher in teachers] == ["https://api.anthropic.com"] * 2
    assert teachers[0].limit_name != teachers[1].limit_name


@pytest.mark.parametrize(
    ("base_url", "variable", "told"),
    [
        pytest.param(None, "OPENAI_API_KEY", "org-1", id="openai-itself"),
        pytest.param("https://eu.api.openai.com/v1", "OPENAI_API_KEY", "org-1", id="a-region"),
        pytest.param(None, "FIRST_KEY", None, id="a-key-that-may-be-of-another"),
        pytest.param(HERE, "OPENAI_API_KEY", None, id="someone-elses-server"),
    ],
)
def test_only_openai_is_told_the_organization(
    monkeypatch: pytest.MonkeyPatch, base_url: str | None, variable: str, told: str | None
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", FIRST)
    monkeypatch.setenv("OPENAI_ORG_ID", "org-1")

    (teacher,) = pool(base_url=base_url, key_variables=(variable,))

    assert teacher.transport.headers.get("openai-organization") == told


def several(loopback: Loopback, count: int, **given: Any) -> Sequence[Answer]:
    options = TeacherOptions(model="openai/m", base_url=f"{loopback.url}/v1", **given)
    teacher = OpenAITeacher.connect(options)
    requests = [options.request(teacher, HELLO, index + 1) for index in range(count)]

    async def ask_and_close() -> Sequence[Answer]:
        try:
            return await teacher.ask(requests)
        finally:
            await teacher.close()

    return asyncio.run(ask_and_close())


def choices(*texts: str) -> Json:
    answer = chat()
    answer["choices"] = [{**chat(text)["choices"][0], "index": i} for i, text in enumerate(texts)]
    return answer


def test_samples_of_a_prompt_share_a_call(loopback: Loopback) -> None:
    loopback.answer = lambda asked: Reply.of(choices(*"abcd"[: asked.body["n"]]))

    answers = several(loopback, 3, parameters={"seed": 40}, share_prompt=True)

    (asked,) = loopback.requests
    assert (asked.body["n"], asked.body["seed"]) == (3, 41)
    assert [parse("openai", answer.body, answer.choice).text for answer in answers] == [*"abc"]
    assert answers[0].body is answers[2].body


@pytest.mark.parametrize(("given", "answered"), [("a", 1), ("ab", 2), ("abcdef", 3)])
def test_a_server_that_gives_fewer_choices_answers_fewer_samples(
    loopback: Loopback, given: str, answered: int
) -> None:
    loopback.script(Reply.of(choices(*given)))

    answers = several(loopback, 3)

    assert [answer.choice for answer in answers] == [*range(answered)]


@pytest.mark.parametrize("body", [b'{"choices": []}', b'{"choices": 3}', b'{"choices": [\xff]}'])
def test_a_body_without_choices_is_still_for_the_parser_to_refuse(
    loopback: Loopback, body: bytes
) -> None:
    loopback.script(Reply(body))

    (answer,) = several(loopback, 3)

    assert (answer.choice, answer.body) == (0, body)


def test_a_sample_of_its_own_is_asked_without_a_number(loopback: Loopback) -> None:
    seen: list[Asked] = loopback.requests

    several(loopback, 1)

    assert "n" not in seen[0].body
