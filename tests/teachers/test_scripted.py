import json
from pathlib import Path

import pytest

from synthkd.errors import ConfigError
from synthkd.records import Message, Request
from synthkd.teachers import Teacher, TeacherOptions, parse
from synthkd.teachers.base import AttemptError
from synthkd.teachers.scripted import ScriptedTeacher
from tests.teachers.asking import ask, put


def request(*messages: Message) -> Request:
    return Request(messages, endpoint="", model="")


def write(path: Path, *rows: object) -> str:
    text = "\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows)
    path.write_text(text, encoding="utf-8")
    return f"scripted/{path}"


def test_a_scripted_teacher_is_a_teacher() -> None:
    teacher: Teacher = ScriptedTeacher({"2+2?": "4"})

    answer = put(teacher, request(Message("user", "2+2?")))

    assert parse("scripted", answer).text == "4"


def test_a_prompt_is_known_by_its_last_user_message() -> None:
    teacher = ScriptedTeacher({"2+2?": "4", "1+1?": "2"})
    conversation = [Message("system", "Add."), Message("user", "2+2?"), Message("assistant", "4")]

    answer = put(teacher, request(*conversation, Message("user", "1+1?")))

    assert parse("scripted", answer).text == "2"


def test_a_forgotten_line_names_the_prompt() -> None:
    with pytest.raises(AttemptError, match=r"no line for the prompt '3\+3\?x+\.\.\.'") as caught:
        put(ScriptedTeacher({}), request(Message("user", "3+3?" + "x" * 1000)))

    assert (caught.value.is_retryable, caught.value.is_fatal) == (False, False)
    assert len(str(caught.value)) < 200


def test_a_script_is_read_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "script.jsonl"
    row = {"prompt": "Hello?", "completion": "Bon\u2028jour \U0001f600"}
    path.write_text(json.dumps(row, ensure_ascii=False) + "\n\n", encoding="utf-8")

    answer = ask(TeacherOptions(model=f"scripted/{path}"))

    assert parse("scripted", answer).text == "Bon\u2028jour \U0001f600"


def test_an_edited_script_is_another_endpoint() -> None:
    assert ScriptedTeacher({"a": "b"}).endpoint == ScriptedTeacher({"a": "b"}, model="x").endpoint
    assert ScriptedTeacher({"a": "b"}).endpoint != ScriptedTeacher({"a": "c"}).endpoint


def test_every_wrong_line_is_told_with_its_number(tmp_path: Path) -> None:
    path = tmp_path / "script.jsonl"
    model = write(
        path,
        {"prompt": "a", "completion": "b"},
        "{",
        ["prompt", "completion"],
        {"prompt": "a", "completion": 3},
        {"prompt": "a", "completion": "c"},
    )

    with pytest.raises(ConfigError) as caught:
        TeacherOptions(model=model).connect()

    assert [mistake.split(":")[1] for mistake in caught.value.mistakes] == ["2", "3", "4", "5"]
    assert "not JSON" in caught.value.mistakes[0]
    assert "another completion" in caught.value.mistakes[3]


def test_a_script_that_is_not_there_is_told_with_its_form(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.jsonl.*prompt.*completion"):
        TeacherOptions(model=f"scripted/{tmp_path}/none.jsonl").connect()


def test_a_script_has_no_logprobs_to_give(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="logprobs is 5"):
        TeacherOptions(model=write(tmp_path / "script.jsonl"), logprobs=5).connect()
