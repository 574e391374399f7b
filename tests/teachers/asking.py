"""Asking a teacher one thing, outside any engine."""

import asyncio
from collections.abc import Sequence

from synthkd.records import Message, Request
from synthkd.teachers import Teacher, TeacherOptions

HELLO = (Message("user", "Hello?"),)


def ask(
    options: TeacherOptions, messages: Sequence[Message] = HELLO, sample_index: int = 0
) -> bytes:
    """Return the raw answer of the teacher that `options` describe, connected for this alone."""
    teacher = options.connect()
    return put(teacher, options.request(teacher, tuple(messages), sample_index))


def put(teacher: Teacher, request: Request) -> bytes:
    """Return the raw body of what `teacher` answers to `request`, and close it."""

    async def ask_and_close() -> bytes:
        try:
            (answer,) = await teacher.ask([request])
            return answer.body
        finally:
            await teacher.close()

    return asyncio.run(ask_and_close())
