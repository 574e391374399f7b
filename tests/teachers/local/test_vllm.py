"""vLLM in this process, where it is installed: the same answers and log-probabilities as ours."""

import asyncio
import dataclasses
import sys
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import pytest

from synthkd.errors import ConfigError, MissingExtraError
from synthkd.records import Completion, Message
from synthkd.teachers.local import LocalTeacher, parse
from synthkd.teachers.local.rows import Endings, Row, Task
from synthkd.teachers.local.vllm import VllmTeacher
from synthkd.teachers.local.vllm_model import _rank
from synthkd.teachers.options import TeacherOptions

TEACHER = Path(__file__).resolve().parents[3] / "data" / "support" / "teacher"
PROMPTS = ["Where is my parcel?", "I was charged twice!", "Cancel my order, please."]
PARAMETERS = {"max_tokens": 24, "dtype": "float32"}


def test_a_missing_package_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "vllm", None)

    with pytest.raises(MissingExtraError, match=r"synthkd\[vllm\]"):
        TeacherOptions(model=f"vllm/{TEACHER}").connect()


def test_what_vllm_cannot_tell_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(VllmTeacher, "packages", ())

    with pytest.raises(ConfigError, match="ask the model as local"):
        TeacherOptions(
            model=f"vllm/{TEACHER}", parameters={"random_targets": 12}, logprobs=1
        ).connect()


def test_another_engine_is_another_teacher(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(VllmTeacher, "packages", ())

    theirs = TeacherOptions(model=f"vllm/{TEACHER}").connect()
    ours = TeacherOptions(model=f"local/{TEACHER}").connect()

    assert theirs.endpoint == ours.endpoint.replace("local:", "vllm:")


def test_a_sampled_token_beside_the_top_is_no_part_of_it() -> None:
    told = {7: SimpleNamespace(logprob=-3.0), 1: SimpleNamespace(logprob=-0.2)}

    found = []
    for k in (1, 2):
        row = Row(Task([], 0, 1), Endings(frozenset(), (), {}))
        row.add(7, _rank(told, 7, k))
        found += row.positions()

    assert [[token for token, _ in position.top] for position in found] == [[1, 7], [1, 7]]
    assert [position.rank for position in found] == [1, 1]
    assert [position.tail for position in found] == pytest.approx([0.1315] * 2, abs=1e-4)


def check_alike(theirs: Completion, ours: Completion) -> None:
    assert (theirs.text, theirs.finish_reason) == (ours.text, ours.finish_reason)
    assert theirs.prompt_tokens == ours.prompt_tokens
    assert theirs.completion_tokens == ours.completion_tokens
    assert theirs.logprobs is not None
    assert ours.logprobs is not None
    assert theirs.logprobs.vocabulary == ours.logprobs.vocabulary
    for position, expected in zip(theirs.logprobs.positions, ours.logprobs.positions, strict=True):
        assert [token for token, _ in position.top] == [token for token, _ in expected.top]
        logprobs = [nats for _, nats in position.top]
        assert logprobs == pytest.approx([nats for _, nats in expected.top], abs=2e-3)
        assert position.tail == pytest.approx(expected.tail, abs=1e-3)


@pytest.mark.skipif(find_spec("vllm") is None, reason="needs vllm")
def test_vllm_answers_and_scores_as_transformers_does() -> None:
    async def ask(teacher: LocalTeacher, options: TeacherOptions) -> list[Completion]:
        plain = [options.request(teacher, (Message("user", text),)) for text in PROMPTS]
        stopped = dataclasses.replace(plain[0], parameters={**plain[0].parameters, "stop": ["e"]})
        requests = [*plain, stopped]
        try:
            found = dict([pair async for pair in teacher.ask_each(requests)])
            completions = [parse(found[place].body) for place in range(len(requests))]
            scored = await teacher.score(plain, completions[: len(plain)])
        finally:
            await teacher.close()
        return [*completions, *(parse(answer.body) for answer in scored)]

    both = []
    for provider in ("vllm", "local"):
        options = TeacherOptions(
            model=f"{provider}/{TEACHER}", parameters=PARAMETERS, logprobs=5, concurrency=2
        )
        teacher = options.connect()
        assert isinstance(teacher, LocalTeacher)
        both.append(asyncio.run(ask(teacher, options)))

    for theirs, ours in zip(*both, strict=True):
        check_alike(theirs, ours)
