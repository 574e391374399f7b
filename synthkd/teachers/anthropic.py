"""Teachers behind Anthropic's Messages API."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

from synthkd.records import LENGTH, Completion, Json, Request
from synthkd.teachers.base import Answer, MalformedAnswerError
from synthkd.teachers.options import TeacherOptions
from synthkd.teachers.server import Server
from synthkd.teachers.transport import PATIENCE, Protocol, ServedTeacher

Lifetime = Literal["5m", "1h"]

MAX_TOKENS = 1024  # where parameters do not say: the API asks for a number

_HOME = "https://api.anthropic.com"
_VARIABLE = "ANTHROPIC_API_KEY"
_VERSION = "2026-10-21"  # of the API, unless parameters.anthropic_version says another
_SAMPLING = ("temperature", "top_k", "top_p")
_SAMPLING_VERSION = "2023-06-01"  # the API's last version that takes them

# What synthkd writes itself, or what would make the answer another kind of thing.
_RESERVED = {
    "messages": "they come from the prompt",
    "model": "write teacher.model",
    "stream": "answers are stored whole; drop it",
    "system": "it comes from the prompt",
}

_FINISH_REASONS = {
    "end_turn": "stop",
    "max_tokens": LENGTH,
    "model_context_window_exceeded": LENGTH,
    "stop_sequence": "stop",
}  # any other is kept as it is: "refusal", "tool_use", "pause_turn"

# A longer answer than comes within ten minutes is waited for longer, at the slowest rate
# that the SDK reckons with, since one given up on would be paid for twice.
_SECONDS_PER_TOKEN = 3600 / 128_000


@dataclass(frozen=True, slots=True)
class AnthropicTeacher(ServedTeacher):
    """A teacher that speaks Anthropic's Messages API.

    Parameters are sent as they are written, except `anthropic_version`, which is a
    header. Thinking is kept apart from the text, as the teacher's rationale.
    `prompt_caching` is how long what comes before the last turn is remembered there:
    it changes the bill and not the answer, so it is no part of the request key.
    """

    provider: ClassVar[str] = "anthropic"

    prompt_caching: Lifetime | None = None

    @classmethod
    def connect_all(cls, options: TeacherOptions, *, needs_key: bool = True) -> tuple[Self, ...]:
        """Return the teacher once for each address and key; nothing is sent yet.

        Keys are read from `options.key_variables`, by default ANTHROPIC_API_KEY; only
        Anthropic itself must have one.

        Raises:
            ConfigError: A key is missing, or an option cannot be sent.
        """
        protocol = Protocol(_HOME, _VARIABLE, _find_mistakes, _headers)
        return cls._connect_each(
            options, protocol, needs_key=needs_key, prompt_caching=options.prompt_caching
        )

    @property
    def defaults(self) -> Mapping[str, Json]:
        """The longest answer, which this protocol must be told."""
        return {"max_tokens": MAX_TOKENS}

    async def ask(self, requests: Sequence[Request]) -> Sequence[Answer]:
        """Return the raw answer to the one request.

        Raises:
            AttemptError: There is none.
        """
        (request,) = requests
        body = write_body(request, self.prompt_caching)
        version = request.parameters.get("anthropic_version")
        answer = await self.transport.post(
            "/v1/messages",
            body,
            holds="content",
            headers={"anthropic-version": version} if version else None,
            seconds=max(PATIENCE, body["max_tokens"] * _SECONDS_PER_TOKEN),
        )
        return [answer]


def write_body(request: Request, prompt_caching: Lifetime | None = None) -> dict[str, Json]:
    """Return the JSON body that asks `request`.

    What is remembered by `prompt_caching` is the system prompt, which other prompts share,
    and the messages before the last turn: few-shot samples, or a conversation so far.
    """
    parameters = dict(request.parameters)
    parameters.pop("anthropic_version", None)
    if request.schema is not None:
        output_format = {"type": "json_schema", "schema": request.schema}
        parameters["output_config"] = {
            **parameters.get("output_config", {}),
            "format": output_format,
        }
    if request.tools is not None:
        parameters["tools"] = request.tools
    system: Json = "\n\n".join(m.content for m in request.messages if m.role == "system")
    messages: list[dict[str, Json]] = [
        message._asdict() for message in request.messages if message.role != "system"
    ]
    if prompt_caching:
        system = _remember(system, prompt_caching)
        last = max((i for i, turn in enumerate(messages) if turn["role"] == "user"), default=0)
        if last:
            before = messages[last - 1]
            before["content"] = _remember(before["content"], prompt_caching)
    if system:
        parameters["system"] = system
    return {
        "model": request.model,
        "max_tokens": MAX_TOKENS,
        "messages": messages,
        **parameters,
    }


def _remember(text: str, lifetime: Lifetime) -> Json:
    """Return `text` as a block that everything up to its end is remembered at."""
    if not text:
        return text  # the API refuses to remember nothing
    control = {"type": "ephemeral", "ttl": lifetime}
    return [{"type": "text", "text": text, "cache_control": control}]


def _headers(server: Server) -> Mapping[str, str]:
    return {"authorization": f"Bearer {server.key or 'none'}", "anthropic-version": _VERSION}


def parse(body: bytes, choice: int = 0) -> Completion:  # noqa: ARG001  every body has one
    """Return the completion in the body of a message.

    A message without text is one that refuses, calls tools, or was cut while thinking:
    its text is empty and its finish reason says which. `prompt_tokens` counts those
    read from a cache and written to one.

    Raises:
        MalformedAnswerError: The bytes are no message.
    """
    try:
        return _read(json.loads(body))
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise MalformedAnswerError(f"not a message: {error!r}") from error


def _read(answer: dict[str, Any]) -> Completion:
    usage, stop_reason = answer.get("usage") or {}, answer.get("stop_reason") or "unknown"
    read, written = usage.get("cache_read_input_tokens"), usage.get("cache_creation_input_tokens")
    prompt_tokens = usage.get("input_tokens")
    if prompt_tokens is not None:
        prompt_tokens += (read or 0) + (written or 0)
    return Completion(
        text=_join(answer["content"], "text"),
        finish_reason=_FINISH_REASONS.get(stop_reason, stop_reason),
        thinking=_join(answer["content"], "thinking") or None,
        prompt_tokens=prompt_tokens,
        completion_tokens=usage.get("output_tokens"),
        cached_tokens=read,
        cache_write_tokens=written,
        reasoning_tokens=(usage.get("output_tokens_details") or {}).get("thinking_tokens"),
        served_model=str(answer.get("model") or ""),
    )


def _join(blocks: Sequence[dict[str, Any]], kind: str) -> str:
    """Return the words of the blocks of one kind: their field is named like it."""
    return "".join(block[kind] for block in blocks if block["type"] == kind)


def _find_mistakes(options: TeacherOptions, servers: Sequence[Server]) -> list[str]:
    parameters = options.parameters
    mistakes = [
        f"parameters.{name} cannot be set: {cure}"
        for name, cure in _RESERVED.items()
        if name in parameters
    ]
    if parameters.get("anthropic_version") != _SAMPLING_VERSION:
        mistakes += [
            f"parameters.{name} is refused by the current version of the API; drop it, or, for a "
            f"model that still takes it, add parameters.anthropic_version: {_SAMPLING_VERSION!r}"
            for name in _SAMPLING
            if name in parameters
        ]
    if options.logprobs:
        mistakes.append(
            f"logprobs is {options.logprobs}; this protocol gives none; drop it, or ask a teacher "
            "behind an OpenAI-compatible server, or a local one"
        )
    max_tokens = parameters.get("max_tokens", MAX_TOKENS)
    if isinstance(max_tokens, bool) or not isinstance(max_tokens, int) or max_tokens < 1:
        mistakes.append(f"parameters.max_tokens is {max_tokens!r}; it must be 1 or more")
    mistakes += [
        f"{name} is of OpenAI's protocol; drop it"
        for name, is_given in [
            ("api: responses", options.api == "responses"),
            ("share_prompt", options.share_prompt),
        ]
        if is_given
    ]
    if any(server.url.endswith("/v1") for server in servers):
        mistakes.append(
            "base_url ends in /v1, and requests go to its path /v1/messages; leave /v1 out"
        )
    return mistakes
