"""Teachers behind Anthropic's Messages API, by the official SDK.

As with the other protocol, the SDK carries the request and hands back the bytes.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from synthkd.errors import ConfigError
from synthkd.records import LENGTH, Completion, Json, Request
from synthkd.teachers.base import MalformedAnswerError, TeacherOptions
from synthkd.teachers.server import Server

if TYPE_CHECKING:
    from anthropic import AsyncAnthropic

MAX_TOKENS = 1024  # where parameters do not say: the API asks for a number

_HOME = "https://api.anthropic.com"
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

# An answer this long comes within the SDK's ten minutes; a longer one is waited for longer,
# at the slowest rate the SDK reckons with, since one given up on would be paid for twice.
_SECONDS, _SECONDS_PER_TOKEN = 600.0, 3600 / 128_000


@dataclass(frozen=True, slots=True)
class AnthropicTeacher:
    """A teacher that speaks Anthropic's Messages API.

    Parameters are sent as they are written, except `anthropic_version`, which is a
    header. Thinking is kept apart from the text, as the teacher's rationale.
    """

    provider: ClassVar[str] = "anthropic"
    batch_size: ClassVar[int] = 1

    server: Server
    model: str
    host: str
    client: "AsyncAnthropic" = field(repr=False)

    @classmethod
    def connect(cls, options: TeacherOptions) -> "AnthropicTeacher":
        """Return the teacher, ready to be asked; nothing is sent yet.

        The key is read from ANTHROPIC_API_KEY; only Anthropic itself must have one.

        Raises:
            ConfigError: The key is missing, or an option cannot be sent.
        """
        server = Server.read(options.base_url, home=_HOME, variable="ANTHROPIC_API_KEY")
        if mistakes := [*server.find_mistakes(), *_find_mistakes(options, server)]:
            raise ConfigError(f"the teacher {options.model!r} cannot be asked:", mistakes)

        from anthropic import AsyncAnthropic

        client = AsyncAnthropic(
            api_key=server.key or "none",
            base_url=server.url,
            max_retries=0,
            open_telemetry=False,
        )
        return cls(server, options.model_name, options.host or server.host, client)

    @property
    def endpoint(self) -> str:
        """The base URL: equal endpoints are the same server."""
        return self.server.url

    async def ask(self, requests: Sequence[Request]) -> Sequence[bytes]:
        """Return the raw body of the answer to the one request.

        Raises:
            AttemptError: There is none.
        """
        import httpx2
        from anthropic import APIConnectionError, APIStatusError

        (request,) = requests
        body = write_body(request)
        seconds = max(_SECONDS, body["max_tokens"] * _SECONDS_PER_TOKEN)
        version = request.parameters.get("anthropic_version")
        try:
            response = await self.client.post(
                "/v1/messages",
                body=body,
                cast_to=httpx2.Response,
                options={
                    "headers": {"anthropic-version": version} if version else {},
                    "timeout": httpx2.Timeout(seconds, connect=5.0),
                },
            )
        except APIStatusError as error:
            answer = error.response
            raise self.server.refuse(answer.status_code, answer.headers, answer.content) from None
        except APIConnectionError as error:
            raise self.server.lose(error) from error
        return [self.server.check(response.content, holds="content")]

    def vocabulary(self) -> None:
        """Know nothing of it: tokens come as text, if they come."""

    async def close(self) -> None:
        """Give back the connections."""
        await self.client.close()


def write_body(request: Request) -> dict[str, Json]:
    """Return the JSON body that asks `request`."""
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
    system = [message.content for message in request.messages if message.role == "system"]
    if system:
        parameters["system"] = "\n\n".join(system)
    messages = [message._asdict() for message in request.messages if message.role != "system"]
    return {
        "model": request.model,
        "max_tokens": MAX_TOKENS,
        "messages": messages,
        **parameters,
    }


def parse(body: bytes) -> Completion:
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
    prompt_tokens = usage.get("input_tokens")
    if prompt_tokens is not None:
        cached = ("cache_creation_input_tokens", "cache_read_input_tokens")
        prompt_tokens += sum(usage.get(name) or 0 for name in cached)
    return Completion(
        text=_join(answer["content"], "text"),
        finish_reason=_FINISH_REASONS.get(stop_reason, stop_reason),
        thinking=_join(answer["content"], "thinking") or None,
        prompt_tokens=prompt_tokens,
        completion_tokens=usage.get("output_tokens"),
    )


def _join(blocks: Sequence[dict[str, Any]], kind: str) -> str:
    """Return the words of the blocks of one kind: their field is named like it."""
    return "".join(block[kind] for block in blocks if block["type"] == kind)


def _find_mistakes(options: TeacherOptions, server: Server) -> list[str]:
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
    if server.url.endswith("/v1"):
        mistakes.append(
            "base_url ends in /v1, and requests go to its path /v1/messages; leave /v1 out"
        )
    return mistakes
