"""Scoring: what a teacher would have thought of a completion that somebody else wrote.

    prompt + completion ──► a server that tells of every token it reads ──► those of the completion

Two forms of asking. `chat`: the completion is the last message, and `prompt_logprobs`
asks for all of it (vLLM). `completions`: `echo` does the same for a plain text, without
a chat template; the contents of the messages are that text.

Which tokens are the completion's is found by bytes. Where the tokenizer joined the end
of the prompt and the begin of the completion into one token, there is no answer.
"""

import json
import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any, Literal, NamedTuple

from synthkd.records import Alternative, Json, Message, Position, Request, TokenLogprobs
from synthkd.teachers.base import Answer, MalformedAnswerError
from synthkd.teachers.positions import loosen, read_positions
from synthkd.teachers.transport import ServedTeacher

Form = Literal["chat", "completions"]
Vocabulary = tuple[str, Mapping[int, bytes]]  # a fingerprint, and the bytes of each id

_LOWEST = -100.0  # nats, as for completions


class UnscoredError(ValueError):
    """The server answered and did not score this completion; asking again changes nothing."""


class IgnoredError(UnscoredError):
    """The server does not know how to score, or did as if it did not."""


class _Scored(NamedTuple):
    """A token that was read, and what could have stood there: id (if told), text, nats."""

    token_id: int | None
    text: str
    candidates: Sequence[tuple[int | None, str, float]] | None


def score_request(
    teacher: ServedTeacher,
    messages: Sequence[Message],
    completion: str,
    *,
    logprobs: int,
    form: Form = "chat",
    parameters: Mapping[str, Json] | None = None,
) -> Request:
    """Return what `teacher` is asked to score `completion`, an answer to `messages`.

    `parameters` are for the rendering of the prompt, such as `chat_template_kwargs`.
    """
    return Request(
        messages=(*messages, Message("assistant", completion)),
        endpoint=teacher.endpoint,
        model=teacher.model,
        parameters={**(parameters or {}), "score": form, "logprobs": logprobs},
    )


async def score_one(teacher: ServedTeacher, request: Request) -> Answer:
    """Return the raw answer to what `score_request` made.

    Raises:
        AttemptError: There is none.
    """
    path, body = write_score(request)
    return await teacher.transport.post(path, body, holds="choices")


def write_score(request: Request) -> tuple[str, dict[str, Json]]:
    """Return the path and the JSON body that ask `request`.

    One token is generated and thrown away: some servers take 0 for no limit at all.
    """
    parameters = dict(request.parameters)
    form, most = parameters.pop("score"), parameters.pop("logprobs")
    asked: dict[str, Json] = {"model": request.model, "max_tokens": 1, "temperature": 0}
    if form == "completions":
        asked |= {"prompt": _join(request.messages), "echo": True, "logprobs": most}
        return "/completions", asked | parameters
    asked |= {
        "messages": [message._asdict() for message in request.messages],
        "add_generation_prompt": False,
        "continue_final_message": True,
        "prompt_logprobs": most,
        "return_token_ids": True,
    }
    return "/chat/completions", asked | parameters


def parse_score(
    body: bytes, request: Request, vocabulary: Vocabulary | None = None
) -> TokenLogprobs:
    """Return the log-probabilities of the completion that `request` scores.

    With the `vocabulary` of the model that is served, ids are those of its tokenizer,
    if the server tells them; otherwise tokens are known by their text.

    Raises:
        MalformedAnswerError: The bytes are no answer.
        UnscoredError: The server did not score, or not this text, or not up to its bounds.
    """
    try:
        answer = json.loads(body)
        read = _read_echo if request.parameters["score"] == "completions" else _read_prompt
        scored = read(answer)
    except UnscoredError:
        raise
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise MalformedAnswerError(f"not a scored text: {error!r}") from error
    if any(token.token_id is None for token in scored):
        vocabulary = None
    first, last = _find_completion([_spell(token, vocabulary) for token in scored], request)
    return _collect(scored[first:last], vocabulary)


def _find_completion(spelled: Sequence[bytes], request: Request) -> tuple[int, int]:
    """Return where the tokens of the completion begin, and where they end."""
    whole, completion = b"".join(spelled), _encode(request.messages[-1].content)
    begin = len(whole) - len(completion)
    if request.parameters["score"] == "completions":
        # A begin of sequence may stand before the text, and what was generated after it.
        begin = whole.find(_encode(_join(request.messages)))
        begin += len(_encode(_join(request.messages[:-1]))) if begin >= 0 else 0
    end = begin + len(completion)
    if begin < 0 or whole[begin:end] != completion:
        raise UnscoredError(
            "the server read another text than was sent, so its log-probabilities are of that; "
            "its chat template may trim or rewrite what the assistant said"
        )
    offsets = list(accumulate(map(len, spelled), initial=0))
    first, last = bisect_left(offsets, begin), bisect_left(offsets, end)
    if (offsets[first], offsets[last]) != (begin, end):
        raise UnscoredError(
            "a token lies across the bounds of the completion, so its log-probability is not "
            "of the completion alone"
        )
    return first, last


def _join(messages: Sequence[Message]) -> str:
    return "".join(message.content for message in messages)


def _encode(text: str) -> bytes:
    # JSON can say half a surrogate pair.
    return text.encode("utf-8", "surrogatepass")


def _read_prompt(answer: Mapping[str, Any]) -> list[_Scored]:
    """Read vLLM's `prompt_logprobs`: of each token but the first, {id: {logprob, ...}}."""
    told, ids = answer.get("prompt_logprobs"), answer.get("prompt_token_ids")
    if not told:
        raise IgnoredError(
            "the server gave no log-probabilities of what it read; it may not know "
            "prompt_logprobs, as vLLM does"
        )
    scored = []
    for index, entry in enumerate(told):
        if entry is None:
            scored.append(_Scored(ids[index] if ids else None, "", None))
            continue
        candidates = [
            (int(key), str(value["decoded_token"] or ""), float(value["logprob"]))
            for key, value in entry.items()
        ]
        # The token that stands there is the first, where the server does not tell the ids.
        token_id = ids[index] if ids else candidates[0][0]
        texts = {known: text for known, text, _ in candidates}
        scored.append(_Scored(token_id, texts[token_id], candidates))
    return scored


def _read_echo(answer: Mapping[str, Any]) -> list[_Scored]:
    """Read an echoed text: parallel lists of tokens, their logprobs and their alternatives."""
    told = answer["choices"][0].get("logprobs")
    if not told or len(told["tokens"]) <= 1:
        raise IgnoredError(
            "the server gave no log-probabilities of what it read; "
            "it may not know echo with logprobs"
        )
    tops = told.get("top_logprobs") or [None] * len(told["tokens"])
    scored = []
    for token, logprob, top in zip(told["tokens"], told["token_logprobs"], tops, strict=True):
        if logprob is None:
            scored.append(_Scored(None, token, None))
            continue
        listed = {**(top or {}), token: logprob}
        candidates = [(None, text, float(nats)) for text, nats in listed.items()]
        scored.append(_Scored(None, token, candidates))
    return scored


def _spell(token: _Scored, vocabulary: Vocabulary | None) -> bytes:
    known = vocabulary[1] if vocabulary is not None else {}
    if token.token_id is not None and token.token_id in known:
        return known[token.token_id]
    return _encode(token.text)


def _collect(scored: Sequence[_Scored], vocabulary: Vocabulary | None) -> TokenLogprobs:
    if not scored or any(token.candidates is None for token in scored):
        raise UnscoredError("nothing comes before the first token, so the server gave it none")
    if vocabulary is not None:
        return TokenLogprobs(vocabulary[0], tuple(_place(token) for token in scored))
    entries = [
        {
            "token": token.text,
            "logprob": next(nats for _, text, nats in token.candidates or () if text == token.text),
            "top_logprobs": [
                {"token": t, "logprob": nats} for _, t, nats in token.candidates or ()
            ],
        }
        for token in scored
    ]
    logprobs = read_positions([loosen(entry) for entry in entries])
    if logprobs is None:
        raise MalformedAnswerError("not a scored text: a log-probability is no number")
    return logprobs


def _place(token: _Scored) -> Position:
    """Return the candidates by falling log-probability, by their ids."""
    top = sorted(
        (
            Alternative(token_id, min(0.0, max(_LOWEST, nats)))
            for token_id, _, nats in token.candidates or ()
            if token_id is not None
        ),
        key=lambda candidate: -candidate.logprob,
    )
    rank = next(i for i, candidate in enumerate(top) if candidate.token_id == token.token_id)
    tail = max(0.0, 1.0 - math.fsum(math.exp(candidate.logprob) for candidate in top))
    return Position(tuple(top), rank, tail)
