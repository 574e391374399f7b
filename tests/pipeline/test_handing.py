"""What a run makes can be verified without the run, by whoever it is handed to."""

import shutil
from pathlib import Path

from synthkd.corpus.evidence.statements import open_statement
from synthkd.corpus.evidence.verifying import verify
from synthkd.corpus.store import read_corpus
from synthkd.pipeline import Outcome


def test_a_run_leaves_a_whole_corpus_and_sealed_students(finished: tuple[Path, Outcome]) -> None:
    folder, _ = finished
    students = sorted((folder / "students").glob("[!.]*"))

    for path in [folder / "corpus.duckdb", *students]:
        report = verify(path)
        assert report.damages == [], path
    assert [path.name for path in students] == ["baseline-gold", "student-kd", "student-sft"]


def test_events_tell_what_was_done_in_order(finished: tuple[Path, Outcome]) -> None:
    folder, outcome = finished
    with read_corpus(folder / "corpus.duckdb") as corpus:
        events = corpus.db.execute("SELECT type, subject FROM events ORDER BY seq").fetchall()

    kinds = [kind for kind, _ in events]
    assert events[0] == ("run", outcome.run_id)
    assert {"filter", "snapshot", "train"} <= set(kinds)
    assert kinds.index("filter") < kinds.index("snapshot") < kinds.index("train")


def test_a_student_is_bound_to_the_samples_that_the_corpus_says_it_learned(
    finished: tuple[Path, Outcome],
) -> None:
    folder, _ = finished
    line = (folder / "students/student-kd/synthkd.intoto.jsonl").read_text().splitlines()[0]
    said = open_statement(line).predicate
    with read_corpus(folder / "corpus.duckdb") as corpus:
        learned, root = corpus.first(
            """
            SELECT (SELECT count(*) FROM store.student_samples l
                WHERE l.student_id = t.student_id), root
            FROM store.students t JOIN store.student_snapshots USING (student_id)
            JOIN store.snapshots USING (snapshot_id) WHERE t.name = 'student-kd'
            """
        )

    assert [(each["samples"], each["root"]) for each in said["snapshots"]] == [(learned, root)]


def test_a_student_that_was_copied_away_is_verified_there(
    finished: tuple[Path, Outcome], tmp_path: Path
) -> None:
    folder, _ = finished
    shutil.copytree(folder / "students/student-sft", tmp_path / "handed")
    assert verify(tmp_path / "handed").is_whole
    with (tmp_path / "handed" / "tokenizer.json").open("r+b") as file:
        file.write(b" ")

    (damage,) = verify(tmp_path / "handed").damages

    assert damage == ("tokenizer.json", "it is not the file that was sealed")
