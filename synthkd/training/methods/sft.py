"""Supervised fine-tuning, as a pipeline file tells of it."""

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from pydantic import Field

from synthkd.training.student import Student, open_door
from synthkd.training.values import Progress, TrainingResult, TrainingRow


class SftStudent(Student):
    """Learns the completions themselves: cross-entropy on their tokens."""

    method: Literal["sft"] = Field(description="sft: learn the completions.")

    def train(
        self,
        rows: Iterable[TrainingRow],
        folder: Path,
        *,
        checkpoint_folder: Path,
        progress: Progress | None = None,
    ) -> TrainingResult:
        """Train on `rows` and write the student to `folder`, whole or not at all.

        An interrupted training goes on from its last checkpoint when it is called
        again with the same options and rows. A student that is in `folder` already
        is replaced. `rows` are read in order, and twice where they train a tokenizer;
        they need not fit in memory. Where several processes were started together, this
        is for the first; the others `follow`.

        Raises:
            ConfigError: The base cannot be loaded, no row can be trained on, or the disk
                is full.
            MissingExtraError: TRL is not installed.
        """
        open_door(several=True)
        from synthkd.training import sft

        return sft.train(self, rows, folder, checkpoint_folder, progress)
