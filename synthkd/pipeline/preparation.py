"""What a pipeline needs before it costs anything: its files, read and found right.

`synthkd check` is this and nothing more, so what it passes will not fail later for
a reason the files could have told.
"""

import itertools
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ParamSpec, TypeVar

from synthkd.errors import ConfigError, SynthkdError
from synthkd.pipeline.admission import judge_lessons, judge_models, note_students
from synthkd.pipeline.arranging import add_examples, arrange, meet
from synthkd.pipeline.graph import Graph
from synthkd.pipeline.materials import Material, render, require_stated
from synthkd.pipeline.model import Project
from synthkd.pipeline.rights import Rules, read_rules, tell_unjudged
from synthkd.pipeline.sources import SourceFile, read_source, require_columns
from synthkd.prompts import Prompt, read_prompt
from synthkd.records import Seed
from synthkd.training import AnyStudent

T = TypeVar("T")
P = ParamSpec("P")


@dataclass(frozen=True, slots=True)
class Work:
    """The files of a pipeline, read. `notes` are what a careful user wants to know first.

    `rules` are None where no use is stated: then nothing can be judged.
    """

    prompt: Prompt
    materials: Sequence[Material] = ()
    graph: Graph | None = None
    gold: Mapping[str, Collection[Seed]] = field(default_factory=dict)
    held_out: SourceFile | None = None
    notes: Collection[str] = ()
    rules: Rules | None = None


def prepare(project: Project, *, asks: bool = True) -> Work:
    """Read everything that `project` names; where nobody `asks`, keys need not be there.

    Raises:
        ConfigError: Some of it is not right; every mistake is told.
    """
    mistakes: list[str] = []
    pipeline = project.pipeline
    prompt = _try(mistakes, read_prompt, project.input(pipeline.prompt), pipeline.prompt)
    materials: list[Material] = []
    for source in pipeline.sources:
        path = project.input(source.path)
        file = _try(mistakes, read_source, source.name, path, source.limit)
        if file and prompt:
            material = Material(source.name, source.path, source, file.sha256, file.seeds, prompt)
            materials.append(material)
            _try(mistakes, _require_inputs, prompt, file.seeds, source.path)
            _try(mistakes, require_stated, file.seeds, source, source.path)
    gold = {}
    for student in pipeline.students:
        mistakes += judge_models(project, student)
        if student.gold:
            rows = _try(mistakes, _read_gold, project, student, prompt)
            gold[student.name] = rows or ()
    held_out = None
    if pipeline.evaluation:
        wanted = pipeline.evaluation.held_out
        path = project.input(wanted.path)
        held_out = _try(mistakes, read_source, "held_out", path, wanted.limit)
        if held_out and prompt:
            _try(mistakes, _require_inputs, prompt, held_out.seeds, wanted.path)
            _try(mistakes, _require_reference, prompt, held_out.seeds, wanted.path)
    if prompt:
        materials = _try(mistakes, add_examples, project, prompt, materials) or materials
    rules = _try(mistakes, _read_rules, project)
    graph, notes = arrange(
        project, prompt, materials, mistakes, rules.table if rules else None, asks=asks
    )
    mistakes += judge_lessons(project, graph) if graph else []
    if mistakes or not prompt:
        raise ConfigError(f"{project.file} cannot be run:", mistakes)
    notes += [tell_unjudged()] if rules is None else []
    notes += note_students(project, graph)
    if held_out:
        examples = [material.examples.rows for material in materials[:1] if material.examples]
        seeds = (material.seeds for material in materials)
        learned = itertools.chain(*seeds, *gold.values(), *examples)
        notes += _tell_overlap(prompt, learned, held_out.seeds)
    return Work(prompt, materials, graph, gold, held_out, notes, rules)


def require_keys(project: Project, work: Work) -> None:
    """Refuse a pipeline whose teachers cannot be asked.

    Raises:
        ConfigError: A key is missing.
    """
    mistakes: list[str] = []
    if work.graph:
        meet(work.graph, mistakes)
    if mistakes:
        raise ConfigError(f"{project.file} cannot be run:", mistakes)


def _try(mistakes: list[str], read: Callable[P, T], *args: P.args, **options: P.kwargs) -> T | None:
    """Return what `read` returns, or note why it does not."""
    try:
        return read(*args, **options)
    except SynthkdError as error:
        mistakes.append(str(error).replace("\n", "\n  "))
        return None


def _read_rules(project: Project) -> Rules | None:
    use = project.pipeline.use
    return read_rules(project.pipeline.rights, use, project.folder) if use else None


def _require_inputs(prompt: Prompt, seeds: Collection[Seed], path: str) -> None:
    require_columns(seeds, prompt.front_matter.inputs, path)
    render(prompt, next(iter(seeds)), path)


def _require_reference(prompt: Prompt, seeds: Collection[Seed], path: str) -> None:
    column = prompt.front_matter.reference
    if column is None:
        raise ConfigError(
            f"{prompt.name}: it names no reference, so held-out answers cannot be compared with "
            "anything; add `reference: COLUMN` to its front matter"
        )
    require_columns(seeds, [column], path, "answers are compared with")


def _read_gold(project: Project, student: AnyStudent, prompt: Prompt | None) -> Collection[Seed]:
    if student.gold is None or prompt is None:
        return ()
    seeds = read_source("gold", project.input(student.gold.path), student.gold.limit).seeds
    _require_inputs(prompt, seeds, student.gold.path)
    prompt.read_gold(next(iter(seeds)).row)
    return seeds


def _tell_overlap(prompt: Prompt, learned: Iterable[Seed], held_out: Collection[Seed]) -> list[str]:
    """Say how many held-out prompts the students learn from: they measure memory, not skill."""
    asked = [prompt.render(seed.row) for seed in held_out]
    known = set(asked)
    met = {messages for seed in learned if (messages := prompt.render(seed.row)) in known}
    count = sum(messages in met for messages in asked)
    if not count:
        return []
    return [
        (
            f"{count} of {len(held_out)} held-out rows ask what students learn from, so the "
            "scores are too good; take these rows out of one of the files"
        )
    ]
