"""Replies of a model in this process: on their way out of its thread, and as raw bytes.

A reply without random targets is what `plain` writes. With them, its log-probabilities
have one entry more, which `plain` does not read: {"draws": {"codec", "blob": base64}}.
"""

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import NamedTuple, TypeVar

from synthkd.corpus.draws import Drawn
from synthkd.records import Completion, Request, canonical_json
from synthkd.teachers import plain
from synthkd.teachers.base import Answer, AttemptError

T = TypeVar("T")
IsCancelled = Callable[[], bool]


Outcome = tuple[int, Answer | AttemptError]  # a request's place, and its raw answer or why not


class Reply(NamedTuple):
    """What a model made of a request; `draws` are its random targets, if any were wanted."""

    completion: Completion
    draws: tuple[Drawn, ...] = ()


def dump(reply: Reply) -> bytes:
    """Return `reply` as bytes that `plain.parse` reads back."""
    completion = reply.completion
    if reply.draws and completion.logprobs:
        logprobs = replace(completion.logprobs, draws=reply.draws)
        completion = replace(completion, logprobs=logprobs)
    return plain.dump(completion)


async def stream(work: Callable[[IsCancelled], Iterable[T]]) -> AsyncGenerator[T]:
    """Yield what `work` yields in a thread of its own, each as it comes.

    However this ends, `work` is told that it is cancelled.
    """
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[list[T]] = asyncio.Queue()
    cancelled = threading.Event()

    def run() -> None:
        for item in work(cancelled.is_set):
            loop.call_soon_threadsafe(queue.put_nowait, [item])

    thread = asyncio.ensure_future(asyncio.to_thread(run))
    thread.add_done_callback(lambda _: queue.put_nowait([]))
    try:
        while items := await queue.get():
            yield items[0]
        await thread
    finally:
        cancelled.set()


async def sift(outcomes: AsyncGenerator[Outcome]) -> AsyncGenerator[tuple[int, Answer]]:
    """Yield the answers among `outcomes`, each as it comes.

    Raises:
        AttemptError: A request has no answer; the others have theirs by now.
    """
    failed: AttemptError | None = None
    async with aclosing(outcomes):
        async for place, outcome in outcomes:
            if isinstance(outcome, Answer):
                yield place, outcome
            else:
                failed = failed or outcome
    if failed is not None:
        raise failed


async def gather(outcomes: AsyncGenerator[Outcome]) -> list[Answer]:
    """Return the answers that `outcomes` yield, in the order of their places.

    Raises:
        AttemptError: A request has no answer; the rest is not waited for.
    """
    answers: dict[int, Answer] = {}
    async with aclosing(outcomes):
        async for place, outcome in outcomes:
            if isinstance(outcome, AttemptError):
                raise outcome
            answers[place] = outcome
    return [answers[place] for place in sorted(answers)]


def find_alike(requests: Sequence[Request]) -> list[list[int]]:
    """Return the places of `requests`, those with the same parameters together."""
    alike: dict[str, list[int]] = {}
    for place, request in enumerate(requests):
        alike.setdefault(canonical_json(dict(request.parameters)), []).append(place)
    return list(alike.values())
