"""Teachers behind an OpenAI-compatible server: chat completions, or the Responses API."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Self

import msgspec

from synthkd.records import Json, Request
from synthkd.teachers import responses
from synthkd.teachers.base import Answer
from synthkd.teachers.options import TeacherOptions
from synthkd.teachers.server import Server
from synthkd.teachers.transport import Protocol, ServedTeacher

_HOME = "https://api.openai.com/v1"
_VARIABLE = "OPENAI_API_KEY"
_MOST_LOGPROBS = 20  # that api.openai.com gives; other servers have limits of their own

# What synthkd writes itself, or what would make the answer another kind of thing.
_RESERVED = {
    "logprobs": "write teacher.logprobs, the number of alternatives to store",
    "messages": "they come from the prompt",
    "model": "write teacher.model",
    "n": "write teacher.samples",
    "return_tokens_as_token_ids": "tokens are aligned by their bytes, which this hides; drop it",
    "stream": "answers are stored whole; drop it",
    "top_logprobs": "write teacher.logprobs",
}


class _Choices(msgspec.Struct):
    choices: list[msgspec.Raw]


_decode_choices = msgspec.json.Decoder(_Choices).decode


@dataclass(frozen=True, slots=True)
class OpenAITeacher(ServedTeacher):
    """A teacher that speaks chat completions, or Responses.

    Parameters are sent as they are written, as top-level fields, so that a server's own
    (`top_k`, `min_p`, `chat_template_kwargs`) reach it; only `logprobs: K` becomes what
    the protocol calls it, and `seed` grows by the sample index, so that the samples of a
    prompt differ.
    """

    api: Literal["chat", "responses"] = "chat"

    @classmethod
    def connect_all(cls, options: TeacherOptions, *, needs_key: bool = True) -> tuple[Self, ...]:
        """Return the teacher once for each address and key; nothing is sent yet.

        Keys are read from `options.key_variables`, by default OPENAI_API_KEY; only OpenAI
        itself must have one. OPENAI_ORG_ID and OPENAI_PROJECT_ID go there with the default
        key alone: another may be of another project.

        Raises:
            ConfigError: A key is missing, or an option cannot be sent.
        """
        protocol = Protocol(_HOME, _VARIABLE, _find_mistakes, _headers)
        return cls._connect_each(options, protocol, needs_key=needs_key, api=options.api)

    @property
    def provider(self) -> str:
        """Who can parse its answers."""
        return "openai" if self.api == "chat" else responses.PROVIDER

    async def ask(self, requests: Sequence[Request]) -> Sequence[Answer]:
        """Return the raw answers to `requests`, which are samples of one prompt.

        They share one body; a server that gives fewer choices answers fewer of them.

        Raises:
            AttemptError: There is none.
        """
        if self.api == "responses":
            (request,) = requests
            body = responses.write_body(request)
            return [await self.transport.post("/responses", body, holds="output")]
        body = write_body(requests[0])
        if len(requests) == 1:
            return [await self.transport.post("/chat/completions", body, holds="choices")]
        body["n"] = len(requests)
        answer = await self.transport.post("/chat/completions", body, holds="choices")
        given = min(_count_choices(answer.body), len(requests))
        return [answer._replace(choice=choice) for choice in range(given)]


def write_body(request: Request) -> dict[str, Json]:
    """Return the JSON body that asks `request` as a chat completion."""
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


def _count_choices(body: bytes) -> int:
    """Return how many choices `body` has; at least one, so that a wrong body has a reader."""
    try:
        return max(1, len(_decode_choices(body).choices))
    except (msgspec.DecodeError, UnicodeDecodeError):
        return 1


def _headers(server: Server) -> Mapping[str, str]:
    headers = {"authorization": f"Bearer {server.key or 'none'}"}
    if server.is_home and server.variable == _VARIABLE:
        told = {
            "openai-organization": os.environ.get("OPENAI_ORG_ID"),
            "openai-project": os.environ.get("OPENAI_PROJECT_ID"),
        }
        headers |= {name: value for name, value in told.items() if value}
    return headers


def _find_mistakes(options: TeacherOptions, servers: Sequence[Server]) -> list[str]:
    chat = options.api == "chat"
    mistakes = _find_parameters(options, _RESERVED if chat else responses.RESERVED)
    if not chat and options.share_prompt:
        mistakes.append(
            "share_prompt asks for several samples in one call, which the Responses API "
            "cannot give; drop it, or write api: chat"
        )
    if options.prompt_caching:
        mistakes.append(
            "prompt_caching is of Anthropic's protocol; drop it: OpenAI caches by itself"
        )
    home = next((server for server in servers if server.is_home), None)
    if home and options.logprobs > _MOST_LOGPROBS:
        mistakes.append(
            f"logprobs is {options.logprobs}; {home.host} gives {_MOST_LOGPROBS} at most, "
            f"and refuses every request for more; write {_MOST_LOGPROBS} or less"
        )
    seed = options.parameters.get("seed", 0)
    if chat and seed is not None and (isinstance(seed, bool) or not isinstance(seed, int)):
        mistakes.append(f"parameters.seed is {seed!r}; it must be a whole number")
    return mistakes


def _find_parameters(options: TeacherOptions, reserved: Mapping[str, str]) -> list[str]:
    return [
        f"parameters.{name} cannot be set: {cure}"
        for name, cure in reserved.items()
        if name in options.parameters
    ]
