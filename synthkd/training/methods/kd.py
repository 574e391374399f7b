"""Distillation from a teacher's distributions, as a pipeline file tells of it."""

from collections.abc import Iterable
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from synthkd.training.student import Need, Student, open_door
from synthkd.training.values import Progress, TrainingResult, TrainingRow

_NEEDS: dict[str, frozenset[Need]] = {
    "top_k": frozenset({"logprobs"}),
    "random": frozenset({"draws"}),
    "full": frozenset(),
}


class Taid(BaseModel):
    """A target that moves from the student itself to the teacher (TAID, arXiv:2501.16937)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    t_start: float = Field(
        default=0.4, ge=0, le=1, description="How far it is to the teacher at first; 0 to 1."
    )
    t_end: float = Field(default=1.0, ge=0, le=1, description="How far it comes.")
    alpha: float = Field(
        default=5e-4, ge=0, description="Most that it moves in a step beyond the linear rise."
    )
    momentum: float = Field(
        default=0.99,
        ge=0,
        lt=1,
        description="How slowly it heeds by how much the divergence last fell.",
    )

    @model_validator(mode="after")
    def _rise(self) -> Self:
        if self.t_end < self.t_start:
            raise ValueError(f"t_end {self.t_end} is below t_start {self.t_start}; swap them")
        return self


class KdStudent(Student):
    """Learns the completions and how likely the teacher found each of their tokens.

    Minimized is a·CE + (1 - a)·τ²·D(teacher, student), where a is `alpha`, τ is
    `temperature` and D is `divergence`; CE alone where the teacher said nothing.
    """

    method: Literal["kd"] = Field(description="kd: learn the teacher's log-probabilities as well.")
    targets: Literal["top_k", "random", "full"] = Field(
        default="top_k",
        description="What of the teacher is learned. top_k: its stored log-probabilities, all "
        "other tokens as one. random: tokens drawn from its whole distribution, an unbiased "
        "estimate (arXiv:2503.16870); a local teacher draws them (random_targets). full: its "
        "whole distribution, computed while the student learns by the model in `teacher`.",
    )
    teacher: str | None = Field(
        default=None,
        description="With targets: full, the folder or hub id of a model with the student's "
        "tokenizer; it is loaded beside the student.",
    )
    alpha: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="Weight of the cross-entropy; 1 - alpha is that of the divergence "
        "(arXiv:1503.02531).",
    )
    temperature: float = Field(
        default=1.0,
        gt=0,
        description="Softens teacher and student alike (arXiv:1503.02531). Exact at 1, and at "
        "any other with targets: full. With top_k at any other, the tokens outside the stored "
        "top-k are softened as if they were one token: what their shares were is not known.",
    )
    divergence: Literal["forward_kl", "reverse_kl", "jsd", "total_variation"] = Field(
        default="forward_kl",
        description="forward_kl: KL(teacher ‖ student) (arXiv:1503.02531). reverse_kl: the "
        "student keeps to what the teacher finds likely (arXiv:2306.08543). jsd: between the "
        "two, at beta (arXiv:2306.13649). total_variation: half the sum of differences "
        "(arXiv:2307.15190).",
    )
    beta: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="With divergence: jsd, the teacher's share of the mixture: towards 0 it "
        "becomes forward KL, towards 1 reverse KL (arXiv:2306.13649).",
    )
    tail: Literal["bucket", "sampled", "renormalized"] = Field(
        default="bucket",
        description="With targets: top_k, what becomes of all other tokens. bucket: their mass "
        "together is learned. sampled: the sampled token stands for them, unbiased, where the "
        "teacher sampled at temperature 1 and top_p 1; refused otherwise. renormalized: the "
        "teacher gives them none, which is biased (arXiv:2503.16870).",
    )
    ce_warmup: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="Share of the steps in which alpha falls from 1 to its value: a student "
        "that knows nothing yet learns the completions first (teacher annealing, "
        "arXiv:1907.04829, the other way round).",
    )
    taid: Taid | None = Field(
        default=None,
        description="Learn a target between the student and the teacher that moves to the "
        "teacher, for a teacher much larger than its student (TAID, arXiv:2501.16937); {} is "
        "fine.",
    )
    min_coverage: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="Least share of completion tokens that the teacher said something of, also "
        "where its own tokens leave no choice (inside a token of another tokenizer). Below "
        "one half most of what is learned is the completions alone, and the name kd would "
        "mislead; write less if that is meant.",
    )

    @property
    def needs(self) -> frozenset[Need]:
        """Stored log-probabilities or random targets; nothing of a teacher that is there itself."""
        return _NEEDS[self.targets]

    @model_validator(mode="after")
    def _need_a_teacher(self) -> Self:
        if self.gold and self.targets != "full":
            raise ValueError(
                "no teacher gave log-probabilities for gold rows; write method: sft, or "
                "targets: full and a teacher"
            )
        if self.targets == "full" and self.teacher is None:
            raise ValueError("targets: full asks a teacher while it trains; name one in teacher")
        if self.targets != "full" and self.teacher is not None:
            raise ValueError(
                "teacher is not asked: the targets are stored; write targets: full, or leave "
                "teacher out"
            )
        return self

    @model_validator(mode="after")
    def _heed_every_option(self) -> Self:
        is_plain = self.divergence == "forward_kl" and self.temperature == 1 and self.taid is None
        mistakes = {
            "beta is of divergence: jsd alone; write that, or leave beta out": (
                self.beta != type(self).model_fields["beta"].default and self.divergence != "jsd"
            ),
            "tail is of targets: top_k alone; leave it out": (
                self.tail != "bucket" and self.targets != "top_k"
            ),
            "tail: sampled has no bias only with divergence: forward_kl and temperature: 1, "
            "without taid; write tail: bucket, or leave these out": (
                self.tail == "sampled" and not is_plain
            ),
            "tail: renormalized gives no mass to the tail, so reverse_kl would be infinite; "
            "write tail: bucket": (
                self.tail == "renormalized"
                and (self.divergence == "reverse_kl" or (self.divergence, self.beta) == ("jsd", 1))
            ),
            "random targets know forward KL at temperature 1 alone, without taid; leave these "
            "options out, or write targets: top_k": self.targets == "random" and not is_plain,
        }
        if told := [mistake for mistake, is_made in mistakes.items() if is_made]:
            raise ValueError("; ".join(told))
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
            ConfigError: The base or the teacher cannot be loaded, or too few
                log-probabilities fit the base.
            MissingExtraError: TRL is not installed.
        """
        open_door(several=True)
        from synthkd.training import kd

        return kd.train(self, rows, folder, checkpoint_folder, progress)
