"""A quote: what asking would cost, and how long it would take, before anything is asked.

    requests not answered yet ─► tokens ─► dollars and hours, online and in batches
                │                  ▲
                └───── pilot ──────┘  a few are asked; their answers are kept

What is measured, recorded or assumed is said with each number. What nobody knows is
None: an unknown price is no price of 0.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from synthkd.errors import ConfigError
from synthkd.pipeline.adhoc import find_prompt, read_facts
from synthkd.pipeline.materials import Material
from synthkd.pipeline.mixing import name_apart, share
from synthkd.pipeline.model import Project
from synthkd.pipeline.offers import (
    Offer,
    Tokens,
    add,
    follow,
    join,
    offer_batch,
    offer_online,
    tell_price,
)
from synthkd.pipeline.paths import locate_teacher
from synthkd.pipeline.piloting import Ask, ask_pilot
from synthkd.pipeline.preparation import prepare
from synthkd.pipeline.rights import NOT_STATED, Stated
from synthkd.pipeline.run import Listener
from synthkd.pipeline.sources import read_source, require_columns
from synthkd.pipeline.surveying import (
    IsFor,
    Survey,
    choose_counter,
    list_asked,
    pick,
    read_past,
    survey,
)
from synthkd.prompts import VERBATIM
from synthkd.teachers.budget import longest_completion
from synthkd.teachers.options import TeacherOptions
from synthkd.teachers.prices import Price
from synthkd.teachers.tokens import Span, span_completions, span_prompts


@dataclass(frozen=True, slots=True)
class Quote:
    """What is left to ask, and what that comes to.

    `answered` requests have an answer, here or in the ledger, and `waiting` ones are in a
    batch. `pilot` is how many requests of a pilot the numbers rest on; `notes` say what the
    numbers rest on otherwise. `parts` are the quotes of the teachers, where there are several.
    """

    model: str
    host: str
    rows: int
    requests: int
    answered: int
    waiting: int
    prompt_tokens: Span
    completion_tokens: Span
    price: Price | None
    online: Offer
    batch: Offer
    pilot: int
    notes: tuple[str, ...]
    parts: tuple["Quote", ...] = ()

    @property
    def left(self) -> int:
        """How many requests the numbers are for."""
        return self.requests - self.answered - self.waiting


def quote(
    corpus: Path,
    materials: Sequence[Material],
    options: TeacherOptions,
    *,
    pilot: int = 0,
    ask: Ask | None = None,
    tokenizer: Path | None = None,
    ledger: Path | None = None,
    is_for: IsFor = lambda _seed: True,
) -> Quote:
    """Return what asking the teacher for `materials` comes to, beyond what `corpus` has.

    What `ledger`, a file of answers that corpora share, has is not asked either, and seeds
    that are not for the teacher are left out. Nothing is asked and nothing is written, unless
    there is a `pilot`: then `ask` is given so many of the rows, keeps the answers in `corpus`,
    and the quote is for the rest.

    Raises:
        ConfigError: The teacher, a row, the tokenizer or the price table is not right.
        CorpusError: The corpus is held by another process, or is none.
        BudgetError, TeacherError: The pilot was stopped.
    """
    teacher = options.connect()
    price, count = options.price(teacher.host), choose_counter(options, tokenizer)

    def look() -> Survey:
        return survey(corpus, materials, teacher, options, count, ledger=ledger, is_for=is_for)

    found = look()
    keys: list[str] = []
    if pilot and ask and len(found.left):
        places = found.choose(pilot)
        keys = [each.request.key for each in list_asked(materials, teacher, options, places)]
        ask(pick(materials, places))
        found = look()
    history, is_of_pilot = read_past(corpus, materials, teacher, keys)
    prompts, of_prompts = span_prompts(found.size, None if count else history)
    longest = longest_completion(options.request(teacher, ()))
    completions, of_completions = span_completions(len(found.left), history, longest)
    tokens = Tokens(len(found.left), found.calls, prompts, completions)
    lanes = 1 if teacher.batch_size > 1 else options.concurrency
    notes = [
        f"prompt tokens: {of_prompts}",
        f"completion tokens: {of_completions}",
        *tell_price(price, options.model, teacher.host),
        *_tell_elsewhere(found, ledger),
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
        waiting=found.waiting,
        prompt_tokens=prompts,
        completion_tokens=completions,
        price=price,
        online=offer_online(price, tokens, options, history, lanes),
        batch=offer_batch(price, tokens),
        pilot=in_pilot,
        notes=tuple(notes),
    )


def _tell_elsewhere(found: Survey, ledger: Path | None) -> Iterator[str]:
    """Yield where there is more that is not asked again."""
    if found.waiting:
        yield f"{found.waiting:,} requests wait in a batch; what they cost is not in this quote"
    if found.lent:
        yield f"{found.lent:,} of the answers are in the ledger {ledger}; they cost nothing"


def quote_pipeline(
    project: Project, listener: Listener, *, pilot: int = 0, tokenizer: Path | None = None
) -> Quote:
    """Return the quote for what a pipeline asks its teachers for its rows; as `quote`.

    Each is asked for the rows that are its own, in a pilot too.

    Raises:
        ConfigError: The pipeline has no teacher, or something in it is not right.
    """
    work = prepare(project)
    graph, materials = work.graph, list(work.materials)
    if graph is None:
        raise ConfigError(f"{project.file} has no teacher, so it costs nothing to ask.")
    if graph.is_followed:
        listener.say(
            "note: this is what asking for every row comes to; what salvage, refine and judge ask "
            "comes on top, and counts against the same budget"
        )
    answering = graph.voices[: graph.answering]
    weights = [voice.weight for voice in answering]
    is_mixture = graph.choose == "mixture"
    shares = share(pilot, weights) if is_mixture else [pilot] * len(weights)
    quotes = [
        quote(
            project.corpus,
            materials,
            voice.options,
            pilot=rows,
            ask=ask_pilot(
                project.corpus,
                voice.options,
                listener,
                name=voice.name,
                ledger=project.ledger,
                rules=work.rules,
                students=project.pipeline.students,
                folder=project.folder,
            ),
            tokenizer=tokenizer,
            ledger=project.ledger,
            is_for=graph.is_for(number),
        )
        for number, (voice, rows) in enumerate(zip(answering, shares, strict=True))
    ]
    if len(quotes) == 1:
        return quotes[0]
    names = name_apart([voice.name for voice in answering])
    return _add_up(sum(len(material.seeds) for material in materials), names, quotes)


def _add_up(rows: int, names: Sequence[str], quotes: Sequence[Quote]) -> Quote:
    """Return what several teachers come to together, who are asked for `rows`."""
    return Quote(
        model=" + ".join(names),
        host=" + ".join(dict.fromkeys(each.host for each in quotes)),
        rows=rows,
        requests=sum(each.requests for each in quotes),
        answered=sum(each.answered for each in quotes),
        waiting=sum(each.waiting for each in quotes),
        prompt_tokens=add([each.prompt_tokens for each in quotes]),
        completion_tokens=add([each.completion_tokens for each in quotes]),
        price=quotes[0].price if all(q.price == quotes[0].price for q in quotes) else None,
        online=follow(names, [each.online for each in quotes]),
        batch=join(names, [each.batch for each in quotes]),
        pilot=sum(each.pilot for each in quotes),
        notes=tuple(_tell_parts(names, quotes)),
        parts=tuple(quotes),
    )


def _tell_parts(names: Sequence[str], quotes: Sequence[Quote]) -> Iterator[str]:
    """Yield each teacher's share, then what its numbers rest on."""
    for name, each in zip(names, quotes, strict=True):
        usd = each.online.usd
        known = [(usd.expected, "expected"), (usd.worst, "at worst")]
        told = [f"${value:.4g} {how}" for value, how in known if value is not None]
        cost = ", ".join(told) or "for an unknown price"
        yield f"{name}: {each.rows:,} rows, {each.left:,} requests left, {cost}"
    for name, each in zip(names, quotes, strict=True):
        yield from (f"{name}: {note}" for note in each.notes)


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
    use: Stated = NOT_STATED,
) -> Quote:
    """Return the quote for asking every row of a file; as `quote`. A pilot is for `use`.

    Raises:
        ConfigError: The rows, the prompt or the license are not right.
        RightsError: A rule objects to the use; no pilot was asked.
    """
    rules = use.read(Path.cwd(), listener.say) if pilot else None
    prompt = find_prompt(prompt_file) if prompt_file else VERBATIM
    source = read_source(rows.stem, rows)
    require_columns(source.seeds, prompt.front_matter.inputs, str(rows))
    facts = read_facts(license_)
    material = Material(rows.stem, str(rows), facts, source.sha256, source.seeds, prompt)
    located = locate_teacher(Path.cwd(), options)
    ask = ask_pilot(corpus, located, listener, name=options.model, rules=rules)
    return quote(corpus, [material], located, pilot=pilot, ask=ask, tokenizer=tokenizer)
