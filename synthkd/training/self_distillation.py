"""Self-distillation: rounds of training, each taught by the student of the round before."""

import shutil
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

from synthkd.training import kd, sft
from synthkd.training.base import Base, load_base
from synthkd.training.checkpoints import check_target, identify
from synthkd.training.fit import fit, prepare
from synthkd.training.live import LiveTrainer, load_teacher_of
from synthkd.training.loss import Objective
from synthkd.training.methods import KdStudent, SelfDistillationStudent, SftStudent
from synthkd.training.quiet import quietly
from synthkd.training.rows import EncodedRows
from synthkd.training.stages import common_options, count_on, count_steps, do_stage, join
from synthkd.training.student import NewBase
from synthkd.training.values import Progress, TrainingResult, TrainingRow


def train(
    student: SelfDistillationStudent,
    rows: Iterable[TrainingRow],
    folder: Path,
    checkpoint_folder: Path,
    progress: Progress | None,
) -> TrainingResult:
    """Train `student` on `rows` into `folder`; see `SelfDistillationStudent.train`."""
    check_target(folder)
    if isinstance(rows, Iterator):
        rows = list(rows)  # read by the first round and for the others
    with quietly():
        base, encoded = prepare(
            student, rows, has_teacher=False, checkpoint_folder=checkpoint_folder
        )
        home = checkpoint_folder / f"rounds-{identify(student, encoded.digest, base.model)}"
        before = home / "round-1"
        steps = count_steps(len(encoded.lengths), student.optimizer)
        told = count_on(progress, 1, after=steps * (student.rounds - 1))
        results = [do_stage(before, partial(_begin, student, rows, before, home, told))]
        for number in range(2, student.rounds + 1):
            after = home / f"round-{number}"
            learn = partial(
                _go_on,
                student.model_copy(update={"seed": (student.seed + number - 1) % 2**32}),
                encoded,
                before=before,
                folder=after if number < student.rounds else folder,
                checkpoint_folder=home,
                progress=count_on(
                    progress, number, steps * (number - 1), steps * (student.rounds - number)
                ),
            )
            results.append(do_stage(after, learn) if number < student.rounds else learn())
            before = after
    shutil.rmtree(home, ignore_errors=True)
    return replace(join(results), coverage=1.0)


def _begin(
    student: SelfDistillationStudent,
    rows: Iterable[TrainingRow],
    folder: Path,
    checkpoint_folder: Path,
    progress: Progress | None,
) -> TrainingResult:
    """Train the first round, which has no student before it, by the method it names."""
    options = {**common_options(student), "method": student.first}
    if student.first == "sft":
        plain = SftStudent.model_validate(options)
        return sft.train(plain, rows, folder, checkpoint_folder, progress)
    options |= {"alpha": student.alpha, "temperature": student.temperature}
    return kd.train(KdStudent.model_validate(options), rows, folder, checkpoint_folder, progress)


def _go_on(
    student: SelfDistillationStudent,
    rows: EncodedRows,
    *,
    before: Path,
    folder: Path,
    checkpoint_folder: Path,
    progress: Progress | None,
) -> TrainingResult:
    """Train a round whose teacher is the student in the folder `before`."""
    base = _start_anew(student, before)
    teacher = load_teacher_of(base, str(before))
    objective = Objective(alpha=student.alpha, temperature=student.temperature)
    return fit(
        student,
        base,
        replace(rows, digest=f"{rows.digest} {teacher.digest}"),
        folder=folder,
        checkpoint_folder=checkpoint_folder,
        progress=progress,
        make_trainer=partial(LiveTrainer, teacher=teacher, objective=objective),
    )


def _start_anew(student: SelfDistillationStudent, tokenizer: Path) -> Base:
    """Return the base once more, with the tokenizer that the first round had."""
    if isinstance(student.base, NewBase):
        scratch = student.base.from_scratch.model_copy(update={"tokenizer": str(tokenizer)})
        student = student.model_copy(update={"base": NewBase(from_scratch=scratch)})
    return load_base(student, ())
