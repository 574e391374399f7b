"""From options and rows to a student's folder: the way every method goes."""

import logging
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import numpy as np
import torch
from peft import LoraConfig, PeftModel
from torch import Tensor
from transformers import DataCollator, PreTrainedModel, Trainer

from synthkd.errors import ConfigError
from synthkd.training.base import Base, load_base, train_tokenizer
from synthkd.training.batches import StudentCollator
from synthkd.training.checkpoints import find_checkpoint, identify, publish
from synthkd.training.following import count_processes, is_follower
from synthkd.training.processes import share, wait
from synthkd.training.rows import EncodedRows, Targets, encode_rows, read_student_vocabulary
from synthkd.training.settings import configure, read_log
from synthkd.training.store import forget
from synthkd.training.student import Lora, NewBase, Student
from synthkd.training.trainer import StudentTrainer
from synthkd.training.values import Progress, TrainingResult, TrainingRow

Trained = PreTrainedModel | PeftModel

logger = logging.getLogger(__name__)

_MOST = 2048  # tokens, where the student's options do not say


def prepare(
    student: Student,
    rows: Iterable[TrainingRow],
    *,
    has_teacher: bool,
    targets: Targets = "top_k",
    checkpoint_folder: Path | None = None,
) -> tuple[Base, EncodedRows]:
    """Return what `student` starts from and its rows as token ids, aligned with their teacher.

    The token ids are on the disk of `checkpoint_folder` (of temporary files, if not given)
    as long as this process runs. `rows` are read twice where they train a tokenizer.

    Raises:
        ConfigError: The base cannot be loaded, no row can be trained on, or the disk is full.
    """
    if _needs_tokenizer(student) and isinstance(rows, Iterator):
        rows = list(rows)  # for it cannot be read twice
    with _folder(checkpoint_folder) as home:
        base = load_base(_find_tokenizer(student, rows, home), _texts(rows))
        max_length = read_max_length(student, base)
        encoded = share(
            lambda: encode_rows(
                rows,
                base.tokenizer,
                max_length,
                read_student_vocabulary(base.tokenizer) if has_teacher else None,
                folder=home,
                targets=targets,
                validation=student.validation,
            )
        )
        wait()
        forget(Path(encoded.dataset.cache_files[0]["filename"]))
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
    make_trainer: Callable[..., Trainer] = StudentTrainer,
    collator: DataCollator | None = None,
) -> TrainingResult:
    """Train `base` on `rows`, going on from a checkpoint if there is one, and write the student.

    Raises:
        ConfigError: LoRA does not fit the base, or the loss is no number any more.
    """
    started = time.monotonic()
    student = _spell_epochs(student, int(np.sum(rows.lengths)))
    parameters = base.model.num_parameters()
    checkpoints = share(lambda: checkpoint_folder / identify(student, rows.digest, base.model))
    aside = {} if rows.aside is None else {"eval_dataset": rows.aside}
    try:
        trainer = make_trainer(
            model=base.model,
            args=configure(
                student,
                rows=len(rows.lengths),
                parameters=parameters,
                checkpoint_folder=checkpoints,
                is_validated=bool(aside),
            ),
            train_dataset=rows.dataset,
            lengths=rows.lengths,
            data_collator=collator or StudentCollator(pad_token_id=base.tokenizer.pad_token_id),
            processing_class=base.tokenizer,
            progress=progress,
            peft_config=_lora_config(student.lora) if student.lora else None,
            **aside,
        )
    except ValueError as error:
        if student.lora is None:
            raise
        raise ConfigError(
            f"lora does not fit the base of {student.name} ({error}); "
            "name other target_modules, or leave them out"
        ) from error
    if student.lora and trainer.is_fsdp_enabled:
        raise ConfigError(
            "lora cannot be merged into weights that FSDP shards; leave lora out, or train "
            "without FSDP"
        )
    checkpoint = share(lambda: find_checkpoint(checkpoints))
    if checkpoint:
        logger.info("training goes on: student=%s checkpoint=%s", student.name, checkpoint.name)
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    weights = None
    if trainer.is_fsdp_enabled:  # every process gives its part
        weights = trainer.accelerator.get_state_dict(trainer.model_wrapped)
    wait()
    if not is_follower():
        with publish(folder) as partial:
            _save(cast("Trained", trainer.model), weights, base, student.dtype, partial)
        shutil.rmtree(checkpoints, ignore_errors=True)
    return TrainingResult(
        parameters=parameters,
        rows=len(rows.lengths),
        rows_cut=rows.cut,
        rows_skipped=rows.skipped,
        tokens=round(int(np.sum(rows.lengths)) * student.optimizer.epochs),
        seconds=time.monotonic() - started,
        log=read_log(trainer.state),
    )


def _spell_epochs(student: Student, tokens: int) -> Student:
    """Return `student` with its budget of tokens as epochs over rows of so many."""
    optimizer = student.optimizer
    epochs = optimizer.tokens / tokens if optimizer.tokens else optimizer.epochs
    spelled = optimizer.model_copy(update={"epochs": epochs, "tokens": None})
    return student.model_copy(update={"optimizer": spelled})


def _needs_tokenizer(student: Student) -> bool:
    return isinstance(student.base, NewBase) and student.base.from_scratch.tokenizer is None


def _find_tokenizer(student: Student, rows: Iterable[TrainingRow], folder: Path) -> Student:
    """Return `student` with a tokenizer that all processes can load, if one is to be trained."""
    if count_processes() == 1 or not _needs_tokenizer(student):
        return student
    options = cast("NewBase", student.base).from_scratch
    place = folder / "tokenizer"

    def make() -> str:
        train_tokenizer(_texts(rows), options.vocab_size).save_pretrained(place)
        return str(place)

    new = NewBase(from_scratch=options.model_copy(update={"tokenizer": share(make)}))
    return student.model_copy(update={"base": new})


@contextmanager
def _folder(given: Path | None) -> Iterator[Path]:
    if given:
        yield given
        shutil.rmtree(given / "tokenizer", ignore_errors=True)
    else:
        with tempfile.TemporaryDirectory(prefix="synthkd-") as made:
            yield Path(made)


def read_max_length(student: Student, base: Base) -> int:
    """Return how many tokens a row may have.

    Raises:
        ConfigError: The student asks for more than its base can read.
    """
    if (student.max_length or 0) > base.context:
        raise ConfigError(
            f"max_length is {student.max_length}, and the base of {student.name} reads at most "
            f"{base.context} tokens; write {base.context} or less, or choose another base"
        )
    return student.max_length or min(base.context, _MOST)


def _texts(rows: Iterable[TrainingRow]) -> Iterator[str]:
    for row in rows:
        yield from (message.content for message in row.messages)
        yield row.completion


def _lora_config(lora: Lora) -> LoraConfig:
    return LoraConfig(
        r=lora.r,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=list(lora.target_modules) if lora.target_modules else "all-linear",
        task_type="CAUSAL_LM",
    )


def _save(
    model: Trained,
    weights: Mapping[str, Tensor] | None,
    base: Base,
    dtype: str,
    folder: Path,
) -> None:
    """Write a model that needs neither the adapter it was trained with nor synthkd.

    `weights` are its own, where `model` holds a part of them only.
    """
    kind: torch.dtype = getattr(torch, dtype)
    whole: PreTrainedModel = model.merge_and_unload() if isinstance(model, PeftModel) else model
    whole.config.use_cache = True
    if weights is None:
        # `to` is typed as the wrapper that guards quantized models.
        torch.nn.Module.to(whole, kind)
        whole.save_pretrained(folder)
    else:
        whole.save_pretrained(
            folder, state_dict={name: part.to(kind) for name, part in weights.items()}
        )
    base.tokenizer.save_pretrained(folder)
