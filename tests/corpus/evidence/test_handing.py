"""What leaves the corpus is bound to its samples, and a flipped byte in it is found."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from synthkd.corpus.evidence.handing import seal_export, seal_student
from synthkd.corpus.evidence.sealing import IN_FOLDER, Sealed, check_seal, find_seal
from synthkd.corpus.evidence.snapshots import take_snapshot
from synthkd.corpus.evidence.statements import EXPORT, make_statement, open_statement
from synthkd.corpus.store import Corpus, open_corpus
from synthkd.errors import ConfigError
from tests.corpus.evidence.making import flip, make_corpus
from tests.corpus.evidence.test_statements import make_key


def add_student(corpus: Corpus, folder: Path, *, learned: bool = True) -> None:
    """Write a student into `folder` and into the corpus."""
    folder.mkdir()
    for name in ("model.safetensors", "config.json", "README.md"):
        (folder / name).write_bytes(f"the bytes of {name}".encode() * 20)
    corpus.insert(
        "store.students",
        [
            {
                "student_id": "s1", "name": "small", "run_id": "run", "method": "kd",
                "base": str(folder), "folder": str(folder), "options": "{}", "parameters": 100,
                "tokens": 10, "seconds": 0.5, "coverage": None, "weights_sha256": "ab" * 32,
                "created_at": datetime(2026, 1, 2, tzinfo=UTC),
            }
        ],
    )  # fmt: skip
    if learned:
        corpus.db.execute("INSERT INTO store.student_samples SELECT 's1', sample_id FROM kept")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sealed student, signed."""
    home = tmp_path_factory.mktemp("handing")
    with open_corpus(make_corpus(home / "c.duckdb")) as corpus:
        add_student(corpus, home / "student")
        seal_student(corpus, "s1", home / "student", key=make_key())
    return home / "student"


def test_a_student_is_bound_to_what_it_learned(folder: Path) -> None:
    with open_corpus(folder.parent / "c.duckdb") as corpus:
        snapshot = corpus.first(
            "SELECT snapshot_id, root, samples FROM store.snapshots SEMI JOIN "
            "store.student_snapshots USING (snapshot_id)"
        )
        event = corpus.first("SELECT payload ->> 'snapshot' FROM events WHERE type = 'train'")
    lines = (folder / IN_FOLDER).read_text().splitlines()
    opened = open_statement(lines[0], make_key().public)
    said = opened.predicate

    assert set(opened.subjects) == {"model.safetensors", "config.json", "README.md"}
    assert said["snapshots"] == [dict(zip(("snapshot", "root", "samples"), snapshot, strict=True))]
    assert snapshot[2] == 4
    assert event == (snapshot[0],)
    assert (said["student"]["name"], said["base"]) == ("small", "student")
    assert said["made_by"][0]["name"] == "openai/test"
    assert said["verdicts"] == {"deny": 4}
    assert open_statement(lines[1]).predicate["root"] == snapshot[1]
    assert str(folder.parent) not in json.dumps(said)


def test_a_sealed_folder_is_whole(folder: Path) -> None:
    report = check_seal(find_seal(folder), make_key().public)

    assert (report.is_whole, report.kind) == (True, "student")
    assert report.checked == {"files": 3, "snapshots": 1}
    assert report.notes == []
    assert set(report.signers.values()) == {make_key().public.key_id}


@given(st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
def test_a_flipped_byte_in_any_file_is_found_and_located(folder: Path, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(["model.safetensors", "README.md", "config.json", IN_FOLDER]))
    file = folder / name
    before = file.read_bytes()
    flip(file, data.draw(st.integers(0, len(before) - 1)), data.draw(st.integers(1, 255)))
    try:
        report = check_seal(find_seal(folder))
    finally:
        file.write_bytes(before)

    assert report.damages
    assert all(damage.where.startswith(name) for damage in report.damages)


def test_what_is_missing_and_what_came_later_is_told(tmp_path: Path) -> None:
    with open_corpus(make_corpus(tmp_path / "c.duckdb")) as corpus:
        add_student(corpus, tmp_path / "student")
        seal_student(corpus, "s1", tmp_path / "student")
    (tmp_path / "student" / "config.json").unlink()
    (tmp_path / "student" / "later.txt").write_text("x")

    report = check_seal(find_seal(tmp_path / "student"))

    assert report.damages == [("config.json", "it is missing")]
    assert any(note.startswith("later.txt is there") for note in report.notes)
    assert any("is not signed" in note for note in report.notes)


def test_a_student_that_is_sealed_again_keeps_its_snapshot(tmp_path: Path) -> None:
    with open_corpus(make_corpus(tmp_path / "c.duckdb")) as corpus:
        add_student(corpus, tmp_path / "student")
        first = seal_student(corpus, "s1", tmp_path / "student")
        assert seal_student(corpus, "s1", tmp_path / "student") == first
        corpus.db.execute("DELETE FROM store.samples WHERE seed_id = 'question 0?'")
        (tmp_path / "student" / "README.md").write_text("scores")
        second = seal_student(corpus, "s1", tmp_path / "student")
        events = corpus.first("SELECT count(*) FROM events WHERE type = 'train'")

    said = [open_statement(each).predicate["snapshots"] for each in (first, second)]
    assert said[0] == said[1]
    assert events == (2,)
    assert check_seal(find_seal(tmp_path / "student")).is_whole


def test_a_student_of_gold_rows_is_bound_to_no_samples(tmp_path: Path) -> None:
    with open_corpus(make_corpus(tmp_path / "c.duckdb")) as corpus:
        add_student(corpus, tmp_path / "student", learned=False)
        line = seal_student(corpus, "s1", tmp_path / "student")

    assert open_statement(line).predicate["snapshots"] == []
    assert check_seal(find_seal(tmp_path / "student")).is_whole


def test_a_snapshot_of_another_does_not_pass_for_the_one_that_is_named(tmp_path: Path) -> None:
    with open_corpus(make_corpus(tmp_path / "c.duckdb")) as corpus:
        add_student(corpus, tmp_path / "student")
        seal_student(corpus, "s1", tmp_path / "student")
        other = take_snapshot(corpus, "another").statement
    seal = tmp_path / "student" / IN_FOLDER
    first = seal.read_text().splitlines()[0]
    seal.write_text(f"{first}\n{other}\n")

    (damage,) = check_seal(find_seal(tmp_path / "student")).damages

    assert "is missing, or of another" in damage.what


@pytest.mark.parametrize("form", ["jsonl", "datasets"])
def test_an_export_is_sealed_and_written_down(tmp_path: Path, form: str) -> None:
    out = tmp_path / "out"
    out.mkdir()
    if form == "datasets":
        (out / "data").mkdir()
        (out / "data" / "train.parquet").write_bytes(b"rows")
        beside = []
    else:
        out = out / "rows.jsonl"
        out.write_bytes(b"rows")
        beside = [out.with_name("rows.jsonl.README.md")]
        beside[0].write_bytes(b"card")
    with open_corpus(make_corpus(tmp_path / "c.duckdb")) as corpus:
        seal_export(corpus, out, form, beside=beside, recipient="acme")
        written = corpus.first("SELECT path, format, recipient, samples FROM exports")
        event = corpus.first("SELECT payload ->> 'recipient' FROM events WHERE type = 'export'")

    assert written == (str(out), form, "acme", 4)
    assert event == ("acme",)
    report = check_seal(find_seal(out))
    assert (report.is_whole, report.kind, report.checked["files"]) == (
        True,
        "export",
        1 + len(beside),
    )
    assert not (tmp_path / "acme").exists()
    assert b"acme" not in find_seal(out).seal.read_bytes()
    flip(out / "data" / "train.parquet" if out.is_dir() else out, 1)
    assert check_seal(find_seal(out)).damages[0].what == "it is not the file that was sealed"


@pytest.mark.parametrize(
    ("subjects", "predicate"),
    [
        ([("a", {})], {"samples": 1}),
        ([], {"snapshots": [1]}),
        ([], {"snapshots": "x"}),
        ([("a\0b", {"sha256": "00"})], {"samples": 1}),
    ],
)
def test_a_statement_of_somebody_else_is_told_and_no_traceback(
    tmp_path: Path, subjects: list[tuple[str, dict[str, str]]], predicate: dict[str, object]
) -> None:
    (tmp_path / "a").write_text("x")
    (tmp_path / IN_FOLDER).write_text(make_statement(subjects, "urn:other", predicate) + "\n")

    report = check_seal(Sealed(tmp_path / IN_FOLDER, tmp_path))

    assert not report.is_whole


def test_a_name_that_leads_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "outside").write_text("x")
    (tmp_path / "in").mkdir()
    line = make_statement([("../outside", {"sha256": "00"})], EXPORT, {"samples": 1})
    (tmp_path / "in" / IN_FOLDER).write_text(line + "\n")

    (damage,) = check_seal(Sealed(tmp_path / "in" / IN_FOLDER, tmp_path / "in")).damages

    assert damage.what == "it lies outside of the folder"


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    with open_corpus(make_corpus(tmp_path / "c.duckdb")) as corpus:
        add_student(corpus, tmp_path / "student")
        with pytest.raises(ConfigError, match="cannot be written"):
            seal_student(corpus, "s1", tmp_path / "gone")
