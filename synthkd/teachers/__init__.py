"""Whoever answers prompts: hosted, behind any compatible server, in this process, or scripted."""

from synthkd.records import Completion
from synthkd.teachers.base import MalformedAnswerError, Teacher
from synthkd.teachers.options import TeacherOptions

__all__ = ["MalformedAnswerError", "Teacher", "TeacherOptions", "parse"]


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
    if provider == "openai-score":
        from synthkd.teachers import scored

        return scored.parse(body)
    if provider == "openai-responses":
        from synthkd.teachers import responses

        return responses.parse(body)
    if provider == "anthropic":
        from synthkd.teachers import anthropic

        return anthropic.parse(body)
    from synthkd.teachers import plain

    return plain.parse(body)
