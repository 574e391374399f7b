"""What a pipeline needs before it costs anything: its files, read and found right.

`synthkd check` is this and nothing more, so what it passes will not fail later for
a reason the files could have told.
"""

import itertools
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ParamSpec, TypeVar

from synthkd.errors import ConfigError, SynthkdError
from synthkd.pipeline.arranging import add_examples, arrange
from synthkd.pipeline.graph import Graph
from synthkd.pipeline.materials import Material, render
from synthkd.pipeline.model import Project
from synthkd.pipeline.sources import SourceFile, read_source, require_columns
from synthkd.prompts import Prompt, read_prompt
from synthkd.records import Seed
from synthkd.training import AnyStudent, NewBase

T = TypeVar("T")
P = ParamSpec("P")


@dataclass(frozen=True, slots=True)
class Work:
    """The files of a pipeline, read. `notes` are what a careful user wants to know first."""

    prompt: Prompt
    materials: Sequence[Material] = ()
    graph: Graph | None = None
    gold: Mapping[str, Collection[Seed]] = field(default_factory=dict)
    held_out: SourceFile | None = None
    notes: Collection[str] = ()


def prepare(project: Project) -> Work:
    """Read everything that `project` names.

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
            material = Material(
                source.name, source.path, source.license, file.sha256, file.seeds, prompt
            )
            materials.append(material)
            _try(mistakes, _require_inputs, prompt, file.seeds, source.path)
    gold = {}
    for student in pipeline.students:
        mistakes += _judge_models(project, student)
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
    graph, notes = arrange(project, prompt, materials, mistakes)
    if mistakes or not prompt:
        raise ConfigError(f"{project.file} cannot be run:", mistakes)
    if held_out:
        examples = [material.examples.rows for material in materials[:1] if material.examples]
        seeds = (material.seeds for material in materials)
        learned = itertools.chain(*seeds, *gold.values(), *examples)
        notes += _tell_overlap(prompt, learned, held_out.seeds)
    return Work(prompt, materials, graph, gold, held_out, notes)


def _try(mistakes: list[str], read: Callable[P, T], *args: P.args, **options: P.kwargs) -> T | None:
    """Return what `read` returns, or note why it does not."""
    try:
        return read(*args, **options)
    except SynthkdError as error:
        mistakes.append(str(error).replace("\n", "\n  "))
        return None


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


def _judge_models(project: Project, student: AnyStudent) -> list[str]:
    """Return what is wrong with a base or a teacher that says it is a folder."""
    base = student.base
    named = {
        "base": base.from_scratch.tokenizer if isinstance(base, NewBase) else base,
        "teacher": getattr(student, "teacher", None),
    }
    # A student may go on from one that is trained before it, and is not there yet.
    earlier = itertools.takewhile(lambda each: each != student, project.pipeline.students)
    made = {project.corpus.parent / "students" / each.name for each in earlier}
    return [
        f"{student.name}: there is no folder {name}; write a folder that holds a model, a hub id "
        "(organization/name)" + (", or {from_scratch: {...}}" if part == "base" else "")
        for part, name in named.items()
        if name
        and not project.input(name).is_dir()
        and not _may_be_hub_id(name)
        and project.output(name) not in made
    ]


def _may_be_hub_id(name: str) -> bool:
    parts = name.split("/")
    return len(parts) == len(["organization", "name"]) and all(parts) and name[0] not in ".~"


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
