"""TRL's SFTTrainer as every method here uses it: on its own, and repeatable.

Rows come as token ids, so TRL prepares nothing. Rows of like length share a batch,
which saves padding; the order of the batches is drawn from the seed and the epoch
alone, so that a resumed training sees what an uninterrupted one does.
"""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import Sampler
from transformers import PrinterCallback, TrainerState
from trl.trainer.sft_config import SFTConfig
from trl.trainer.sft_trainer import SFTTrainer

from synthkd.errors import ConfigError
from synthkd.training.student import NewBase, Student
from synthkd.training.values import LogEntry, Progress

_POOL = 50  # batches whose rows are sorted by length together
_LOG_POINTS = 100  # of a learning curve
_CHECKPOINTS = 10  # in one training
_LARGE = 100_000_000  # parameters from which activations are computed twice to save memory


class LikeLengths(Sampler[int]):
    """Rows in batches of like length, the batches in random order; another order each epoch."""

    def __init__(self, lengths: Sequence[int], batch_size: int, seed: int) -> None:
        """Draw batches of `batch_size` rows that have `lengths`."""
        self._lengths, self._batch_size, self._seed = lengths, batch_size, seed
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Draw the order of `epoch` from now on."""
        self._epoch = epoch

    def __len__(self) -> int:
        return len(self._lengths)

    def __iter__(self) -> Iterator[int]:
        random = torch.Generator().manual_seed(self._seed * 1_000_003 + self._epoch)
        order = torch.randperm(len(self._lengths), generator=random).tolist()
        batches = []
        for start in range(0, len(order), self._batch_size * _POOL):
            pool = order[start : start + self._batch_size * _POOL]
            pool.sort(key=lambda row: self._lengths[row])
            batches += [
                pool[i : i + self._batch_size] for i in range(0, len(pool), self._batch_size)
            ]
        # A batch that is not full stays last, or the trainer would cut all that follow anew.
        full = len(order) // self._batch_size
        places = [*torch.randperm(full, generator=random).tolist(), *range(full, len(batches))]
        for place in places:
            yield from batches[place]


class StudentTrainer(SFTTrainer):
    """SFTTrainer for rows as token ids. It sends nothing and writes no card of its own."""

    def __init__(
        self,
        *,
        lengths: Sequence[int],
        progress: Progress | None,
        **options: Any,  # noqa: ANN401 - SFTTrainer's own
    ) -> None:
        """Train on rows of `lengths` tokens and tell `progress`; `options` are SFTTrainer's."""
        super().__init__(**options)
        self._lengths = lengths
        self._progress = progress
        # Without tqdm the trainer prints its log.
        self.remove_callback(PrinterCallback)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Keep what was measured, pass it on, and stop a training that went wrong."""
        super().log(logs, start_time)
        if "loss" not in logs:
            return
        step, steps = self.state.global_step, self.state.max_steps
        if not math.isfinite(logs["loss"]):
            raise ConfigError(
                f"training went wrong at step {step} of {steps}: the loss is {logs['loss']}, so no "
                f"student was written; lower optimizer.lr ({self.args.learning_rate:g} now)"
            )
        if self._progress:
            told: dict[str, float] = {
                name: logs[name] for name in ("loss", "ce", "kd") if name in logs
            }
            self._progress(step, steps, {**told, "lr": logs["learning_rate"]})

    def create_model_card(self, *_: object, **__: object) -> None:
        """Write none: a checkpoint is nobody's model, and the student's card has its own author."""

    def _send_telemetry(self) -> None:
        pass

    def _get_train_sampler(self, train_dataset: object = None) -> LikeLengths:  # noqa: ARG002 - the trainer's signature
        args = self.args
        rows_per_step = args.per_device_train_batch_size * args.gradient_accumulation_steps
        return LikeLengths(self._lengths, rows_per_step, args.seed)


def configure(
    student: Student, *, rows: int, parameters: int, checkpoint_folder: Path
) -> SFTConfig:
    """Return TRL's options for `student`; they leave the rows alone and report to nobody."""
    optimizer = student.optimizer
    steps = math.ceil(rows / optimizer.batch_size) * optimizer.epochs
    micro_batch_size = optimizer.micro_batch_size or optimizer.batch_size
    has_gpu = torch.cuda.is_available()
    schedule = optimizer.schedule
    config = SFTConfig(
        output_dir=str(checkpoint_folder),
        seed=student.seed,
        num_train_epochs=optimizer.epochs,
        per_device_train_batch_size=micro_batch_size,
        gradient_accumulation_steps=optimizer.batch_size // micro_batch_size,
        learning_rate=optimizer.lr or _default_lr(student),
        lr_scheduler_type="constant_with_warmup" if schedule == "constant" else schedule,
        # Not as a share: that is rounded up, and a training of one step would learn nothing.
        warmup_steps=int(steps * optimizer.warmup_ratio),
        weight_decay=optimizer.weight_decay,
        max_length=None,
        dataset_kwargs={"skip_prepare_dataset": True},
        # Or the trainer drops the columns it does not know, without a word.
        remove_unused_columns=False,
        logging_steps=1 / _LOG_POINTS,
        logging_nan_inf_filter=False,
        save_strategy="steps",
        save_steps=1 / _CHECKPOINTS,
        save_total_limit=2,
        report_to="none",
        disable_tqdm=True,
        use_cpu=not has_gpu,
        bf16=has_gpu and torch.cuda.is_bf16_supported(),
        gradient_checkpointing=parameters >= _LARGE,
        dataloader_pin_memory=has_gpu,
    )
    # Several GPUs in one process would make the trainer wrap the model, which SFTTrainer refuses.
    config._n_gpu = min(config.n_gpu, 1)  # noqa: SLF001 - there is no public way to use one of them
    return config


def read_log(state: TrainerState) -> tuple[LogEntry, ...]:
    """Return the learning curve of a training, with what came before it was resumed."""
    return tuple(
        LogEntry(
            step=int(entry["step"]),
            epoch=entry["epoch"],
            loss=entry["loss"],
            ce=entry.get("ce", entry["loss"]),
            kd=entry.get("kd"),
            lr=entry["learning_rate"],
        )
        for entry in state.log_history
        if "loss" in entry
    )


def _default_lr(student: Student) -> float:
    if isinstance(student.base, NewBase):
        return 2e-3
    return 2e-4 if student.lora else 2e-5
