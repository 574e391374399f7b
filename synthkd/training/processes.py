"""What the processes of one training tell each other: what is trained, and what the first made.

Messages go over a gloo group of their own, whose timeout is long enough for a teacher to
answer a corpus in between; the gradients go over the trainer's. A process that is killed
closes its connections, so those that wait for it do not wait on.
"""

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from accelerate import PartialState
from accelerate.utils import str_to_bool
from pydantic import TypeAdapter
from torch import distributed

from synthkd.errors import SynthkdError
from synthkd.training.following import count_processes, is_follower
from synthkd.training.methods import AnyStudent
from synthkd.training.student import Student

Made = TypeVar("Made")

logger = logging.getLogger(__name__)

_PATIENCE = timedelta(weeks=2)


class AbandonedError(SynthkdError):
    """The first process failed at what this one waited for, and told why itself."""


@dataclass(frozen=True, slots=True)
class Job:
    """A training that all processes take part in; `student` is its options as JSON."""

    student: str
    folder: Path
    checkpoint_folder: Path


@dataclass(frozen=True, slots=True)
class _Made(Generic[Made]):
    value: Made


@dataclass(slots=True)
class _Standing:
    """Whether the others still wait for what this process sends, and what they were told of."""

    is_broken: bool = False
    told: BaseException | None = None


_standing = _Standing()


def use_cpu() -> bool:
    """Tell whether to train without a GPU: there is none, or the launcher was told so."""
    wish = os.environ.get("ACCELERATE_USE_CPU", "false")
    return not torch.cuda.is_available() or bool(str_to_bool(wish))


@contextmanager
def together(student: Student, folder: Path, checkpoint_folder: Path) -> Iterator[None]:
    """Have every process do what is in the block; alone, nothing changes.

    An error in the middle of it leaves the processes out of step: the launcher ends them.
    """
    if count_processes() == 1:
        if "MASTER_ADDR" in os.environ and "ACCELERATE_USE_CPU" in os.environ:
            logger.warning(
                "one process trains: accelerate launch --cpu starts no others (without MPI); "
                "write --multi_gpu in its place, which needs no GPU, or use torchrun"
            )
        yield
        return
    if not is_follower():
        _send(Job(student.model_dump_json(), folder.resolve(), checkpoint_folder.resolve()))
    try:
        yield
    except BaseException as error:
        _standing.is_broken = error is not _standing.told
        raise


def share(make: Callable[[], Made]) -> Made:
    """Return what `make` returns in the first process, the only one that calls it.

    Raises:
        AbandonedError: It failed there, and this is another.
    """
    if count_processes() == 1:
        return make()
    if is_follower():
        made = _receive()
        if not isinstance(made, _Made):
            raise AbandonedError("the first process could not go on")
        return made.value  # type: ignore[no-any-return] # it came as it went
    try:
        value = make()
    except BaseException as error:
        _standing.told = error
        _send(None)
        raise
    _send(_Made(value))
    return value


def wait() -> None:
    """Return when every process has come here."""
    if count_processes() > 1:
        distributed.barrier(group=_join())


def follow() -> None:
    """Take part in what the first process trains, until it needs no more."""
    students: TypeAdapter[AnyStudent] = TypeAdapter(AnyStudent)
    while isinstance(job := _receive(), Job):
        student = students.validate_json(job.student)
        try:
            # A follower reads no rows: it gets them as token ids.
            student.train((), job.folder, checkpoint_folder=job.checkpoint_folder)
        except AbandonedError:
            continue


def dismiss() -> None:
    """Tell the others that there is nothing more to train."""
    if not _standing.is_broken:
        _send(None)


def _send(message: object) -> None:
    distributed.broadcast_object_list([message], src=0, group=_join())


def _receive() -> Any:  # noqa: ANN401 - whatever was sent
    messages: list[Any] = [None]
    try:
        distributed.broadcast_object_list(messages, src=0, group=_join())
    except RuntimeError as error:
        raise SynthkdError(
            "the first process is gone, so this one cannot go on; see what it said last"
        ) from error
    return messages[0]


@cache
def _join() -> distributed.ProcessGroup:
    PartialState(cpu=use_cpu(), timeout=_PATIENCE)
    group: distributed.ProcessGroup = distributed.new_group(backend="gloo", timeout=_PATIENCE)
    return group
