"""Whoever answers prompts: hosted, behind any compatible server, in this process, or scripted."""

import json
from functools import lru_cache

from synthkd.corpus.ledger import Reading
from synthkd.records import Attempt, Completion
from synthkd.teachers.base import MalformedAnswerError, Teacher
from synthkd.teachers.options import TeacherOptions
from synthkd.teachers.prices import Price, Usage

__all__ = ["MalformedAnswerError", "Teacher", "TeacherOptions", "parse", "read_attempt"]


def read_attempt(attempt: Attempt, body: bytes) -> Reading:
    """Return what `attempt`, whose raw answer is `body`, says and cost.

    Raises:
        MalformedAnswerError: The bytes are no answer of its provider.
    """
    completion = parse(attempt.provider, body, attempt.choice)
    if attempt.price is None:
        return Reading(completion)
    usage = Usage(
        completion.prompt_tokens,
        completion.completion_tokens,
        completion.cached_tokens or 0,
        completion.cache_write_tokens or 0,
    )
    return Reading(completion, _read_price(attempt.price).cost(usage))


@lru_cache(maxsize=64)
def _read_price(charge: str) -> Price:
    return Price.of_charge(json.loads(charge))


def parse(provider: str, body: bytes, choice: int = 0) -> Completion:
    """Return the completion in `body`, the raw answer of a teacher of `provider`.

    `choice` tells which, where one body answers several requests.

    Answers of teachers without a protocol of their own (local, scripted, imported) are
    in synthkd's own form. No SDK is loaded for reading.

    Raises:
        MalformedAnswerError: The bytes are no answer of that provider.
    """
    if provider == "openai":
        from synthkd.teachers import chat

        return chat.parse(body, choice)
    if provider == "openai-responses":
        from synthkd.teachers import responses

        return responses.parse(body)
    if provider == "anthropic":
        from synthkd.teachers import anthropic

        return anthropic.parse(body)
    from synthkd.teachers import plain

    return plain.parse(body)
