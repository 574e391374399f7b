"""`notice` and `summary` as a user calls them, on a corpus and on a pipeline."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from synthkd.corpus.evidence.handing import seal_student
from synthkd.corpus.evidence.sealing import IN_FOLDER
from synthkd.corpus.store import open_corpus
from tests.pipeline.jobs import Job
from tests.reports.building import Building
from tests.reports.judging import HELP, JUDGE, LLAMA, MINE, OWN, make, state
from tests.teachers.loopback import Loopback

Call = Callable[..., object]


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """A corpus with a student that learned what help pages and a teacher on a host gave."""
    building = Building(tmp_path / "corpus.duckdb")
    learned = make(building, HELP, LLAMA, JUDGE, count=3)
    make(building, OWN, MINE, count=2)
    state(building, "help", attribution={"title": "Help pages", "author": "A. Writer"})
    building.train("small", learned, student_id="s1")
    building.corpus.db.execute("UPDATE store.students SET folder = 'students/small'")
    building.corpus.close()
    return tmp_path / "corpus.duckdb"


def test_a_notice_is_written_and_what_is_missing_is_told(
    synthkd: Call, corpus: Path, tmp_path: Path
) -> None:
    said = synthkd("notice", "--corpus", corpus, "--student", "small", "--out", tmp_path / "out")

    assert said.code == 0, said.err
    assert str(tmp_path / "out" / "ATTRIBUTION.md") in said.out.splitlines()
    assert "missing: the text of CC-BY-SA-4.0; it is at https://spdx.org" in said.err
    assert "missing: the uri of help. State it as its `attribution`." in said.err
    assert "own" not in (tmp_path / "out" / "ATTRIBUTION.md").read_text().split("## Prompts")[0]


def test_a_notice_as_json_names_what_is_missing(
    synthkd: Call, corpus: Path, tmp_path: Path
) -> None:
    said = synthkd("notice", "--corpus", corpus, "--out", tmp_path / "out", "--json")

    told = json.loads(said.out)
    assert told["missing_credits"] == {"help": ["uri"]}
    assert "CC-BY-SA-4.0" in told["missing_texts"]
    assert {"kind": "NAME_PREFIX", "value": "Llama"}.items() <= {
        name: each[name] for each in told["owed"] if each["kind"] == "NAME_PREFIX" for name in each
    }.items()


def test_a_pipeline_brings_its_own_texts(
    synthkd: Call, loopback: Loopback, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    job = Job(tmp_path, loopback)
    job.run()
    (tmp_path / "LICENSES").mkdir()
    (tmp_path / "LICENSES" / "CC0-1.0.txt").write_text("mine to give\n")

    said = synthkd("notice", tmp_path / "pipeline.yaml", "--out", tmp_path / "out")

    assert said.code == 0, said.err
    assert (tmp_path / "out" / "LICENSES" / "CC0-1.0.txt").read_text() == "mine to give\n"
    assert "in 5 samples" in (tmp_path / "out" / "ATTRIBUTION.md").read_text().lower()


def test_a_notice_in_the_folder_of_a_student_is_under_its_seal(
    synthkd: Call, corpus: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "students" / "small"
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"weights")
    with open_corpus(corpus) as opened:
        seal_student(opened, "s1", folder)
    before = (folder / IN_FOLDER).read_text()

    said = synthkd("notice", "--corpus", corpus, "--student", "small", "--out", folder)

    assert said.code == 0, said.err
    assert (folder / IN_FOLDER).read_text() != before
    verified = synthkd("verify", folder)
    assert verified.code == 0, verified.out + verified.err


def test_a_seal_over_other_files_is_told_about(synthkd: Call, corpus: Path, tmp_path: Path) -> None:
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    with open_corpus(corpus) as opened:
        seal_student(opened, "s1", folder)

    said = synthkd("notice", "--corpus", corpus, "--out", folder)

    assert "is of what was there before" in said.err


@pytest.mark.parametrize("command", [("notice", "--out", "out"), ("summary", "eu")])
def test_no_such_student_is_a_sentence(synthkd: Call, corpus: Path, command: tuple[str]) -> None:
    said = synthkd(*command, "--corpus", corpus, "--student", "big")

    assert said.code == 2
    assert "knows no student 'big'; it knows small" in said.err


def test_a_summary_is_markdown_and_json(synthkd: Call, corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "summary.md"

    said = synthkd("summary", "eu", "--corpus", corpus, "--student", "small", "--out", out)
    told = synthkd("summary", "ab2013", "--corpus", corpus, "--json")

    assert said.code == 0, said.err
    assert "fields are not filled" in said.err
    assert "### 2.5 Synthetic data" in out.read_text()
    assert len(json.loads(told.out)["fields"]) == 12


def test_questions_answered_fill_the_summary(synthkd: Call, corpus: Path, tmp_path: Path) -> None:
    path = tmp_path / "answers.yaml"
    asked = synthkd("summary", "eu", "--corpus", corpus, "--questions")
    path.write_text(asked.out.replace('by: ""', "by: Ada").replace('1.1.a: ""', "1.1.a: Acme Ltd"))

    said = synthkd("summary", "eu", "--corpus", corpus, "--answers", path)

    assert said.code == 0, said.err
    assert "- Acme Ltd *(attested by Ada)*" in said.out


def test_a_wrong_answer_names_its_line(synthkd: Call, corpus: Path, tmp_path: Path) -> None:
    path = tmp_path / "answers.yaml"
    path.write_text("answers:\n  2.5.z: x\n")

    said = synthkd("summary", "eu", "--corpus", corpus, "--answers", path)

    assert said.code == 2
    assert f"{path}:2: there is no field '2.5.z'" in said.err
