"""Distillation: SFT plus what the teacher thought of each token, stored or asked for."""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from synthkd.errors import ConfigError
from synthkd.training.alignment import Kind, Mismatch
from synthkd.training.base import Base
from synthkd.training.batches import StudentCollator
from synthkd.training.blobs import unpack
from synthkd.training.checkpoints import check_target
from synthkd.training.fit import fit, prepare
from synthkd.training.live import LiveTeacher, load_teacher_of
from synthkd.training.loss import Draws, LossSums, Objective, Teacher, TopK
from synthkd.training.methods import KdStudent
from synthkd.training.processes import share, together
from synthkd.training.quiet import quietly
from synthkd.training.rows import EncodedRows
from synthkd.training.schedule import Interpolation, warm_up
from synthkd.training.store import IGNORED
from synthkd.training.trainer import StudentTrainer
from synthkd.training.values import Progress, TrainingResult, TrainingRow

logger = logging.getLogger(__name__)

_MISMATCHES: Mapping[Mismatch, str] = {
    "no_logprobs": "have no log-probabilities stored",
    "unknown_bytes": "have tokens whose bytes are not known",
    "other_text": "have tokens that do not spell their completion",
    "other_tokens": "have tokens that the student's tokenizer lacks",
}


def train(
    student: KdStudent,
    rows: Iterable[TrainingRow],
    folder: Path,
    checkpoint_folder: Path,
    progress: Progress | None,
) -> TrainingResult:
    """Train `student` on `rows` and write it to `folder`; see `KdStudent.train`."""
    is_stored = student.targets != "full"
    with together(student, folder, checkpoint_folder), quietly():
        share(lambda: check_target(folder))
        base, encoded = prepare(
            student,
            rows,
            has_teacher=is_stored,
            targets="random" if student.targets == "random" else "top_k",
            checkpoint_folder=checkpoint_folder,
        )
        teacher = None
        if is_stored:
            share(lambda: _check(student, encoded))
        else:
            encoded, teacher = _ask(student, base, encoded)
        result = fit(
            student,
            base,
            encoded,
            folder=folder,
            checkpoint_folder=checkpoint_folder,
            progress=progress,
            make_trainer=partial(KdTrainer, student, encoded.most_candidates, teacher),
            collator=TeacherCollator(pad_token_id=base.tokenizer.pad_token_id)
            if is_stored
            else None,
        )
    if not is_stored:
        return replace(result, coverage=1.0)
    return replace(
        result,
        coverage=encoded.covered_tokens / encoded.completion_tokens,
        certain=encoded.kinds.get(Kind.CERTAIN, 0) / encoded.completion_tokens,
    )


@dataclass
class TeacherCollator(StudentCollator):
    """Pads a batch, and unpacks what the teacher said of its completion tokens.

    Those of all rows lie one after another, as `labels[:, 1:] != -100` picks them.
    """

    def torch_call(self, examples: list[dict[str, Any]]) -> dict[str, Any]:
        """Return TRL's batch with the four tensors of a `TopK`."""
        batch: dict[str, Any] = super().torch_call(examples)
        said = unpack([example["teacher"] for example in examples])
        return batch | {
            "teacher_ids": torch.from_numpy(said.ids).long(),
            "teacher_logprobs": torch.from_numpy(said.logprobs),
            "teacher_tails": torch.from_numpy(said.tails),
            "teacher_counts": torch.from_numpy(said.counts).long(),
        }


class KdTrainer(StudentTrainer):
    """Minimizes what `student` says of the teacher that is stored beside its rows, or is there."""

    def __init__(
        self,
        student: KdStudent,
        most_candidates: int,
        teacher: LiveTeacher | None,
        **options: Any,  # noqa: ANN401 - SFTTrainer's own
    ) -> None:
        """Learn of `teacher`, or of rows whose tokens have `most_candidates` at most."""
        super().__init__(**options)
        self._student = student
        self._most_candidates = most_candidates
        self._teacher = teacher
        self._diverged = torch.zeros(2, device=self.args.device)  # in this step: sum, tokens
        self._interpolation = None
        if student.taid:
            self._interpolation = Interpolation(student.taid, self._take_divergence)
            self.add_callback(self._interpolation)
        self._target = Objective(
            alpha=student.alpha,
            temperature=student.temperature,
            divergence=student.divergence,
            beta=student.beta,
            tail=student.tail,
        )
        self.objective = self._target

    def teach(self, inputs: Mapping[str, Tensor], is_learned: Tensor) -> Teacher | None:
        """Return what the teacher says of the tokens that follow `is_learned` [B, T - 1]."""
        if self._teacher:
            return self._teacher.targets(inputs, is_learned)
        said = TopK(
            inputs["teacher_ids"],
            inputs["teacher_logprobs"],
            inputs["teacher_tails"],
            inputs["teacher_counts"],
        )
        if self._student.targets == "random":
            masses = said.logprobs.exp().masked_fill(said.is_padding, 0)
            total = masses.sum(dim=1, keepdim=True).clamp_min(torch.finfo(torch.float32).tiny)
            return Draws(said.ids, masses / total, said.counts)
        if self._student.tail == "sampled":
            # Somewhere a token was sampled that was none of the k most likely ones: it is one more.
            labels = inputs["labels"][:, 1:]
            return said.without_appended(labels[labels != IGNORED], self._most_candidates - 1)
        return said

    def training_step(self, *args: Any, **options: Any) -> Tensor:  # noqa: ANN401 - the trainer's own
        """Do a step towards what is minimized now."""
        state = self.state
        steps = self._student.ce_warmup * state.max_steps
        self.objective = warm_up(self._target, state.global_step, steps)
        if self._interpolation:
            self.objective = replace(self.objective, interpolation=self._interpolation.t)
        loss: Tensor = super().training_step(*args, **options)  # type: ignore[no-untyped-call]
        return loss

    def _note(self, sums: LossSums, tokens: Tensor) -> None:
        super()._note(sums, tokens)
        if self._interpolation and self._mode == "train":
            self._diverged += torch.stack([sums.kd, sums.covered])

    def _take_divergence(self) -> float:
        summed = cast("Tensor", self.accelerator.reduce(self._diverged, reduction="sum"))
        divergence, tokens = summed.tolist()
        self._diverged = torch.zeros_like(self._diverged)
        return float(divergence / max(tokens, 1))


def _ask(student: KdStudent, base: Base, rows: EncodedRows) -> tuple[EncodedRows, LiveTeacher]:
    """Return the teacher that is there itself, and rows that are named after it as well."""
    teacher = load_teacher_of(
        base, str(student.teacher), trust_remote_code=student.trust_remote_code
    )
    return replace(rows, digest=f"{rows.digest} {teacher.digest}"), teacher


def _check(student: KdStudent, rows: EncodedRows) -> None:
    """Refuse rows that would not teach what `student` says, and warn of what is inexact."""
    coverage = rows.covered_tokens / rows.completion_tokens
    if not rows.covered_tokens or coverage < student.min_coverage:
        raise ConfigError(*_tell_what_is_missing(student, rows, coverage))
    if student.tail == "sampled" and rows.impure:
        raise ConfigError(
            f"{student.name} cannot learn with tail: sampled: of {rows.impure} rows it is not "
            "known that they were sampled at temperature 1 and top_p 1 (no top_k), and only then "
            "the sampled tokens stand for the others. Generate with these parameters, or write "
            "tail: bucket"
        )
    if student.tail == "sampled" and rows.kinds.get(Kind.MERGED, 0) + rows.kinds.get(
        Kind.INSIDE, 0
    ):
        raise ConfigError(
            f"{student.name} cannot learn with tail: sampled: the teacher has another tokenizer, "
            "so what it sampled are not the student's tokens. Write tail: bucket"
        )
    if rows.damaged_tokens:
        logger.warning(
            "log-probabilities that are none (NaN, or more than 1) are not learned, their "
            "tokens by cross-entropy alone: student=%s tokens=%d of=%d",
            student.name,
            rows.damaged_tokens,
            rows.completion_tokens,
        )
    if student.temperature != 1:
        logger.warning(
            "an approximation: temperature softens the tokens outside the stored top-k as if "
            "they were one, for their shares are not known; exact at 1 or with targets: full: "
            "student=%s temperature=%g",
            student.name,
            student.temperature,
        )


def _tell_what_is_missing(
    student: KdStudent, rows: EncodedRows, coverage: float
) -> tuple[str, list[str]]:
    kind = "random targets" if student.targets == "random" else "log-probabilities"
    said = (
        f"no row has {kind} that fit its tokenizer"
        if not rows.covered_tokens
        else f"{kind} that fit its tokenizer cover {coverage:.0%} of the completion tokens, less "
        f"than min_coverage {student.min_coverage:.0%}"
    )
    wanted = "random_targets" if student.targets == "random" else "logprobs"
    reasons = [
        f"{count} {_MISMATCHES.get(reason, reason)}" for reason, count in rows.mismatches.items()
    ]
    if rows.misnamed:
        reasons.append(
            f"{rows.misnamed} of these name this very tokenizer, and are not its: look at how "
            "they were made or imported"
        )
    summary = (
        f"nothing can be distilled into {student.name}: {said}, so kd would be sft. Generate "
        f"with {wanted}, write method: sft, write a lower min_coverage, or choose a base that "
        "has the teacher's tokenizer ({from_scratch: {tokenizer: ...}}). Of the rows:"
    )
    return summary, reasons
