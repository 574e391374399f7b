"""Preference: TRL's DPOTrainer on pairs of a better and a worse completion of one prompt.

Encoded, a pair is a row like any other, prompt and better completion; the worse one is
where other methods keep what the teacher said. How likely the base finds each completion
is worked out once, before the first step.
"""

import logging
from collections import Counter
from collections.abc import Iterable
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, cast

import datasets
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from transformers import PreTrainedTokenizerBase
from trl.trainer.dpo_config import DPOConfig
from trl.trainer.dpo_trainer import DataCollatorForPreference, DPOTrainer
from trl.trainer.sft_config import SFTConfig

from synthkd.errors import ConfigError
from synthkd.training.aside import Aside, split
from synthkd.training.base import load_base
from synthkd.training.checkpoints import check_target
from synthkd.training.fit import fit, read_max_length
from synthkd.training.manners import WellBehaved
from synthkd.training.methods import PreferenceStudent
from synthkd.training.quiet import quietly
from synthkd.training.rows import EncodedRows, encode_completion, encode_prompt
from synthkd.training.stages import tell_more
from synthkd.training.store import IGNORED, forget, open_rows, writing_rows
from synthkd.training.values import PreferenceRow, Progress, TrainingResult

logger = logging.getLogger(__name__)

_MEASURES = {"margin": "rewards/margins", "accuracy": "rewards/accuracies"}  # and TRL's names


def train(
    student: PreferenceStudent,
    rows: Iterable[PreferenceRow],
    folder: Path,
    checkpoint_folder: Path,
    progress: Progress | None,
) -> TrainingResult:
    """Train `student` on `rows` and write it to `folder`; see `PreferenceStudent.train`."""
    check_target(folder)
    lr = student.optimizer.lr or (1e-5 if student.lora else 1e-6)
    optimizer = student.optimizer.model_copy(update={"lr": lr})
    student = student.model_copy(update={"optimizer": optimizer})
    made: list[PreferenceTrainer] = []

    def make_trainer(**options: Any) -> PreferenceTrainer:  # noqa: ANN401 - the trainer's own
        made.append(PreferenceTrainer(student, **options))
        return made[0]

    with quietly():
        base = load_base(student, ())
        max_length = read_max_length(student, base)
        pairs = encode_pairs(
            rows, base.tokenizer, max_length, checkpoint_folder, validation=student.validation
        )
        if pairs.cut or pairs.skipped:
            logger.warning(
                "pairs longer than max_length: student=%s max_length=%d cut=%d skipped=%d",
                student.name,
                max_length,
                pairs.cut,
                pairs.skipped,
            )
        result = fit(
            student,
            base,
            pairs,
            folder=folder,
            checkpoint_folder=checkpoint_folder,
            progress=progress,
            make_trainer=make_trainer,
            collator=DataCollatorForPreference(pad_token_id=base.tokenizer.pad_token_id),
        )
    return tell_more(result, made[0].state.log_history, _MEASURES)


def encode_pairs(
    rows: Iterable[PreferenceRow],
    tokenizer: PreTrainedTokenizerBase,
    max_length: int,
    folder: Path,
    *,
    validation: float = 0.0,
) -> EncodedRows:
    """Return `rows` as token ids, written to a file in `folder` that has lost its name.

    Each completion is cut where it and its prompt reach `max_length`. A pair is skipped if its
    prompt leaves no room, or if its completions are equal where they are cut. A share
    `validation` of the prompts is kept aside.

    Raises:
        ConfigError: No pair can be trained on, the chat template refuses one, or the disk is full.
    """
    lengths: list[int] = []
    counts: Counter[str] = Counter()
    aside = Aside()
    with writing_rows(folder) as writer:
        for row in rows:
            prompt = encode_prompt(row, tokenizer)
            whole = [
                encode_completion(text, tokenizer).ids for text in (row.completion, row.rejected)
            ]
            room = max(max_length - len(prompt), 0)
            chosen, rejected = (ids[:room] for ids in whole)
            if chosen == rejected:
                counts["skipped"] += 1
                continue
            counts["cut"] += any(len(ids) > room for ids in whole)
            counts["tokens"] += len(chosen) + len(rejected)
            ids = np.array(prompt + chosen, dtype=np.int32)
            writer.add(ids, len(prompt), np.array(rejected, dtype=np.int32).tobytes(), 1.0)
            lengths.append(2 * len(prompt) + len(chosen) + len(rejected))
            aside.add(str(prompt))
        if not lengths:
            raise ConfigError(
                f"none of {counts['skipped']} pairs can be learned: within max_length {max_length} "
                "the prompts leave no room for completions that differ; raise max_length, shorten "
                "the prompt, or choose a base with a longer context"
            )
        is_aside = aside.choose(validation) if validation else np.zeros(len(lengths), dtype=bool)
    pairs = open_rows(writer.path)
    forget(writer.path)
    learned, kept = split(pairs, is_aside) if validation else (pairs, None)
    return EncodedRows(
        dataset=learned,
        lengths=np.array(lengths, dtype=np.int32)[~is_aside],
        digest=writer.digest,
        cut=counts["cut"],
        skipped=counts["skipped"],
        completion_tokens=counts["tokens"],
        covered_tokens=0,
        mismatches={},
        aside=kept,
    )


class Pairs(Dataset[dict[str, Any]]):
    """Pairs as TRL names their parts, with their `reference` once it is known.

    That is the log-probability [2, pairs] of the better completions, and of the worse.
    """

    def __init__(
        self, rows: datasets.Dataset, reference: NDArray[np.float32] | None = None
    ) -> None:
        """Read from `rows`."""
        self._rows, self._reference = rows, reference

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, place: int) -> dict[str, Any]:
        """Return a pair."""
        row = self._rows[place]
        start = row["labels"].count(IGNORED)
        pair = {
            "prompt_ids": row["input_ids"][:start],
            "chosen_ids": row["input_ids"][start:],
            "rejected_ids": np.frombuffer(row["teacher"], dtype=np.int32).tolist(),
        }
        if self._reference is not None:
            chosen, rejected = self._reference[:, place].tolist()
            pair |= {"ref_chosen_logps": chosen, "ref_rejected_logps": rejected}
        return pair


class PreferenceTrainer(WellBehaved, DPOTrainer):
    """DPOTrainer for pairs as token ids; how a step is cut into micro-batches changes nothing."""

    told: ClassVar[tuple[str, ...]] = ("ce", *_MEASURES)
    # The loss is divided by the pairs of all micro-batches of a step, so the trainer must
    # not divide it by their number once more.
    loss_is_scaled_for_ga = True

    def __init__(
        self,
        student: PreferenceStudent,
        *,
        args: SFTConfig,
        **options: Any,  # noqa: ANN401 - DPOTrainer's own
    ) -> None:
        """Train as `student` says; `options` are those of DPOTrainer and of `WellBehaved`."""
        self._sft_weight = student.sft_weight
        super().__init__(args=_configure(student, args), **options)

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, Tensor],
        return_outputs: bool = False,  # noqa: ARG002, FBT001, FBT002 - the trainer's signature
        num_items_in_batch: Tensor | int | None = None,
    ) -> Tensor:
        """Return the loss of a micro-batch: its sum over pairs, divided by those of its step."""
        seen: list[Any] = []

        def watched(**kwargs: Any) -> Any:  # noqa: ANN401 - the model's own
            seen.append(model(**kwargs))
            return seen[0]

        loss: Tensor = super().compute_loss(watched, inputs)  # type: ignore[no-untyped-call]
        logprobs, _ = seen[0].log_probs.chunk(2)  # [pairs, T - 1], 0 outside of the completion
        tokens, _ = inputs["completion_mask"][:, 1:].sum(dim=1).chunk(2)
        ce = -logprobs.sum(dim=1) / tokens
        self._measured["ce"].append(float((ce.detach() * tokens).sum() / tokens.sum()))
        if self._sft_weight:
            loss = loss + self._sft_weight * ce.mean()
        return loss if num_items_in_batch is None else loss * len(ce) / num_items_in_batch

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Tell the margin by which better completions are preferred, and how often they are."""
        for name, key in _MEASURES.items():
            if key in self._measured:
                self._measured[name] = self._measured[key]
        super().log(logs, start_time)

    @property
    def _measured(self) -> dict[str, list[float]]:
        """What was measured of each micro-batch since it was last told."""
        is_training = cast("torch.nn.Module", self.model).training
        return cast("dict[str, list[float]]", self._metrics["train" if is_training else "eval"])

    def _prepare_dataset(self, dataset: datasets.Dataset, *_: object) -> datasets.Dataset:
        """Take the pairs as they are: TRL would render and cut them its own way."""
        return dataset

    def _precompute_ref_logps(self, dataset: datasets.Dataset, name: str, batch_size: int) -> Pairs:  # noqa: ARG002 - TRL's signature
        """Ask the base how likely each completion is; TRL's own shows a bar and leaves a file."""
        batches = DataLoader(Pairs(dataset), batch_size=batch_size, collate_fn=self.data_collator)
        ask = partial(self.compute_ref_log_probs, self.model)
        found = [torch.stack(ask(self._prepare_inputs(batch))) for batch in batches]
        return Pairs(dataset, torch.cat(found, dim=1).float().cpu().numpy())

    def _get_num_items_in_batch(
        self,
        batch_samples: list[dict[str, Tensor]],
        device: torch.device,  # noqa: ARG002 - the trainer's signature
    ) -> int:
        """Return the pairs of a step."""
        return sum(len(batch["input_ids"]) // 2 for batch in batch_samples)


def _configure(student: PreferenceStudent, args: SFTConfig) -> DPOConfig:
    """Return DPO's options: those that every method has in common, and the student's own."""
    names = {field.name for field in fields(DPOConfig) if field.init} - {"loss_type"}
    common = {name: getattr(args, name) for name in names if hasattr(args, name)}
    config = DPOConfig(
        **common,
        loss_type=[student.loss],
        beta=student.beta,
        label_smoothing=student.smoothing,
        precompute_ref_log_probs=True,
    )
    config._n_gpu = args._n_gpu  # noqa: SLF001 - set by hand there as well
    return config
