"""Import: answers that somebody has already, made samples as if they had just been given.

Each becomes an attempt with its row as the raw answer, so that it is read, filtered,
traced and taught like any other; importing a file twice changes nothing.
"""

import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from synthkd.corpus import ledger
from synthkd.corpus.rows import pages
from synthkd.corpus.store import Corpus
from synthkd.errors import ConfigError
from synthkd.pipeline.generation import (
    Generated,
    Material,
    describe_teacher,
    read_answers,
    write_down,
)
from synthkd.pipeline.sources import SourceFile, read_source
from synthkd.prompts import VERBATIM, Prompt
from synthkd.records import Attempt, Completion, Json, Message, Request, Seed, digest
from synthkd.teachers import plain

Format = Literal["rows", "chat", "openai"]
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
    license: str,  # noqa: A002 - the field's word for it
    model: str,
    host: str,
    run_id: str,
    form: Format | None = None,
    prompt: Prompt = VERBATIM,
    source: str | None = None,
) -> Generated:
    """Take in the answers of `path`, which the teacher `model` (PROVIDER/NAME) gave.

    `rows` have a `completion` and what `prompt` asks for; `chat` rows have `messages`
    whose last is the answer; in `openai` (fine-tuning) rows every assistant message
    whose weight is not 0 is one.

    Raises:
        ConfigError: Rows are not of that form; nothing is taken in.
    """
    name = source or path.stem
    file = read_source(name, path)
    answers = _read_answers(file, form or _guess(file), prompt, path)
    material = Material(name, str(path), license, file.sha256, file.seeds, prompt)
    write_down(corpus, [material])
    asks: list[tuple[Seed, Request]] = []
    fresh = 0
    for page in pages(answers, _PAGE):
        requests = [_as_request(answer, model, host) for answer in page]
        known = ledger.answered(corpus, [request.key for request in requests])
        ledger.add_requests(corpus, requests, host)
        taken = [
            (_as_attempt(answer, request, run_id), Completion(answer.completion, "stop"))
            for answer, request in zip(page, requests, strict=True)
            if request.key not in known
        ]
        ledger.record(corpus, taken)
        fresh += len(taken)
        asks += [(a.seed, request) for a, request in zip(page, requests, strict=True)]
    generated = Generated(asked=fresh, already=len(asks) - fresh)
    teacher = describe_teacher(model, host)
    read_answers(corpus, material, asks, teacher, generated, run_id=run_id)
    return generated


def _guess(file: SourceFile) -> Format:
    row = file.seeds[0].row
    if "completion" in row or "messages" not in row:
        return "rows"
    has_weights = any("weight" in m for m in row["messages"] if isinstance(m, dict))
    return "openai" if has_weights or "tools" in row else "chat"


def _read_answers(file: SourceFile, form: Format, prompt: Prompt, path: Path) -> list[Imported]:
    answers: list[Imported] = []
    mistakes: list[str] = []
    for seed in file.seeds:
        try:
            found = list(_read_row(seed, form, prompt))
        except ConfigError as error:
            mistakes.append(f"{seed.seed_id}: {error}")
            continue
        if not found:
            mistakes.append(f"{seed.seed_id}: it holds no answer in the form {form!r}")
        answers += found
    if mistakes:
        told = [*mistakes[:20], *([f"... and {len(mistakes) - 20} more"] if mistakes[20:] else [])]
        raise ConfigError(
            f"{path} cannot be imported as {form}; nothing was taken in "
            "(--format rows|chat|openai says what it is):",
            told,
        )
    return answers


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
        response=plain.dump(Completion(answer.completion, "stop")),
    )
