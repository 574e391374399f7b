"""Learning from better and worse completions of one prompt, as a pipeline file tells of it."""

from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, Field, field_validator, model_validator

from synthkd.training.student import Need, NewBase, Optimizer, Student, open_door
from synthkd.training.values import PreferenceRow, Progress, TrainingResult

_SMOOTHED = {"robust": 0.1, "exo_pair": 1e-3}  # each loss that can be, and what its paper advises


class Pairing(BaseModel, frozen=True, extra="forbid"):
    """Which samples of one prompt are better and which are worse.

    A better one is always a sample that every filter keeps. Samples that a filter dropped are
    still in the corpus, and are what it can be better than.
    """

    by: Literal["verdict", "judge"] = Field(
        default="verdict",
        description="verdict: a sample that a filter dropped is worse than one that is kept. "
        "judge: one is worse that the judge gave a lower score.",
    )
    filter: str | None = Field(
        default=None,
        min_length=1,
        description="Whose verdict counts, e.g. answer_match or consensus; with consensus it is "
        "self-consistency preference (arXiv:2411.04109). Default: any filter's, but not that a "
        "sample says again what another said.",
    )
    min_margin: float | None = Field(
        default=None,
        gt=0,
        allow_inf_nan=False,
        description="by judge: scores less far apart make no pair. Default: any difference.",
    )
    per_prompt: int | Literal["all"] = Field(
        default=1,
        description="Most pairs of one prompt, those whose scores are furthest apart first; 1 is "
        "the best against the worst.",
    )

    @field_validator("per_prompt")
    @classmethod
    def _be_some(cls, count: int | Literal["all"]) -> int | Literal["all"]:
        if count != "all" and count < 1:
            raise ValueError(f"per_prompt is {count}, so there would be no pairs; write 1 or more")
        return count

    def find_missing(
        self, *, samples: int, filters: Collection[str], has_judge: bool
    ) -> Iterator[tuple[str, str]]:
        """Yield what there is not to make pairs of: the option that asks for it, and a sentence.

        `samples` are those of one prompt, `filters` what their verdicts are stored under.
        """
        if samples < len(["better", "worse"]):
            yield (
                "by",
                "there is one sample of each prompt; write `samples: 4` for the teacher",
            )
        if self.by == "judge" and not has_judge:
            yield "by", "there is no judge; add `judge`, or write by: verdict"
        if self.filter and self.filter not in filters:
            known = f"write one of {', '.join(filters)}" if filters else "add it to `filters`"
            yield "filter", f"there is no filter {self.filter!r}; {known}"
        elif self.by == "verdict" and not filters:
            yield "by", "there is no filter; add one that tells right from wrong to `filters`"

    @model_validator(mode="after")
    def _heed_every_option(self) -> Self:
        if self.by == "judge" and self.filter:
            raise ValueError(
                "filter says whose verdict counts, and pairs are made by the judge's scores; "
                "leave it out, or write by: verdict"
            )
        if self.by == "verdict" and self.min_margin:
            raise ValueError(
                "min_margin is of a judge's scores, and pairs are made by verdicts; "
                "leave it out, or write by: judge"
            )
        return self


class PreferenceStudent(Student):
    """Learns to prefer better completions to worse ones, without going far from its base.

    Its reference is the base itself, asked once before training: no second model stays in memory.
    """

    method: Literal["preference"] = Field(
        description="preference: learn from pairs of a better and a worse completion (DPO, "
        "arXiv:2305.18290)."
    )
    pairs: Pairing = Field(default=Pairing(), description="Which completions are better.")
    beta: float = Field(
        default=0.1,
        gt=0,
        allow_inf_nan=False,
        description="How much going away from the base costs; larger stays closer. For ipo this "
        "is the regularization of its paper.",
    )
    loss: Literal[
        "sigmoid", "sigmoid_norm", "ipo", "hinge", "robust", "exo_pair", "apo_zero", "apo_down"
    ] = Field(
        default="sigmoid",
        description="sigmoid: DPO; sigmoid_norm: DPO on log-probabilities per token, so that long "
        "completions weigh no more; ipo: arXiv:2310.12036; hinge: arXiv:2305.10425; robust: some "
        "pairs are the wrong way round, arXiv:2403.00409; exo_pair: arXiv:2402.00856; apo_zero, "
        "apo_down: the better one is better, or worse, than what the base says, arXiv:2408.06266.",
    )
    label_smoothing: float | None = Field(
        default=None,
        gt=0,
        lt=0.5,
        description="For robust and exo_pair: the share of pairs that are the wrong way round. "
        "Default: 0.1 and 0.001.",
    )
    sft_weight: float = Field(
        default=0.0,
        ge=0,
        allow_inf_nan=False,
        description="Weight of the better completion's cross-entropy per token, added to the loss; "
        "1 is what arXiv:2404.19733 uses. It keeps the better one likely, not only likelier.",
    )
    optimizer: Optimizer = Field(
        default=Optimizer(),
        description="How the weights move; a row is a pair. lr by default: 1e-6, 1e-5 with lora.",
    )

    @property
    def needs(self) -> frozenset[Need]:
        """Pairs, in place of samples."""
        return frozenset({"pairs"})

    @property
    def smoothing(self) -> float:
        """The share of pairs taken to be the wrong way round."""
        return self.label_smoothing or _SMOOTHED.get(self.loss, 0.0)

    @model_validator(mode="after")
    def _start_from_a_student(self) -> Self:
        if isinstance(self.base, NewBase):
            raise ValueError(  # noqa: TRY004 - pydantic tells of no other
                "preference compares with what the base says, and random weights say nothing; "
                "name a trained base, such as the folder of an sft student of this pipeline "
                "(runs/NAME/students/STUDENT)"
            )
        if self.gold:
            raise ValueError(
                "gold rows have no worse completions to compare with; write method: sft"
            )
        return self

    @model_validator(mode="after")
    def _heed_every_option(self) -> Self:
        if self.label_smoothing is not None and self.loss not in _SMOOTHED:
            raise ValueError(
                f"label_smoothing is not used by the loss {self.loss}; leave it out, or write "
                f"loss: {' or '.join(_SMOOTHED)}"
            )
        if self.lora and self.lora.dropout:
            raise ValueError(
                "lora.dropout would be switched off: the student is compared with a base that has "
                "none; leave it out"
            )
        return self

    def train(
        self,
        rows: Iterable[PreferenceRow],
        folder: Path,
        *,
        checkpoint_folder: Path,
        progress: Progress | None = None,
    ) -> TrainingResult:
        """Train on pairs and write the student to `folder`, whole or not at all.

        `rows` of the result are pairs, `rows_cut` those with a completion that was cut, and
        `rows_skipped` those that say nothing: the prompt leaves no room, or what is left of the
        two is equal. `loss` in its log is nats per pair, and `ce` the cross-entropy of the
        better completions in nats per token. Otherwise as `SftStudent.train`.

        Raises:
            ConfigError: The base cannot be loaded, or no pair can be trained on.
            MissingExtraError: TRL is not installed.
        """
        open_door()
        from synthkd.training import preference

        return preference.train(self, rows, folder, checkpoint_folder, progress)
