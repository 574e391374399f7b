"""Teachers behind an OpenAI-compatible server: chat completions, by the official SDK.

The SDK carries the request and hands back the bytes; its models are never built, since
an answer with log-probabilities is mostly numbers that would be parsed twice.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from synthkd.errors import ConfigError
from synthkd.records import Completion, Json, Request
from synthkd.teachers.base import MalformedAnswerError, TeacherOptions
from synthkd.teachers.positions import read_positions
from synthkd.teachers.server import Server

if TYPE_CHECKING:
    from openai import AsyncOpenAI

_HOME = "https://api.openai.com/v1"
_MOST_LOGPROBS = 20  # that api.openai.com gives; other servers have limits of their own

# What synthkd writes itself, or what would make the answer another kind of thing.
_RESERVED = {
    "logprobs": "write teacher.logprobs, the number of alternatives to store",
    "messages": "they come from the prompt",
    "model": "write teacher.model",
    "n": "write teacher.samples; each is a request of its own, kept and retried apart",
    "return_tokens_as_token_ids": "tokens are aligned by their bytes, which this hides; drop it",
    "stream": "answers are stored whole; drop it",
    "top_logprobs": "write teacher.logprobs",
}


@dataclass(frozen=True, slots=True)
class OpenAITeacher:
    """A teacher that speaks chat completions.

    Parameters are sent as they are written, as top-level fields, so that a server's own
    (`top_k`, `min_p`, `chat_template_kwargs`) reach it; only `logprobs: K` becomes what
    the protocol calls it, and `seed` grows by the sample index, so that the samples of a
    prompt differ.
    """

    provider: ClassVar[str] = "openai"
    batch_size: ClassVar[int] = 1

    server: Server
    model: str
    host: str
    client: "AsyncOpenAI" = field(repr=False)

    @classmethod
    def connect(cls, options: TeacherOptions) -> "OpenAITeacher":
        """Return the teacher, ready to be asked; nothing is sent yet.

        The key is read from OPENAI_API_KEY; only OpenAI itself must have one.

        Raises:
            ConfigError: The key is missing, or an option cannot be sent.
        """
        server = Server.read(options.base_url, home=_HOME, variable="OPENAI_API_KEY")
        if mistakes := [*server.find_mistakes(), *_find_mistakes(options, server)]:
            raise ConfigError(f"the teacher {options.model!r} cannot be asked:", mistakes)

        from openai import AsyncOpenAI

        client = AsyncOpenAI(api_key=server.key or "none", base_url=server.url, max_retries=0)
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
        from openai import APIConnectionError, APIStatusError

        (request,) = requests
        try:
            response = await self.client.post(
                "/chat/completions",
                body=write_body(request),
                cast_to=httpx2.Response,
                # Without this the SDK adds the key of OPENAI_ADMIN_KEY, if there is one.
                options={"security": {"bearer_auth": True}},
            )
        except APIStatusError as error:
            answer = error.response
            raise self.server.refuse(answer.status_code, answer.headers, answer.content) from None
        except APIConnectionError as error:
            raise self.server.lose(error) from error
        return [self.server.check(response.content, holds="choices")]

    def vocabulary(self) -> None:
        """Know nothing of it: tokens come as text, if they come."""

    async def close(self) -> None:
        """Give back the connections."""
        await self.client.close()


def write_body(request: Request) -> dict[str, Json]:
    """Return the JSON body that asks `request`."""
    parameters = dict(request.parameters)
    if most := parameters.pop("logprobs", 0):
        parameters |= {"logprobs": True, "top_logprobs": most}
    if parameters.get("seed") is not None:
        parameters["seed"] += request.sample_index
    if request.schema is not None:
        answer = {"name": "answer", "schema": request.schema, "strict": True}
        parameters["response_format"] = {"type": "json_schema", "json_schema": answer}
    if request.tools is not None:
        parameters["tools"] = request.tools
    messages = [message._asdict() for message in request.messages]
    return {"model": request.model, "messages": messages, **parameters}


def parse(body: bytes) -> Completion:
    """Return the completion in the body of a chat completion.

    A refusal is a completion whose finish reason is `refusal`. An answer that was cut
    while its teacher was still thinking, and one that only calls tools, has no text.

    Raises:
        MalformedAnswerError: The bytes are no chat completion, or hold no answer.
    """
    try:
        return _read(json.loads(body))
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise MalformedAnswerError(f"not a chat completion: {error!r}") from error


def _read(answer: dict[str, Any]) -> Completion:
    choice, usage = answer["choices"][0], answer.get("usage") or {}
    message, finish_reason = choice["message"], choice.get("finish_reason") or "unknown"
    text, refusal = message.get("content"), message.get("refusal")
    thinking = message.get("reasoning_content") or message.get("reasoning") or None
    if refusal and not text:
        text, finish_reason = refusal, "refusal"
    is_empty_for_a_reason = (
        thinking or message.get("tool_calls") or finish_reason in ("length", "content_filter")
    )
    if text is None and is_empty_for_a_reason:
        text = ""
    if not isinstance(text, str):
        raise TypeError("its message has no content")
    return Completion(
        text=text,
        finish_reason=finish_reason,
        thinking=thinking,
        prompt_tokens=usage.get("prompt_tokens"),
        completion_tokens=usage.get("completion_tokens"),
        logprobs=read_positions((choice.get("logprobs") or {}).get("content") or []),
    )


def _find_mistakes(options: TeacherOptions, server: Server) -> list[str]:
    mistakes = [
        f"parameters.{name} cannot be set: {cure}"
        for name, cure in _RESERVED.items()
        if name in options.parameters
    ]
    if server.is_home and options.logprobs > _MOST_LOGPROBS:
        mistakes.append(
            f"logprobs is {options.logprobs}; {server.host} gives {_MOST_LOGPROBS} at most, "
            f"and refuses every request for more; write {_MOST_LOGPROBS} or less"
        )
    seed = options.parameters.get("seed", 0)
    if seed is not None and (isinstance(seed, bool) or not isinstance(seed, int)):
        mistakes.append(f"parameters.seed is {seed!r}; it must be a whole number")
    return mistakes
