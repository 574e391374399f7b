"""Distilling step-by-step: one model, two tasks, and each row of a task counts as much as any."""

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

from synthkd.training.checkpoints import check_target
from synthkd.training.fit import fit, prepare
from synthkd.training.methods import RationaleStudent
from synthkd.training.processes import share, together
from synthkd.training.quiet import quietly
from synthkd.training.rows import IGNORED, EncodedRows
from synthkd.training.values import Progress, TrainingResult, TrainingRow

logger = logging.getLogger(__name__)


def train(
    student: RationaleStudent,
    rows: Iterable[TrainingRow],
    folder: Path,
    checkpoint_folder: Path,
    progress: Progress | None,
) -> TrainingResult:
    """Train `student` on the two tasks of `rows`; see `RationaleStudent.train`."""
    # What cannot be read twice is kept: a new tokenizer is trained on the tasks.
    tasks = Tasks(student, list(rows) if isinstance(rows, Iterator) else rows)
    with together(student, folder, checkpoint_folder), quietly():
        share(lambda: check_target(folder))
        base, encoded = prepare(
            student, tasks, has_teacher=False, checkpoint_folder=checkpoint_folder
        )
        logger.info(
            "tasks made: student=%s answers=%d without_rationale=%d",
            student.name,
            tasks.answers,
            tasks.answers - tasks.rationales,
        )
        return fit(
            student,
            base,
            encoded,
            folder=folder,
            checkpoint_folder=checkpoint_folder,
            progress=progress,
            collator=RowMeanCollator(
                pad_token_id=base.tokenizer.pad_token_id,
                mean_length=encoded.completion_tokens / count_rows(encoded),
            ),
        )


def count_rows(encoded: EncodedRows) -> int:
    """Return how many rows there are, those kept aside included."""
    return len(encoded.lengths) + (0 if encoded.aside is None else len(encoded.aside))


@dataclass
class Tasks:
    """The tasks of some rows, as often as they can be read, and how many there were at last."""

    student: RationaleStudent
    rows: Iterable[TrainingRow]
    answers: int = 0
    rationales: int = 0

    def __iter__(self) -> Iterator[TrainingRow]:
        """Yield the tasks."""
        self.answers = self.rationales = 0
        for task in self.student.tasks(self._count()):
            self.rationales += 1
            yield task
        self.rationales -= self.answers

    def _count(self) -> Iterator[TrainingRow]:
        for row in self.rows:
            self.answers += 1
            yield row


@dataclass
class RowMeanCollator(DataCollatorForLanguageModeling):
    """Weighs the tokens of a batch so that a row's weight is that of its mean.

    The trainer sums over tokens and divides by their number. A token of a row of n learned
    ones weighs `mean_length` / n, where `mean_length` is the mean n of all rows: the loss
    is then, up to how the rows of a step differ, the mean over rows of weight times mean
    cross-entropy, and not that of the rationales, whose tokens are many, with the
    answers lost among them.
    """

    mean_length: float = 1.0

    def torch_call(self, examples: list[dict[str, Any]]) -> dict[str, Any]:
        """Return TRL's batch and `weights` [rows, tokens]."""
        batch: dict[str, Any] = super().torch_call(examples)
        is_learned = (batch["labels"] != IGNORED).float()
        weight = torch.tensor([[example["weight"]] for example in examples])
        # Where nothing is learned (a process without a row of its own), nothing weighs.
        share = is_learned / is_learned.sum(1, keepdim=True).clamp(min=1)
        return batch | {"weights": weight * self.mean_length * share}
