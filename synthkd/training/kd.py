"""Distillation from stored log-probabilities: SFT plus what the teacher thought of each token."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
from peft import PeftModel
from torch import Tensor
from transformers import PreTrainedModel
from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

from synthkd.errors import ConfigError
from synthkd.training.alignment import Mismatch
from synthkd.training.checkpoints import check_target
from synthkd.training.fit import fit, prepare
from synthkd.training.loss import LossSums, TeacherBatch, distillation_loss, tiled_loss
from synthkd.training.methods import KdStudent
from synthkd.training.quiet import quietly
from synthkd.training.rows import IGNORED, EncodedRows, unpack
from synthkd.training.trainer import StudentTrainer
from synthkd.training.values import Progress, TrainingResult, TrainingRow

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
    check_target(folder)
    with quietly():
        base, encoded = prepare(student, rows, has_teacher=True)
        _check_coverage(student, encoded)
        result = fit(
            student,
            base,
            encoded,
            folder=folder,
            checkpoint_folder=checkpoint_folder,
            progress=progress,
            make_trainer=partial(KdTrainer, alpha=student.alpha, temperature=student.temperature),
            collator=TeacherCollator(pad_token_id=base.tokenizer.pad_token_id),
        )
    return replace(result, coverage=encoded.covered_tokens / encoded.completion_tokens)


@dataclass
class TeacherCollator(DataCollatorForLanguageModeling):
    """Pads a batch, and unpacks what the teacher said of its completion tokens.

    Those of all rows lie one after another, as `labels[:, 1:] != -100` picks them.
    """

    def torch_call(self, examples: list[dict[str, Any]]) -> dict[str, Any]:
        """Return TRL's batch with the four tensors of a `TeacherBatch`."""
        batch: dict[str, Any] = super().torch_call(examples)
        counts, tails, ids, logprobs = unpack([example["teacher"] for example in examples])
        return batch | {
            "teacher_ids": torch.from_numpy(ids).long(),
            "teacher_logprobs": torch.from_numpy(logprobs),
            "teacher_tails": torch.from_numpy(tails),
            "teacher_counts": torch.from_numpy(counts).long(),
        }


class KdTrainer(StudentTrainer):
    """Minimizes the distillation loss, averaged over the completion tokens of a step."""

    # The loss is divided by the tokens of all micro-batches of a step, so the
    # trainer must not divide it by their number once more.
    loss_is_scaled_for_ga = True  # type: ignore[assignment] # TRL's None reads as a type

    def __init__(self, *, alpha: float, temperature: float, **options: Any) -> None:  # noqa: ANN401 - SFTTrainer's own
        """Weigh cross-entropy with `alpha`; soften both sides by `temperature`."""
        super().__init__(**options)
        # Without this the trainer does not count tokens for models whose forward takes no **kwargs.
        self.model_accepts_loss_kwargs = True
        self._loss = partial(distillation_loss, alpha=alpha, temperature=temperature)
        peeled = self.model.get_base_model() if isinstance(self.model, PeftModel) else self.model
        model = cast("PreTrainedModel", peeled)
        self._backbone = model.base_model
        self._head = find_head(model)

    def compute_loss(
        self,
        model: torch.nn.Module,  # noqa: ARG002 - the trainer's signature; backbone and head are called
        inputs: dict[str, Tensor],
        return_outputs: bool = False,  # noqa: ARG002, FBT001, FBT002 - the trainer's signature
        num_items_in_batch: Tensor | int | None = None,
    ) -> Tensor:
        """Return the loss of a micro-batch, divided by the completion tokens of its step."""
        teacher = TeacherBatch(
            inputs["teacher_ids"],
            inputs["teacher_logprobs"],
            inputs["teacher_tails"],
            inputs["teacher_counts"],
        )
        with self.accelerator.autocast():
            hidden = self._backbone(
                input_ids=inputs["input_ids"],
                attention_mask=inputs["attention_mask"],
                use_cache=False,
            ).last_hidden_state
            following = inputs["labels"][:, 1:]
            is_learned = following != IGNORED
            targets = following[is_learned]
            sums = tiled_loss(
                hidden[:, :-1][is_learned],
                self._head.logits,
                self._head.vocabulary_size,
                lambda logits, tile: self._loss(logits, targets[tile], teacher.rows(tile)),
            )
        self._note(sums, len(targets), int((teacher.counts > 0).sum()))
        tokens = len(targets) if num_items_in_batch is None else num_items_in_batch
        return sums.loss / tokens

    def _note(self, sums: LossSums, tokens: int, covered: int) -> None:
        self._metrics["train"]["ce"].append(sums.ce.item() / tokens)
        if covered:
            self._metrics["train"]["kd"].append(sums.kd.item() / covered)


class Head(NamedTuple):
    """What makes logits [N, vocabulary_size] of last hidden states [N, hidden_size]."""

    logits: Callable[[Tensor], Tensor]
    vocabulary_size: int


def find_head(model: PreTrainedModel) -> Head:
    """Return the last step of `model`, so that it need not be made for all tokens at once.

    Raises:
        ConfigError: It does not give the logits that `model` itself gives.
    """
    config = model.config.get_text_config()
    layer = model.get_output_embeddings()  # type: ignore[no-untyped-call]
    cap = getattr(config, "final_logit_softcapping", None)
    scale = _logit_scale(config)

    def head(hidden: Tensor) -> Tensor:
        logits: Tensor = layer(hidden) * scale
        return torch.tanh(logits / cap) * cap if cap else logits

    with torch.no_grad():
        ids = torch.arange(4, device=model.device)[None]
        expected = model(input_ids=ids, use_cache=False).logits
        found = head(model.base_model(input_ids=ids, use_cache=False).last_hidden_state)
    if not torch.allclose(found.float(), expected.float(), atol=1e-3, rtol=1e-3):
        raise ConfigError(
            f"a {config.model_type} model makes its logits in a way that kd does not know; "
            "write method: sft, or choose another base"
        )
    return Head(head, expected.shape[-1])


def _logit_scale(config: Any) -> float:  # noqa: ANN401 - configurations share no fields
    """Return the factor on the logits, by the name each family of models has for it."""
    for name in ("logit_scale", "output_multiplier", "lm_head_multiplier"):
        if (factor := getattr(config, name, None)) is not None:
            return float(factor)
    if (divisor := getattr(config, "logits_scaling", None)) is not None:
        return float(divisor) if config.model_type == "hyperclovax" else 1 / float(divisor)
    return 1.0


def _check_coverage(student: KdStudent, rows: EncodedRows) -> None:
    if rows.covered_tokens:
        return
    raise ConfigError(
        f"nothing can be distilled into {student.name}: no row has log-probabilities that fit "
        "its tokenizer, so kd would be sft. Generate with logprobs, write method: sft, or choose "
        "a base that has the teacher's tokenizer ({from_scratch: {tokenizer: ...}}). Of the rows:",
        [f"{count} {_MISMATCHES[reason]}" for reason, count in rows.mismatches.items()],
    )
