"""Steps without a pipeline file: the same ones, on a corpus and a few options."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from synthkd.corpus.runs import finish_run, start_run
from synthkd.corpus.samples import select
from synthkd.corpus.store import Corpus, open_corpus, read_corpus
from synthkd.errors import ConfigError
from synthkd.evaluation import EvaluationOptions
from synthkd.filters import parse_filter
from synthkd.pipeline.document import read_options
from synthkd.pipeline.examination import examine, examine_student
from synthkd.pipeline.filtering import Stage, filter_samples
from synthkd.pipeline.generation import generate
from synthkd.pipeline.graph import Graph, Voice
from synthkd.pipeline.guarding import Guard
from synthkd.pipeline.lessons import lessons_from_samples
from synthkd.pipeline.materials import Material, require_stated
from synthkd.pipeline.model import Project
from synthkd.pipeline.paths import find_input, locate_teacher
from synthkd.pipeline.preparation import prepare
from synthkd.pipeline.reading import Generated
from synthkd.pipeline.rights import NOT_STATED, Stated
from synthkd.pipeline.run import Listener
from synthkd.pipeline.schooling import count_parameters, train_student, write_card
from synthkd.pipeline.sources import SourceFile, read_source, require_columns
from synthkd.prompts import VERBATIM, Prompt, parse_prompt, read_prompt
from synthkd.reports import read_scores
from synthkd.rights.facts import Facts
from synthkd.rights.licenses import NOASSERTION
from synthkd.teachers.options import TeacherOptions
from synthkd.training import METHODS, AnyStudent


def read_student(given: Mapping[str, Any], settings: Sequence[str]) -> AnyStudent:
    """Return command-line options as a student.

    Raises:
        ConfigError: They are not right; every mistake is told.
    """
    if given["method"] not in METHODS:
        raise ConfigError(f"there is no method {given['method']!r}; known: {', '.join(METHODS)}")
    return cast("AnyStudent", read_options(given, settings, METHODS[given["method"]]))


def read_facts(license_: str | None, stated: Sequence[str] = ()) -> Facts:
    """Return what the command line says of the rights of some rows; `stated` are KEY=VALUE.

    Without a license nobody knows what they allow: it is NOASSERTION.

    Raises:
        ConfigError: It is not right; every mistake is told.
    """
    try:
        return read_options({"license": license_ or NOASSERTION}, stated, Facts)
    except ConfigError as error:
        mistakes = [
            mistake.replace("--set ", "--fact ").replace("teacher.model=openai/NAME", "client=acme")
            for mistake in error.mistakes
        ]
        raise ConfigError("what is stated of the rows is not right:", mistakes) from None


def generate_file(
    corpus_path: Path,
    rows: Path,
    options: TeacherOptions,
    listener: Listener,
    *,
    license_: str | None,
    prompt_file: Path | None,
    stated: Sequence[str] = (),
    ledger: Path | None = None,
    use: Stated = NOT_STATED,
) -> Generated:
    """Ask the teacher for every row of a file; `ledger` has answers that other corpora share.

    `license_` and `stated` are as in `read_facts`; `use` is what the samples are for.

    Raises:
        BudgetError, ConfigError, CorpusError, TeacherError: As `generate`.
        RightsError: A rule objects to the use; nothing was sent.
    """
    rules = use.read(Path.cwd(), listener.say)
    prompt = find_prompt(prompt_file) if prompt_file else VERBATIM
    facts = read_facts(license_, stated)
    if license_ is None:
        listener.say(
            "note: no --license was stated for the rows, so their samples are marked unknown, "
            "which allows nothing"
        )
    source = read_source(rows.stem, rows)
    require_columns(source.seeds, prompt.front_matter.inputs, str(rows))
    require_stated(source.seeds, facts, str(rows))
    material = Material(rows.stem, str(rows), facts, source.sha256, source.seeds, prompt)
    with open_corpus(corpus_path) as corpus:
        run_id = start_run(corpus, "generate", options.model_dump(mode="json"))
        graph = Graph((Voice(options.model, locate_teacher(Path.cwd(), options)),))
        guard = Guard(corpus, rules, listener.say, (), Path.cwd())
        generated = generate(
            corpus,
            guard.before_asking([material], graph),
            graph,
            run_id=run_id,
            ledger=ledger,
            watch=listener.watch,
        )
        guard.after_asking()
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
    work = prepare(project, asks=False)
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
def open_all(path: Path, *, write: bool = False) -> Iterator[Corpus]:
    """Open a corpus to read, or to `write` as well, with every sample selected.

    Raises:
        CorpusError: The corpus cannot be opened.
    """
    with open_corpus(path, create=False) if write else read_corpus(path) as corpus:
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
    path: Path, student: AnyStudent, folder: Path, listener: Listener, use: Stated = NOT_STATED
) -> dict[str, Any]:
    """Train `student` on every kept sample of a corpus into `folder`; return what was done.

    `use` is what the student is for.

    Raises:
        ConfigError: There is nothing to learn from, or the base cannot be loaded.
        CorpusError: The corpus cannot be opened.
        MissingExtraError: TRL is not installed.
        RightsError: A rule objects to the use.
    """
    rules = use.read(Path.cwd(), listener.say)
    with open_corpus(path, create=False) as corpus:
        run_id = start_run(corpus, "train", student.model_dump(mode="json"))
        select(corpus, None)
        guard = Guard(corpus, rules, listener.say, (student,), Path.cwd())
        guard.before_training()
        with guard.learning(student):
            lessons = lessons_from_samples(corpus, student)
            if lessons.note:
                listener.say(f"note: {student.name}: {lessons.note}")
            student_id, result = train_student(
                corpus,
                student,
                lessons,
                folder,
                project=Path.cwd(),
                run_id=run_id,
                progress=listener.progress("train"),
            )
        guard.after_training(student, student_id)
        if result:
            stated, table = (rules.use.dump(), rules.table) if rules else (None, None)
            write_card(corpus, student_id, folder, name=student.name, use=stated, table=table)
        finish_run(corpus, run_id)
    return {
        "student_id": student_id,
        "folder": folder,
        "rows": lessons.count,
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
    with open_corpus(path) as corpus:
        prompt, source = read_held_out(corpus, held_out, prompt_file)
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


def read_held_out(
    corpus: Corpus, path: Path, prompt_file: Path | None
) -> tuple[Prompt, SourceFile]:
    """Return held-out rows, and the prompt that asks them and knows their right answers.

    Raises:
        ConfigError: The rows lack what the prompt asks for.
    """
    source = read_source("held_out", path)
    prompt = prompt_of(corpus, prompt_file)
    require_columns(source.seeds, prompt.front_matter.inputs, str(path))
    if all(prompt.reference(seed.row) is None for seed in source.seeds):
        column = prompt.front_matter.reference
        raise ConfigError(
            f"{path} holds no right answers, so there is nothing to compare with; "
            + (f"add the column {column!r}" if column else "name a reference in the prompt")
        )
    return prompt, source
