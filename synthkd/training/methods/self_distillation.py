"""Self-distillation, as a pipeline file tells of it."""

from collections.abc import Iterable
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from synthkd.training.student import Need, Student, open_door
from synthkd.training.values import Progress, TrainingResult, TrainingRow


class SelfDistillationStudent(Student):
    """Learns in rounds: the student of one round is the teacher of the next.

    Born-again networks (arXiv:1805.04770). The first round learns the completions. Each
    later one starts from the same base anew, with another seed, and learns the completions
    and the whole distribution of the round before. The last round's student is kept.
    """

    method: Literal["self_distillation"] = Field(
        description="self_distillation: the student of one round is the teacher of the next."
    )
    first: Literal["sft", "kd"] = Field(
        default="sft",
        description="How the first round learns: the completions alone, or with the stored "
        "log-probabilities of the corpus's teacher as well.",
    )
    rounds: int = Field(
        default=2,
        ge=2,
        description="Trainings one after another, the first included; each sees the rows "
        "optimizer.epochs times.",
    )
    alpha: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="Weight of the cross-entropy from the second round on; 1 - alpha is that of "
        "the divergence from the student of the round before (arXiv:1805.04770 uses 0.5).",
    )
    temperature: float = Field(
        default=1.0,
        gt=0,
        description="Softens both sides; exact, as the whole vocabulary is known.",
    )

    @property
    def needs(self) -> frozenset[Need]:
        """Stored log-probabilities, if the first round learns them."""
        return frozenset({"logprobs"}) if self.first == "kd" else frozenset()

    @model_validator(mode="after")
    def _allow_what_is_heeded(self) -> Self:
        if self.optimizer.tokens:
            raise ValueError(
                "optimizer.tokens is of one training, and here are several; write epochs"
            )
        if self.gold and self.first == "kd":
            raise ValueError("no teacher gave log-probabilities for gold rows; write first: sft")
        return self

    def train(
        self,
        rows: Iterable[TrainingRow],
        folder: Path,
        *,
        checkpoint_folder: Path,
        progress: Progress | None = None,
    ) -> TrainingResult:
        """Train on `rows` and write the last student to `folder`, whole or not at all.

        An interrupted training goes on with the round it was in. The log holds all rounds
        one after another; `more` of its entries tells the `round`. Otherwise as
        `SftStudent.train`.

        Raises:
            ConfigError: The base cannot be loaded, or no row can be trained on.
            MissingExtraError: TRL is not installed.
        """
        open_door()
        from synthkd.training import self_distillation

        return self_distillation.train(self, rows, folder, checkpoint_folder, progress)
