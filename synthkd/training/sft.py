"""Supervised fine-tuning: the student learns the teacher's completions, token by token."""

from collections.abc import Iterable
from pathlib import Path

from synthkd.training.checkpoints import check_target
from synthkd.training.fit import fit, prepare
from synthkd.training.methods import SftStudent
from synthkd.training.processes import share, together
from synthkd.training.quiet import quietly
from synthkd.training.values import Progress, TrainingResult, TrainingRow


def train(
    student: SftStudent,
    rows: Iterable[TrainingRow],
    folder: Path,
    checkpoint_folder: Path,
    progress: Progress | None,
) -> TrainingResult:
    """Train `student` on `rows` and write it to `folder`; see `SftStudent.train`."""
    with together(student, folder, checkpoint_folder), quietly():
        share(lambda: check_target(folder))
        base, encoded = prepare(
            student, rows, has_teacher=False, checkpoint_folder=checkpoint_folder
        )
        return fit(
            student,
            base,
            encoded,
            folder=folder,
            checkpoint_folder=checkpoint_folder,
            progress=progress,
        )
