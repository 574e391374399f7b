import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from transformers import PreTrainedModel

from synthkd.records import LENGTH, Completion, Message
from synthkd.teachers.base import AttemptError
from synthkd.teachers.local import LocalTeacher, decoding, parse, scoring
from synthkd.teachers.local.forward import extend, find_common
from synthkd.teachers.local.rows import Endings, Row, Text
from synthkd.teachers.local.sampling import Sampling
from synthkd.teachers.options import TeacherOptions
from tests.teachers.local.networks import EVERY_KIND, WITH_COLUMNS, make_tasks
from tests.teachers.local.tiny import SIZE, ask, connect, make_llama

TEACHER = Path(__file__).resolve().parents[3] / "data" / "support" / "teacher"
ENDS = range(SIZE - 12, SIZE)
PROMPTS = ["Where is my parcel?", "I was charged twice, and want my money back!", "Cancel order 5."]


def generate(network: PreTrainedModel, sampling: Sampling, shared: int = 0) -> list[Row]:
    tasks = make_tasks(limit=40, shared=shared)
    rows = dict(
        decoding.decode(network, tasks, sampling, Endings(frozenset(ENDS), (), {}), slots=3)
    )
    return [rows[place] for place in range(len(tasks))]


def to_text(row: Row) -> Text:
    has_ended = row.finish_reason != LENGTH
    completion = row.tokens[:-1] if has_ended else row.tokens
    return Text(row.task.prompt, completion, has_ended, row.task.seed)


def check_alike(scored: dict[int, Row], rows: list[Row]) -> None:
    for place, row in enumerate(rows):
        assert scored[place].tokens == row.tokens
        assert scored[place].finish_reason == row.finish_reason
        for position, expected in zip(scored[place].positions(), row.positions(), strict=True):
            logprobs = [alternative.logprob for alternative in position.top]
            assert logprobs == pytest.approx([a.logprob for a in expected.top], abs=1e-5)
            assert position.rank == expected.rank
            assert position.tail == pytest.approx(expected.tail, abs=1e-5)


@pytest.mark.parametrize("make", EVERY_KIND)
@pytest.mark.parametrize("logits", [1 << 26, 8 * SIZE], ids=["at-once", "in-strips"])
def test_a_networks_own_answer_is_scored_as_it_was_when_it_was_generated(
    make: Callable[[], PreTrainedModel], logits: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scoring, "_LOGITS", logits)
    network, sampling = make().double(), Sampling(logprobs=5)
    rows = generate(network, sampling)

    scored = dict(scoring.score(network, [to_text(row) for row in rows], sampling, ENDS))

    assert {row.finish_reason for row in rows} == {"stop", LENGTH}
    check_alike(scored, rows)


@pytest.mark.parametrize("make", WITH_COLUMNS)
@pytest.mark.parametrize("together", [10_000, 1])
def test_neither_a_shared_prefix_nor_what_is_scored_beside_it_matters(
    make: Callable[[], PreTrainedModel], together: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scoring, "_PASS", together)
    network, sampling = make().double(), Sampling(logprobs=5)
    rows = generate(network, sampling, shared=20)
    prefix = extend(network, None, find_common([row.task.prompt for row in rows]))

    texts = [to_text(row) for row in rows]
    scored = dict(scoring.score(network, texts, sampling, ENDS, prefix=prefix))

    check_alike(scored, rows)


def test_random_targets_of_a_score_are_those_of_the_answer() -> None:
    network, sampling = make_llama(), Sampling(logprobs=1, random_targets=12)
    rows = generate(network, sampling)

    scored = dict(scoring.score(network, [to_text(row) for row in rows], sampling, ENDS))

    assert [scored[place].draws() for place in range(len(rows))] == [row.draws() for row in rows]


def test_a_teacher_scores_its_own_answers_as_it_gave_them() -> None:
    options = TeacherOptions(
        model=f"local/{TEACHER}", parameters={"max_tokens": 40}, logprobs=5, concurrency=2
    )
    teacher = LocalTeacher.connect(options)
    requests = [options.request(teacher, (Message("user", prompt),)) for prompt in PROMPTS]

    async def answer() -> tuple[list[bytes], list[bytes]]:
        asked = [answer.body for answer in await teacher.ask(requests)]
        completions = [parse(body) for body in asked]
        scored = [answer.body for answer in await teacher.score(requests, completions)]
        return asked, scored

    for own, scored in zip(*(map(parse, bodies) for bodies in asyncio.run(answer())), strict=True):
        assert (scored.text, scored.finish_reason) == (own.text, own.finish_reason)
        assert (scored.prompt_tokens, scored.completion_tokens) == (
            own.prompt_tokens,
            own.completion_tokens,
        )
        assert scored.logprobs is not None
        assert own.logprobs is not None
        assert scored.logprobs.vocabulary == own.logprobs.vocabulary
        for position, expected in zip(
            scored.logprobs.positions, own.logprobs.positions, strict=True
        ):
            assert position.sampled.token_id == expected.sampled.token_id
            assert position.sampled.logprob == pytest.approx(expected.sampled.logprob, abs=1e-3)


def test_a_completion_that_was_cut_has_no_end_to_score(folder: Path) -> None:
    [own] = ask(folder, ["Hello"], logprobs=2, max_tokens=3)
    options = TeacherOptions(model=f"local/{folder}", logprobs=2)
    teacher = LocalTeacher.connect(options)
    request = options.request(teacher, (Message("user", "Hello"),))
    texts = [Completion("Hm, no.", LENGTH), Completion("Hm, no.", "stop")]

    cut, ended = (
        parse(answer.body) for answer in asyncio.run(teacher.score([request, request], texts))
    )

    assert own.prompt_tokens == cut.prompt_tokens
    assert cut.completion_tokens is not None
    assert ended.completion_tokens == cut.completion_tokens + 1
    assert (cut.finish_reason, ended.finish_reason) == (LENGTH, "stop")


def test_a_text_that_does_not_fit_is_told(folder: Path) -> None:
    teacher = connect(folder)
    options = TeacherOptions(model=f"local/{folder}", logprobs=2)
    request = options.request(teacher, (Message("user", "Hello"),))

    with pytest.raises(AttemptError, match="a prompt and its completion are"):
        asyncio.run(teacher.score([request], [Completion("!" * 200, "stop")]))
