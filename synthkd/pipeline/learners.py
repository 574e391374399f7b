"""Students as far as rights go: what each is for, and what it is made from besides samples."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from synthkd.corpus.samples import add_profile
from synthkd.corpus.store import Corpus
from synthkd.pipeline.materials import describe_prompt, describe_teacher
from synthkd.pipeline.paths import find_input, locate_teacher
from synthkd.pipeline.rights import Rules
from synthkd.prompts import Prompt
from synthkd.records import Contribution
from synthkd.rights.entries import Table
from synthkd.rights.judge import describe_base
from synthkd.rights.table import read_table
from synthkd.rights.use import Use
from synthkd.teachers.options import TeacherOptions
from synthkd.training import AnyStudent


class Learner(NamedTuple):
    """A student: its use, and what it is made from besides the samples it learns.

    One that learns `gold` rows learns no samples, nor did any that it goes on from; the rows
    are in `extra`.
    """

    name: str
    use: Use
    extra: tuple[Contribution, ...] = ()
    gold: bool = False


def find_learners(
    students: Sequence[AnyStudent], rules: Rules, folder: Path, prompt: Prompt | None = None
) -> list[Learner]:
    """Return `students` as far as rights go; without any, what is made for the use itself."""
    if not students:
        return [as_learner(rules.use, folder, rules.table)]
    return [
        Learner(
            student.name,
            rules.use.model_copy(
                update={
                    "name": rules.use.name or student.name,
                    "base": rules.use.base or _find_root(student, folder, students[:place]),
                }
            ),
            describe_student(
                student, folder, prompt=prompt, table=rules.table, earlier=students[:place]
            ),
            gold=_learns_gold_alone(student, folder, students[:place]),
        )
        for place, student in enumerate(students)
    ]


def as_learner(use: Use, folder: Path, table: Table) -> Learner:
    """Return the student that `use` itself tells of: its name, and what its base brings."""
    extra = _describe_base(use.base, table, folder, ()) if use.base else ()
    return Learner(use.name or "samples", use, tuple(extra))


def describe_student(
    student: AnyStudent,
    folder: Path,
    *,
    prompt: Prompt | None = None,
    table: Table | None = None,
    earlier: Sequence[AnyStudent] = (),
) -> tuple[Contribution, ...]:
    """Return what `student` is made from besides samples; its paths start from `folder`.

    That is its base, a teacher that runs beside it, and gold rows with the `prompt` they fill.
    A base that is one of the students `earlier` in its pipeline brings what that one is made
    from: it is not there yet.
    """
    table = table or read_table()
    base = _name_base(student)
    made_from = [*_describe_base(base, table, folder, earlier)] if base else []
    teacher = getattr(student, "teacher", None)
    if teacher:
        options = locate_teacher(folder, TeacherOptions(model=f"local/{teacher}"))
        made_from.append(describe_teacher(f"local/{teacher}", "localhost", options))
    if student.gold:
        gold = student.gold.describe("seed", "content", student.gold.path)
        made_from += [gold, *([describe_prompt(prompt)] if prompt else [])]
    return tuple(dict.fromkeys(made_from))


def write_contributions(corpus: Corpus, student_id: str, made_from: Sequence[Contribution]) -> None:
    """Write down what a student is made from besides the samples it learned."""
    with corpus.transaction():
        corpus.db.execute(
            "DELETE FROM store.student_contributions WHERE student_id = ?", [student_id]
        )
        if made_from:
            row = {"student_id": student_id, "profile_id": add_profile(corpus, made_from)}
            corpus.insert("store.student_contributions", [row])


def find_previous(
    student: AnyStudent, folder: Path, earlier: Sequence[AnyStudent]
) -> AnyStudent | None:
    """Return which of the students `earlier` in its pipeline `student` goes on from, if any."""
    base = _name_base(student)
    before = _find_earlier(base, folder, earlier) if base else None
    return None if before is None else earlier[before]


def _learns_gold_alone(student: AnyStudent, folder: Path, earlier: Sequence[AnyStudent]) -> bool:
    if student.gold is None:
        return False
    before = find_previous(student, folder, earlier)
    return before is None or _learns_gold_alone(before, folder, earlier[: earlier.index(before)])


def _name_base(student: AnyStudent) -> str | None:
    return student.base if isinstance(student.base, str) else None


def _find_root(student: AnyStudent, folder: Path, earlier: Sequence[AnyStudent]) -> str | None:
    """Return what `student` starts from, by way of all the students that it goes on from."""
    before = find_previous(student, folder, earlier)
    if before is None:
        return _name_base(student)
    return _find_root(before, folder, earlier[: earlier.index(before)])


def _find_earlier(base: str, folder: Path, earlier: Sequence[AnyStudent]) -> int | None:
    place = find_input(folder, base)
    names = [student.name for student in earlier]
    is_one = place.parent.name == "students" and place.name in names
    return names.index(place.name) if is_one else None


def _describe_base(
    base: str, table: Table, folder: Path, earlier: Sequence[AnyStudent]
) -> Sequence[Contribution]:
    before = _find_earlier(base, folder, earlier)
    if before is not None:
        return describe_student(earlier[before], folder, table=table, earlier=earlier[:before])
    place = find_input(folder, base)
    return [describe_base(base, place if place.is_dir() else None, table)]
