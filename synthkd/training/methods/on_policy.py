"""Distillation on the student's own samples, as a pipeline file tells of it."""

from collections.abc import Iterable
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from synthkd.training.student import Optimizer, Student, open_door
from synthkd.training.values import Progress, TrainingResult, TrainingRow


class OnPolicyStudent(Student):
    """Answers the prompts itself, and learns what the teacher thinks of each token it wrote.

    On-policy distillation (GKD, arXiv:2306.13649) by TRL's DistillationTrainer: all
    samples are the student's own (GKD's share λ of them is 1), the completions of the
    rows are not read, and nothing but the divergence is minimized: no cross-entropy,
    and no factor τ². A student that cannot answer yet learns little from its own answers:
    `warm_up` has it learn the rows' completions first.
    """

    method: Literal["on_policy"] = Field(
        description="on_policy: learn from the teacher's judgement of the student's own samples."
    )
    teacher: str = Field(
        description="A folder or hub id of a model that has the student's vocabulary; it is "
        "loaded beside the student, and trust_remote_code holds for it too."
    )
    beta: float = Field(
        default=1.0,
        ge=0,
        le=1,
        description="Which divergence is minimized (generalized JSD, arXiv:2306.13649): 0 is "
        "KL(teacher ‖ student), 1 is KL(student ‖ teacher), between them a mixture of both.",
    )
    temperature: float = Field(
        default=1.0,
        gt=0,
        description="Of the student's sampling, and of both sides of the divergence, exactly. "
        "The divergence is not multiplied by its square (unlike arXiv:1503.02531), so a higher "
        "temperature means smaller gradients: raise optimizer.lr with it.",
    )
    max_new_tokens: int = Field(
        default=256,
        ge=1,
        description="Most tokens of a sample. Prompts that leave less room are skipped and "
        "counted.",
    )

    warm_up: Optimizer | None = Field(
        default=None,
        description="Learn the completions by sft first, with this optimizer; {} is fine. A base "
        "from scratch needs it, one that was fine-tuned on the task does not.",
    )

    @model_validator(mode="after")
    def _heed_every_option(self) -> Self:
        idle = [
            name
            for name, is_set in {
                "optimizer.tokens": self.optimizer.tokens,
                "warm_up.tokens": self.warm_up and self.warm_up.tokens,
            }.items()
            if is_set
        ]
        if idle:
            raise ValueError(
                f"{', '.join(idle)} would change nothing: a student writes what it learns itself, "
                "so nobody knows its tokens before; leave it out, and write epochs"
            )
        return self

    def train(
        self,
        rows: Iterable[TrainingRow],
        folder: Path,
        *,
        checkpoint_folder: Path,
        progress: Progress | None = None,
    ) -> TrainingResult:
        """Train on the prompts of `rows` and write the student to `folder`, whole or not at all.

        Each row is one prompt, sampled anew each epoch; the last step of an epoch is
        filled up with prompts of its first. In the log, `loss` and `kd` are both the
        divergence per sampled token; there is no cross-entropy, and `ce` repeats the
        loss. `more` tells the `round`: 1 is the warm-up. Otherwise as `SftStudent.train`.

        Raises:
            ConfigError: Base or teacher cannot be loaded, they have different
                vocabularies, or no prompt leaves room for a sample.
            MissingExtraError: TRL is not installed.
        """
        open_door()
        from synthkd.training import on_policy

        return on_policy.train(self, rows, folder, checkpoint_folder, progress)
