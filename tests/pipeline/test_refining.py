"""Draft, critique, revision: stages that are paid for once each."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from synthkd.errors import BudgetError, ConfigError, TeacherError
from synthkd.pipeline import prepare
from synthkd.pipeline.adhoc import open_pipeline
from tests.pipeline.jobs import REVISE, Job, Listening, last, say
from tests.teachers.loopback import Asked, Loopback, Reply


def answer(asked: Asked) -> Reply:
    """Give a draft, criticise it or mend it, as asked."""
    text = last(asked)
    if text.startswith("What is wrong"):
        return say("NOTHING" if "question 0" in text else "too short")
    if "Mend" in text:
        return say(f"<a>better {text.split('?')[0]}</a>")
    return say(f"<a>{text}</a>")


@pytest.fixture
def job(tmp_path: Path, loopback: Loopback) -> Job:
    loopback.answer = answer
    made = Job(tmp_path, loopback)
    made.options["refine"] = {"critique": "critique.md", "revise": "revise.md"}
    return made


def test_every_stage_is_asked_once_and_a_row_more_goes_through_all(job: Job) -> None:
    first, again = job.run_counting(), job.run_counting()
    job.write_rows(6)
    more = job.run_counting()

    assert (first["teacher"], again["teacher"], more["teacher"]) == (15, 0, 3)
    assert job.query("SELECT count(*), count(DISTINCT sample_id) FROM samples") == [(6, 6)]


def test_a_sample_is_the_revision_and_its_prompt_the_bare_one(job: Job) -> None:
    job.run()

    rows = job.query("SELECT prompt, completion, answer, messages FROM kept ORDER BY seed_id")
    assert rows[1] == (
        "question 1?",
        "<a>better question 1</a>",
        "better question 1",
        '[{"role": "user", "content": "question 1?"}]',
    )


def test_another_way_to_revise_asks_for_revisions_only(job: Job) -> None:
    job.run()
    (job.folder / "revise.md").write_text(REVISE + "Be brief.\n")

    assert job.run_counting()["teacher"] == 5


def test_another_way_to_criticise_asks_nothing_of_drafts(job: Job) -> None:
    job.run()
    text = (job.folder / "critique.md").read_text()
    (job.folder / "critique.md").write_text(text + "Be harsh.\n")

    # The critiques are the same words again, and so are the requests for revisions.
    assert job.run_counting()["teacher"] == 5


def test_a_critique_without_complaint_saves_the_revision(job: Job) -> None:
    job.options["refine"]["content_with"] = "NOTHING"

    assert job.run_counting()["teacher"] == 14
    ((draft,),) = job.query("SELECT completion FROM samples WHERE seed_id = '0'")
    assert draft == "<a>question 0?</a>"


def test_another_teacher_may_refine(job: Job) -> None:
    job.options["refine"]["teacher"] = job.teacher("editor")

    assert job.run_counting() == {"teacher": 5, "editor": 10}
    assert job.query("SELECT DISTINCT teacher FROM samples") == [("openai/editor",)]
    assert job.query("SELECT DISTINCT role, reach, name FROM contributions ORDER BY ALL") == [
        ("critic", "transform", "openai/editor"),
        ("prompt", "transform", "critique.md"),
        ("prompt", "transform", "prompt.md"),
        ("prompt", "transform", "revise.md"),
        ("rewriter", "content", "openai/editor"),
        ("seed", "content", "questions"),
        ("teacher", "content", "openai/teacher"),
    ]


@pytest.mark.parametrize(
    ("reply", "outcome"),
    [
        pytest.param(say("<a>it ended too", "length"), "truncated", id="cut"),
        pytest.param(say("I will not.", "content_filter"), "refused", id="refused"),
        pytest.param(say("  "), "empty", id="empty"),
    ],
)
def test_a_revision_that_failed_leaves_the_draft(
    job: Job, loopback: Loopback, reply: Reply, outcome: str
) -> None:
    loopback.answer = lambda asked: reply if "Mend" in last(asked) else answer(asked)
    job.run()

    assert job.query("SELECT DISTINCT starts_with(completion, '<a>question') FROM kept") == [
        (True,)
    ]
    assert job.query("SELECT DISTINCT outcome FROM chains WHERE kind = 'revision'") == [(outcome,)]


def test_a_sample_costs_what_its_chain_costs(job: Job) -> None:
    price = {"prompt": 100.0, "completion": 1000.0}
    job.options["teacher"] |= {"price_usd_per_million": price}
    job.run()

    # Seven tokens of prompt and three of completion a call; three calls.
    ((each, total, paid),) = job.query(
        "SELECT max(cost_usd), sum(cost_usd), (SELECT sum(cost_usd) FROM attempts) FROM samples"
    )
    assert each == pytest.approx(3 * 0.0037)
    assert total == pytest.approx(paid)


def test_the_budget_counts_every_stage(job: Job) -> None:
    job.options["teacher"] |= {
        "price_usd_per_million": {"prompt": 0.0, "completion": 1000.0},
        "budget_usd": 0.0245,
        "parameters": {"max_tokens": 3},
    }
    with pytest.raises(BudgetError):
        job.run()

    # Eight calls of $0.003: five drafts and three critiques, and no sample that is half done.
    assert job.query("SELECT count(*), sum(cost_usd) FROM attempts") == [(8, pytest.approx(0.024))]
    assert job.query("SELECT count(*) FROM samples") == [(0,)]
    job.options["teacher"]["budget_usd"] = 1.0
    assert job.run_counting()["teacher"] == 7


def test_what_was_not_refined_yet_is_no_sample(job: Job, loopback: Loopback) -> None:
    refuse = Reply.fault(401)
    loopback.answer = lambda asked: refuse if "Mend" in last(asked) else answer(asked)
    with pytest.raises(TeacherError):
        job.run()

    assert job.query("SELECT count(*) FROM samples") == [(0,)]
    loopback.answer = answer
    assert job.run_counting()["teacher"] == 5
    assert job.query("SELECT count(*) FROM samples") == [(5,)]


def test_a_stage_that_fails_for_one_row_costs_only_its_revision(
    job: Job, loopback: Loopback
) -> None:
    bad = Reply.fault(400)
    is_bad = lambda asked: "Mend" in last(asked) and "question 3" in last(asked)  # noqa: E731
    loopback.answer = lambda asked: bad if is_bad(asked) else answer(asked)
    job.run()

    assert job.query("SELECT completion FROM samples WHERE seed_id = '3'") == [
        ("<a>question 3?</a>",)
    ]
    with open_pipeline(job.read(), Listening()) as corpus:
        assert corpus.first("SELECT count(*) FROM selection") == (5,)
    assert job.query("SELECT count(*) FROM samples") == [(5,)]


def test_rounds_go_on_from_the_revision(job: Job) -> None:
    job.options["refine"]["rounds"] = 2

    assert job.run_counting()["teacher"] == 25
    assert job.run_counting()["teacher"] == 0


def test_samples_are_refined_one_by_one(job: Job) -> None:
    job.options["teacher"]["samples"] = 3

    assert job.run_counting()["teacher"] == 45
    assert job.query("SELECT count(*) FROM samples") == [(15,)]


def test_a_killed_run_goes_on_where_it_was(job: Job, loopback: Loopback) -> None:
    reached = threading.Event()
    job.write_rows(40)

    def count(asked: Asked) -> Reply:
        if "Mend" in last(asked) and len(loopback.requests) > 90:
            reached.set()
        return answer(asked)

    loopback.answer = count
    job.read()
    command = [sys.executable, "-m", "synthkd", "generate", str(job.folder / "pipeline.yaml")]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                          env=os.environ | {"OPENAI_API_KEY": "EMPTY"}) as process:  # fmt: skip
        assert reached.wait(60)
        process.send_signal(signal.SIGKILL)
    in_flight = 2

    job.run()

    assert 120 <= len(loopback.requests) <= 120 + in_flight
    assert job.query("SELECT count(*) FROM samples") == [(40,)]


def test_a_later_prompt_may_not_show_the_right_answer(job: Job) -> None:
    text = "---\nlicense: CC0-1.0\ninputs: [completion, reference]\n---\n{{ reference }}\n"
    (job.folder / "critique.md").write_text(text)

    with pytest.raises(ConfigError, match="only a judge may see it"):
        prepare(job.read())


def test_a_column_that_no_row_has_is_found_before_anything_is_asked(job: Job) -> None:
    text = REVISE.replace("critique]", "critique, mood]") + "{{ mood }}\n"
    (job.folder / "revise.md").write_text(text)

    with pytest.raises(ConfigError, match="5 rows have no 'mood'"):
        prepare(job.read())


@pytest.mark.parametrize(
    ("refine", "told"),
    [
        ({"critique": "revise.md", "revise": "critique.md"}, "name revise.md here if the two"),
        ({"critique": "prompt.md", "revise": "revise.md"}, "prompt.md: it is refine.critique"),
        ({"revise": "prompt.md"}, "prompt.md: it is refine.revise"),
    ],
)
def test_a_prompt_that_does_not_show_what_it_is_about_is_refused(
    job: Job, refine: dict[str, str], told: str
) -> None:
    job.options["refine"] = refine

    with pytest.raises(ConfigError, match=told):
        prepare(job.read())
