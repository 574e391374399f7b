"""What an interrupted training goes on from, and how a student appears at once.

Checkpoints of one training lie in a folder named for all that decides its outcome,
so that another base, other rows or other options never go on from them. The trainer
writes `trainer_state.json` last: a checkpoint that has it whole is whole.
"""

import hashlib
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError
from transformers import PreTrainedModel

from synthkd.errors import ConfigError
from synthkd.training.student import Student

_STATE = "trainer_state.json"


def identify(student: Student, rows_digest: str, model: PreTrainedModel) -> str:
    """Return a name for the training of `model` on some rows as `student` says."""
    options = student.model_dump_json(exclude={"name", "gold", "dtype"})
    # Sums stand for the weights: reading gigabytes to hash them takes longer than to train a step.
    sums = [parameter.sum().item() for parameter in model.parameters()]
    return hashlib.sha256(json.dumps([options, rows_digest, sums]).encode()).hexdigest()[:16]


def find_checkpoint(folder: Path) -> Path | None:
    """Return the newest whole checkpoint in `folder`, if there is one."""
    found = [path for path in folder.glob("checkpoint-*") if _is_whole(path)]
    return max(found, key=_step, default=None)


def check_target(folder: Path) -> None:
    """Refuse to replace a folder that holds no student.

    Raises:
        ConfigError: It holds something else, or is a file.
    """
    if folder.is_dir() and (not any(folder.iterdir()) or (folder / "config.json").is_file()):
        return
    if folder.exists():
        raise ConfigError(
            f"{folder} exists and is no student, so it will not be replaced; "
            "name another folder, or remove it"
        )


@contextmanager
def publish(folder: Path) -> Iterator[Path]:
    """Give a folder to write to that becomes `folder` at the end: whole, or not at all.

    Raises:
        ConfigError: The disk is full. What was in `folder` is there still.
    """
    partial = folder.with_name(f".{folder.name}.partial")
    old = folder.with_name(f".{folder.name}.old")
    for leftover in (partial, old):
        shutil.rmtree(leftover, ignore_errors=True)
    try:
        partial.mkdir(parents=True)
        yield partial
    except BaseException as error:
        shutil.rmtree(partial, ignore_errors=True)
        if isinstance(error, (OSError, SafetensorError)):
            raise ConfigError(
                f"the student cannot be written to {folder} ({error}). What it has learned is in "
                "its last checkpoint: make room and run again, and only the writing is repeated."
            ) from error
        raise
    if folder.exists():
        folder.rename(old)
    partial.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def _is_whole(checkpoint: Path) -> bool:
    try:
        state = json.loads((checkpoint / _STATE).read_text(encoding="utf-8"))
        return bool(state["global_step"] == _step(checkpoint))
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _step(checkpoint: Path) -> int:
    return int(checkpoint.name.rpartition("-")[2])
