"""How many tokens requests will have, worked out without a call.

    counted    with the model's own tokenizer.json, where it is at hand
    recorded   from what the corpus has paid for: tokens per byte, and how much they vary
    assumed    from bytes alone, with an interval as wide as tokenizers and languages differ

Each estimate is an interval for a whole set of requests, and says which of these it is.
"""

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from math import sqrt
from pathlib import Path
from typing import NamedTuple

from synthkd.corpus.store import Corpus
from synthkd.errors import ConfigError, MissingExtraError
from synthkd.records import Message

ENOUGH = 5  # answers that say something of those to come
_MANY = 50  # answers among which rare long ones have shown
MOST_BYTES = 1.0  # tokens per byte: no token is shorter

# Measured with GPT-2's tokenizer, which newer ones undercut: English questions 0.2 to 0.3,
# grade-school arithmetic 0.29, Markdown 0.39, JSON 0.46, Russian 0.57, Chinese 0.70.
_PER_BYTE = (0.18, 0.3, 0.6)
_PER_MESSAGE = (3.0, 5.0, 16.0)  # what chat templates put around a message

_READ = 20_000  # answers that a history is read from, at most
_T_95 = (12.71, 4.30, 3.18, 2.78)  # Student's t for 1 to 4 degrees of freedom
_Z_95 = 1.96


class Span(NamedTuple):
    """A total that is not known yet: what is expected, and between what it lies, 95 times in 100.

    None where nobody knows. `worst` is what it cannot exceed.
    """

    low: float | None
    expected: float | None
    high: float | None
    worst: float | None


class Size(NamedTuple):
    """What is known of a prompt, or of many, before anybody tokenizes them.

    `counted` is their number of tokens without what a chat template adds, where a
    tokenizer is at hand.
    """

    requests: int
    messages: int
    content_bytes: int
    counted: int | None = None


class History(NamedTuple):
    """What answers that were paid for say of others like them.

    `per_byte` is prompt tokens per byte of content; the `*_sd` are standard deviations
    over single answers: of the prompt's tokens around that line, and of the completion's
    tokens. `seconds` is the mean time of a call, by the answers that it brought.
    """

    answers: int
    per_byte: float
    prompt_sd: float
    completion: float
    completion_sd: float
    longest: int
    seconds: float | None


Counter = Callable[[Sequence[Message]], int]


def find_counter(folder: Path) -> Counter | None:
    """Return what counts the tokens of messages' contents, if `folder` has a tokenizer.json.

    Raises:
        ConfigError: The file is no tokenizer.
        MissingExtraError: It is one, and tokenizers is not installed.
    """
    path = folder if folder.name.endswith(".json") else folder / "tokenizer.json"
    if not path.is_file():
        return None
    if find_spec("tokenizers") is None:
        raise MissingExtraError(f"counting tokens with {path}", extra="train")
    from tokenizers import Tokenizer

    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # noqa: BLE001 - the library raises nothing narrower
        raise ConfigError(f"{path} is no tokenizer: {error}") from None

    def count(messages: Sequence[Message]) -> int:
        texts = [message.content for message in messages]
        coded = tokenizer.encode_batch_fast(texts, add_special_tokens=False)
        return sum(len(encoding) for encoding in coded)

    return count


def measure(messages: Sequence[Message], count: Counter | None = None) -> Size:
    """Return the size of one prompt."""
    # A lone surrogate is legal in JSON and in Python, and not in UTF-8.
    sizes = [len(message.content.encode("utf-8", "surrogatepass")) for message in messages]
    return Size(1, len(sizes), sum(sizes), count(messages) if count else None)


def read_history(
    corpus: Corpus,
    model: str,
    endpoint: str,
    *,
    prompt_version: str | None = None,
    keys: Sequence[str] | None = None,
) -> History | None:
    """Return what `corpus` paid for at `endpoint` says, or None if that is too little.

    `keys` restricts it to the answers of some requests, of which two are enough;
    `prompt_version` to those of a prompt. A corpus that holds many is read in part: keys
    are hashes, so the first of them are as good as drawn.
    """
    where, values = ["r.model = ?", "r.endpoint = ?"], [model, endpoint]
    parameters: list[object] = [*values]
    if prompt_version is not None:
        where.append(
            "r.request_key IN (SELECT request_key FROM store.samples WHERE prompt_version = ?)"
        )
        parameters.append(prompt_version)
    if keys is not None:
        where.append("r.request_key IN (SELECT unnest(?::VARCHAR[]))")
        parameters.append(list(keys))
    row = corpus.first(
        f"""
        WITH chosen AS (
            SELECT r.messages, c.prompt_tokens, c.completion_tokens,
                a.latency_ms / a.batch_size AS latency_ms
            FROM store.completions c
            JOIN store.requests r USING (request_key)
            LEFT JOIN store.attempts a USING (attempt_id)
            WHERE {" AND ".join(where)}
                AND c.prompt_tokens IS NOT NULL AND c.completion_tokens IS NOT NULL
                AND json_extract(r.parameters, '$.score') IS NULL AND a.latency_ms > 0
            ORDER BY r.request_key LIMIT {_READ}
        ), paid AS (
            SELECT *, list_sum(list_transform(
                from_json(messages, '[{{"content":"VARCHAR"}}]'), lambda m: strlen(m.content)
            )) AS bytes
            FROM chosen
        ), fitted AS (
            SELECT *, sum(prompt_tokens) OVER () / greatest(sum(bytes) OVER (), 1) AS per_byte
            FROM paid
        )
        SELECT count(*), any_value(per_byte), stddev_samp(prompt_tokens - per_byte * bytes),
            avg(completion_tokens), stddev_samp(completion_tokens), max(completion_tokens),
            avg(latency_ms) / 1000
        FROM fitted
        """,
        parameters,
    )
    if row is None or row[0] < (2 if keys is not None else ENOUGH):
        return None
    return History(*row)


def span_prompts(size: Size, history: History | None) -> tuple[Span, str]:
    """Return the prompt tokens of requests of `size` together, and what that rests on."""
    most = MOST_BYTES * size.content_bytes + _PER_MESSAGE[2] * size.messages
    if size.counted is not None:
        low, expected, high = (size.counted + each * size.messages for each in (0.0, 5.0, 16.0))
        return Span(low, expected, high, high), (
            "counted with the model's tokenizer; what its chat template adds is assumed to be "
            "0 to 16 tokens a message"
        )
    if history:
        mean = history.per_byte * size.content_bytes
        span = _spread(mean, history.prompt_sd, size.requests, history.answers)
        return _bound(span, most), (
            f"recorded: {history.per_byte:.3f} tokens per byte in {history.answers} answers of "
            "this teacher"
        )
    low, expected, high = (
        per_byte * size.content_bytes + per_message * size.messages
        for per_byte, per_message in zip(_PER_BYTE, _PER_MESSAGE, strict=True)
    )
    return Span(low, expected, min(high, most), most), (
        f"assumed: {_PER_BYTE[1]} tokens per byte ({_PER_BYTE[0]} to {_PER_BYTE[2]}) and "
        f"{_PER_MESSAGE[1]:.0f} per message; nothing of this teacher is recorded"
    )


def span_completions(
    requests: int, history: History | None, longest: int | None
) -> tuple[Span, str]:
    """Return the completion tokens of `requests` together, and what that rests on.

    `longest` is the longest completion that the teacher is allowed, in tokens.
    """
    worst = None if longest is None else float(longest * requests)
    if history:
        mean = history.completion * requests
        span = _spread(mean, history.completion_sd, requests, history.answers)
        few = "; so few may have missed that some are far longer" if history.answers < _MANY else ""
        return _bound(span, worst), (
            f"recorded: {history.completion:.1f} tokens a completion in {history.answers} answers "
            f"of this teacher, the longest {history.longest}{few}"
        )
    if worst is None:
        return Span(0.0, None, None, None), (
            "unknown: nothing of this teacher is recorded, and no max_tokens bounds it"
        )
    return Span(0.0, None, worst, worst), (
        f"bounded by max_tokens ({longest}); nothing of this teacher is recorded, so what to "
        "expect is unknown"
    )


def quantile_95(freedom: int) -> float:
    """Return Student's t that 95 % lie within, for `freedom` (1 or more) degrees of freedom.

    >>> round(quantile_95(9), 2), round(quantile_95(1000), 2)
    (2.26, 1.96)
    """
    if freedom <= len(_T_95):
        return _T_95[freedom - 1]
    # Cornish and Fisher's expansion of t around the normal quantile.
    z = _Z_95
    first = (z**3 + z) / (4 * freedom)
    second = (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * freedom**3)
    return z + first + second + third


def _spread(mean: float, deviation: float, count: int, answers: int) -> Span:
    """Return the interval of a total of `count`, predicted from `answers` that were seen."""
    # The total varies by itself, and the mean it is reckoned with is only estimated.
    error = quantile_95(answers - 1) * deviation * sqrt(count + count**2 / answers)
    return Span(max(0.0, mean - error), mean, mean + error, None)


def _bound(span: Span, worst: float | None) -> Span:
    """Return `span` with nothing in it above `worst`."""
    if worst is None:
        return span
    low, expected, high = (None if each is None else min(each, worst) for each in span[:3])
    return Span(low, expected, high, worst)
