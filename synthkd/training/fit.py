"""From options and rows to a student's folder: the way every method goes."""

import logging
import shutil
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import cast

import torch
from peft import LoraConfig, PeftModel
from transformers import DataCollator, PreTrainedModel

from synthkd.errors import ConfigError
from synthkd.training.base import Base, load_base
from synthkd.training.checkpoints import find_checkpoint, identify, publish
from synthkd.training.rows import EncodedRows, encode_rows, read_student_vocabulary
from synthkd.training.student import Lora, NewBase, Student
from synthkd.training.trainer import StudentTrainer, configure, read_log
from synthkd.training.values import Progress, TrainingResult, TrainingRow

Trained = PreTrainedModel | PeftModel

logger = logging.getLogger(__name__)

_MOST = 2048  # tokens, where the student's options do not say


def prepare(
    student: Student, rows: Iterable[TrainingRow], *, has_teacher: bool
) -> tuple[Base, EncodedRows]:
    """Return what `student` starts from and its rows as token ids, aligned with their teacher.

    Raises:
        ConfigError: The base cannot be loaded, or no row can be trained on.
    """
    if isinstance(student.base, NewBase) and student.base.from_scratch.tokenizer is None:
        rows = list(rows)  # read twice: once by the tokenizer's training
    base = load_base(student, (text for row in rows for text in _texts(row)))
    if (student.max_length or 0) > base.context:
        raise ConfigError(
            f"max_length is {student.max_length}, and the base of {student.name} reads at most "
            f"{base.context} tokens; write {base.context} or less, or choose another base"
        )
    max_length = student.max_length or min(base.context, _MOST)
    vocabulary = read_student_vocabulary(base.tokenizer) if has_teacher else None
    encoded = encode_rows(rows, base.tokenizer, max_length, vocabulary)
    if encoded.cut or encoded.skipped:
        logger.warning(
            "rows longer than max_length: student=%s max_length=%d cut=%d skipped=%d",
            student.name,
            max_length,
            encoded.cut,
            encoded.skipped,
        )
    return base, encoded


def fit(
    student: Student,
    base: Base,
    rows: EncodedRows,
    *,
    folder: Path,
    checkpoint_folder: Path,
    progress: Progress | None,
    make_trainer: Callable[..., StudentTrainer] = StudentTrainer,
    collator: DataCollator | None = None,
) -> TrainingResult:
    """Train `base` on `rows`, going on from a checkpoint if there is one, and write the student.

    Raises:
        ConfigError: LoRA does not fit the base, or the loss is no number any more.
    """
    started = time.monotonic()
    parameters = base.model.num_parameters()
    checkpoints = checkpoint_folder / identify(student, rows.digest, base.model)
    try:
        trainer = make_trainer(
            model=base.model,
            args=configure(
                student,
                rows=len(rows.lengths),
                parameters=parameters,
                checkpoint_folder=checkpoints,
            ),
            train_dataset=rows.dataset,
            lengths=rows.lengths,
            data_collator=collator,
            processing_class=base.tokenizer,
            progress=progress,
            peft_config=_lora_config(student.lora) if student.lora else None,
        )
    except ValueError as error:
        if student.lora is None:
            raise
        raise ConfigError(
            f"lora does not fit the base of {student.name} ({error}); "
            "name other target_modules, or leave them out"
        ) from error
    checkpoint = find_checkpoint(checkpoints)
    if checkpoint:
        logger.info("training goes on: student=%s checkpoint=%s", student.name, checkpoint.name)
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    with publish(folder) as partial:
        _save(cast("Trained", trainer.model), base, getattr(torch, student.dtype), partial)
    shutil.rmtree(checkpoints, ignore_errors=True)
    return TrainingResult(
        parameters=parameters,
        rows=len(rows.lengths),
        rows_cut=rows.cut,
        rows_skipped=rows.skipped,
        tokens=round(sum(rows.lengths) * student.optimizer.epochs),
        seconds=time.monotonic() - started,
        log=read_log(trainer.state),
    )


def _texts(row: TrainingRow) -> list[str]:
    return [*(message.content for message in row.messages), row.completion]


def _lora_config(lora: Lora) -> LoraConfig:
    return LoraConfig(
        r=lora.r,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=list(lora.target_modules) if lora.target_modules else "all-linear",
        task_type="CAUSAL_LM",
    )


def _save(model: Trained, base: Base, dtype: torch.dtype, folder: Path) -> None:
    """Write a model that needs neither the adapter it was trained with nor synthkd."""
    whole: PreTrainedModel = model.merge_and_unload() if isinstance(model, PeftModel) else model
    whole.config.use_cache = True
    # `to` is typed as the wrapper that guards quantized models.
    torch.nn.Module.to(whole, dtype)
    whole.save_pretrained(folder)
    base.tokenizer.save_pretrained(folder)
