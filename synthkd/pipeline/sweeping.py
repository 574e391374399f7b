"""A sweep: one student trained in several ways on as many tokens each, and the best one named.

    method=sft,kd   alpha=0.3,0.7   optimizer.lr=1e-3,3e-3      ─►  2 sft students, 4 kd students

An option that a method lacks makes no student of its own. Half of the held-out rows pick
the best; the other half measure it, since what was picked on some rows looks better on
them than it is.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, product
from pathlib import Path
from typing import Any

from synthkd.corpus.runs import finish_run, start_run
from synthkd.corpus.samples import select
from synthkd.corpus.store import Corpus, open_corpus
from synthkd.errors import ConfigError
from synthkd.evaluation import EvaluationOptions
from synthkd.pipeline.adhoc import open_pipeline, read_held_out
from synthkd.pipeline.document import read_options
from synthkd.pipeline.examination import Examinee, examine, examine_student
from synthkd.pipeline.lessons import lessons_from_samples
from synthkd.pipeline.model import Project
from synthkd.pipeline.preparation import prepare
from synthkd.pipeline.run import Listener
from synthkd.pipeline.schooling import train_student
from synthkd.prompts import Prompt
from synthkd.records import Seed, digest
from synthkd.reports import write_model_card
from synthkd.training import METHODS, AnyStudent

SMALL_GRID = ("method=sft,kd", "alpha=0.2,0.5,0.8")
_LONGEST = 64  # characters of a student's name
_FEWEST = 20  # held-out rows: with fewer, half of them pick by chance


@dataclass(frozen=True, slots=True)
class Trial:
    """One student of a sweep: its score, with its 95 % interval, on the rows that pick."""

    name: str
    folder: Path
    settings: Mapping[str, str]
    metric: str
    value: float
    low: float
    high: float
    n: int


@dataclass(frozen=True, slots=True)
class Swept:
    """What a sweep found: its trials, the best first, and that one on the other rows."""

    trials: tuple[Trial, ...]
    best: Trial


@dataclass(frozen=True, slots=True)
class Ground:
    """What all students of a sweep share: corpus, rows to be measured on, and who is told."""

    corpus: Corpus
    home: Path
    project: Path
    prompt: Prompt
    seeds: Collection[Seed]
    sha256: str
    options: EvaluationOptions
    run_id: str
    listener: Listener


def spread(
    student: AnyStudent, axes: Sequence[str], tokens: int | None
) -> list[tuple[AnyStudent, dict[str, str]]]:
    """Return the students of a grid, each with the settings that made it.

    An axis is written `KEY=VALUE,VALUE`, with keys as in the pipeline file. `tokens` is
    what each of them reads; None leaves that to their epochs.

    Raises:
        ConfigError: An axis or a student that it makes is not right.
    """
    keys, values = _read_axes(axes)
    students: dict[str, tuple[AnyStudent, dict[str, str]]] = {}
    for combination in product(*values):
        chosen = dict(zip(keys, combination, strict=True))
        kind = METHODS[chosen.get("method", student.method)]
        chosen = {key: text for key, text in chosen.items() if _root(key) in kind.model_fields}
        name = _name(student.name, chosen)
        if name in students:
            continue
        given = {
            key: value
            for key, value in student.model_dump(mode="json", exclude_unset=True).items()
            if key in kind.model_fields
        }
        given |= {"name": name, "method": chosen.get("method", student.method)}
        budget = [f"optimizer.tokens={tokens}"] if tokens else []
        settings = [f"{key}={text}" for key, text in chosen.items() if key != "method"]
        made: Any = read_options(given, [*settings, *budget], kind)
        students[name] = (made, chosen)
    return list(students.values())


def sweep(ground: Ground, students: Sequence[tuple[AnyStudent, Mapping[str, str]]]) -> Swept:
    """Train `students`, measure them, and name the best; what was done before is not done again.

    Raises:
        ConfigError: There is too little to learn from, or to measure on.
    """
    if len(ground.seeds) < _FEWEST:
        raise ConfigError(
            f"there are {len(ground.seeds)} held-out rows, and half of them would pick the best "
            f"student by chance; give {_FEWEST} or more"
        )
    folders = {student.name: ground.home / student.name for student, _ in students}
    for student, _ in students:
        _train(ground, student, folders[student.name])
    metric = ground.options.metrics[0]
    examinees = [
        examine_student(student.name, "student", folders[student.name], ground.options)
        for student, _ in students
    ]
    scores = _measure(ground, examinees, 0)
    trials = [
        Trial(student.name, folders[student.name], chosen, metric, *scores[student.name])
        for student, chosen in students
    ]
    trials.sort(key=lambda trial: -trial.value)
    first = trials[0]
    (best,) = [examinee for examinee in examinees if examinee.name == first.name]
    again = _measure(ground, [best], 1)[first.name]
    return Swept(tuple(trials), Trial(first.name, first.folder, first.settings, metric, *again))


def sweep_pipeline(
    project: Project, name: str | None, axes: Sequence[str], tokens: int | None, listener: Listener
) -> Swept:
    """Sweep over the options of the student called `name` (None: the first that has a teacher).

    Raises:
        ConfigError: The pipeline, the grid or the samples are not right.
    """
    pipeline = project.pipeline
    learners = {student.name: student for student in pipeline.students if not student.gold}
    student = learners.get(name) if name else next(iter(learners.values()), None)
    work = prepare(project)
    held_out = work.held_out
    if student is None or held_out is None or pipeline.evaluation is None:
        raise ConfigError(
            f"{project.file} cannot be swept: it needs a student that learns from the teacher"
            + (f", and {name!r} is none" if name else "")
            + ", and `evaluation`, whose held-out rows pick the best"
        )
    students = spread(student, axes, tokens)
    with open_pipeline(project, listener) as corpus:
        run_id = start_run(corpus, "sweep", {"axes": list(axes), "tokens": tokens})
        ground = Ground(
            corpus, project.corpus.parent / "students", project.folder, work.prompt,
            held_out.seeds, held_out.sha256, pipeline.evaluation, run_id, listener,
        )  # fmt: skip
        swept = sweep(ground, students)
        finish_run(corpus, run_id)
    return swept


def sweep_corpus(
    path: Path,
    student: AnyStudent,
    axes: Sequence[str],
    tokens: int | None,
    listener: Listener,
    *,
    folder: Path,
    held_out: Path,
    metrics: Sequence[str],
    prompt_file: Path | None,
) -> Swept:
    """Sweep over the options of `student` on every kept sample of a corpus, into `folder`.

    Raises:
        ConfigError: The grid, the rows or the samples are not right.
        CorpusError: The corpus cannot be opened.
    """
    students = spread(student, axes, tokens)
    given = {"held_out": {"path": str(held_out)}, "metrics": list(metrics) or None}
    options = read_options(given, (), EvaluationOptions)
    with open_corpus(path, create=False) as corpus:
        prompt, source = read_held_out(corpus, held_out, prompt_file)
        select(corpus, None)
        run_id = start_run(corpus, "sweep", {"axes": list(axes), "tokens": tokens})
        ground = Ground(
            corpus, folder, Path.cwd(), prompt, source.seeds, source.sha256, options, run_id,
            listener,
        )  # fmt: skip
        swept = sweep(ground, students)
        finish_run(corpus, run_id)
    return swept


def _train(ground: Ground, student: AnyStudent, folder: Path) -> None:
    done = train_student(
        ground.corpus,
        student,
        lessons_from_samples(ground.corpus, student),
        folder,
        project=ground.project,
        run_id=ground.run_id,
        progress=ground.listener.progress(f"train {student.name}"),
    )
    if done.result:
        write_model_card(ground.corpus, done.student_id, folder, name=student.name, use=None)
        ground.listener.say(f"trained {student.name}: {done.result.tokens:,} tokens")


def _measure(
    ground: Ground, examinees: Sequence[Examinee], half: int
) -> dict[str, tuple[float, float, float, int]]:
    """Return (value, low, high, rows) of each examinee on every second held-out row."""
    evaluation_id, _ = examine(
        ground.corpus,
        ground.options,
        examinees,
        prompt=ground.prompt,
        seeds=list(islice(ground.seeds, half, None, 2)),
        sha256=digest([ground.sha256, half]),
        run_id=ground.run_id,
        watch=ground.listener.watch,
    )
    rows = ground.corpus.db.execute(
        "SELECT model, value, low, high, n FROM store.evaluations "
        "WHERE evaluation_id = ? AND metric = ?",
        [evaluation_id, ground.options.metrics[0]],
    ).fetchall()
    return {name: (value, low, high, n) for name, value, low, high, n in rows}


def _read_axes(axes: Sequence[str]) -> tuple[list[str], list[list[str]]]:
    mistakes, keys, values = [], [], []
    for axis in axes:
        key, equals, texts = axis.partition("=")
        if not (key and equals and texts):
            mistakes.append(f"{axis!r} is no axis; write KEY=VALUE,VALUE, e.g. alpha=0.3,0.7")
        elif key in keys:
            mistakes.append(f"{key} stands twice; write its values in one axis")
        else:
            keys.append(key)
            values.append(texts.split(","))
    unknown = [
        name for key, names in zip(keys, values, strict=True) if key == "method"
        for name in names if name not in METHODS
    ]  # fmt: skip
    mistakes += [f"there is no method {name!r}; known: {', '.join(METHODS)}" for name in unknown]
    mistakes += [
        f"no method has an option {key!r}"
        for key in keys
        if not any(_root(key) in kind.model_fields for kind in METHODS.values())
    ]
    if mistakes:
        raise ConfigError("this cannot be swept:", mistakes)
    return keys, values


def _root(key: str) -> str:
    return key.partition(".")[0]


def _name(student: str, chosen: Mapping[str, str]) -> str:
    """Return a folder's name that tells a student of the grid from the others."""
    parts = [f"{key.rpartition('.')[2]}{text}" for key, text in chosen.items() if key != "method"]
    name = ".".join([student, *([chosen["method"]] if "method" in chosen else []), *parts])
    if len(name) <= _LONGEST and re.fullmatch(r"[\w.-]+", name, re.ASCII):
        return name
    return f"{student[:40]}.{digest(dict(chosen))[:12]}"
