"""A student's options as TRL's, and the trainer's log as a learning curve."""

import math
from pathlib import Path

import torch
from transformers import TrainerState
from trl.trainer.sft_config import SFTConfig

from synthkd.errors import ConfigError
from synthkd.training.following import count_processes
from synthkd.training.processes import use_cpu
from synthkd.training.student import NewBase, Optimizer, Student
from synthkd.training.values import LogEntry

_LOG_POINTS = 100  # of a learning curve
_CHECKPOINTS = 10  # in one training
_LARGE = 100_000_000  # parameters from which activations are computed twice to save memory


def configure(
    student: Student,
    *,
    rows: int,
    parameters: int,
    checkpoint_folder: Path,
    is_validated: bool = False,
) -> SFTConfig:
    """Return TRL's options for `student`; they leave the rows alone and report to nobody.

    Raises:
        ConfigError: The rows of a step cannot be dealt to the processes.
    """
    optimizer = student.optimizer
    steps = math.ceil(math.ceil(rows / optimizer.batch_size) * optimizer.epochs)
    log_steps = math.ceil(steps / _LOG_POINTS)
    # Where a mean is told, so that a resumed training tells the same ones.
    save_steps = math.ceil(steps / _CHECKPOINTS / log_steps) * log_steps
    micro_batch_size, accumulated = divide_batch(optimizer, count_processes())
    has_gpu = not use_cpu()
    schedule = optimizer.schedule
    config = SFTConfig(
        output_dir=str(checkpoint_folder),
        seed=student.seed,
        num_train_epochs=optimizer.epochs,
        per_device_train_batch_size=micro_batch_size,
        per_device_eval_batch_size=micro_batch_size,
        gradient_accumulation_steps=accumulated,
        learning_rate=optimizer.lr or _default_lr(student),
        lr_scheduler_type="constant_with_warmup" if schedule == "constant" else schedule,
        # Not as a share: that is rounded up, and a training of one step would learn nothing.
        warmup_steps=int(steps * optimizer.warmup_ratio),
        weight_decay=optimizer.weight_decay,
        max_length=None,
        dataset_kwargs={"skip_prepare_dataset": True},
        # Or the trainer drops the columns it does not know, without a word.
        remove_unused_columns=False,
        logging_steps=log_steps,
        logging_nan_inf_filter=False,
        save_strategy="steps",
        save_steps=save_steps,
        save_total_limit=2,
        eval_strategy="steps" if is_validated else "no",
        eval_steps=save_steps,
        report_to="none",
        disable_tqdm=True,
        # Or the trainer has processes that follow say what the first keeps to itself.
        log_level_replica="error",
        use_cpu=not has_gpu,
        bf16=has_gpu and torch.cuda.is_bf16_supported(),
        gradient_checkpointing=parameters >= _LARGE,
        dataloader_pin_memory=has_gpu,
    )
    # Several GPUs in one process would make the trainer wrap the model, which SFTTrainer refuses.
    config._n_gpu = min(config.n_gpu, 1)  # noqa: SLF001 - there is no public way to use one of them
    return config


def divide_batch(optimizer: Optimizer, processes: int) -> tuple[int, int]:
    """Return how many rows of a step a process holds at once, and how often.

    Raises:
        ConfigError: The processes cannot have equal parts.
    """
    share, rest = divmod(optimizer.batch_size, processes)
    if rest:
        raise ConfigError(
            f"optimizer.batch_size is {optimizer.batch_size}, and {processes} processes cannot "
            f"have equal parts of it; write a multiple of {processes}, or start fewer processes"
        )
    most = min(optimizer.micro_batch_size or share, share)
    size = next(size for size in range(most, 0, -1) if share % size == 0)
    return size, share // size


def read_log(state: TrainerState) -> tuple[LogEntry, ...]:
    """Return the learning curve of a training, with what came before it was resumed."""
    measured = {
        entry["step"]: entry["eval_loss"] for entry in state.log_history if "eval_loss" in entry
    }
    return tuple(
        LogEntry(
            step=int(entry["step"]),
            epoch=entry["epoch"],
            loss=entry["loss"],
            ce=entry.get("ce"),
            kd=entry.get("kd"),
            lr=entry["learning_rate"],
            validation=measured.get(entry["step"]),
            tokens=int(entry.get("tokens", 0)),
        )
        for entry in state.log_history
        if "loss" in entry
    )


def _default_lr(student: Student) -> float:
    if isinstance(student.base, NewBase):
        return 2e-3
    return 2e-4 if student.lora else 2e-5
