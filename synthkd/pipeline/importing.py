"""Import: answers that somebody has already, made samples as if they had just been given.

Each becomes an attempt with its row as the raw answer, so that it is read, filtered,
traced and taught like any other; importing a file twice changes nothing.
"""

import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from synthkd.corpus import ledger
from synthkd.corpus.journal import pack
from synthkd.corpus.ledger import Reading
from synthkd.corpus.plans import Ask, make_plan
from synthkd.corpus.rows import pages
from synthkd.corpus.store import Corpus
from synthkd.corpus.tombstones import Tombstones
from synthkd.errors import ConfigError
from synthkd.pipeline.materials import (
    Material,
    describe_teacher,
    require_stated,
    write_seeds,
    write_sources,
)
from synthkd.pipeline.reading import Generated, read_answers
from synthkd.pipeline.sources import SourceFile, read_source
from synthkd.prompts import VERBATIM, Prompt
from synthkd.records import (
    Attempt,
    Completion,
    Contribution,
    Json,
    Message,
    Request,
    Seed,
    digest,
)
from synthkd.rights.facts import Facts
from synthkd.teachers import plain

Format = Literal["rows", "chat", "openai"]
Admit = Callable[[Material, Contribution], None]
_PAGE = 500  # answers taken in at a time


@dataclass(frozen=True, slots=True)
class Imported:
    """One answer of a file: the seed it belongs to, what was asked, and what came."""

    seed: Seed
    messages: tuple[Message, ...]
    completion: str


def import_file(
    corpus: Corpus,
    path: Path,
    *,
    facts: Facts,
    model: str,
    host: str,
    run_id: str,
    form: Format | None = None,
    prompt: Prompt = VERBATIM,
    source: str | None = None,
    admit: Admit | None = None,
) -> Generated:
    """Take in the answers of `path`, which the teacher `model` (PROVIDER/NAME) gave.

    `facts` are those of the rows.

    `rows` have a `completion` and what `prompt` asks for; `chat` rows have `messages`
    whose last is the answer; in `openai` (fine-tuning) rows every assistant message
    whose weight is not 0 is one. `admit` is asked first, with what they were made from.

    Raises:
        ConfigError: Rows are not of that form; nothing is taken in.
        RightsError: `admit` refuses them; nothing is taken in.
    """
    name = source or path.stem
    file = read_source(name, path)
    form = form or _guess(file)
    _require_form(file, form, prompt, path)
    require_stated(file.seeds, facts, str(path))
    material = Material(name, str(path), facts, file.sha256, file.seeds, prompt, has_answers=True)
    is_here = model.startswith(("local/", "vllm/"))
    teacher = describe_teacher(model, host or ("localhost" if is_here else ""))
    if admit is not None:
        admit(material, teacher)
    write_sources(corpus, [material])
    generated = Generated()
    with corpus.frugal():
        asks = _take_in(corpus, material, generated, form=form, model=model, host=host,
                        run_id=run_id)  # fmt: skip
        plan = make_plan(corpus, "import", asks)
        read_answers(plan, [material], teacher, generated, run_id=run_id, failures={})
    return generated


def _take_in(
    corpus: Corpus,
    material: Material,
    generated: Generated,
    *,
    form: Format,
    model: str,
    host: str,
    run_id: str,
) -> Iterator[Ask]:
    """Yield what each answer of `material` is an answer to, once it is in the ledger."""
    prompt = material.prompt
    erased = Tombstones(corpus)
    answers = (
        answer
        for seed in material.seeds
        for left in erased.leave_out([seed])
        for answer in _read_row(left, form, prompt)
        if not erased.refuse(_as_request(answer, model, host))
    )
    for page in pages(answers, _PAGE):
        requests = [_as_request(answer, model, host) for answer in page]
        known = ledger.answered(corpus, [request.key for request in requests])
        fresh = {
            request.key: (_as_attempt(answer, request, run_id), _as_reading(answer))
            for answer, request in zip(page, requests, strict=True)
            if request.key not in known
        }
        ledger.record(corpus, list(fresh.values()))
        write_seeds(corpus, material, [answer.seed for answer in page])
        generated.asked += len(fresh)
        generated.already += len(page) - len(fresh)
        for answer, request in zip(page, requests, strict=True):
            seed = answer.seed
            reference = prompt.reference(seed.row)
            yield Ask(request, host, seed.source_id, seed.seed_id, seed.version, reference)
    generated.notes += erased.tell()


def _guess(file: SourceFile) -> Format:
    row = next(iter(file.seeds)).row
    if "completion" in row or "messages" not in row:
        return "rows"
    has_weights = any("weight" in m for m in row["messages"] if isinstance(m, dict))
    return "openai" if has_weights or "tools" in row else "chat"


def _require_form(file: SourceFile, form: Format, prompt: Prompt, path: Path) -> None:
    """Refuse a file in which a row holds no answer, so that none is left out silently."""
    mistakes: list[str] = []
    for seed in file.seeds:
        try:
            if not any(_read_row(seed, form, prompt)):
                mistakes.append(f"{seed.seed_id}: it holds no answer in the form {form!r}")
        except ConfigError as error:
            mistakes.append(f"{seed.seed_id}: {error}")
    if mistakes:
        told = [*mistakes[:20], *([f"... and {len(mistakes) - 20} more"] if mistakes[20:] else [])]
        raise ConfigError(
            f"{path} cannot be imported as {form}; nothing was taken in "
            "(--format rows|chat|openai says what it is):",
            told,
        )


def _read_row(seed: Seed, form: Format, prompt: Prompt) -> Iterator[Imported]:
    if form == "rows":
        completion = seed.row.get("completion")
        if isinstance(completion, str):
            yield Imported(seed, prompt.render(seed.row), completion)
        return
    turns = seed.row.get("messages")
    if not isinstance(turns, list):
        return
    for index, turn in enumerate(turns):
        is_answer = isinstance(turn, dict) and turn.get("role") == "assistant" and index > 0
        is_asked_for = form == "openai" or index == len(turns) - 1
        if is_answer and is_asked_for and _weight(turn) and isinstance(turn.get("content"), str):
            before = VERBATIM.render({"messages": turns[:index]})
            yield Imported(seed, before, turn["content"])


def _weight(turn: Mapping[str, Json]) -> bool:
    return bool(turn.get("weight", 1) != 0)


def _as_request(answer: Imported, model: str, host: str) -> Request:
    # The answer is part of the key: a file may hold several answers to one prompt.
    return Request(
        messages=answer.messages,
        endpoint=f"imported:{host}",
        model=model,
        parameters={"completion_sha256": digest(answer.completion)},
    )


def _as_attempt(answer: Imported, request: Request, run_id: str) -> Attempt:
    return Attempt(
        attempt_id=uuid.uuid4().hex,
        request_key=request.key,
        provider="imported",
        run_id=run_id,
        started_at=datetime.now(UTC).isoformat(),
        latency_ms=0.0,
        frame=pack(plain.dump(Completion(answer.completion, "stop"))),
    )


def _as_reading(answer: Imported) -> Reading:
    return Reading(Completion(answer.completion, "stop"))
