import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from safetensors.torch import load_file

from synthkd.errors import ConfigError
from synthkd.records import Alternative, Message, Position, TokenLogprobs
from synthkd.training import (
    FromScratch,
    NewBase,
    Optimizer,
    SequenceKdStudent,
    SftStudent,
    TrainingRow,
)

from .conftest import TINY, MakeRows


def make_student(**options: Any) -> SequenceKdStudent:
    return SequenceKdStudent.model_validate(
        {"name": "small", "base": "a/base", "method": "sequence_kd", **options}
    )


def make_row(
    name: str,
    nats: Sequence[float] | None = None,
    *,
    seed: str = "one",
    prompt: str = "?",
    answer: str | None = None,
    score: float | None = None,
) -> TrainingRow:
    """A row whose tokens the teacher gave these log-probabilities, each beside a likelier one."""
    said = [
        Position((Alternative(1, -0.01), Alternative(2, value)), 1, 0.0) for value in nats or ()
    ]
    logprobs = None if nats is None else TokenLogprobs("some", tuple(said))
    return TrainingRow(
        name, (Message("user", prompt),), name, logprobs, answer=answer, score=score, seed=seed
    )


def pick(rows: Sequence[TrainingRow], **options: Any) -> list[str]:
    return [row.sample_id for row in make_student(**options).choose(rows)]


@given(
    st.lists(
        st.lists(st.lists(st.floats(-9, -0.1), min_size=1, max_size=4), min_size=1, max_size=5),
        min_size=1,
        max_size=5,
    )
)
def test_the_most_likely_completion_of_each_prompt_is_picked(nats: list[list[list[float]]]) -> None:
    rows = [
        make_row(f"{seed}-{place}", values, seed=str(seed))
        for seed, of_seed in enumerate(nats)
        for place, values in enumerate(of_seed)
    ]

    by_sum = [of.index(max(of, key=math.fsum)) for of in nats]
    by_mean = [of.index(max(of, key=lambda v: math.fsum(v) / len(v))) for of in nats]
    assert pick(rows) == [f"{seed}-{place}" for seed, place in enumerate(by_sum)]
    assert pick(rows, length_normalized=True) == [f"{s}-{p}" for s, p in enumerate(by_mean)]


def test_picking_again_changes_nothing() -> None:
    rows = [make_row("a", [-2]), make_row("b", [-1]), make_row("c", [-3], seed="two")]
    once = list(make_student().choose(rows))

    assert list(make_student().choose(once)) == once


@pytest.mark.parametrize(
    ("rows", "picked"),
    [
        pytest.param([("a", [-1], "4"), ("b", [-3], "5"), ("c", [-2], " 5. ")], "c", id="likeliest-of-the-majority"),
        pytest.param([("a", None, "4"), ("b", None, "5"), ("c", None, "5")], "b", id="first-where-none-is-likelier"),
        pytest.param([("a", None, "x"), ("b", [-1], "y")], "a", id="tie-goes-to-the-first-answer"),
        pytest.param([("a", [-1], "1,000"), ("b", [-2], "1000.0"), ("c", [-1.5], "7")], "a", id="numbers-are-read"),
        pytest.param([("a", [-1], None), ("b", [-2], "5")], "b", id="no-answer-no-vote"),
    ],
)  # fmt: skip
def test_consensus_is_the_answer_that_most_samples_give(
    rows: list[tuple[str, list[float] | None, str]], picked: str
) -> None:
    made = [make_row(name, nats, answer=answer) for name, nats, answer in rows]

    assert pick(made, pick="consensus") == [picked]


@pytest.mark.parametrize(
    ("rows", "picked"),
    [
        pytest.param([("a", [-1], 3.0), ("b", [-2], 9.0), ("c", [-1], None)], "b", id="highest"),
        pytest.param([("a", [-3], 9.0), ("b", [-2], 9.0), ("c", None, 9.0)], "b", id="tie-goes-to-the-likelier"),
        pytest.param([("a", None, math.nan), ("b", None, 0.0)], "b", id="a-score-that-is-none"),
    ],
)  # fmt: skip
def test_the_judge_s_favourite_is_picked(
    rows: list[tuple[str, list[float] | None, float | None]], picked: str
) -> None:
    made = [make_row(name, nats, score=score) for name, nats, score in rows]

    assert pick(made, pick="judge") == [picked]


def test_a_sample_that_cannot_be_compared_is_passed_over_and_a_single_one_taken() -> None:
    rows = [
        make_row("bare"), make_row("nan", [-0.1, math.nan]), make_row("known", [-9.0]),
        make_row("alone", seed="two"), make_row("no seed", seed=""), make_row("nor here", seed=""),
    ]  # fmt: skip

    assert pick(rows) == ["known", "alone", "no seed", "nor here"]


def test_one_seed_in_two_prompts_is_two_prompts() -> None:
    rows = [make_row(f"{p}{n}", [-n], prompt=p) for n in (2, 1) for p in ("x", "y")]

    assert pick(rows) == ["x1", "y1"]


def test_prompts_are_picked_from_as_they_come() -> None:
    def endless() -> Iterator[TrainingRow]:
        seed = 0
        while True:
            seed += 1
            yield from (make_row(f"{seed}{x}", [-1], seed=str(seed)) for x in "ab")

    rows = make_student().choose(endless())

    assert [next(rows).sample_id for _ in range(3)] == ["1a", "2a", "3a"]


@pytest.mark.parametrize(
    ("by", "cure"),
    [("most_likely", "synthkd score"), ("consensus", "output"), ("judge", "Add judge")],
)
def test_what_is_missing_is_told_with_what_is_there(by: str, cure: str) -> None:
    fine = {"nats": [-1.0], "answer": "4", "score": 7.0}
    lacks = {"most_likely": "nats", "consensus": "answer", "judge": "score"}[by]
    row = {**fine, lacks: None}
    rows = [
        make_row("fine", seed="0", **fine),
        *(make_row(f"{s}{n}", seed=s, **row) for s in "12" for n in "ab"),
    ]

    with pytest.raises(ConfigError) as caught:
        pick(rows, pick=by)

    told = str(caught.value)
    assert f"small cannot pick by {by}: 2 prompts have several samples" in told
    assert cure in told
    assert told.count("4 have") == 2
    assert told.count("0 have") == 1


def test_gold_rows_are_refused() -> None:
    with pytest.raises(ValidationError, match="method: sft"):
        make_student(gold={"path": "g.jsonl", "license": "CC0-1.0"})


def test_it_trains_the_student_that_sft_makes_of_the_picked_rows(
    tokenizer_folder: Path, make_rows: MakeRows, tmp_path: Path
) -> None:
    rows = [
        TrainingRow(
            f"{row.sample_id}{n}",
            row.messages,
            row.completion + n,
            row.logprobs,
            seed=row.sample_id,
        )
        for row in make_rows(6)
        for n in ("", " again")
    ]
    base = NewBase(from_scratch=FromScratch(**TINY, tokenizer=str(tokenizer_folder)))
    options = {"name": "tiny", "base": base, "optimizer": Optimizer(epochs=1, batch_size=4)}
    sequence_kd = SequenceKdStudent(method="sequence_kd", **options)
    sft = SftStudent(method="sft", **options)

    result = sequence_kd.train(rows, tmp_path / "picked", checkpoint_folder=tmp_path / "c")
    expected = sft.train(
        list(sequence_kd.choose(rows)), tmp_path / "sft", checkpoint_folder=tmp_path / "c"
    )

    assert (result.rows, expected.rows) == (6, 6)
    weights, wanted = (
        load_file(tmp_path / name / "model.safetensors") for name in ("picked", "sft")
    )
    assert all((weights[name] == wanted[name]).all() for name in wanted)


def test_rows_that_come_once_train_a_tokenizer_too(tmp_path: Path) -> None:
    student = SequenceKdStudent(
        name="tiny",
        base=NewBase(from_scratch=FromScratch(**TINY)),
        method="sequence_kd",
        optimizer=Optimizer(epochs=1, batch_size=4),
    )
    rows = (
        make_row(f"{seed} {name}", [-1.0], seed=str(seed)) for seed in range(5) for name in "ab"
    )

    assert student.train(rows, tmp_path / "tiny", checkpoint_folder=tmp_path / "c").rows == 5
