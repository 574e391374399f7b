"""Distillation from stored log-probabilities, as a pipeline file tells of it."""

from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from synthkd.training.student import Need, Student, open_door
from synthkd.training.values import Progress, TrainingResult, TrainingRow


class KdStudent(Student):
    """Learns the completions and how likely the teacher found each of their tokens."""

    method: Literal["kd"] = Field(description="kd: learn the teacher's log-probabilities as well.")
    needs: ClassVar[frozenset[Need]] = frozenset({"logprobs"})
    alpha: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="Weight of the cross-entropy; 1 - alpha is that of the divergence.",
    )
    temperature: float = Field(
        default=1.0,
        gt=0,
        description="Softens teacher and student alike. Exact at 1. At any other, the tokens "
        "outside the stored top-k are softened as if they were one token: what their shares "
        "were is not known.",
    )

    @model_validator(mode="after")
    def _need_a_teacher(self) -> Self:
        if self.gold:
            raise ValueError("no teacher gave log-probabilities for gold rows; write method: sft")
        return self

    def train(
        self,
        rows: Iterable[TrainingRow],
        folder: Path,
        *,
        checkpoint_folder: Path,
        progress: Progress | None = None,
    ) -> TrainingResult:
        """Train on `rows` and write the student to `folder`, whole or not at all.

        A row whose tokens cannot be matched with the student's is learned by
        cross-entropy alone; `coverage` of the result says how much that was.
        Otherwise as `SftStudent.train`.

        Raises:
            ConfigError: The base cannot be loaded, or no log-probabilities fit it.
            MissingExtraError: TRL is not installed.
        """
        open_door()
        from synthkd.training import kd

        return kd.train(self, rows, folder, checkpoint_folder, progress)
