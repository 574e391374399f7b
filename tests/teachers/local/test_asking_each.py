"""Answers as they end: what one request meets of those beside it."""

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import torch

from synthkd.records import Message, Request
from synthkd.teachers.base import AttemptError
from synthkd.teachers.local import LocalTeacher, parse
from synthkd.teachers.local.replies import IsCancelled, Outcome
from synthkd.teachers.options import TeacherOptions
from tests.teachers.local.tiny import PROMPTS, connect

QUANTUM = 5e-4  # nats: the steps of the codec


def test_answers_come_as_they_end_and_one_that_cannot_be_given_spoils_no_other(
    folder: Path,
) -> None:
    options = TeacherOptions(
        model=f"local/{folder}", parameters={"temperature": 1, "max_tokens": 60}, concurrency=2
    )
    teacher = LocalTeacher.connect(options)
    texts = [*PROMPTS, "!" * 400, *PROMPTS]
    requests = [
        options.request(teacher, (Message("user", text),), sample_index=index)
        for index, text in enumerate(texts)
    ]
    places: list[int] = []

    async def follow() -> None:
        async for place, answer in teacher.ask_each(requests):
            assert parse(answer.body).finish_reason
            places.append(place)

    with pytest.raises(AttemptError, match="holds 160"):
        asyncio.run(follow())

    assert sorted(places) == [place for place in range(len(texts)) if place != len(PROMPTS)]
    longest_first = sorted(places, key=lambda place: -len(texts[place]))
    assert places != longest_first, "a long answer should be overtaken by those after it"


def test_the_loop_goes_on_while_a_model_works_and_cancelling_ends_the_work(endless: Path) -> None:
    options = TeacherOptions(model=f"local/{endless}", parameters={"max_tokens": 50}, concurrency=1)
    teacher = LocalTeacher.connect(options)
    requests = [options.request(teacher, (Message("user", f"{n}"),)) for n in range(1000)]
    checks: list[bool] = []
    work = teacher._work

    def watch(
        requests: Sequence[Request], completions: None, is_cancelled: IsCancelled
    ) -> Iterator[Outcome]:
        yield from work(requests, completions, is_cancelled)
        checks.append(is_cancelled())

    async def interrupt() -> int:
        answered = asyncio.Event()
        count = 0

        async def take() -> None:
            nonlocal count
            async for _ in teacher.ask_each(requests):
                count += 1
                answered.set()

        task = asyncio.create_task(take())
        await answered.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return count

    teacher._work = watch
    count = asyncio.run(interrupt())  # which waits for its threads

    assert checks == [True]
    assert 0 < count < 1000


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_what_prompts_share_is_computed_once_and_changes_nothing(
    folder: Path, temperature: float
) -> None:
    system = Message("system", "Be brief, and answer in English. " * 3)
    options = TeacherOptions(
        model=f"local/{folder}",
        parameters={"temperature": temperature, "max_tokens": 30},
        logprobs=5,
        concurrency=2,
    )
    together, alone = LocalTeacher.connect(options), LocalTeacher.connect(options)
    requests = [options.request(together, (system, Message("user", text))) for text in PROMPTS]

    answers = [parse(answer.body) for answer in asyncio.run(together.ask(requests))]
    again = [parse(answer.body) for answer in asyncio.run(together.ask(requests[:1]))]
    singles = [
        parse(answer.body) for request in requests for answer in asyncio.run(alone.ask([request]))
    ]

    shared, unshared = together._open()._prefix, alone._open()._prefix
    assert shared is not None
    assert len(shared.ids) > 16
    assert unshared is None, "one request has nothing to share"
    for answer, single in zip([*again, *answers], [*singles[:1], *singles], strict=True):
        assert answer.logprobs is not None
        assert single.logprobs is not None
        assert (answer.text, answer.completion_tokens) == (single.text, single.completion_tokens)
        for shared_one, own in zip(
            answer.logprobs.positions, single.logprobs.positions, strict=True
        ):
            assert shared_one.sampled.token_id == own.sampled.token_id
            assert shared_one.sampled.logprob == pytest.approx(own.sampled.logprob, abs=QUANTUM)


def test_what_does_not_fit_into_memory_is_asked_in_smaller_batches(folder: Path) -> None:
    options = TeacherOptions(
        model=f"local/{folder}", parameters={"temperature": 1, "max_tokens": 30}, concurrency=4
    )
    teacher, roomy = LocalTeacher.connect(options), LocalTeacher.connect(options)
    requests = [options.request(teacher, (Message("user", text),)) for text in PROMPTS * 2]

    def fill(_module: object, _args: object, options: dict[str, torch.Tensor]) -> None:
        if len(options["input_ids"]) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")

    teacher._open().network.register_forward_pre_hook(fill, with_kwargs=True)

    assert asyncio.run(teacher.ask(requests)) == asyncio.run(roomy.ask(requests))


def test_a_single_answer_that_does_not_fit_into_memory_is_told(folder: Path) -> None:
    teacher = connect(folder)
    request = Request((Message("user", "Hello"),), teacher.endpoint, teacher.model)

    def fill(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    teacher._open().network.register_forward_pre_hook(fill)

    with pytest.raises(AttemptError, match="does not hold a single answer"):
        asyncio.run(teacher.ask([request]))


def test_weights_are_computed_in_the_precision_that_is_asked_for(folder: Path) -> None:
    teacher = connect(folder, dtype="bfloat16", max_tokens=8, logprobs=2)
    messages = (Message("user", "Hello"),)
    parameters = {"dtype": "bfloat16", "max_tokens": 8, "logprobs": 2}
    request = Request(messages, teacher.endpoint, teacher.model, parameters)

    [answer] = asyncio.run(teacher.ask([request]))

    assert teacher._open().network.dtype == torch.bfloat16
    assert parse(answer.body).completion_tokens
    other = Request(messages, teacher.endpoint, teacher.model, {"max_tokens": 8})
    with pytest.raises(AttemptError, match="computed in bfloat16, for all requests alike"):
        asyncio.run(teacher.ask([other]))
