"""A student that answers with one of a few labels, as a pipeline file tells of it."""

from collections.abc import Iterable
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from synthkd.training.student import Need, Student, open_door
from synthkd.training.values import Progress, TrainingResult, TrainingRow

MOST_LABELS = 1000


class ClassifierStudent(Student):
    """Learns how likely the teacher found each label: a classifier, and no language model.

    It answers with the label alone, in one pass over the prompt.
    """

    method: Literal["classifier"] = Field(
        description="classifier: learn the teacher's distribution over labels (arXiv:1503.02531), "
        "as DistilBERT does for a task (arXiv:1910.01108)."
    )
    labels: tuple[str, ...] | None = Field(
        default=None,
        min_length=2,
        max_length=MOST_LABELS,
        description="What it can answer; a row with another answer is counted and left out. "
        f"Default: every answer among the rows, {MOST_LABELS} at most.",
    )
    alpha: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="Weight of the cross-entropy with the label that was answered; 1 - alpha is "
        "that of the divergence from the teacher's distribution over labels "
        "(arXiv:1503.02531). 1 needs no log-probabilities.",
    )
    temperature: float = Field(
        default=1.0,
        gt=0,
        allow_inf_nan=False,
        description="Softens teacher and student alike (arXiv:1503.02531), and exactly, for "
        "every label has its share: labels outside of the stored top-k have none.",
    )

    @property
    def needs(self) -> frozenset[Need]:
        """Log-probabilities, unless the labels alone are learned."""
        return frozenset({"parts", "logprobs"} if self.alpha < 1 else {"parts"})

    @field_validator("labels")
    @classmethod
    def _tell_them_apart(cls, labels: tuple[str, ...] | None) -> tuple[str, ...] | None:
        for label in labels or ():
            if not label.strip() or label != label.strip():
                raise ValueError(f"{label!r} is never answered: answers are stripped; write it so")
        if labels and len(set(labels)) < len(labels):
            twice = next(label for label in labels if labels.count(label) > 1)
            raise ValueError(f"{twice!r} is there twice; write each label once")
        return labels

    @model_validator(mode="after")
    def _need_a_teacher(self) -> Self:
        if self.gold and self.alpha < 1:
            raise ValueError("no teacher gave log-probabilities for gold rows; write alpha: 1")
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

        A row without log-probabilities of its answer is learned by cross-entropy alone;
        `coverage` of the result is the share of the others. `rows_cut` had a prompt longer
        than `max_length`; `rows_skipped` had an answer that is no label. The learning curve
        is in nats per row. Otherwise as `SftStudent.train`.

        Raises:
            ConfigError: The base cannot be loaded, the answers are no labels, or no
                log-probabilities are there to learn from.
            MissingExtraError: TRL is not installed.
        """
        open_door()
        from synthkd.training import classifier

        return classifier.train(self, rows, folder, checkpoint_folder, progress)
