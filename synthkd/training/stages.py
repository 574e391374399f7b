"""Trainings that follow one another: each is kept until the last one is done.

A stage's student and its result lie beside each other in one folder, so that an
interrupted training goes on with the stage it was in.
"""

import json
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from synthkd.training.student import Optimizer, Student
from synthkd.training.values import LogEntry, Progress, TrainingResult


def count_steps(rows: int, optimizer: Optimizer) -> int:
    """Return how many steps a training on `rows` has."""
    return math.ceil(math.ceil(rows / optimizer.batch_size) * optimizer.epochs)


def common_options(student: Student) -> dict[str, object]:
    """Return the options that `student` shares with a student of any other method."""
    return {name: getattr(student, name) for name in Student.model_fields}


def do_stage(folder: Path, train: Callable[[], TrainingResult]) -> TrainingResult:
    """Return what `train` told of the student it writes to `folder`, now or in an earlier run."""
    note = folder.with_name(f"{folder.name}.json")
    if folder.is_dir() and note.is_file():
        told = json.loads(note.read_text(encoding="utf-8"))
        return TrainingResult(**{**told, "log": tuple(LogEntry(**entry) for entry in told["log"])})
    note.unlink(missing_ok=True)
    result = train()
    draft = note.with_suffix(".partial")
    draft.write_text(json.dumps(asdict(result)), encoding="utf-8")
    draft.replace(note)
    return result


def count_on(
    progress: Progress | None, number: int, before: int = 0, after: int = 0
) -> Progress | None:
    """Return whom the stage `number` (from 1) tells, with steps counted over all stages.

    There were `before` steps in the stages before it, and are `after` in those to come.
    """
    if progress is None:
        return None

    def tell(step: int, steps: int, measured: Mapping[str, float]) -> None:
        progress(before + step, before + steps + after, {**measured, "round": number})

    return tell


def join(results: Sequence[TrainingResult]) -> TrainingResult:
    """Return one result of several trainings: the last, with the work and the log of all.

    Steps and epochs are counted on; `more` of each entry tells its `round`, from 1.
    """
    log: list[LogEntry] = []
    for number, result in enumerate(results, start=1):
        step, epoch = (log[-1].step, log[-1].epoch) if log else (0, 0.0)
        log += [
            replace(
                entry,
                step=step + entry.step,
                epoch=epoch + entry.epoch,
                more={**entry.more, "round": number},
            )
            for entry in result.log
        ]
    return replace(
        results[-1],
        tokens=sum(result.tokens for result in results),
        seconds=sum(result.seconds for result in results),
        log=tuple(log),
    )


def tell_more(
    result: TrainingResult, history: Sequence[Mapping[str, float]], names: Collection[str]
) -> TrainingResult:
    """Return `result` with what a trainer's `history` has under `names` in its log's `more`."""
    told = {
        entry["step"]: {name: entry[name] for name in names if name in entry}
        for entry in history
        if "loss" in entry
    }
    log = (replace(e, more={**e.more, **told.get(e.step, {})}) for e in result.log)
    return replace(result, log=tuple(log))
