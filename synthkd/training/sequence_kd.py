"""Sequence-level distillation: SFT on the teacher's best completion of each prompt."""

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from synthkd.training.checkpoints import check_target
from synthkd.training.fit import fit, prepare
from synthkd.training.methods import SequenceKdStudent
from synthkd.training.processes import share, together
from synthkd.training.quiet import quietly
from synthkd.training.values import Progress, TrainingResult, TrainingRow

logger = logging.getLogger(__name__)


def train(
    student: SequenceKdStudent,
    rows: Iterable[TrainingRow],
    folder: Path,
    checkpoint_folder: Path,
    progress: Progress | None,
) -> TrainingResult:
    """Train `student` on the best of `rows`, in `folder`; see `SequenceKdStudent.train`."""
    # What cannot be read twice is kept: a new tokenizer is trained on what is picked.
    best = Best(student, list(rows) if isinstance(rows, Iterator) else rows)
    with together(student, folder, checkpoint_folder), quietly():
        share(lambda: check_target(folder))
        base, encoded = prepare(
            student, best, has_teacher=False, checkpoint_folder=checkpoint_folder
        )
        logger.info(
            "completions picked: student=%s pick=%s picked=%d of=%d",
            student.name,
            student.pick,
            best.picked,
            best.read,
        )
        return fit(
            student,
            base,
            encoded,
            folder=folder,
            checkpoint_folder=checkpoint_folder,
            progress=progress,
        )


@dataclass
class Best:
    """The best of some rows, as often as they can be read; `picked` of `read` the last time."""

    student: SequenceKdStudent
    rows: Iterable[TrainingRow]
    picked: int = 0
    read: int = 0

    def __iter__(self) -> Iterator[TrainingRow]:
        """Yield the best row of each prompt."""
        self.picked = self.read = 0
        for row in self.student.choose(self._count()):
            self.picked += 1
            yield row

    def _count(self) -> Iterator[TrainingRow]:
        for row in self.rows:
            self.read += 1
            yield row
