"""Steps without a pipeline file, on the corpus that the small quickstart left."""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from synthkd.cli import main
from tests.pipeline.quickstart import ROOT

SMALL = "base.from_scratch={hidden_size: 32, layers: 1, heads: 2, tokenizer: TOKENIZER}".replace(
    "TOKENIZER", str(ROOT / "data/support/teacher")
)


@pytest.fixture
def synthkd(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> Callable[..., object]:
    def call(*words: object) -> object:
        monkeypatch.setattr(sys, "argv", ["synthkd", *map(str, words), "--json"])
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capsys.readouterr()
        assert not ended.value.code, captured.err
        return json.loads(captured.out)

    return call


def test_a_student_learns_a_corpus_and_is_measured_on_held_out_rows(
    synthkd: Callable[..., object], finished: tuple, tmp_path: Path
) -> None:
    corpus, out = tmp_path / "corpus.duckdb", tmp_path / "student"
    shutil.copy(finished[0] / "corpus.duckdb", corpus)
    held_out = tmp_path / "held_out.jsonl"
    rows = (ROOT / "data/support/held_out.jsonl").read_text().splitlines()[:6]
    held_out.write_text("\n".join(rows))
    train = ("train", "--corpus", corpus, "--method", "kd", "--out", out, "--set", SMALL,
             "--set", "optimizer.epochs=1")  # fmt: skip

    first, again = synthkd(*train), synthkd(*train)
    scores = synthkd(
        "evaluate", "--corpus", corpus, "--student", out, "--held-out", held_out,
        "--metric", "exact_match", "--set", "max_tokens=8",
    )  # fmt: skip

    assert (first["trained"], again["trained"]) == (True, False)
    assert first["rows"] == again["rows"] > 0
    assert first["coverage"] == 1.0
    assert (out / "README.md").is_file()
    assert [(s["model"], s["metric"], s["n"]) for s in scores] == [("student", "exact_match", 6)]


def test_kd_on_answers_without_logprobs_names_the_ways_out(
    finished: tuple, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    rows, corpus = tmp_path / "rows.jsonl", tmp_path / "corpus.duckdb"
    rows.write_text('{"prompt": "hi", "completion": "hello there"}\n')
    take_in = ["import", rows, "--corpus", corpus, "--license", "MIT", "--model", "openai/gpt-4o"]
    learn = ["train", "--corpus", corpus, "--method", "kd", "--out", tmp_path / "s", "--set", SMALL]
    for words in (take_in, learn):
        monkeypatch.setattr(sys, "argv", ["synthkd", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main()

    assert ended.value.code == 2
    assert "sft" in capsys.readouterr().err


def test_held_out_rows_without_right_answers_are_refused(
    finished: tuple, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    corpus, rows = tmp_path / "corpus.duckdb", tmp_path / "rows.jsonl"
    shutil.copy(finished[0] / "corpus.duckdb", corpus)
    rows.write_text('{"message": "Where is my lamp?"}\n')
    student = finished[0] / "students" / "student-kd"
    words = ["evaluate", "--corpus", corpus, "--student", student, "--held-out", rows]
    monkeypatch.setattr(sys, "argv", ["synthkd", *map(str, words)])

    with pytest.raises(SystemExit) as ended:
        main()

    assert ended.value.code == 2
    assert "holds no right answers" in capsys.readouterr().err
