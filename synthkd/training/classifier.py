"""Distillation into a classifier: cross-entropy with the label, and divergence over all labels.

    loss of a row = alpha * CE(label) + (1 - alpha) * temperature^2 * KL(p ‖ q)

p is the teacher's distribution over the labels, read off what it said of its answer's tokens
(see `verbalizer`), and q the student's, both at that temperature. A row of which the teacher
said nothing is learned by CE alone.
"""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, cast

import numpy as np
import torch
from peft import LoraConfig, TaskType, get_peft_model
from torch import Tensor
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput

from synthkd.errors import ConfigError
from synthkd.training.checkpoints import check_target
from synthkd.training.classifier_base import load_classifier, read_max_length
from synthkd.training.fit import fit
from synthkd.training.labelled import LabelledRows, encode, find_labels, unpack
from synthkd.training.manners import WellBehaved
from synthkd.training.methods.classifier import ClassifierStudent
from synthkd.training.quiet import quietly
from synthkd.training.values import Progress, TrainingResult, TrainingRow

logger = logging.getLogger(__name__)

_MUCH = 0.5  # mass on no label: a teacher that mostly says something else


def train(
    student: ClassifierStudent,
    rows: Iterable[TrainingRow],
    folder: Path,
    checkpoint_folder: Path,
    progress: Progress | None,
) -> TrainingResult:
    """Train `student` on `rows` and write it to `folder`; see `ClassifierStudent.train`."""
    check_target(folder)
    listed = list(rows)
    labels = find_labels(student, listed)
    with quietly():
        base = load_classifier(student, labels, listed)
        encoded = encode(student, listed, labels, base.tokenizer, read_max_length(student, base))
        _check(student, encoded)
        result = fit(
            student,
            base,
            encoded.encoded,
            folder=folder,
            checkpoint_folder=checkpoint_folder,
            progress=progress,
            make_trainer=partial(ClassifierTrainer, student),
            collator=Collator(base.tokenizer.pad_token_id, len(labels)),
        )
    return result if student.alpha == 1 else replace(result, coverage=encoded.coverage)


@dataclass(frozen=True, slots=True)
class Collator:
    """Pads a batch of rows, and spreads their shares over all labels."""

    padding: int
    labels: int

    def __call__(self, rows: Sequence[dict[str, Any]]) -> dict[str, Tensor]:
        """Return ids and attention mask [B, T], labels and weights [B], and shares [B, labels]."""
        ids = [torch.tensor(row["input_ids"]) for row in rows]
        shares = np.zeros((len(rows), self.labels), dtype=np.float32)
        for row, place in zip(rows, shares, strict=True):
            unpack(row["shares"], place)
        return {
            "input_ids": pad_sequence(ids, batch_first=True, padding_value=self.padding),
            "attention_mask": pad_sequence([torch.ones_like(one) for one in ids], batch_first=True),
            "labels": torch.tensor([row["labels"] for row in rows]),
            "weights": torch.tensor([row["weight"] for row in rows]),
            "shares": torch.from_numpy(shares),
        }


class Losses(NamedTuple):
    """Of each row, in nats: what is minimized, and what it is made of; `taught` rows have a kd."""

    loss: Tensor
    ce: Tensor
    kd: Tensor
    taught: Tensor


def find_losses(
    logits: Tensor, labels: Tensor, shares: Tensor, *, alpha: float, temperature: float
) -> Losses:
    """Return the losses of `logits` [B, labels], for `labels` [B] and `shares` [B, labels].

    The shares of a row sum to 1, or are all 0 where the teacher said nothing.
    """
    logits = logits.float()
    ce = functional.cross_entropy(logits, labels, reduction="none")
    taught = shares.sum(dim=1) > 0
    # Any target will do where there is none: it is not used, and it must not be NaN.
    softened = torch.where(taught[:, None], shares, 1.0).pow(1 / temperature)
    target = softened / softened.sum(dim=1, keepdim=True)
    log_q = torch.log_softmax(logits / temperature, dim=1)
    kd = functional.kl_div(log_q, target, reduction="none").sum(dim=1).clamp_min(0.0)
    mixed = alpha * ce + (1 - alpha) * temperature**2 * kd
    return Losses(torch.where(taught, mixed, ce), ce, kd, taught)


class ClassifierTrainer(WellBehaved):
    """Minimizes the mean loss of the rows of a step, however they are cut into micro-batches."""

    told: ClassVar[tuple[str, ...]] = ("ce", "kd")
    # The loss is divided by the rows of all micro-batches of a step, so the trainer must not
    # divide it by their number once more.
    loss_is_scaled_for_ga = True

    def __init__(
        self,
        student: ClassifierStudent,
        *,
        model: PreTrainedModel,
        peft_config: LoraConfig | None = None,
        **options: Any,  # noqa: ANN401 - the trainer's own
    ) -> None:
        """Train as `student` says; `options` are those of Trainer and of `WellBehaved`."""
        if peft_config is not None:
            # The head is new, so all of it is trained.
            peft_config.task_type = TaskType.SEQ_CLS
            model = cast("PreTrainedModel", get_peft_model(model, peft_config))
        super().__init__(model=model, **options)
        # Without this the trainer does not count rows for models whose forward takes no **kwargs.
        self.model_accepts_loss_kwargs = True
        self._find_losses = partial(
            find_losses, alpha=student.alpha, temperature=student.temperature
        )
        self._sums: dict[str, Tensor] = {}

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, Tensor],
        return_outputs: bool = False,  # noqa: FBT001, FBT002 - the trainer's signature
        num_items_in_batch: Tensor | int | None = None,
    ) -> Tensor | tuple[Tensor, SequenceClassifierOutput]:
        """Return the loss of a micro-batch, divided by the rows of its step."""
        outputs = model(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"])
        found = self._find_losses(outputs.logits, inputs["labels"], inputs["shares"])
        self._note(found)
        rows = len(found.loss) if num_items_in_batch is None else num_items_in_batch
        loss = (found.loss * inputs["weights"]).sum() / rows
        return (loss, outputs) if return_outputs else loss

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Tell the means of what was measured as well."""
        self._add_means(logs)
        super().log(logs, start_time)

    def _note(self, found: Losses) -> None:
        mode = self._mode()
        rows = torch.ones_like(found.ce)
        kd = found.kd.where(found.taught, 0.0)
        parts = (found.ce, kd, found.taught, rows)
        sums = torch.stack([part.detach().double().sum() for part in parts])
        self._sums[mode] = self._sums[mode] + sums if mode in self._sums else sums

    def _mode(self) -> str:
        return "train" if cast("torch.nn.Module", self.model).training else "eval"

    def _add_means(self, logs: dict[str, float]) -> None:
        """Add to `logs` what was measured since they were last asked for."""
        mode = self._mode()
        if mode not in self._sums:
            return
        prefix = "eval_" if mode == "eval" else ""
        ce, kd, taught, rows = self._sums.pop(mode).tolist()
        logs[f"{prefix}ce"] = ce / rows
        if taught:
            logs[f"{prefix}kd"] = kd / taught


def _check(student: ClassifierStudent, rows: LabelledRows) -> None:
    """Tell what became of the rows, and refuse to distil from nothing."""
    encoded = rows.encoded
    if encoded.skipped:
        logger.warning(
            "rows whose answer is no label are left out: student=%s rows=%d",
            student.name,
            encoded.skipped,
        )
    if encoded.cut:
        logger.warning(
            "prompts longer than max_length are cut: student=%s rows=%d",
            student.name,
            encoded.cut,
        )
    if student.alpha == 1:
        return
    if not rows.taught:
        raise ConfigError(
            f"nothing can be distilled into {student.name}: no row has log-probabilities of the "
            "tokens of its answer, so only the labels are known. Generate with logprobs: 20, or "
            "write alpha: 1 to learn the labels alone"
        )
    logger.log(
        logging.WARNING if rows.lost > _MUCH else logging.INFO,
        "what the teacher said of labels: student=%s rows=%d/%d no_label=%.4f not_told_apart=%.4f",
        student.name,
        rows.taught,
        len(encoded.lengths),
        rows.lost,
        rows.blurred,
    )
