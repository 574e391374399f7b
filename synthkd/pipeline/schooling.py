"""Training as a step: rows in, a student folder out, and the corpus knows who learned what.

A student is named by what made it: its options, its base and its rows. The same
ones make the same student, so it is not trained again.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from synthkd.corpus.evidence.handing import seal_student
from synthkd.corpus.evidence.sealing import IN_FOLDER
from synthkd.corpus.evidence.signing import read_signing_key
from synthkd.corpus.rows import pages, to_json
from synthkd.corpus.store import Corpus
from synthkd.errors import ConfigError
from synthkd.pipeline.lessons import Lessons
from synthkd.pipeline.paths import locate_base
from synthkd.records import digest
from synthkd.reports import write_model_card
from synthkd.rights.entries import Table
from synthkd.training import AnyStudent, NewBase, Progress, TrainingResult

_SMALL = 16 * 1024 * 1024  # bytes


class Schooled(NamedTuple):
    """A student, and what training it did: None if the same one was trained before."""

    student_id: str
    result: TrainingResult | None


def identify(student: AnyStudent, lessons: Lessons, project: Path) -> str:
    """Return the id of the student that `lessons` make of `student`.

    A base or a teacher that is a folder counts by what it holds, not by where it is.
    """
    located = locate_base(project, student)
    base, teacher = located.base, getattr(located, "teacher", None)
    folder = base.from_scratch.tokenizer if isinstance(base, NewBase) else base
    stamps = [_stamp(folder), *([_stamp(teacher)] if teacher else [])]
    return digest([student.model_dump(mode="json"), lessons.digest, *stamps])[:16]


def find_trained(corpus: Corpus, student_id: str) -> Path | None:
    """Return the folder of a student that was trained and is still there as it was."""
    found = corpus.first(
        "SELECT folder, weights_sha256 FROM store.students WHERE student_id = ?", [student_id]
    )
    if not found:
        return None
    folder = corpus.path.parent / found[0]
    return folder if folder.is_dir() and hash_weights(folder) == found[1] else None


def train_student(
    corpus: Corpus,
    student: AnyStudent,
    lessons: Lessons,
    folder: Path,
    *,
    project: Path,
    run_id: str,
    progress: Progress | None = None,
) -> Schooled:
    """Train `student` on `lessons` into `folder`, unless that was done before.

    The base is looked up from `project`.

    Raises:
        ConfigError: There is nothing to learn from, or the base cannot be loaded.
        MissingExtraError: TRL is not installed.
    """
    if not lessons.count:
        raise ConfigError(
            f"the student {student.name!r} has no rows to learn from: no sample was kept. "
            "Loosen the filters; `synthkd filter` shows what each of them dropped."
        )
    student_id = identify(student, lessons, project)
    if find_trained(corpus, student_id):
        return Schooled(student_id, None)
    read_signing_key()  # before hours of training: a key that cannot be read is told at once
    checkpoints = folder.parent / ".checkpoints" / f"{student.name}-{student_id}"
    with corpus.bounded():
        result = locate_base(project, student).train(
            lessons, folder, checkpoint_folder=checkpoints, progress=progress
        )
        _write_down(
            corpus, student, lessons, result, student_id=student_id, folder=folder, run_id=run_id
        )
    return Schooled(student_id, result)


def write_card(
    corpus: Corpus,
    student_id: str,
    folder: Path,
    *,
    name: str,
    use: Mapping[str, Any] | None,
    table: Table | None = None,
) -> None:
    """Write the card of a student, and bind all that is in its folder to what it learned.

    Options are those of `write_model_card`; it is signed where there is a key to sign with.

    Raises:
        ConfigError: Something cannot be written, or there is no key where one is named.
    """
    key = read_signing_key()
    # Once for the card, which tells of the snapshot, and once for the folder with the card in it.
    seal_student(corpus, student_id, folder, key=key)
    write_model_card(corpus, student_id, folder, name=name, use=use, table=table)
    seal_student(corpus, student_id, folder, key=key)


def hash_weights(folder: Path) -> str:
    """Return the SHA-256 over the names and bytes of a model's safetensors files."""
    total = hashlib.sha256()
    for path in sorted(folder.glob("*.safetensors")):
        total.update(path.name.encode())
        with path.open("rb") as file:
            total.update(hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()


def count_parameters(folder: Path) -> int | None:
    """Return how many parameters a model's safetensors files hold, from their headers alone."""
    count = 0
    for path in folder.glob("*.safetensors"):
        with path.open("rb") as file:
            header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        for name, tensor in header.items():
            if name != "__metadata__":
                size = 1
                for length in tensor["shape"]:
                    size *= length
                count += size
    return count or None


def _beside(corpus: Corpus, folder: Path) -> str:
    """Return `folder` as seen from the corpus where it is below it, so that both can be moved."""
    home, place = corpus.path.parent.resolve(), folder.resolve()
    return str(place.relative_to(home) if place.is_relative_to(home) else place)


def _stamp(folder: str | None) -> list[list[str | int]]:
    """Return what tells that a base changed: content of small files, size and time of large."""
    if folder is None or not Path(folder).is_dir():
        return []
    stamps: list[list[str | int]] = []
    files = (path for path in Path(folder).iterdir() if path.is_file() and path.name != IN_FOLDER)
    for path in sorted(files):
        status = path.stat()
        if status.st_size <= _SMALL:
            stamps.append([path.name, hashlib.sha256(path.read_bytes()).hexdigest()])
        else:
            stamps.append([path.name, status.st_size, status.st_mtime_ns])
    return stamps


def _write_down(
    corpus: Corpus,
    student: AnyStudent,
    lessons: Lessons,
    result: TrainingResult,
    *,
    student_id: str,
    folder: Path,
    run_id: str,
) -> None:
    """Write down the student, its learning curve, and which samples it learned."""
    base = student.base
    with corpus.transaction():
        for table in ("learning", "student_samples", "students"):
            corpus.db.execute(f"DELETE FROM store.{table} WHERE student_id = ?", [student_id])
        corpus.insert(
            "store.students",
            [
                {
                    "student_id": student_id,
                    "name": student.name,
                    "run_id": run_id,
                    "method": student.method,
                    "base": base if isinstance(base, str) else "from_scratch",
                    "folder": _beside(corpus, folder),
                    "options": to_json(student.model_dump(mode="json")),
                    "parameters": result.parameters,
                    "tokens": result.tokens,
                    "seconds": result.seconds,
                    "coverage": result.coverage,
                    "weights_sha256": hash_weights(folder),
                    "created_at": datetime.now(UTC),
                }
            ],
        )
        if student.gold is None:
            for page in pages(lessons.learned(), 1000):
                corpus.insert(
                    "store.student_samples",
                    ({"student_id": student_id, "sample_id": key} for key in page),
                    key=("student_id", "sample_id"),
                )
        corpus.insert(
            "store.learning",
            (
                {
                    "student_id": student_id,
                    "step": entry.step,
                    "measures": to_json(
                        {name: value for name, value in asdict(entry).items() if name != "step"}
                    ),
                }
                for entry in result.log
            ),
        )
