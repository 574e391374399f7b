"""A teacher that runs on: students learn what comes before its prompt's stop, and no more."""

from pathlib import Path

import pytest

from synthkd.corpus.samples import select
from synthkd.corpus.store import open_corpus
from synthkd.pipeline.lessons import lessons_from_samples
from synthkd.training import SftStudent
from tests.pipeline.jobs import PROMPT, Job, last, say
from tests.teachers.loopback import Asked, Loopback, Reply


@pytest.fixture
def job(tmp_path: Path, loopback: Loopback) -> Job:
    job = Job(tmp_path, loopback)
    stopping = PROMPT.replace("{kind: tags, answer: a}", '{kind: text, stop: ["Q:"]}')
    (tmp_path / "prompt.md").write_text(stopping)
    return job


def test_what_a_teacher_runs_on_with_is_neither_judged_nor_learned(
    job: Job, loopback: Loopback
) -> None:
    def answer(asked: Asked) -> Reply:
        if last(asked) == "question 0?":
            return say("Q: and what of this? A: I", "length")
        return say(f"{last(asked)} indeed Q: and what of this? A: I", "length")

    loopback.answer = answer
    job.options["filters"] = [{"kind": "truncated"}, {"kind": "length", "max_words": 3}]

    job.run()

    with open_corpus(job.folder / "corpus.duckdb") as corpus:
        select(corpus, None)
        lessons = lessons_from_samples(corpus, SftStudent(name="a", base="b", method="sft"))
        learned = [row.completion for row in lessons]
    assert learned == [f"question {n}? indeed " for n in (1, 2, 3, 4)]
