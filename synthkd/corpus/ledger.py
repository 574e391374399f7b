"""The ledger: which requests were answered, with what, and at what cost.

    requests ─► attempts (raw) ─► completions (read) + token_logprobs (packed)

A request that has a completion is never asked again. What a completion says is
read from its attempt, and can be read once more by a better parser, for free.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import duckdb

from synthkd.corpus.journal import unpack
from synthkd.corpus.rows import pages, to_json
from synthkd.corpus.store import Corpus
from synthkd.corpus.tokens import add_logprobs
from synthkd.records import Attempt, Completion, Message, Request

_MANY = 4096  # keys looked up in one statement
_READ = 64  # raw answers in memory at a time, when they are read once more

Reader = Callable[[Attempt, bytes], "Reading"]


class Reading(NamedTuple):
    """What an attempt says, and what it cost in US dollars; None where that is not known."""

    completion: Completion
    cost_usd: float | None = None


class Served(NamedTuple):
    """Who gave an answer, as it says itself: a model, and to whom a router passed it on."""

    model: str = ""
    provider: str = ""


NOT_TOLD = Served()
ASKED = "messages, endpoint, model, parameters, schema, tools, sample_index"  # what a key is of


def add_requests(corpus: Corpus, requests: Iterable[tuple[Request, str]]) -> None:
    """Write down what will be asked, each with the host that serves its teacher."""
    corpus.insert(
        "store.requests",
        (
            {
                "request_key": request.key,
                "messages": to_json([message._asdict() for message in request.messages]),
                "endpoint": request.endpoint,
                "host": host,
                "model": request.model,
                "parameters": to_json(dict(request.parameters)),
                "sample_index": request.sample_index,
                "schema": None if request.schema is None else to_json(request.schema),
                "tools": None if request.tools is None else to_json(request.tools),
            }
            for request, host in requests
        ),
        key=("request_key",),
    )


def read_requests(corpus: Corpus, keys: Sequence[str]) -> list[Request]:
    """Return the requests of `keys`, in their order."""
    rows = _look_up(corpus, f"SELECT request_key, {ASKED} FROM store.requests", keys)
    found = {key: as_request(asked) for key, *asked in rows}
    return [found[key] for key in keys]


def as_request(asked: Sequence[Any]) -> Request:
    """Return the request that the columns `ASKED` of a row tell of."""
    messages, endpoint, model, parameters, schema, tools, sample_index = asked
    return Request(
        messages=read_messages(messages),
        endpoint=endpoint,
        model=model,
        parameters=json.loads(parameters),
        schema=None if schema is None else json.loads(schema),
        tools=None if tools is None else json.loads(tools),
        sample_index=sample_index,
    )


def answered(corpus: Corpus, keys: Sequence[str]) -> set[str]:
    """Return those of `keys` that have a completion."""
    return {key for (key,) in _look_up(corpus, "SELECT request_key FROM store.completions", keys)}


def read_texts(corpus: Corpus, keys: Sequence[str]) -> dict[str, tuple[str, str | None]]:
    """Return (text, thinking) of those of `keys` that were answered."""
    query = "SELECT request_key, text, thinking FROM store.completions"
    return {key: (text, thinking) for key, text, thinking in _look_up(corpus, query, keys)}


def read_answers(corpus: Corpus, keys: Sequence[str]) -> dict[str, tuple[str, str | None, Served]]:
    """Return (text, thinking, who gave it) of those of `keys` that were answered."""
    query = "SELECT request_key, text, thinking, served_model, served_by FROM store.completions"
    return {
        key: (text, thinking, Served(model, provider) if model or provider else NOT_TOLD)
        for key, text, thinking, model, provider in _look_up(corpus, query, keys)
    }


def read_served(corpus: Corpus, keys: Iterable[str]) -> dict[str, Served]:
    """Return who gave the answers to those of `keys` that say so themselves."""
    query = "SELECT request_key, served_model, served_by FROM store.completions"
    rows = _look_up(corpus, query, list(keys))
    return {key: Served(model, provider) for key, model, provider in rows if model or provider}


def read_spent(corpus: Corpus) -> float:
    """Return the US dollars that the corpus cost until now, as far as prices are known.

    What was borrowed from a ledger was paid for by the run that asked.
    """
    row = corpus.first(
        """
        SELECT coalesce(sum(c.cost_usd), 0) FROM store.completions c
        WHERE attempt_id NOT IN (SELECT attempt_id FROM store.borrowed)
        """
    )
    return float(row[0]) if row else 0.0


def record(corpus: Corpus, answers: Sequence[tuple[Attempt, Reading | None]]) -> None:
    """Take in attempts and what was read from them, then empty the journal.

    An attempt without a reading failed, or said nothing that can be read. The journal
    must hold no attempt but these.
    """
    attempts = [attempt for attempt, _ in answers]
    _save(corpus, attempts, [(a, r) for a, r in answers if r is not None])
    corpus.journal.clear()
    corpus.settle()


def _save(
    corpus: Corpus, attempts: Sequence[Attempt], answers: Sequence[tuple[Attempt, Reading]]
) -> None:
    """Add attempts, and what was read from these or others: all of it, or nothing."""
    try:
        _save_once(corpus, attempts, answers)
    except duckdb.OutOfMemoryException:
        corpus.make_room()
        _save_once(corpus, attempts, answers)


def _save_once(
    corpus: Corpus, attempts: Sequence[Attempt], answers: Sequence[tuple[Attempt, Reading]]
) -> None:
    with corpus.transaction():
        corpus.take_in(attempts)
        _add_completions(corpus, answers)


def read_leftovers(corpus: Corpus, read: Reader) -> int:
    """Read the attempts that an interrupted process left unread; return how many answered.

    `read` raises ValueError for a body that is no answer: that attempt gets its error,
    and the request is asked again.
    """
    names = (
        "attempt_id, request_key, provider, run_id, started_at::VARCHAR, latency_ms, response, "
        "status, error, batch_size, price, choice, shared"
    )
    keys = corpus.db.execute(
        """
        SELECT attempt_id FROM store.attempts WHERE error = ''
        AND request_key NOT IN (SELECT request_key FROM store.completions)
        """
    ).fetchall()
    count = 0
    for page in pages([key for (key,) in keys], _READ):
        rows = corpus.db.execute(
            f"SELECT {names} FROM store.attempts WHERE attempt_id IN (SELECT unnest(?::VARCHAR[]))",
            [page],
        ).fetchall()
        readings = {}
        for row in rows:
            attempt = Attempt(*row)
            try:
                reading = read(attempt, _read_body(corpus, attempt))
            except ValueError as error:
                corpus.db.execute(
                    "UPDATE store.attempts SET error = ? WHERE attempt_id = ?",
                    [f"malformed: {error}", attempt.attempt_id],
                )
            else:
                readings[attempt.request_key] = (attempt, reading)
        known = answered(corpus, list(readings))
        fresh = [both for key, both in readings.items() if key not in known]
        _save(corpus, [], fresh)
        count += len(fresh)
    return count


def _read_body(corpus: Corpus, attempt: Attempt) -> bytes:
    """Return the body that answers `attempt`, which another attempt may hold."""
    if not attempt.shared:
        return unpack(attempt.frame)
    row = corpus.first("SELECT response FROM store.attempts WHERE attempt_id = ?", [attempt.shared])
    return unpack(row[0]) if row else b""


def read_messages(text: str) -> tuple[Message, ...]:
    """Return the messages of a JSON column."""
    return tuple(Message(**message) for message in json.loads(text))


def _add_completions(corpus: Corpus, answers: Sequence[tuple[Attempt, Reading]]) -> None:
    corpus.insert(
        "store.completions",
        (
            {
                "request_key": attempt.request_key,
                "attempt_id": attempt.attempt_id,
                "text": completion.text,
                "thinking": completion.thinking,
                "finish_reason": completion.finish_reason,
                "prompt_tokens": completion.prompt_tokens,
                "completion_tokens": completion.completion_tokens,
                "cached_tokens": completion.cached_tokens,
                "cache_write_tokens": completion.cache_write_tokens,
                "reasoning_tokens": completion.reasoning_tokens,
                "served_model": completion.served_model,
                "served_by": completion.served_by,
                "cost_usd": cost_usd,
            }
            for attempt, (completion, cost_usd) in answers
        ),
        key=("request_key",),
    )
    add_logprobs(
        corpus,
        [(a.request_key, r.completion.logprobs) for a, r in answers if r.completion.logprobs],
    )


def _look_up(corpus: Corpus, query: str, keys: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of `query` whose request key is among `keys`."""
    for page in pages(keys, _MANY):
        where = f"{query} WHERE request_key IN (SELECT unnest(?::VARCHAR[]))"
        yield from corpus.db.execute(where, [page]).fetchall()
