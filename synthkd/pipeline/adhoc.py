"""Steps without a pipeline file: the same ones, on a corpus and a few options."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from synthkd.corpus.runs import finish_run, start_run
from synthkd.corpus.samples import select
from synthkd.corpus.store import Corpus, open_corpus, read_corpus
from synthkd.errors import ConfigError
from synthkd.evaluation import EvaluationOptions
from synthkd.filters import parse_filter
from synthkd.pipeline.document import Document, Loc, explain, set_values
from synthkd.pipeline.examination import examine, examine_student
from synthkd.pipeline.filtering import Stage, filter_samples
from synthkd.pipeline.generation import generate
from synthkd.pipeline.graph import Graph, Voice
from synthkd.pipeline.materials import NO_LICENSE, Material
from synthkd.pipeline.model import Project
from synthkd.pipeline.paths import find_input, locate_teacher
from synthkd.pipeline.preparation import prepare
from synthkd.pipeline.reading import Generated
from synthkd.pipeline.run import Listener
from synthkd.pipeline.schooling import (
    count_parameters,
    rows_of_samples,
    train_student,
)
from synthkd.pipeline.sources import read_source, require_columns
from synthkd.prompts import VERBATIM, Prompt, parse_prompt, read_prompt
from synthkd.reports import read_scores, write_model_card
from synthkd.rights.licenses import read_license
from synthkd.teachers.options import TeacherOptions
from synthkd.training import AnyStudent, KdStudent, SftStudent

Model = TypeVar("Model", bound=BaseModel)


def read_options(given: Mapping[str, Any], settings: Sequence[str], model: type[Model]) -> Model:
    """Return command-line options as the step they stand for.

    Raises:
        ConfigError: They are not right; every mistake is told.
    """
    value = {name: option for name, option in given.items() if option is not None}
    places: dict[Loc, str] = {(name,): f"--{name.replace('_', '-')}" for name in value}
    document = Document("the command line", value, {(): "the command line", **places})
    set_values(document, settings)
    try:
        return model.model_validate(document.value)
    except ValidationError as error:
        mistakes = list(explain(error, document, model))
        raise ConfigError("the options are not right:", mistakes) from None


def read_student(given: Mapping[str, Any], settings: Sequence[str]) -> AnyStudent:
    """Return command-line options as a student.

    Raises:
        ConfigError: They are not right; every mistake is told.
    """
    methods: dict[str, type[SftStudent | KdStudent]] = {"sft": SftStudent, "kd": KdStudent}
    if given["method"] not in methods:
        raise ConfigError(f"there is no method {given['method']!r}; known: {', '.join(methods)}")
    return read_options(given, settings, methods[given["method"]])


def license_or_none(text: str | None) -> str:
    """Return an SPDX expression, or NOASSERTION where nothing was stated.

    Raises:
        ConfigError: It is no SPDX expression.
    """
    if text is None:
        return NO_LICENSE
    try:
        return read_license(text)
    except ValueError as error:
        raise ConfigError(f"--license: {error}") from error


def generate_file(
    corpus_path: Path,
    rows: Path,
    options: TeacherOptions,
    listener: Listener,
    *,
    license_: str | None,
    prompt_file: Path | None,
    ledger: Path | None = None,
) -> Generated:
    """Ask the teacher for every row of a file; `ledger` has answers that other corpora share.

    Raises:
        BudgetError, ConfigError, CorpusError, TeacherError: As `generate`.
    """
    prompt = find_prompt(prompt_file) if prompt_file else VERBATIM
    license_id = license_or_none(license_)
    if license_id == NO_LICENSE:
        listener.say(
            "note: no --license was stated for the rows, so their samples are marked unknown, "
            "which allows nothing"
        )
    source = read_source(rows.stem, rows)
    require_columns(source.seeds, prompt.front_matter.inputs, str(rows))
    material = Material(rows.stem, str(rows), license_id, source.sha256, source.seeds, prompt)
    with open_corpus(corpus_path) as corpus:
        run_id = start_run(corpus, "generate", options.model_dump(mode="json"))
        generated = generate(
            corpus,
            [material],
            Graph((Voice(options.model, locate_teacher(Path.cwd(), options)),)),
            run_id=run_id,
            ledger=ledger,
            watch=listener.watch,
        )
        generated.tell(options.model, listener.say)
        finish_run(corpus, run_id)
    return generated


def find_prompt(path: Path) -> Prompt:
    """Return the prompt in a file here, or in one that synthkd ships.

    Raises:
        ConfigError: The file is no prompt.
    """
    return read_prompt(find_input(Path.cwd(), str(path)), str(path))


def prompt_of(corpus: Corpus, prompt_file: Path | None) -> Prompt:
    """Return the prompt in a file, or else the one most samples of `corpus` came from.

    Raises:
        ConfigError: The file is no prompt.
    """
    if prompt_file:
        return find_prompt(prompt_file)
    found = corpus.first(
        "SELECT p.name, p.text FROM store.samples s JOIN store.prompts p USING (prompt_version) "
        "GROUP BY ALL ORDER BY count(*) DESC, p.name LIMIT 1"
    )
    return parse_prompt(found[1], found[0]) if found else VERBATIM


def judge_corpus(path: Path, filters: Sequence[str], *, dry_run: bool = False) -> list[Stage]:
    """Judge every sample of a corpus by `filters`, written as on the command line.

    Raises:
        ConfigError: A filter is not right.
        CorpusError: The corpus cannot be opened.
    """
    rules = [parse_filter(text) for text in filters]
    with open_corpus(path, create=False) as corpus:
        select(corpus, None)
        return filter_samples(corpus, rules, dry_run=dry_run)


@contextmanager
def open_pipeline(project: Project, listener: Listener) -> Iterator[Corpus]:
    """Open the corpus of a pipeline with the samples of its own selected; nothing is asked.

    Raises:
        ConfigError: Something in the pipeline is not right.
        CorpusError: The corpus cannot be opened.
    """
    work = prepare(project)
    for note in work.notes:
        listener.say(f"note: {note}")
    with open_corpus(project.corpus, create=False) as corpus:
        run_id = start_run(corpus, "read", project.pipeline.model_dump(mode="json"))
        if work.graph:
            generate(corpus, work.materials, work.graph, run_id=run_id, ask=False)
        else:
            select(corpus, ())
        yield corpus
        finish_run(corpus, run_id)


@contextmanager
def open_all(path: Path) -> Iterator[Corpus]:
    """Open a corpus to read, with every sample selected.

    Raises:
        CorpusError: The corpus cannot be opened.
    """
    with read_corpus(path) as corpus:
        select(corpus, None)
        yield corpus


def judge_pipeline(project: Project, listener: Listener, *, dry_run: bool = False) -> list[Stage]:
    """Judge the samples of a pipeline by its filters; nothing is asked.

    Raises:
        ConfigError: Something in the pipeline is not right.
        CorpusError: The corpus cannot be opened.
    """
    with open_pipeline(project, listener) as corpus:
        return filter_samples(corpus, project.pipeline.funnel, dry_run=dry_run)


def train_corpus(
    path: Path, student: AnyStudent, folder: Path, listener: Listener
) -> dict[str, Any]:
    """Train `student` on every kept sample of a corpus into `folder`; return what was done.

    Raises:
        ConfigError: There is nothing to learn from, or the base cannot be loaded.
        CorpusError: The corpus cannot be opened.
        MissingExtraError: TRL is not installed.
    """
    with open_corpus(path, create=False) as corpus:
        run_id = start_run(corpus, "train", student.model_dump(mode="json"))
        select(corpus, None)
        rows = list(rows_of_samples(corpus))
        student_id, result = train_student(
            corpus,
            student,
            rows,
            folder,
            project=Path.cwd(),
            run_id=run_id,
            progress=listener.progress("train"),
        )
        if result:
            write_model_card(corpus, student_id, folder, name=student.name, use=None)
        finish_run(corpus, run_id)
    return {
        "student_id": student_id,
        "folder": folder,
        "rows": len(rows),
        "trained": result is not None,
        "parameters": count_parameters(folder),
        "coverage": result.coverage if result else None,
    }


def evaluate_corpus(
    path: Path,
    folders: Sequence[Path],
    held_out: Path,
    listener: Listener,
    *,
    given: Mapping[str, Any],
    settings: Sequence[str],
    prompt_file: Path | None,
) -> list[dict[str, Any]]:
    """Measure students on held-out rows, side by side; return the scores.

    Raises:
        ConfigError: The rows lack what the prompt asks for, or an option is not right.
        CorpusError: The corpus cannot be opened.
    """
    options = read_options(
        {**given, "held_out": {"path": str(held_out)}}, settings, EvaluationOptions
    )
    source = read_source("held_out", held_out)
    with open_corpus(path) as corpus:
        prompt = prompt_of(corpus, prompt_file)
        require_columns(source.seeds, prompt.front_matter.inputs, str(held_out))
        if all(prompt.reference(seed.row) is None for seed in source.seeds):
            column = prompt.front_matter.reference
            raise ConfigError(
                f"{held_out} holds no right answers, so there is nothing to compare with; "
                + (f"add the column {column!r}" if column else "name a reference in the prompt")
            )
        run_id = start_run(corpus, "evaluate", options.model_dump(mode="json"))
        examinees = [examine_student(folder.name, "student", folder, options) for folder in folders]
        examine(
            corpus,
            options,
            examinees,
            prompt=prompt,
            seeds=source.seeds,
            sha256=source.sha256,
            run_id=run_id,
            watch=listener.watch,
        )
        finish_run(corpus, run_id)
        return read_scores(corpus)
