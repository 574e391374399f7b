"""The quickstart, made smaller: the whole job on real parts, from one file."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import duckdb
import pytest

from synthkd.corpus.store import read_corpus
from synthkd.pipeline import read_project, run
from tests.pipeline.quickstart import ROOT, Notes, read, small


def test_one_command_does_every_step(finished: tuple) -> None:
    _, outcome = finished

    verbs = [line.split()[0] for line in outcome.did]
    assert verbs == ["generated", "judged", "trained", "trained", "trained", "evaluated", "wrote"]
    assert outcome.without == {}
    assert outcome.report.read_text().lower().startswith("<!doctype html>")


def test_a_finished_pipeline_does_nothing(finished: tuple) -> None:
    folder, _ = finished

    again = run(read(folder), Notes())

    assert again.did == []


def test_models_stand_side_by_side_with_their_intervals(finished: tuple) -> None:
    folder, _ = finished
    with read_corpus(folder / "corpus.duckdb") as corpus:
        rows = corpus.db.execute(
            "SELECT role, model FROM evaluations WHERE metric = 'exact_match' AND n = 12 "
            "AND low <= value AND value <= high AND parameters > 0 AND tokens_per_second > 0 "
            "ORDER BY ALL"
        ).fetchall()

    assert rows == [
        ("baseline", "baseline-gold"),
        ("student", "student-kd"),
        ("student", "student-sft"),
        ("teacher", "local/data/support/teacher"),
    ]


def test_kd_uses_every_token_of_a_teacher_with_the_same_tokenizer(finished: tuple) -> None:
    folder, _ = finished
    with duckdb.connect(str(folder / "corpus.duckdb"), read_only=True) as db:
        coverage = dict(db.execute("SELECT name, coverage FROM students").fetchall())

    assert coverage == {"student-sft": None, "student-kd": 1.0, "baseline-gold": None}


def test_the_student_is_a_third_of_the_teacher_at_most(finished: tuple) -> None:
    folder, _ = finished
    with duckdb.connect(str(folder / "corpus.duckdb"), read_only=True) as db:
        sizes = dict(
            db.execute("SELECT role, max(parameters) FROM evaluations GROUP BY ALL").fetchall()
        )

    assert sizes["student"] * 3 <= sizes["teacher"]


def test_a_student_loads_with_transformers_and_carries_a_card(finished: tuple) -> None:
    from transformers import AutoModelForCausalLM

    folder, _ = finished
    student = folder / "students" / "student-kd"

    model = AutoModelForCausalLM.from_pretrained(student)

    assert model.num_parameters() > 0
    card = (student / "README.md").read_text()
    assert "distillation" in card
    assert "data/support/teacher" in card


def test_a_sample_knows_which_students_learned_it(finished: tuple) -> None:
    from synthkd.pipeline.tracing import trace

    folder, _ = finished
    with read_corpus(folder / "corpus.duckdb") as corpus:
        (sample_id,) = corpus.first("SELECT sample_id FROM kept ORDER BY 1 LIMIT 1")
        traced = trace(corpus, sample_id)

    assert {student["name"] for student in traced["students"]} == {"student-sft", "student-kd"}
    assert traced["seed"][0]["license"] == "CC0-1.0"
    assert traced["rights"][0]["verdict"] == "allow"


def test_another_filter_asks_nothing_and_trains_anew(finished: tuple) -> None:
    folder, _ = finished
    outcome = run(
        read(folder, "filters=[{kind: length, min_words: 12}]", "students=[]", "evaluation=null"),
        Notes(),
    )

    assert [line.split()[0] for line in outcome.did] == ["judged", "wrote"]
    back = run(read(folder), Notes())
    assert [line.split()[0] for line in back.did] == ["judged", "wrote"]


def test_a_row_more_costs_one_answer(finished: tuple) -> None:
    folder, _ = finished
    outcome = run(read(folder, "sources[0].limit=null", "students=[]", "evaluation=null",
                       "sources[0].path=" + str(_add_row(folder))), Notes())  # fmt: skip

    assert outcome.did[0] == "generated 1 answers (48 were there)"


def _add_row(folder: Path) -> Path:
    with duckdb.connect(str(folder / "corpus.duckdb"), read_only=True) as db:
        rows = db.execute("SELECT fields FROM store.seeds WHERE source_id = 'messages'").fetchall()
    path = folder / "more.jsonl"
    lines = [row for (row,) in rows] + [json.dumps({"id": "new", "message": "Where is my lamp?"})]
    path.write_text("\n".join(lines))
    return path


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_run_goes_on_without_asking_twice(tmp_path: Path, stop: int) -> None:
    settings = [word for setting in small(tmp_path, "students=[]", "evaluation=null", "teacher.concurrency=4")
                for word in ("--set", setting)]  # fmt: skip
    command = [sys.executable, "-m", "synthkd", "run", str(ROOT / "pipelines/quickstart.yaml")]
    journal = tmp_path / "corpus.duckdb.journal"
    process = subprocess.Popen(
        [*command, *settings],
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    while process.poll() is None and not (journal.exists() and journal.stat().st_size):
        time.sleep(0.01)
    process.send_signal(stop)
    rest = process.stderr.read()
    code = process.wait(timeout=60)

    with read_corpus(tmp_path / "corpus.duckdb") as corpus:
        (kept,) = corpus.first("SELECT count(*) FROM store.attempts WHERE error = ''")
    outcome = run(read(tmp_path, "students=[]", "evaluation=null"), Notes())

    assert 0 < kept < 48
    assert code == (130 if stop == signal.SIGINT else -signal.SIGKILL)
    if stop == signal.SIGINT:
        assert "Everything answered is kept" in rest
    assert outcome.did[0] == f"generated {48 - kept} answers ({kept} were there)"


def test_a_wheel_less_folder_runs_a_shipped_pipeline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    project = read_project("pipelines/quickstart.yaml")

    assert project.folder == tmp_path
    assert project.input("data/support/messages.jsonl").is_file()
    assert project.corpus == tmp_path / "runs/quickstart/corpus.duckdb"


def test_what_init_writes_runs_at_once(tmp_path: Path) -> None:
    from synthkd.cli.init_command import command

    folder = tmp_path / "my-task"
    command.callback(folder)

    outcome = run(read_project(str(folder / "pipeline.yaml")), Notes())

    assert [line.split()[0] for line in outcome.did] == ["generated", "judged", "trained", "wrote"]
    assert (folder / "runs/students/small/model.safetensors").is_file()


def test_an_edited_prompt_exports_what_its_students_learn(tmp_path: Path) -> None:
    from synthkd.cli.init_command import command
    from synthkd.pipeline.adhoc import open_pipeline
    from synthkd.pipeline.exporting import export

    command.callback(tmp_path)
    settings = ("students=[]", "teacher.samples=1")
    for text in ("{{ message }}", "Customer: {{ message }}"):
        prompt = (tmp_path / "prompt.md").read_text().replace("{{ message }}", text)
        (tmp_path / "prompt.md").write_text(prompt)
        project = read_project(str(tmp_path / "pipeline.yaml"), settings)
        run(project, Notes())

    with open_pipeline(project, Notes()) as corpus:
        count = export(corpus, tmp_path / "out.jsonl", "jsonl", name="x", only_kept=False)

    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").open()]
    assert count == len(rows) == 10
    assert all(row["prompt"][0]["content"].startswith("Customer: ") for row in rows)


def test_held_out_rows_that_students_learn_from_are_noted(tmp_path: Path) -> None:
    from synthkd.pipeline import prepare

    project = read(tmp_path, "evaluation.held_out.path=data/support/gold_small.jsonl")

    assert "12 of 12 held-out rows ask what students learn from" in prepare(project).notes[0]


def test_verdicts_of_other_filters_are_replaced_by_the_next_run(tmp_path: Path) -> None:
    from synthkd.pipeline.adhoc import judge_pipeline

    small_job = ("students=[]", "evaluation=null", "sources[0].limit=4")
    run(read(tmp_path, *small_job), Notes())
    strict = read(tmp_path, *small_job, "filters=[{kind: length, min_words: 400}]")
    (stage,) = judge_pipeline(strict, Notes())

    again = run(read(tmp_path, *small_job), Notes())

    assert stage.kept == 0
    assert again.did[0] == "judged 4 samples"
    with read_corpus(tmp_path / "corpus.duckdb") as corpus:
        assert corpus.first("SELECT count(*) FROM kept") == (4,)
