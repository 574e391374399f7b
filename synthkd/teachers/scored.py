"""What the raw answer of a server says that was asked to score a text.

    {"form", "prompt", "completion", "tokenizer"?, "vocabulary"?}   one line
    the body that came, to the byte

The body alone does not tell where in what was read the completion begins, nor what the
token ids stand for.
"""

import json
from contextlib import suppress
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from msgspec import DecodeError, Struct
from msgspec.json import Decoder

from synthkd.corpus.vocabulary import fingerprint, read_vocabulary
from synthkd.records import Completion, Message, Request
from synthkd.teachers.base import AttemptError, MalformedAnswerError
from synthkd.teachers.scoring import IgnoredError, UnscoredError, Vocabulary, parse_score

PROVIDER = "openai-score"
UNSCORED = "unscored"  # the finish reason of an answer that has none; its text says why
_SCORED = "scored"


class _Details(Struct):
    cached_tokens: int | None = None


class _Usage(Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_tokens_details: _Details | None = None


class _Billed(Struct):
    usage: _Usage | None = None


_decode_usage = Decoder(_Billed).decode


def parse(body: bytes) -> Completion:
    """Return the completion that was scored, with the log-probabilities that a server told.

    One that it could not score has none: its finish reason is `unscored`, its text says why.

    Raises:
        MalformedAnswerError: The bytes are no such answer, or this time it ignored the question.
    """
    label, _, answer = body.partition(b"\n")
    try:
        request, vocabulary = _read_label(label)
        logprobs = parse_score(answer, request, vocabulary)
    except IgnoredError as error:
        raise MalformedAnswerError(str(error)) from error
    except UnscoredError as error:
        return _complete(str(error), UNSCORED, answer)
    return replace(_complete(request.messages[-1].content, _SCORED, answer), logprobs=logprobs)


def _complete(text: str, finish_reason: str, answer: bytes) -> Completion:
    """Return a completion with what its answer says was paid for."""
    usage = None
    with suppress(DecodeError, UnicodeDecodeError, RecursionError):
        usage = _decode_usage(answer).usage
    usage = usage or _Usage()
    return Completion(
        text=text,
        finish_reason=finish_reason,
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens,
        cached_tokens=(usage.prompt_tokens_details or _Details()).cached_tokens,
    )


@lru_cache(maxsize=1)
def read_tokenizer(path: Path) -> Vocabulary:
    """Return the fingerprint of the tokenizer in a file, and the bytes of each id.

    Raises:
        AttemptError: There is none.
    """
    try:
        vocabulary = read_vocabulary(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise AttemptError(f"{path} is no tokenizer.json: {error!r}", is_fatal=True) from error
    return fingerprint(vocabulary), vocabulary


def write_label(request: Request, tokenizer: Path | None) -> bytes:
    """Return the line that says what was scored."""
    *messages, completion = request.messages
    prompt = "".join(message.content for message in messages)
    form = request.parameters["score"]
    told = {"form": form, "prompt": prompt, "completion": completion.content}
    if tokenizer:
        told |= {"tokenizer": str(tokenizer), "vocabulary": read_tokenizer(tokenizer)[0]}
    return json.dumps(told).encode() + b"\n"


def _read_label(label: bytes) -> tuple[Request, Vocabulary | None]:
    """Return as much of the request as reading its answer takes, and what its ids stand for."""
    try:
        told = json.loads(label)
        messages = (Message("user", told["prompt"]), Message("assistant", told["completion"]))
        request = Request(messages, endpoint="", model="", parameters={"score": told["form"]})
    except (ValueError, LookupError, TypeError) as error:
        raise MalformedAnswerError(f"nothing says what was scored: {error!r}") from error
    # A tokenizer that is gone or another by now costs no more than the ids: the texts are there.
    with suppress(KeyError, AttemptError):
        vocabulary = read_tokenizer(Path(told["tokenizer"]))
        if vocabulary[0] == told["vocabulary"]:
            return request, vocabulary
    return request, None
