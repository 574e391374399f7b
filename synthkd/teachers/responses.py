"""OpenAI's Responses API: the same question in another form, its answer in items.

    output: [{type: reasoning, summary: [...]}, {type: message, content: [{type: output_text}]}]

It has no `n`, `seed` or `stop`. Reasoning comes as summaries, where they are asked for.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from synthkd.records import LENGTH, Completion, Json, Request
from synthkd.teachers.base import MalformedAnswerError
from synthkd.teachers.positions import Entry, loosen, read_positions

PROVIDER = "openai-responses"

_FOREIGN = "the Responses API has no such parameter; drop it, or write api: chat"

# What synthkd writes itself, what the API has not, and what would make the answer another kind.
RESERVED = {
    "background": "answers are waited for; drop it",
    "conversation": "what was said before comes from the prompt; drop it",
    "frequency_penalty": _FOREIGN,
    "input": "it comes from the prompt",
    "instructions": "they come from the prompt",
    "logit_bias": _FOREIGN,
    "logprobs": "write teacher.logprobs, the number of alternatives to store",
    "messages": "they come from the prompt",
    "model": "write teacher.model",
    "n": "write teacher.samples; each is a request of its own",
    "presence_penalty": _FOREIGN,
    "previous_response_id": "what was said before comes from the prompt; drop it",
    "prompt": "it comes from the prompt file",
    "response_format": "write it as text: {format: ...}, or give the request a schema",
    "seed": _FOREIGN,
    "stop": _FOREIGN,
    "stream": "answers are stored whole; drop it",
    "top_logprobs": "write teacher.logprobs",
}

_LOGPROBS = "message.output_text.logprobs"
_REASONS = {"max_output_tokens": LENGTH}  # any other is kept as it is: "content_filter"


def write_body(request: Request) -> dict[str, Json]:
    """Return the JSON body that asks `request`.

    Parameters are sent as they are written, but for three words of chat completions:
    `max_tokens`, `max_completion_tokens` and `reasoning_effort`. Nothing is stored at
    the provider unless `store` says so.
    """
    parameters = dict(request.parameters)
    most = parameters.pop("logprobs", 0)
    for name in ("max_tokens", "max_completion_tokens"):
        if name in parameters:
            parameters["max_output_tokens"] = parameters.pop(name)
    if effort := parameters.pop("reasoning_effort", None):
        parameters["reasoning"] = {"effort": effort, **parameters.get("reasoning", {})}
    if most:
        include = [name for name in parameters.get("include", []) if name != _LOGPROBS]
        parameters |= {"include": [*include, _LOGPROBS], "top_logprobs": most}
    if request.schema is not None:
        form = {"type": "json_schema", "name": "answer", "schema": request.schema, "strict": True}
        parameters["text"] = {**parameters.get("text", {}), "format": form}
    if request.tools is not None:
        parameters["tools"] = request.tools
    # transformers serve streams unless it is told not to.
    return {"model": request.model, **_write_input(request), "store": False, "stream": False} | (
        parameters
    )


def _write_input(request: Request) -> dict[str, Json]:
    """Return the conversation: what the system says first are the instructions."""
    messages = [message._asdict() for message in request.messages]
    if len(messages) > 1 and messages[0]["role"] == "system":
        return {"instructions": messages[0]["content"], "input": messages[1:]}
    return {"input": messages}


def parse(body: bytes, choice: int = 0) -> Completion:  # noqa: ARG001  every body has one
    """Return the completion in the body of a response.

    Commentary on the way to an answer is not the answer. A refusal is a completion
    whose finish reason is `refusal`; one that only calls tools has no text.

    Raises:
        MalformedAnswerError: The bytes are no response, or one that failed.
    """
    try:
        return _read(json.loads(body))
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise MalformedAnswerError(f"not a response: {error!r}") from error


def _read(answer: dict[str, Any]) -> Completion:
    items = answer["output"]
    if answer.get("status") in ("failed", "cancelled"):
        error = answer.get("error") or {}
        raise ValueError(f"it {answer['status']}: {error.get('message') or 'nothing more'}")
    parts = list(_find_parts(items))
    text = "".join(part["text"] for part in parts if part["type"] == "output_text")
    refusal = "".join(part["refusal"] for part in parts if part["type"] == "refusal")
    finish_reason = _read_finish_reason(answer)
    if refusal and not text:
        text, finish_reason = refusal, "refusal"
    usage = answer.get("usage") or {}
    read, written = (
        usage.get("input_tokens_details") or {},
        usage.get("output_tokens_details") or {},
    )
    return Completion(
        text=text,
        finish_reason=finish_reason,
        thinking="\n\n".join(_find_thoughts(items)) or None,
        prompt_tokens=usage.get("input_tokens"),
        completion_tokens=usage.get("output_tokens"),
        logprobs=read_positions(_read_entries(parts)),
        cached_tokens=read.get("cached_tokens"),
        cache_write_tokens=read.get("cache_write_tokens"),
        reasoning_tokens=written.get("reasoning_tokens"),
        served_model=str(answer.get("model") or ""),
    )


def _find_parts(items: list[dict[str, Any]]) -> Iterator[Mapping[str, Any]]:
    for item in items:
        if item["type"] == "message" and item.get("phase") != "commentary":
            yield from item["content"]


def _read_entries(parts: Sequence[Mapping[str, Any]]) -> Sequence[Entry]:
    """Return the log-probabilities, or none if one is broken: the text was paid for."""
    try:
        return [loosen(entry) for part in parts for entry in part.get("logprobs") or []]
    except (KeyError, TypeError, ValueError, AttributeError):
        return []


def _find_thoughts(items: list[dict[str, Any]]) -> Iterator[str]:
    """Yield what it thought: the thoughts themselves where a server gives them, or a summary."""
    for item in items:
        if item["type"] == "reasoning":
            told = item.get("content") or item.get("summary") or []
            yield from (part["text"] for part in told if part.get("text"))


def _read_finish_reason(answer: dict[str, Any]) -> str:
    if answer.get("status") == "incomplete":
        reason = (answer.get("incomplete_details") or {}).get("reason") or "incomplete"
        return _REASONS.get(reason, reason)
    calls = any(item["type"].endswith("_call") for item in answer["output"])
    says = any(item["type"] == "message" for item in answer["output"])
    return "tool_calls" if calls and not says else "stop"
