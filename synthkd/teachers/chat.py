"""What the body of a chat completion says.

    bytes ──msgspec──► the parts that are read, and no others ──► Completion
      └─ what msgspec refuses ──json──┘

An answer with log-probabilities is a quarter of a megabyte of JSON. What is read of it
is declared as types, so that the rest is skipped and never built. Servers write things
that only the standard parser takes (half a character, NaN): it has the last word.
"""

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Annotated, Any, NamedTuple, TypeVar

from msgspec import DecodeError, Meta, Raw, Struct, ValidationError
from msgspec.json import Decoder

from synthkd.records import Completion
from synthkd.teachers.base import MalformedAnswerError
from synthkd.teachers.positions import Entry, loosen, read_positions

_MOST = 2**63 - 1  # tokens that the corpus can count

S = TypeVar("S", bound=Struct)
Tokens = Annotated[int, Meta(ge=0, le=_MOST)]


class _Message(Struct):
    content: str | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: list[Raw] | None = None


class _Logprobs(Struct):
    content: list[Entry] | None = None


class _Choice(Struct):
    message: _Message
    finish_reason: str | None = None
    logprobs: _Logprobs | None = None
    token_ids: tuple[int, ...] | None = None


class _PromptDetails(Struct):
    cached_tokens: Tokens | None = None
    cache_write_tokens: Tokens | None = None


class _CompletionDetails(Struct):
    reasoning_tokens: Tokens | None = None


class _Usage(Struct):
    prompt_tokens: Tokens | None = None
    completion_tokens: Tokens | None = None
    prompt_tokens_details: _PromptDetails | None = None
    completion_tokens_details: _CompletionDetails | None = None


class _Served(Struct, kw_only=True):
    model: str | None = None
    provider: str | None = None  # of OpenRouter: to whom it passed the request on


class _OneChoice(_Served):
    choices: tuple[_Choice]
    usage: _Usage | None = None


class _Choices(_Served):
    choices: list[Raw]
    usage: _Usage | None = None


class _UnreadLogprobs(Struct):
    content: list[Raw] | None = None


class _UnreadChoice(Struct):
    logprobs: _UnreadLogprobs | None = None


class _Share(NamedTuple):
    """Which part of the usage a choice has: `weights` are those of all choices."""

    choice: int
    weights: Sequence[int]

    def of_prompt(self, tokens: int | None) -> int | None:
        """Return all of it for the first choice: a prompt is read and paid once."""
        return tokens if tokens is None or self.choice == 0 else 0

    def of_completion(self, tokens: int | None) -> int | None:
        """Return a part of `tokens`; those of all choices add up to them."""
        if tokens is None:
            return None
        parts = [tokens * weight // sum(self.weights) for weight in self.weights]
        parts[0] += tokens - sum(parts)
        return parts[self.choice]


_decode_one = Decoder(_OneChoice).decode
_decode_choices = Decoder(_Choices).decode
_decode_choice = Decoder(_Choice).decode
_decode_unread = Decoder(_UnreadChoice).decode
_ALL = _Share(0, [1])


def parse(body: bytes, choice: int = 0) -> Completion:
    """Return the completion in the body of a chat completion, that of its nth `choice`.

    A refusal is a completion whose finish reason is `refusal`. An answer that was cut
    while its teacher was still thinking, and one that only calls tools, has no text.

    The usage is that of all choices: the first has the tokens of the prompt, and those
    of the completions are parted by the log-probabilities given, or evenly. They add up
    to what the server counted, even where that is one choice only (llama.cpp).

    Raises:
        MalformedAnswerError: The bytes are no chat completion, or hold no such answer.
    """
    try:
        try:
            return _read(body, choice)
        except (DecodeError, UnicodeDecodeError, RecursionError):
            return _read_loosely(body, choice)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise MalformedAnswerError(f"not a chat completion: {error!r}") from error


def _read(body: bytes, index: int) -> Completion:
    if index == 0:
        with suppress(ValidationError):
            answer = _decode_one(body)
            choice = answer.choices[0]
            return _complete(choice, _entries(choice), answer.usage, _ALL, answer)
    several = _decode_choices(body)
    choice = _decode_choice(several.choices[index])
    unread = [_decode_unread(each).logprobs for each in several.choices]
    counts = [len(logprobs.content or ()) if logprobs else 0 for logprobs in unread]
    return _complete(choice, _entries(choice), several.usage, _part(index, counts), several)


def _entries(choice: _Choice) -> Sequence[Entry]:
    return (choice.logprobs and choice.logprobs.content) or ()


def _read_loosely(body: bytes, index: int) -> Completion:
    """Read by the standard parser, and check only what is used.

    What is broken beside the text is as if not given: the text was paid for.
    """
    answer = json.loads(body)
    contents = [_list(_dict(each.get("logprobs")).get("content")) for each in answer["choices"]]
    chosen = answer["choices"][index]
    ids = _list(chosen.get("token_ids"))
    choice = _Choice(
        message=_pick(_Message, chosen["message"]),
        finish_reason=chosen.get("finish_reason"),
        token_ids=tuple(ids) if ids and all(isinstance(each, int) for each in ids) else None,
    )
    told = _dict(answer.get("usage"))
    usage = _tally(_Usage, told)
    usage.prompt_tokens_details = _tally(_PromptDetails, told.get("prompt_tokens_details"))
    completion_details = told.get("completion_tokens_details")
    usage.completion_tokens_details = _tally(_CompletionDetails, completion_details)
    try:
        entries = [loosen(entry) for entry in contents[index]]
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        entries = []
    named = {name: answer.get(name) for name in _Served.__struct_fields__}
    served = _pick(_Served, {k: name for k, name in named.items() if isinstance(name, str)})
    return _complete(choice, entries, usage, _part(index, [len(each) for each in contents]), served)


def _pick(kind: type[S], given: Mapping[str, Any]) -> S:
    """Return what `kind` holds of `given`, unchecked."""
    return kind(**{name: given[name] for name in kind.__struct_fields__ if name in given})


def _tally(kind: type[S], given: object) -> S:
    """Return the numbers of tokens that `kind` holds of `given`."""
    told = _dict(given).items()
    return _pick(kind, {name: n for name, n in told if isinstance(n, int) and 0 <= n <= _MOST})


def _dict(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _part(index: int, counts: Sequence[int]) -> _Share:
    """Return the share of a choice, by the tokens of each, or evenly if one has none."""
    return _Share(index, counts if all(counts) else [1] * len(counts))


def _complete(
    choice: _Choice,
    entries: Sequence[Entry],
    usage: _Usage | None,
    share: _Share,
    served: _Served,
) -> Completion:
    message, finish_reason = choice.message, choice.finish_reason or "unknown"
    text, thinking = message.content, message.reasoning_content or message.reasoning or None
    if not isinstance(thinking, str):
        thinking = None
    if not isinstance(finish_reason, str):
        finish_reason = "unknown"
    if message.refusal and not text:
        text, finish_reason = message.refusal, "refusal"
    is_empty_for_a_reason = (
        thinking or message.tool_calls or finish_reason in {"length", "content_filter"}
    )
    if text is None and is_empty_for_a_reason:
        text = ""
    if not isinstance(text, str):
        raise TypeError("its message has no content")
    usage = usage or _Usage()
    prompt = usage.prompt_tokens_details or _PromptDetails()
    completion = usage.completion_tokens_details or _CompletionDetails()
    return Completion(
        text=text,
        finish_reason=finish_reason,
        thinking=thinking,
        prompt_tokens=share.of_prompt(usage.prompt_tokens),
        completion_tokens=share.of_completion(usage.completion_tokens),
        logprobs=read_positions(entries),
        cached_tokens=share.of_prompt(prompt.cached_tokens),
        cache_write_tokens=share.of_prompt(prompt.cache_write_tokens),
        reasoning_tokens=share.of_completion(completion.reasoning_tokens),
        token_ids=choice.token_ids,
        served_model=served.model or "",
        served_by=served.provider or "",
    )
