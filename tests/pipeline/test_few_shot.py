"""Few-shot examples: the same ones each time, never the seed itself, and for the teacher alone."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synthkd.errors import ConfigError
from synthkd.pipeline import prepare
from synthkd.pipeline.few_shot import FewShot
from synthkd.prompts import parse_prompt
from synthkd.records import Message, Seed
from tests.pipeline.jobs import PROMPT, Job, say
from tests.teachers.loopback import Loopback

TASK = parse_prompt(PROMPT, "prompt.md")
WAYS = st.sampled_from(["similar", "random", "fixed"])
TEXTS = [
    "Where is my parcel?", "I want my money back", "My parcel is late", "Change my address",
    "The lamp is broken", "Cancel the order", "Money back for the broken lamp", "Log in fails",
]  # fmt: skip
ROWS = [
    Seed("few_shot", f"{n}", {"question": text, "right": f"r{n}"}) for n, text in enumerate(TEXTS)
]


def turns(question: str, *, count: int = 3, seed_id: str = "x", **options: object) -> list[str]:
    few_shot = FewShot(path="gold.jsonl", license="CC0-1.0", count=count, **options)
    examples = few_shot.prepare(TASK, ROWS)
    return [turn.content for turn in examples.turns(seed_id, (Message("user", question),))]


@given(WAYS, st.sampled_from([*TEXTS, "Something else"]), st.integers(1, 6), st.integers(0, 99))
def test_a_seed_gets_the_same_examples_and_never_itself(
    by: str, question: str, count: int, number: int
) -> None:
    shown = turns(question, count=count, by=by, seed=number)

    assert shown == turns(question, count=count, by=by, seed=number)
    assert len(set(shown)) == len(shown) == 2 * count
    assert question not in shown


def test_case_and_spaces_do_not_hide_a_seed() -> None:
    assert "Cancel the order" not in turns("  cancel THE  order ", count=7)


def test_the_most_similar_example_comes_last() -> None:
    assert turns("a lamp that is broken", by="similar", count=2)[-2:] == [
        "The lamp is broken", "<a>r4</a>"
    ]  # fmt: skip


def test_the_first_rows_are_those_that_are_fixed() -> None:
    assert turns("anything", by="fixed", count=2) == [TEXTS[0], "<a>r0</a>", TEXTS[1], "<a>r1</a>"]


def test_random_examples_differ_between_seeds_and_numbers() -> None:
    drawn = {tuple(turns("q", by="random", seed_id=f"{n}")) for n in range(20)}

    assert len(drawn) > 5
    assert turns("q", by="random", seed=1) != turns("q", by="random", seed=2)


@pytest.fixture
def job(tmp_path: Path, loopback: Loopback) -> Job:
    loopback.answer = lambda _: say("<a>1</a>")
    rows = [{"question": f"example {n}?", "right": f"{n}"} for n in range(4)]
    (tmp_path / "gold.jsonl").write_text("\n".join(map(json.dumps, rows)))
    made = Job(tmp_path, loopback)
    made.options["few_shot"] = {
        "path": "gold.jsonl",
        "license": "CC-BY-4.0",
        "count": 2,
        "by": "fixed",
    }
    return made


def test_the_teacher_sees_examples_and_students_do_not(job: Job, loopback: Loopback) -> None:
    assert job.run_counting()["teacher"] == 5
    assert job.run_counting()["teacher"] == 0

    assert [m["content"] for m in loopback.requests[0].body["messages"][:4]] == [
        "example 0?", "<a>0</a>", "example 1?", "<a>1</a>"
    ]  # fmt: skip
    assert job.query(
        "SELECT DISTINCT len(from_json(messages, '[\"JSON\"]')), prompt[:8] FROM kept"
    ) == [(1, "question")]


def test_the_terms_of_examples_are_those_of_samples(job: Job) -> None:
    job.run()

    assert job.query("SELECT name, reach, license, count(*) FROM contributions "
                     "WHERE role = 'few_shot' GROUP BY ALL") == [
        ("gold.jsonl", "transform", "CC-BY-4.0", 5)
    ]  # fmt: skip


def test_too_few_examples_are_found_before_anything_is_asked(job: Job) -> None:
    job.options["few_shot"]["count"] = 4

    with pytest.raises(ConfigError, match="too few to choose 4 examples"):
        prepare(job.read())


def test_held_out_rows_among_the_examples_are_noted(job: Job) -> None:
    job.options["evaluation"] = {"held_out": {"path": "gold.jsonl"}, "metrics": ["exact_match"]}

    assert "4 of 4 held-out rows" in prepare(job.read()).notes[-1]
