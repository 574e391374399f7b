"""What is done about answers that were cut, refused or malformed: nothing that nobody asked for."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synthkd.corpus.slots import Slot
from synthkd.errors import ConfigError
from synthkd.outputs import JsonOutput, TagsOutput
from synthkd.pipeline import prepare
from synthkd.pipeline.salvage import join, mend, repair
from tests.pipeline.jobs import Job, last, say
from tests.teachers.loopback import Asked, Loopback, Reply

JSON_PROMPT = """---
license: CC0-1.0
inputs: [question]
output: {kind: json, answer: intent}
---
{{ question }}
"""


@pytest.fixture
def job(tmp_path: Path, loopback: Loopback) -> Job:
    return Job(tmp_path, loopback)


def test_five_cut_answers_are_five_calls_kept_and_marked(job: Job, loopback: Loopback) -> None:
    loopback.answer = lambda _: say("<a>it goes on and", "length")

    assert job.run_counting()["teacher"] == 5
    assert job.run_counting()["teacher"] == 0
    assert job.query("SELECT finish_reason, salvaged, count(*) FROM kept GROUP BY ALL") == [
        ("length", "", 5)
    ]


def test_a_cut_answer_is_continued_and_joined(job: Job, loopback: Loopback) -> None:
    def answer(asked: Asked) -> Reply:
        turns = asked.body["messages"]
        if len(turns) == 1:
            return say("<a>one two", "length")
        if len(turns[1]["content"]) < len("<a>one two three"):
            return say(" three", "length")
        return say(" four</a>")

    loopback.answer = answer
    job.options["salvage"] = {"truncated": "continue"}

    assert job.run_counting()["teacher"] == 15
    assert job.run_counting()["teacher"] == 0
    assert job.query(
        "SELECT DISTINCT completion, finish_reason, salvaged, prompt[:8] FROM kept"
    ) == [("<a>one two three four</a>", "stop", "continued", "question")]
    assert job.query("SELECT kind, count(*) FROM chains GROUP BY ALL ORDER BY ALL") == [
        ("answer", 5), ("continue", 10)
    ]  # fmt: skip


def test_an_answer_is_not_continued_for_ever(job: Job, loopback: Loopback) -> None:
    loopback.answer = lambda asked: say(f" and {len(asked.raw)}", "length")
    job.options["salvage"] = {"truncated": "continue", "continue_calls": 2}

    assert job.run_counting()["teacher"] == 15
    assert job.query("SELECT DISTINCT finish_reason FROM kept") == [("length",)]


def test_a_cut_answer_is_asked_for_with_a_larger_limit(job: Job, loopback: Loopback) -> None:
    is_large = lambda asked: asked.body["max_tokens"] == 30  # noqa: E731
    loopback.answer = lambda a: say("<a>all</a>") if is_large(a) else say("<a>a", "length")
    job.options["teacher"]["parameters"] = {"max_tokens": 10}
    job.options["salvage"] = {"truncated": "larger", "larger_factor": 3}

    assert job.run_counting()["teacher"] == 10
    assert job.run_counting()["teacher"] == 0
    assert job.query("SELECT DISTINCT completion, salvaged FROM kept") == [("<a>all</a>", "larger")]


def test_no_limit_cannot_be_enlarged(job: Job) -> None:
    job.options["salvage"] = {"truncated": "larger"}

    with pytest.raises(ConfigError, match="no token limit to enlarge"):
        prepare(job.read())


def test_what_one_teacher_refuses_another_is_asked(job: Job, loopback: Loopback) -> None:
    def answer(asked: Asked) -> Reply:
        if asked.body["model"] == "bold":
            return say("Not I.", "content_filter") if "4" in last(asked) else say("<a>yes</a>")
        return (
            say("I cannot.", "content_filter") if last(asked) >= "question 3" else say("<a>a</a>")
        )

    loopback.answer = answer
    job.options["salvage"] = {"refused": job.teacher("bold")}

    assert job.run_counting() == {"teacher": 5, "bold": 2}
    assert job.run_counting() == {}
    rows = (
        "SELECT seed_id, teacher, completion, salvaged FROM samples WHERE seed_id > '2' ORDER BY 1"
    )
    assert job.query(rows) == [
        ("3", "openai/bold", "<a>yes</a>", "other_teacher"),
        ("4", "openai/teacher", "I cannot.", ""),
    ]
    named = "SELECT c.name FROM contributions c JOIN samples USING (sample_id) WHERE seed_id = '3'"
    assert job.query(f"{named} AND role = 'teacher'") == [("openai/bold",)]


def test_what_one_teacher_declines_in_words_another_is_asked(job: Job, loopback: Loopback) -> None:
    no = "<a>I'm sorry, but I can't help with that.</a>"

    def answer(asked: Asked) -> Reply:
        is_bold = asked.body["model"] == "bold"
        return say("<a>yes</a>" if is_bold and "4" not in last(asked) else no)

    loopback.answer = answer
    job.write_rows(6)
    job.options["salvage"] = {"refused": job.teacher("bold"), "malformed": "ask"}
    job.options["judge"] = {"prompt": "judge.md", "teacher": job.teacher("judge")}

    assert job.run_counting() == {"teacher": 6, "bold": 6, "judge": 6}
    assert job.query("SELECT completion, salvaged, count(*) FROM kept GROUP BY ALL ORDER BY 3") == [
        (no, "", 1), ("<a>yes</a>", "other_teacher", 5)
    ]  # fmt: skip
    assert job.query("SELECT DISTINCT reason FROM chains WHERE kind = 'other_teacher'") == [
        ("refusal",)
    ]
    judged = [last(a) for a in loopback.requests if a.body["model"] == "judge"]
    assert sum("yes" in text for text in judged) == 5


def test_broken_json_is_mended_without_a_call(job: Job, loopback: Loopback) -> None:
    (job.folder / "prompt.md").write_text(JSON_PROMPT)
    loopback.answer = lambda _: say("```json\n{'intent': 'refund',}\n```")
    job.options["salvage"] = {"malformed": "repair"}

    assert job.run_counting()["teacher"] == 5
    assert job.query("SELECT DISTINCT completion, answer, is_split, salvaged FROM kept") == [
        ('{"intent": "refund"}', "refund", True, "repaired")
    ]
    assert job.query("SELECT DISTINCT starts_with(text, '```') FROM store.completions") == [(True,)]


def test_what_cannot_be_mended_is_asked_again(job: Job, loopback: Loopback) -> None:
    (job.folder / "prompt.md").write_text(JSON_PROMPT)
    seen: set[str] = set()

    def answer(asked: Asked) -> Reply:
        is_first = last(asked) not in seen
        seen.add(last(asked))
        return say("It is a refund." if is_first else "{'intent': 'refund'}")

    loopback.answer = answer
    job.options["salvage"] = {"malformed": "ask"}

    assert job.run_counting()["teacher"] == 10
    assert job.run_counting()["teacher"] == 0
    assert job.query("SELECT DISTINCT completion, salvaged FROM kept") == [
        ('{"intent": "refund"}', "asked_again+repaired")
    ]


def test_mending_tags_is_refused_before_anything_is_asked(job: Job) -> None:
    job.options["salvage"] = {"malformed": "repair"}

    with pytest.raises(ConfigError, match="which mends JSON"):
        prepare(job.read())


def slot(text: str) -> Slot:
    return Slot(0, 0, 0, "s", "1", "v", None, "k", "k", said=text, finish_reason="stop")


def test_what_is_well_formed_is_not_mended() -> None:
    output = JsonOutput(answer="intent")

    assert mend(slot('{"intent": "refund"}'), output) is None
    assert mend(slot("There is nothing of it here."), output) is None
    assert mend(slot("{'other': 1}"), output) is None
    assert mend(slot("<a>1"), TagsOutput(answer="a")) is None


VALUES = st.recursive(
    st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1) | st.integers(),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(st.text("abc", min_size=1), VALUES, min_size=1))
def test_repairing_what_is_whole_changes_nothing(value: dict[str, object]) -> None:
    assert json.loads(repair(f"Here: ```json\n{json.dumps(value)}\n```")) == value


@given(st.text(), st.text())
def test_joining_keeps_both_texts(text: str, rest: str) -> None:
    joined = join(text, rest)

    assert joined.startswith(text)
    assert joined.endswith(rest)
