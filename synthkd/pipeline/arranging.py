"""Arranging: who is asked what in a pipeline, with its prompts and examples read.

Whatever the files can tell is found here, before anything is asked: a stage that could
not be filled, held to its budget or connected never begins.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from synthkd.errors import ConfigError, SynthkdError
from synthkd.outputs import JsonOutput
from synthkd.pipeline.graph import Graph, Voice
from synthkd.pipeline.judging import JUDGE_SHOWN, Judging
from synthkd.pipeline.materials import Material, require_stated
from synthkd.pipeline.model import Project
from synthkd.pipeline.paths import locate_teacher
from synthkd.pipeline.refining import CRITIQUE_SHOWN, REVISE_SHOWN, Refining
from synthkd.pipeline.sources import read_source, require_columns
from synthkd.prompts import Prompt, read_prompt
from synthkd.records import Request
from synthkd.rights.entries import Table
from synthkd.rights.terms import find_read
from synthkd.teachers.budget import longest_completion, require_budget
from synthkd.teachers.options import TeacherOptions

_ANSWER = frozenset({"completion", "answer", "rationale"})  # what shows some of an answer


def arrange(
    project: Project,
    prompt: Prompt | None,
    materials: Sequence[Material],
    mistakes: list[str],
    table: Table | None = None,
    *,
    asks: bool = True,
) -> tuple[Graph | None, list[str]]:
    """Return the graph of `project`, if it has a teacher, and what a careful user wants to know.

    What is not right is added to `mistakes`; terms are looked up in `table`. Without a
    `prompt` only its teachers are met.
    """
    if not project.teachers:
        return None, []
    pipeline, salvage = project.pipeline, project.pipeline.salvage
    shares = [each.weight for each in pipeline.teachers] or [1.0]
    voices = [Voice(*each, weight) for each, weight in zip(project.teachers, shares, strict=True)]
    answering = len(voices)
    limits = [voice.options.budget_usd for voice in voices if voice.options.budget_usd is not None]
    limit = min(limits, default=None)

    def add(options: TeacherOptions | None) -> int | None:
        """Add one more teacher; without a budget of its own it has the tightest of the others."""
        if options is None:
            return None
        located = locate_teacher(project.folder, options)
        if located.budget_usd is None:
            located = located.model_copy(update={"budget_usd": limit})
        voices.append(Voice(options.model, located))
        return len(voices) - 1

    refuge = add(salvage.refused)
    refiner = add(pipeline.refine.teacher if pipeline.refine else None)
    refining = judging = None
    try:
        refining = _read_refining(project, prompt, materials) if prompt else None
    except SynthkdError as error:
        mistakes.append(str(error).replace("\n", "\n  "))
    try:
        judging = _read_judging(project, prompt, materials) if prompt else None
    except SynthkdError as error:
        mistakes.append(str(error).replace("\n", "\n  "))
    judge = add(_find_judge(project))
    graph = Graph(
        voices,
        answering,
        pipeline.choose,
        salvage,
        refining,
        judging,
        refuge,
        refiner,
        judge if judge is not None else 0,
    )
    mistakes += _find_vain(graph, prompt) if prompt else []
    return graph, meet(graph, mistakes, table, asks=asks)


def add_examples(project: Project, prompt: Prompt, materials: Sequence[Material]) -> list[Material]:
    """Return `materials` with the few-shot examples of the pipeline, if it has any.

    Raises:
        ConfigError: The file is not right, or has too few rows.
    """
    options = project.pipeline.few_shot
    if options is None:
        return list(materials)
    rows, sha256 = read_source("few_shot", project.input(options.path))
    require_columns(rows, prompt.front_matter.inputs, options.path)
    require_stated(rows, options, options.path)
    examples = options.prepare(prompt, rows, sha256)
    return [replace(material, examples=examples) for material in materials]


def _find_judge(project: Project) -> TeacherOptions | None:
    """Return who judges: of each answer once, and nobody learns its log-probabilities."""
    if project.pipeline.judge is None:
        return None
    first = project.pipeline.teacher or project.pipeline.teachers[0]
    options = project.pipeline.judge.teacher or first
    return options.model_copy(update={"samples": 1, "logprobs": 0})


def _read_refining(
    project: Project, prompt: Prompt, materials: Sequence[Material]
) -> Refining | None:
    options = project.pipeline.refine
    if options is None:
        return None
    revise = read_prompt(project.input(options.revise), options.revise)
    _require_answer(revise, "refine.revise")
    critique = None
    if options.critique is not None:
        critique = read_prompt(project.input(options.critique), options.critique)
        if "critique" not in revise.front_matter.inputs:
            raise ConfigError(
                f"{revise.name}: it is refine.revise and does not show the critique, which would "
                "be paid for in vain; add `critique` to its 'inputs' and {{ critique }} to its "
                f"text, or name {critique.name} here if the two stand in each other's place"
            )
        _require_answer(critique, "refine.critique")
        _require_shown(critique, CRITIQUE_SHOWN, prompt, materials)
    _require_shown(revise, REVISE_SHOWN, prompt, materials)
    return Refining(options, critique, revise)


def _read_judging(
    project: Project, prompt: Prompt, materials: Sequence[Material]
) -> Judging | None:
    options = project.pipeline.judge
    if options is None:
        return None
    judge = read_prompt(project.input(options.prompt), options.prompt)
    _require_answer(judge, "judge.prompt")
    _require_shown(judge, JUDGE_SHOWN, prompt, materials)
    return Judging(options, judge)


def _require_answer(later: Prompt, option: str) -> None:
    """Refuse the prompt of a later stage that does not show the answer it is about.

    Raises:
        ConfigError: It does not.
    """
    if not _ANSWER.intersection(later.front_matter.inputs):
        raise ConfigError(
            f"{later.name}: it is {option} and does not show the answer it is about; add "
            "`completion` to its 'inputs' and {{ completion }} to its text, or name another file"
        )


def _require_shown(
    later: Prompt, shown: Sequence[str], prompt: Prompt, materials: Sequence[Material]
) -> None:
    """Refuse the prompt of a later stage that asks for what nobody has, or may not be shown.

    Raises:
        ConfigError: It does.
    """
    inputs = [name for name in later.front_matter.inputs if name not in shown]
    hidden = {prompt.front_matter.reference, "reference"} - set(shown)
    if found := hidden.intersection(inputs):
        raise ConfigError(
            f"{later.name}: {', '.join(sorted(map(str, found)))} is the right answer, which would "
            "come to stand in samples; only a judge may see it. Drop it from 'inputs'."
        )
    for material in materials:
        require_columns(
            material.seeds,
            inputs,
            material.path,
            f"{later.name} asks for (it is shown {', '.join(shown)} besides)",
        )


def _find_vain(graph: Graph, prompt: Prompt) -> Iterator[str]:
    """Yield what is asked of salvage and can never be done."""
    if graph.salvage.malformed == "repair" and not isinstance(prompt.output, JsonOutput):
        yield (
            f"salvage.malformed is 'repair', which mends JSON, and the output of {prompt.name} is "
            f"of the kind {prompt.output.kind!r}; write 'ask', or drop it"
        )
    if graph.salvage.truncated == "larger":
        for voice in graph.voices[: graph.answering]:
            told: Mapping[str, object] = voice.options.parameters
            if longest_completion(Request((), "", "", told)) is None and not _has_limit(voice):
                yield (
                    f"salvage.truncated is 'larger', and {voice.name} is told no token limit to "
                    "enlarge; add parameters.max_tokens"
                )


def _has_limit(voice: Voice) -> bool:
    """Return whether its teacher has a token limit where nobody states one."""
    try:
        defaults = voice.connect(needs_key=False).teacher.defaults
    except SynthkdError:
        return True  # which is told of where everybody is met
    return longest_completion(Request((), "", "", defaults)) is not None


def meet(
    graph: Graph, mistakes: list[str], table: Table | None = None, *, asks: bool = True
) -> list[str]:
    """Connect every voice, asking nothing; return whose terms `table` does not know.

    Where nobody `asks` them afterwards, keys need not be there.
    """
    notes = {}
    for voice in graph.voices:
        try:
            asker = voice.connect(needs_key=asks)
            require_budget(voice.options, asker.teacher)
        except SynthkdError as error:
            mistakes.append(str(error).replace("\n", "\n  "))
            continue
        _, is_read = find_read(voice.describe(asker), table)
        if not is_read:
            host = asker.teacher.host
            notes[voice.name, host] = (
                f"nobody has recorded the terms of {voice.name} at {host}: samples are "
                "marked unknown, which allows nothing"
            )
    return list(notes.values())
