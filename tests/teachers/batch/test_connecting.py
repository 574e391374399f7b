"""Which teachers take batches, and with which key."""

import asyncio
from typing import Any

import pytest

from synthkd.errors import ConfigError
from synthkd.records import Message, Request
from synthkd.teachers import TeacherOptions
from synthkd.teachers.batch import connect

KEY = "sk-test-0123456789"


@pytest.mark.parametrize(
    ("given", "provider", "said"),
    [
        pytest.param({"model": "openai/m"}, "openai", b"/v1/chat/completions", id="chat"),
        pytest.param(
            {"model": "openai/m", "api": "responses"},
            "openai-responses",
            b"/v1/responses",
            id="responses",
        ),
        pytest.param({"model": "anthropic/m"}, "anthropic", b'"max_tokens":1024', id="messages"),
        pytest.param(
            {"model": "anthropic/m", "prompt_caching": "1h"},
            "anthropic",
            b'"ttl":"1h"',
            id="caching",
        ),
    ],
)
def test_a_hosted_teacher_takes_batches(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, Any], provider: str, said: bytes
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
    conversation = (Message("system", "Be brief."), Message("user", "Hello?"))

    service = connect(TeacherOptions(**given))

    assert service.provider == provider
    assert said in service.write_line("id", Request(conversation, "e", "m"))
    assert KEY not in repr(service)
    asyncio.run(service.close())


def test_the_project_of_the_environment_is_that_of_its_key(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("OTHER_KEY", KEY)
    monkeypatch.setenv("OPENAI_PROJECT_ID", "proj_mine")

    mine = connect(TeacherOptions(model="openai/m"))
    other = connect(TeacherOptions(model="openai/m", key_variables=["OTHER_KEY"]))

    assert (mine.client.project, other.client.project) == ("proj_mine", None)


def test_a_teacher_in_this_process_takes_none() -> None:
    with pytest.raises(ConfigError, match=r"takes no batches; .* Write mode: online"):
        connect(TeacherOptions(model="local/folder"))
