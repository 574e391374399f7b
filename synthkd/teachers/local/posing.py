"""From a request to ids, and from what a model made of them to a reply."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, TypeVar

from synthkd.records import LENGTH, Completion, Request, TokenLogprobs
from synthkd.teachers.base import AttemptError
from synthkd.teachers.local.replies import IsCancelled, Reply
from synthkd.teachers.local.rows import Row, Task, Text
from synthkd.teachers.local.sampling import Sampling
from synthkd.teachers.local.tokens import Tokens

T = TypeVar("T")
U = TypeVar("U")


class InProcess(Protocol):
    """A model in this process, loaded when first needed."""

    tokens: Tokens

    def complete(
        self, requests: Sequence[Request], sampling: Sampling, is_cancelled: IsCancelled
    ) -> Iterator[tuple[int, Reply | AttemptError]]:
        """Yield what the model answers to each of `requests`, with its place, as they end.

        What does not fit comes first, as the error that says so.

        Raises:
            AttemptError: The model cannot be loaded, or failed.
        """

    def score(
        self,
        requests: Sequence[Request],
        completions: Sequence[Completion],
        sampling: Sampling,
        is_cancelled: IsCancelled,
    ) -> Iterator[tuple[int, Reply | AttemptError]]:
        """Yield what the model thinks of `completions`, which somebody answered `requests` with.

        Raises:
            AttemptError: The model cannot be loaded, or failed.
        """

    def close(self) -> None:
        """Give back its memory."""


def pose(tokens: Tokens, sampling: Sampling, context: int | None, request: Request) -> Task:
    """Return the task that `request` is for a model that holds `context` tokens.

    Raises:
        AttemptError: There is no room for an answer, or no prompt.
    """
    prompt = tokens.read(request.messages)
    room = context - len(prompt) if context else sampling.max_tokens
    if room <= 0:
        raise AttemptError(
            f"a prompt is {len(prompt)} tokens, and {tokens.source} holds {context} with its "
            "answer; nothing was generated. Shorten the prompt, or drop its seed"
        )
    return Task(prompt, _find_seed(request, sampling), min(sampling.max_tokens, room))


def pose_text(
    tokens: Tokens, sampling: Sampling, context: int | None, answered: tuple[Request, Completion]
) -> Text:
    """Return the text that a completion of a request is for a model that holds `context` tokens.

    Raises:
        AttemptError: It does not fit, or there is no prompt.
    """
    request, completion = answered
    prompt, ids = tokens.read_answered(request.messages, completion.text)
    if context and len(prompt) + len(ids) > context:
        raise AttemptError(
            f"a prompt and its completion are {len(prompt)} and {len(ids)} tokens, and "
            f"{tokens.source} holds {context}; the completion has no log-probabilities"
        )
    has_ended = completion.finish_reason != LENGTH
    return Text(prompt, ids, has_ended, _find_seed(request, sampling))


def read_row(tokens: Tokens, row: Row, sampling: Sampling, text: str | None = None) -> Reply:
    """Return a row as what it says, or as what it is known to say: `text`."""
    if text is None:
        text = tokens.write(row.tokens)
        found = [text.find(stop) for stop in sampling.stop]
        text = text[: min((place for place in found if place >= 0), default=len(text))]
    logprobs = None
    if sampling.logprobs:
        logprobs = TokenLogprobs(tokens.vocabulary[0], row.positions())
    completion = Completion(
        text=text,
        finish_reason=row.finish_reason,
        prompt_tokens=len(row.task.prompt),
        completion_tokens=len(row.tokens),
        logprobs=logprobs,
    )
    return Reply(completion, row.draws() if sampling.random_targets else ())


def try_each(
    items: Sequence[T], pose: Callable[[T], U]
) -> tuple[list[tuple[int, U]], list[tuple[int, AttemptError]]]:
    """Return what `pose` makes of `items` with their places, and why it cannot of the others.

    Raises:
        AttemptError: None of them can be posed, whatever it is.
    """
    posed, unposed = [], []
    for place, item in enumerate(items):
        try:
            posed.append((place, pose(item)))
        except AttemptError as error:
            if error.is_fatal:
                raise
            unposed.append((place, error))
    return posed, unposed


def _find_seed(request: Request, sampling: Sampling) -> int:
    # The key, not the place in the batch: an answer stays the same among other requests.
    seed = hashlib.sha256(f"{sampling.seed} {request.key}".encode()).digest()[:7]
    return int.from_bytes(seed)
