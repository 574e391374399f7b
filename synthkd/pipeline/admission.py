"""Admission: what can be told of students before the teacher is paid.

A student is trained last, when everything it learns has been asked for. What it cannot
learn from, or start from, is refused first; what may still be mended is noted.
"""

import itertools
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from synthkd.corpus.samples import is_pure
from synthkd.errors import ConfigError
from synthkd.hub import find_on_hub
from synthkd.pipeline.graph import Graph, Voice
from synthkd.pipeline.model import Project
from synthkd.records import canonical_json
from synthkd.training import AnyStudent, KdStudent, NewBase, SequenceKdStudent

_IN_PROCESS = frozenset({"local", "vllm"})
_SILENT = frozenset({"anthropic", "scripted"})


def judge_models(project: Project, student: AnyStudent) -> list[str]:
    """Return what is wrong with a base or a teacher that says it is a folder."""
    return [
        f"{student.name}: there is no folder {name}; write a folder that holds a model, a hub id "
        "(organization/name)" + (", or {from_scratch: {...}}" if part == "base" else "")
        for part, name in _find_absent(project, student).items()
        if not _may_be_hub_id(name)
    ]


def judge_lessons(project: Project, graph: Graph) -> list[str]:
    """Return which students could not learn from what the teachers will have said."""
    voices = graph.voices[: graph.answering]
    impure = {voice.name: _spell_parameters(voice) for voice in voices if not _is_pure(voice)}
    has_targets = any(voice.options.parameters.get("random_targets") for voice in voices)
    mistakes = []
    for student in project.pipeline.students:
        if not isinstance(student, KdStudent):
            continue
        if student.targets == "random" and not has_targets:
            mistakes.append(
                f"{student.name}: targets: random learns tokens that a local teacher draws beside "
                f"each of its own, and {voices[0].name} is asked for none; write parameters: "
                "{random_targets: 50} and logprobs: 1 for a teacher that is local/..., or "
                "targets: top_k"
            )
        mistakes += [
            f"{student.name}: tail: sampled learns each token as a draw at temperature 1 and "
            f"top_p 1 (no top_k), and {name} is asked with {parameters}, so training would "
            "refuse its answers; write temperature: 1.0 for it and none of the others, or "
            "tail: bucket"
            for name, parameters in impure.items()
            if student.tail == "sampled"
        ]
    return mistakes


def note_students(project: Project, graph: Graph | None) -> Iterator[str]:
    """Yield what a careful user wants to know of the students before they are paid for."""
    for student in project.pipeline.students:
        for name in _find_absent(project, student).values():
            yield f"{student.name}: {_tell_absent(name)}"
        if graph and not student.gold:
            yield from _note_lessons(project, graph, student)
    voices = {voice.name: voice.options for voice in graph.voices} if graph else {}
    for name, options in voices.items():
        path = Path(options.model_name).expanduser()
        if options.provider in _IN_PROCESS and not path.exists():
            yield f"{name}: {_tell_absent(options.model_name)}"


def require_models(project: Project, students: Iterable[AnyStudent]) -> None:
    """Refuse `students` that start from what is no folder, and on no hub.

    Raises:
        ConfigError: There are some.
    """
    mistakes = []
    for student in students:
        for name in _find_absent(project, student).values():
            try:
                find_on_hub(name)
            except ConfigError as error:
                mistakes.append(f"{student.name}: {error}")
    if mistakes:
        raise ConfigError(f"{project.file} cannot be run:", mistakes)


def _find_absent(project: Project, student: AnyStudent) -> Mapping[str, str]:
    """Return the base, its tokenizer, and the teacher that are no folders, by what they are."""
    base = student.base
    named = {
        "base": base.from_scratch.tokenizer if isinstance(base, NewBase) else base,
        "teacher": getattr(student, "teacher", None),
    }
    # A student may go on from one that is trained before it, and is not there yet.
    earlier = itertools.takewhile(lambda each: each != student, project.pipeline.students)
    made = {project.corpus.parent / "students" / each.name for each in earlier}
    return {
        part: name
        for part, name in named.items()
        if name and not project.input(name).is_dir() and project.output(name) not in made
    }


def _may_be_hub_id(name: str) -> bool:
    parts = name.split("/")
    return len(parts) == len(["organization", "name"]) and all(parts) and name[0] not in ".~"


def _tell_absent(name: str) -> str:
    return f"{name} is no folder here, so it will be looked for on the model hub"


def _note_lessons(project: Project, graph: Graph, student: AnyStudent) -> Iterator[str]:
    """Yield what `student` asks of its samples and nobody gives them."""
    voices = graph.voices[: graph.answering]
    if isinstance(student, SequenceKdStudent) and not _gives_several(graph):
        if not any(voice.options.parameters.get("num_beams") for voice in voices):
            yield (
                f"{student.name}: the teacher gives one sample of each prompt, and sequence_kd "
                "picks among several, so it learns what sft learns; write samples: 4 for the "
                "teacher, or let a local one search (parameters: {num_beams: 4})"
            )
        return
    is_tiebreak = isinstance(student, SequenceKdStudent) and student.pick != "most_likely"
    if "logprobs" not in student.needs or is_tiebreak:
        return
    for voice in voices:
        if not voice.options.logprobs:
            yield (
                f"{student.name}: {student.method} learns log-probabilities, and {voice.name} is "
                f"asked for none; training refuses samples without. {_tell_how(project, voice)}"
            )


def _gives_several(graph: Graph) -> bool:
    """Return whether a prompt has more than one sample."""
    samples = [voice.options.samples for voice in graph.voices[: graph.answering]]
    return (max(samples) if graph.choose == "mixture" else sum(samples)) > 1


def _tell_how(project: Project, voice: Voice) -> str:
    """Return how samples come by log-probabilities: from the teacher, or afterwards."""
    options = voice.options
    scorer = voice.name if options.provider in _IN_PROCESS else "local/FOLDER"
    if options.provider == "openai" and isinstance(options.base_url, str):
        scorer = f"{voice.name} --base-url {options.base_url}"
    cure = "It gives none;" if options.provider in _SILENT else "Write logprobs: 20 for it, or"
    return (
        f"{cure} run `synthkd generate {project.file}` first, and then "
        f"`synthkd score --corpus {project.pipeline.corpus} --model {scorer}`"
    )


def _is_pure(voice: Voice) -> bool:
    """Return whether the answers of a teacher are draws from all that it says."""
    told = voice.options.parameters
    return isinstance(told.get("temperature"), int | float) and is_pure(canonical_json(dict(told)))


def _spell_parameters(voice: Voice) -> str:
    told = ", ".join(f"{name}: {value}" for name, value in voice.options.parameters.items())
    return told or "no parameters"
