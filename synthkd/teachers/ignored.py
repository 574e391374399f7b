"""What a server was asked for and silently did without.

Servers of one protocol know more or less of it, and many answer 200 to what they do not
know: without log-probabilities, with one choice of three, with prose for a schema.
"""

import json
from functools import lru_cache
from typing import TYPE_CHECKING, NoReturn

from synthkd.records import Completion, Json, Request, canonical_json

if TYPE_CHECKING:
    from jsonschema_rs import Validator

_LIMITS = ("max_output_tokens", "max_completion_tokens", "max_tokens")


def find_ignored(
    request: Request, completion: Completion, choices: int = 1, asked: int = 1
) -> tuple[str, ...]:
    """Return the names of what `request` asked for and `completion` has not.

    `logprobs`; `n` where `choices` came and more were `asked`; `schema` where a finished
    answer is not of it; a limit of tokens that was passed.
    """
    found = {
        "logprobs": _lacks_logprobs(request, completion),
        "n": choices < asked,
        "schema": _breaks_schema(request, completion),
    }
    # Servers differ in whether usage counts one choice or all of them.
    longest, tokens = _find_limit(request), completion.completion_tokens
    if longest is not None and tokens is not None and asked == 1 and tokens > longest[1]:
        found[longest[0]] = True
    return tuple(name for name, is_so in found.items() if is_so)


def _lacks_logprobs(request: Request, completion: Completion) -> bool:
    if completion.logprobs is not None or not request.parameters.get("logprobs"):
        return False
    # An answer of no token has none, and one that a filter wrote was not sampled.
    return bool(completion.text) and completion.finish_reason not in {"refusal", "content_filter"}


def _breaks_schema(request: Request, completion: Completion) -> bool:
    if request.schema is None or completion.finish_reason != "stop":
        return False
    try:
        answer = json.loads(completion.text, parse_constant=_refuse_constant)
        validator = _compile(canonical_json(request.schema))
        return validator is not None and not validator.is_valid(answer)
    except (ValueError, RecursionError):
        return True


def _find_limit(request: Request) -> tuple[str, int] | None:
    for name in _LIMITS:
        limit = request.parameters.get(name)
        if isinstance(limit, int):
            return name, limit
    return None


@lru_cache(maxsize=64)
def _compile(schema: str) -> "Validator | None":
    """Return what checks answers, or None for a schema that only its server understands."""
    import jsonschema_rs

    loaded: Json = json.loads(schema)
    try:
        return jsonschema_rs.validator_for(loaded, retriever=_refuse_reference)
    except ValueError:
        return None


def _refuse_reference(uri: str) -> NoReturn:
    """Keep a schema from fetching anything."""
    raise ValueError(f"{uri!r} is outside the schema")


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
