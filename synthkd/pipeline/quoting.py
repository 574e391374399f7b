"""A quote: what asking would cost, and how long it would take, before anything is asked.

    requests not answered yet ─► tokens ─► dollars and hours, online and in batches
                │                  ▲
                └───── pilot ──────┘  a few are asked; their answers are kept

What is measured, recorded or assumed is said with each number. What nobody knows is
None: an unknown price is no price of 0.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from synthkd.corpus.runs import finish_run, start_run
from synthkd.corpus.store import open_corpus, read_corpus
from synthkd.errors import ConfigError
from synthkd.pipeline.adhoc import find_prompt, license_or_none
from synthkd.pipeline.generation import generate
from synthkd.pipeline.graph import Graph, Voice
from synthkd.pipeline.materials import Material
from synthkd.pipeline.model import Project
from synthkd.pipeline.offers import Offer, Tokens, offer_batch, offer_online, tell_price
from synthkd.pipeline.paths import locate_teacher
from synthkd.pipeline.preparation import prepare
from synthkd.pipeline.run import Listener
from synthkd.pipeline.sources import read_source, require_columns
from synthkd.pipeline.surveying import list_asked, pick, survey
from synthkd.prompts import VERBATIM
from synthkd.teachers.base import Teacher
from synthkd.teachers.budget import longest_completion
from synthkd.teachers.options import TeacherOptions
from synthkd.teachers.prices import Price
from synthkd.teachers.tokens import (
    Counter,
    History,
    Span,
    find_counter,
    read_history,
    span_completions,
    span_prompts,
)

Ask = Callable[[Sequence[Material]], None]


@dataclass(frozen=True, slots=True)
class Quote:
    """What is left to ask, and what that comes to.

    `pilot` is how many requests of a pilot the numbers rest on; `notes` say what the
    numbers rest on otherwise.
    """

    model: str
    host: str
    rows: int
    requests: int
    answered: int
    prompt_tokens: Span
    completion_tokens: Span
    price: Price | None
    online: Offer
    batch: Offer
    pilot: int
    notes: tuple[str, ...]


def quote(
    corpus: Path,
    materials: Sequence[Material],
    options: TeacherOptions,
    *,
    pilot: int = 0,
    ask: Ask | None = None,
    tokenizer: Path | None = None,
) -> Quote:
    """Return what asking the teacher for `materials` comes to, beyond what `corpus` has.

    Nothing is asked and nothing is written, unless there is a `pilot`: then `ask` is given
    so many of the rows, keeps the answers in `corpus`, and the quote is for the rest.

    Raises:
        ConfigError: The teacher, a row, the tokenizer or the price table is not right.
        CorpusError: The corpus is held by another process, or is none.
        BudgetError, TeacherError: The pilot was stopped.
    """
    teacher = options.connect()
    price, count = options.price(teacher.host), _find_counter(options, tokenizer)
    found = survey(corpus, materials, teacher, options, count)
    keys: list[str] = []
    if pilot and ask and len(found.left):
        places = found.choose(pilot)
        keys = [each.request.key for each in list_asked(materials, teacher, options, places)]
        ask(pick(materials, places))
        found = survey(corpus, materials, teacher, options, count)
    history, is_of_pilot = _read_history(corpus, materials, teacher, keys)
    prompts, of_prompts = span_prompts(found.size, None if count else history)
    longest = longest_completion(options.request(teacher, ()))
    completions, of_completions = span_completions(len(found.left), history, longest)
    tokens = Tokens(len(found.left), found.calls, prompts, completions)
    lanes = 1 if teacher.batch_size > 1 else options.concurrency
    notes = [
        f"prompt tokens: {of_prompts}",
        f"completion tokens: {of_completions}",
        *tell_price(price, options.model, teacher.host),
    ]
    in_pilot = history.answers if history and is_of_pilot else 0
    if in_pilot:
        notes.insert(0, f"this rests on a pilot of {in_pilot} requests, whose answers are kept")
    return Quote(
        model=options.model,
        host=teacher.host,
        rows=found.rows,
        requests=found.requests,
        answered=found.answered,
        prompt_tokens=prompts,
        completion_tokens=completions,
        price=price,
        online=offer_online(price, tokens, options, history, lanes),
        batch=offer_batch(price, tokens),
        pilot=in_pilot,
        notes=tuple(notes),
    )


def _find_counter(options: TeacherOptions, tokenizer: Path | None) -> Counter | None:
    if tokenizer is not None:
        return find_counter(tokenizer)
    folder = Path(options.model_name)
    return find_counter(folder) if options.provider == "local" and folder.is_dir() else None


def _read_history(
    path: Path, materials: Sequence[Material], teacher: Teacher, keys: Sequence[str]
) -> tuple[History | None, bool]:
    """Return what is recorded of answers like these, and whether they are the pilot's.

    Those to the same prompt go before those to any.
    """
    if not path.is_file():
        return None, False
    versions = dict.fromkeys(material.prompt.version for material in materials)
    with read_corpus(path) as corpus:
        if keys and (found := read_history(corpus, teacher.model, teacher.endpoint, keys=keys)):
            return found, True
        for version in (*versions, None):
            found = read_history(corpus, teacher.model, teacher.endpoint, prompt_version=version)
            if found:
                return found, False
    return None, False


def quote_pipeline(
    project: Project, listener: Listener, *, pilot: int = 0, tokenizer: Path | None = None
) -> Quote:
    """Return the quote for what a pipeline asks its teacher; as `quote`.

    Raises:
        ConfigError: The pipeline has no teacher, or something in it is not right.
    """
    work, options = prepare(project), project.teacher
    if options is None:
        raise ConfigError(f"{project.file} has no teacher, so it costs nothing to ask.")
    materials, name = list(work.materials), project.teacher_name
    ask = _asker(project.corpus, options, listener, name=name)
    if work.graph and not work.graph.is_plain:
        listener.say(
            f"note: this is what asking {name} for every row comes to; what other teachers, "
            "salvage, refine and judge ask comes on top, and counts against the same budget"
        )
    return quote(project.corpus, materials, options, pilot=pilot, ask=ask, tokenizer=tokenizer)


def quote_file(
    corpus: Path,
    rows: Path,
    options: TeacherOptions,
    listener: Listener,
    *,
    license_: str | None,
    prompt_file: Path | None,
    pilot: int = 0,
    tokenizer: Path | None = None,
) -> Quote:
    """Return the quote for asking every row of a file; as `quote`.

    Raises:
        ConfigError: The rows, the prompt or the license are not right.
    """
    prompt = find_prompt(prompt_file) if prompt_file else VERBATIM
    source = read_source(rows.stem, rows)
    require_columns(source.seeds, prompt.front_matter.inputs, str(rows))
    license_id = license_or_none(license_)
    material = Material(rows.stem, str(rows), license_id, source.sha256, source.seeds, prompt)
    located = locate_teacher(Path.cwd(), options)
    ask = _asker(corpus, located, listener, name=options.model)
    return quote(corpus, [material], located, pilot=pilot, ask=ask, tokenizer=tokenizer)


def _asker(path: Path, options: TeacherOptions, listener: Listener, *, name: str) -> Ask:
    """Return what asks a pilot's rows as `generate` does, at once, and keeps the answers."""
    at_once = options.model_copy(update={"mode": "online", "spill": None})

    def ask(materials: Sequence[Material]) -> None:
        with open_corpus(path) as corpus:
            run_id = start_run(corpus, "quote", at_once.model_dump(mode="json"))
            generated = generate(
                corpus,
                materials,
                Graph((Voice(name, at_once),)),
                run_id=run_id,
                watch=lambda _step: listener.watch("pilot"),
            )
            generated.tell(name, listener.say)
            for seed_id, why in generated.without.items():
                listener.say(f"{seed_id} has no answer: {why}")
            finish_run(corpus, run_id)

    return ask
