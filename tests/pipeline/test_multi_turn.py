"""Rows that are conversations: their turns go before what the prompt file asks."""

import json
from pathlib import Path

import pytest

from synthkd.errors import ConfigError
from synthkd.pipeline import prepare
from synthkd.prompts import VERBATIM, parse_prompt
from synthkd.records import Message
from tests.pipeline.jobs import Job, last, say
from tests.teachers.loopback import Loopback

HEAD = "---\nlicense: CC0-1.0\ninputs: []\nturns: messages\n---\n"
WITH_USER = HEAD + "# system\nBe kind.\n# user\nSum it up.\n"
WITHOUT_USER = HEAD + "# system\nBe kind.\n"
TALK = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}]
QUESTION = [*TALK, {"role": "user", "content": "where is it?"}]


def contents(messages: tuple[Message, ...]) -> list[str]:
    return [message.content for message in messages]


@pytest.mark.parametrize(
    ("text", "turns", "shown"),
    [
        (WITH_USER, TALK, ["Be kind.", "hi", "hello", "Sum it up."]),
        (WITH_USER, [], ["Be kind.", "Sum it up."]),
        (WITHOUT_USER, QUESTION, ["Be kind.", "hi", "hello", "where is it?"]),
        (HEAD, QUESTION, ["hi", "hello", "where is it?"]),
    ],
)
def test_a_conversation_goes_before_the_last_user_turn(
    text: str, turns: list, shown: list[str]
) -> None:
    prompt = parse_prompt(text, "p.md")

    assert contents(prompt.render({"messages": turns})) == shown


def test_examples_go_before_the_conversation() -> None:
    examples = (Message("user", "Q"), Message("assistant", "A"))
    row = {"messages": [{"role": "system", "content": "S"}, *QUESTION]}

    assert contents(parse_prompt(WITH_USER, "p.md").render({"messages": TALK}, examples)) == [
        "Be kind.", "Q", "A", "hi", "hello", "Sum it up."
    ]  # fmt: skip
    assert contents(VERBATIM.render(row, examples)) == [
        "S",
        "Q",
        "A",
        "hi",
        "hello",
        "where is it?",
    ]


@pytest.mark.parametrize(
    "turns", ["hi", QUESTION, [TALK[0], TALK[0]], [TALK[1]], [{"role": "user"}]]
)
def test_turns_that_are_no_conversation_are_refused(turns: object) -> None:
    with pytest.raises(ConfigError, match="must hold the turns of a conversation"):
        parse_prompt(WITH_USER, "p.md").render({"messages": turns})


def test_a_file_that_asks_nothing_is_refused_without_turns() -> None:
    with pytest.raises(ConfigError, match="they must be: system"):
        parse_prompt("---\nlicense: CC0-1.0\ninputs: []\n---\n# system\nBe kind.\n", "p.md")


def test_conversations_go_through_every_stage(tmp_path: Path, loopback: Loopback) -> None:
    loopback.answer = lambda asked: say(f"to: {last(asked)}")
    job = Job(tmp_path, loopback)
    (tmp_path / "prompt.md").write_text(WITHOUT_USER)
    rows = [
        {"id": f"{n}", "messages": [*TALK, {"role": "user", "content": f"and {n}?"}]}
        for n in range(3)
    ]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    job.options["refine"] = {"critique": "critique.md", "revise": "revise.md"}

    assert job.run_counting()["teacher"] == 9
    assert job.run_counting()["teacher"] == 0
    ((messages,),) = job.query("SELECT messages FROM kept WHERE seed_id = '2'")
    assert [turn["content"] for turn in json.loads(messages)] == [
        "Be kind.",
        "hi",
        "hello",
        "and 2?",
    ]


def test_a_row_without_turns_is_found_before_anything_is_asked(
    tmp_path: Path, loopback: Loopback
) -> None:
    job = Job(tmp_path, loopback)
    (tmp_path / "prompt.md").write_text(WITH_USER)

    with pytest.raises(ConfigError, match="5 rows have no 'messages'"):
        prepare(job.read())
