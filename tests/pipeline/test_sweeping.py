"""A sweep trains a small grid of students, picks on half of the rows and measures on the others."""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from synthkd.cli import main
from synthkd.cli.sweep import find_ties
from synthkd.corpus.store import read_corpus
from synthkd.errors import ConfigError
from synthkd.pipeline.grid import SMALL_GRID, spread
from synthkd.pipeline.sweeping import Swept, Trial
from synthkd.training import AnyStudent, KdStudent, SftStudent
from tests.pipeline.quickstart import ROOT, small
from tests.pipeline.test_adhoc import SMALL, synthkd

__all__ = ["synthkd"]

SFT = SftStudent(name="small", base="folder", method="sft")


def names(students: list[tuple[AnyStudent, dict[str, str]]]) -> list[str]:
    return [student.name for student, _ in students]


def test_an_option_that_a_method_lacks_makes_no_student_of_its_own() -> None:
    students = spread(SFT, SMALL_GRID, None)

    assert names(students) == [
        "small.sft", "small.kd.alpha0.2", "small.kd.alpha0.5", "small.kd.alpha0.8",
    ]  # fmt: skip
    assert [getattr(student, "alpha", None) for student, _ in students] == [None, 0.2, 0.5, 0.8]


def test_what_the_grid_does_not_say_is_as_the_student_says() -> None:
    student = KdStudent(name="small", base="folder", method="kd", alpha=0.1, seed=7)

    ((first, chosen), (second, _)) = spread(student, ["optimizer.lr=1e-3,1e-2"], 5000)

    assert isinstance(first, KdStudent)
    assert (first.alpha, first.seed, first.optimizer.tokens) == (0.1, 7, 5000)
    assert (first.optimizer.lr, second.optimizer.lr) == (1e-3, 1e-2)
    assert chosen == {"optimizer.lr": "1e-3"}


@pytest.mark.parametrize(
    ("axes", "said"),
    [
        (["alpha"], "'alpha' is no axis; write KEY=VALUE,VALUE"),
        (["alpha=0.1", "alpha=0.2"], "alpha stands twice"),
        (["method=sft,magic"], "there is no method 'magic'; known: sft, "),
        (["method=sft,kdd"], "there is no method 'kdd'; did you mean 'kd'?"),
        (["size=1,2"], "no method has an option 'size'"),
        (["alhpa=0.1"], "no method has an option 'alhpa'; did you mean 'alpha'?"),
        (["lr=0.1"], "no method has an option 'lr'; did you mean 'optimizer.lr'?"),
        (["method=sft", "alpha=0.1,0.2"], "alpha makes no difference"),
        (
            ["method=sft,hidden", "alpha=0.1"],
            "small.hidden.alpha0.1: hidden asks a teacher while it trains, and none is named; add",
        ),
        (["method=kd", "targets=top_k,full"], "small.kd.targetsfull: kd asks a teacher"),
        (["method=kd", "alpha=7"], "small.kd.alpha7: --sweep alpha: alpha is 7; it must be"),
    ],
)
def test_a_grid_that_makes_no_sense_is_refused(axes: list[str], said: str) -> None:
    with pytest.raises(ConfigError, match="this cannot be swept") as refused:
        spread(SFT, axes, None)

    assert said in str(refused.value)


def test_a_teacher_is_given_to_the_methods_that_ask_one() -> None:
    students = spread(SFT, ["method=sft,kd,hidden", "teacher=big"], None)

    assert [getattr(student, "teacher", None) for student, _ in students] == [None, None, "big"]
    (again, _) = spread(students[2][0], ["method=kd"], None)[0]
    assert isinstance(again, KdStudent)


def trial(name: str, value: float) -> Trial:
    return Trial(name, Path(name), {}, "exact_match", value, value - 0.1, value + 0.1, 50)


def test_equal_students_are_told_and_which_was_taken() -> None:
    trials = [trial("a", 0.8), trial("b", 0.8), trial("c", 0.75), trial("d", 0.5)]

    equal, alike = find_ties(Swept(tuple(trials), trials[0]))

    assert equal == (
        "2 students reach 0.800 on the rows that pick (a, b); a was taken, the first of them in "
        "the grid"
    )
    assert "50 rows do not tell a from c, which lie" in alike
    assert not list(find_ties(Swept((trials[0], trials[3]), trials[0])))


def test_a_value_that_is_wrong_is_told_before_anything_is_trained() -> None:
    with pytest.raises(ConfigError, match="alpha"):
        spread(SFT, ["method=kd", "alpha=0.5,7"], None)


def test_names_that_no_folder_could_have_are_shortened() -> None:
    students = spread(SFT, ["base=models/a/b,models/c/d"], None)

    assert len(set(names(students))) == 2
    assert all("/" not in name for name in names(students))


def test_a_sweep_is_rows_in_the_corpus_and_is_not_done_twice(
    synthkd: Callable[..., Any], finished: tuple, tmp_path: Path
) -> None:
    corpus = tmp_path / "corpus.duckdb"
    shutil.copy(finished[0] / "corpus.duckdb", corpus)
    held_out = tmp_path / "held_out.jsonl"
    lines = (ROOT / "data/support/held_out.jsonl").read_text().splitlines()[:20]
    held_out.write_text("\n".join(lines))
    words = (
        "train", "--corpus", corpus, "--out", tmp_path / "grid", "--set", SMALL, "--tokens", 2500,
        "--held-out", held_out, "--sweep", "method=sft,kd", "--sweep", "alpha=0.3,0.7",
    )  # fmt: skip

    first, again = synthkd(*words), synthkd(*words)

    assert first == again
    values = [trial["value"] for trial in first["trials"]]
    assert values == sorted(values, reverse=True)
    assert first["best"]["name"] == first["trials"][0]["name"]
    assert {trial["n"] for trial in first["trials"]} == {first["best"]["n"]} == {10}
    with read_corpus(corpus) as opened:
        students = opened.db.execute(
            "SELECT name, tokens FROM students WHERE starts_with(name, 'grid.') ORDER BY created_at"
        ).fetchall()
        measured = opened.db.execute(
            "SELECT count(DISTINCT model) FROM store.evaluations WHERE starts_with(model, 'grid.') "
            "GROUP BY evaluation_id ORDER BY min(created_at)"
        ).fetchall()
    assert [name for name, _ in students] == ["grid.sft", "grid.kd.alpha0.3", "grid.kd.alpha0.7"]
    assert len({tokens for _, tokens in students}) == 1
    assert all(2000 <= tokens <= 3500 for _, tokens in students)
    assert measured == [(3,), (1,)]


def test_a_pipelines_student_is_swept_on_its_own_samples(
    synthkd: Callable[..., Any], finished: tuple, tmp_path: Path
) -> None:
    shutil.copy(finished[0] / "corpus.duckdb", tmp_path / "corpus.duckdb")
    settings = [
        word
        for text in [*small(tmp_path), "evaluation.held_out.limit=20"]
        for word in ("--set", text)
    ]

    told = synthkd(
        "train", ROOT / "pipelines/quickstart.yaml", *settings, "--tokens", 2000,
        "--student", "student-kd", "--sweep", "alpha=0.1,0.9",
    )  # fmt: skip

    assert {trial["name"] for trial in told["trials"]} == {
        "student-kd.alpha0.1", "student-kd.alpha0.9",
    }  # fmt: skip
    assert json.dumps(told["best"]["settings"]) in {'{"alpha": "0.1"}', '{"alpha": "0.9"}'}
    assert (tmp_path / "students" / told["best"]["name"] / "README.md").is_file()


def test_a_pipeline_that_sweep_took_for_an_axis_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(sys, "argv", ["synthkd", "train", "--sweep", "pipelines/quickstart.yaml"])

    with pytest.raises(SystemExit) as ended:
        main()

    assert ended.value.code == 2
    assert "'pipelines/quickstart.yaml' is no axis" in capsys.readouterr().err
