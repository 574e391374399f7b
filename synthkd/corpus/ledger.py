"""The ledger: which requests were answered, and with what.

    requests ─► attempts (raw) ─► completions (read) + token_logprobs (packed)

A request that has a completion is never asked again. What a completion says is
read from its attempt, and can be read once more by a better parser, for free.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import zstandard

from synthkd.corpus.logprobs import CODEC, decode, encode
from synthkd.corpus.rows import pages, to_json
from synthkd.corpus.store import Corpus
from synthkd.errors import CorpusError
from synthkd.records import Attempt, Completion, Message, Position, Request, TokenLogprobs

STRINGS = "strings"  # the vocabulary of servers that give tokens as text, numbered by the corpus
_MANY = 4096  # keys looked up in one statement

Parser = Callable[[str, bytes], Completion]


def add_requests(corpus: Corpus, requests: Iterable[Request], host: str) -> None:
    """Write down what will be asked of the teacher that `host` serves."""
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
            }
            for request in requests
        ),
    )


def answered(corpus: Corpus, keys: Sequence[str]) -> set[str]:
    """Return those of `keys` that have a completion."""
    return {key for (key,) in _look_up(corpus, "SELECT request_key FROM store.completions", keys)}


def read_texts(corpus: Corpus, keys: Sequence[str]) -> dict[str, tuple[str, str | None]]:
    """Return (text, thinking) of those of `keys` that were answered."""
    query = "SELECT request_key, text, thinking FROM store.completions"
    return {key: (text, thinking) for key, text, thinking in _look_up(corpus, query, keys)}


def record(corpus: Corpus, answers: Sequence[tuple[Attempt, Completion | None]]) -> None:
    """Take in attempts and what was read from them, then empty the journal.

    An attempt without a completion failed, or said nothing that can be read.
    """
    with corpus.transaction():
        corpus.take_in(attempt for attempt, _ in answers)
        _add_completions(corpus, [(a, c) for a, c in answers if c is not None])
    corpus.settle()


def read_leftovers(corpus: Corpus, parse: Parser) -> int:
    """Read the attempts that an interrupted process left unread; return how many answered.

    `parse` is given the provider and the body, and raises ValueError for a body
    that is no answer: that attempt gets its error, and the request is asked again.
    """
    rows = corpus.db.execute(
        """
        SELECT attempt_id, request_key, provider, run_id, started_at::VARCHAR, latency_ms,
            response, batch_size, price
        FROM store.attempts a
        WHERE error = '' AND NOT EXISTS (
            FROM store.completions c WHERE c.request_key = a.request_key
        )
        """
    ).fetchall()
    decompress = zstandard.ZstdDecompressor().decompress
    answers = []
    for attempt_id, key, provider, run_id, started_at, latency, body, batch_size, price in rows:
        attempt = Attempt(
            attempt_id, key, provider, run_id, started_at, latency, decompress(body),
            batch_size=batch_size, price=price,
        )  # fmt: skip
        try:
            answers.append((attempt, parse(provider, attempt.response)))
        except ValueError as error:
            corpus.db.execute(
                "UPDATE store.attempts SET error = ? WHERE attempt_id = ?",
                [f"malformed: {error}", attempt_id],
            )
    _add_completions(corpus, answers)
    return len(answers)


def cost(price: Mapping[str, float] | None, completion: Completion) -> float | None:
    """Return US dollars, or None where the price or the usage is not known: unknown is not 0."""
    if price is None or completion.prompt_tokens is None or completion.completion_tokens is None:
        return None
    prompt = completion.prompt_tokens * price["prompt"]
    return (prompt + completion.completion_tokens * price["completion"]) / 1e6


def add_vocabulary(corpus: Corpus, name: str, tokens: Mapping[int, bytes]) -> None:
    """Write down what the ids of a tokenizer stand for, once."""
    known = corpus.first("SELECT 1 FROM store.vocabularies WHERE vocabulary = ? LIMIT 1", [name])
    if not known:
        _add_tokens(corpus, name, tokens)


def read_vocabulary(corpus: Corpus, name: str) -> dict[int, bytes]:
    """Return the bytes of each token id that is known of a vocabulary."""
    rows = corpus.db.execute(
        "SELECT token_id, bytes FROM store.vocabularies WHERE vocabulary = ?", [name]
    ).fetchall()
    return dict(rows)


def read_logprobs(corpus: Corpus, keys: Sequence[str]) -> Iterator[tuple[str, TokenLogprobs]]:
    """Yield the request key and log-probabilities of those of `keys` that have any."""
    vocabularies: dict[str, dict[int, bytes]] = {}
    query = "SELECT request_key, vocabulary, codec, blob FROM store.token_logprobs"
    for key, name, codec, blob in _look_up(corpus, query, keys):
        if codec != CODEC:
            raise CorpusError(
                f"the log-probabilities of request {key} are in codec {codec!r}, which this "
                f"synthkd (codec {CODEC}) cannot read; upgrade synthkd."
            )
        if name not in vocabularies:
            vocabularies[name] = read_vocabulary(corpus, name)
        yield key, TokenLogprobs(name, decode(blob), vocabularies[name])


def read_messages(text: str) -> tuple[Message, ...]:
    """Return the messages of a JSON column."""
    return tuple(Message(**message) for message in json.loads(text))


def _look_up(corpus: Corpus, query: str, keys: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of `query` whose request key is among `keys`."""
    for page in pages(keys, _MANY):
        where = f"{query} WHERE request_key IN (SELECT unnest(?::VARCHAR[]))"
        yield from corpus.db.execute(where, [page]).fetchall()


def _add_completions(corpus: Corpus, answers: Sequence[tuple[Attempt, Completion]]) -> None:
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
                "cost_usd": cost(attempt.price, completion),
            }
            for attempt, completion in answers
        ),
    )
    given = [(a.request_key, c.logprobs) for a, c in answers if c.logprobs is not None]
    named = _number_strings(corpus, [logprobs for _, logprobs in given])
    corpus.insert(
        "store.token_logprobs",
        (
            {
                "request_key": key,
                "vocabulary": logprobs.vocabulary,
                "codec": CODEC,
                "tokens": len(logprobs.positions),
                "blob": encode(logprobs.positions),
            }
            for (key, _), logprobs in zip(given, named, strict=True)
        ),
    )


def _number_strings(corpus: Corpus, given: Sequence[TokenLogprobs]) -> list[TokenLogprobs]:
    """Return `given` with the corpus's own numbers where a server gave tokens as text."""
    if all(logprobs.vocabulary for logprobs in given):
        return list(given)
    numbers = {token: number for number, token in read_vocabulary(corpus, STRINGS).items()}
    known = len(numbers)
    for logprobs in given:
        if not logprobs.vocabulary:
            for token in logprobs.tokens.values():
                numbers.setdefault(token, len(numbers))
    fresh = list(numbers.items())[known:]
    _add_tokens(corpus, STRINGS, {number: token for token, number in fresh})
    return [logprobs if logprobs.vocabulary else _renumber(logprobs, numbers) for logprobs in given]


def _renumber(logprobs: TokenLogprobs, numbers: Mapping[bytes, int]) -> TokenLogprobs:
    positions = tuple(
        Position(
            tuple(
                alternative._replace(token_id=numbers[logprobs.tokens[alternative.token_id]])
                for alternative in position.top
            ),
            position.rank,
            position.tail,
        )
        for position in logprobs.positions
    )
    return TokenLogprobs(STRINGS, positions)


def _add_tokens(corpus: Corpus, vocabulary: str, tokens: Mapping[int, bytes]) -> None:
    corpus.insert(
        "store.vocabularies",
        (
            {"vocabulary": vocabulary, "token_id": number, "bytes": token}
            for number, token in tokens.items()
        ),
    )
