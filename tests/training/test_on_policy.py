import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from synthkd.errors import ConfigError
from synthkd.training import (
    NewBase,
    OnPolicyStudent,
    Progress,
    SftStudent,
    TrainingResult,
    TrainingRow,
)
from synthkd.training.base import load_base
from synthkd.training.on_policy import Prompts

from .conftest import TINY, MakeRows

Weights = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def teacher_folder(
    tokenizer_folder: Path, make_rows: MakeRows, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A teacher that learned the tiny task a little, and is wider than its students."""
    folder = tmp_path_factory.mktemp("models") / "teacher"
    sizes = {**TINY, "hidden_size": 32, "tokenizer": str(tokenizer_folder)}
    SftStudent.model_validate(
        {
            "name": "teacher",
            "base": {"from_scratch": sizes},
            "method": "sft",
            "optimizer": {"epochs": 6, "lr": 1e-2},
        }
    ).train(make_rows(60), folder, checkpoint_folder=folder.parent / "checkpoints")
    return folder


def make_student(teacher: Path, tokenizer_folder: Path, **options: Any) -> OnPolicyStudent:
    new = NewBase.model_validate({"from_scratch": {**TINY, "tokenizer": str(tokenizer_folder)}})
    optimizer = {"epochs": 1, "batch_size": 4, **options.pop("optimizer", {})}
    return OnPolicyStudent.model_validate(
        {
            "name": "tiny",
            "base": new,
            "method": "on_policy",
            "teacher": str(teacher),
            "max_new_tokens": 8,
            "optimizer": optimizer,
            **options,
        }
    )


def train(
    student: OnPolicyStudent,
    rows: list[TrainingRow],
    folder: Path,
    progress: Progress | None = None,
) -> tuple[TrainingResult, Weights]:
    result = student.train(
        rows, folder, checkpoint_folder=folder.parent / "checkpoints", progress=progress
    )
    return result, load_file(folder / "model.safetensors")


def largest_difference(one: Weights, other: Weights) -> float:
    return max(float((one[name] - other[name]).abs().max()) for name in one)


def measure_reverse_kl(student: Path, teacher: Path, rows: list[TrainingRow]) -> float:
    """KL(student ‖ teacher) per token of samples that the student draws itself, by definition."""
    tokenizer = AutoTokenizer.from_pretrained(student)
    ours, theirs = (
        AutoModelForCausalLM.from_pretrained(path).eval() for path in (student, teacher)
    )
    torch.manual_seed(0)
    total, tokens = 0.0, 0
    for row in rows:
        prompt = tokenizer.apply_chat_template(
            [message._asdict() for message in row.messages],
            add_generation_prompt=True,
            return_tensors="pt",
        )["input_ids"]
        with torch.no_grad():
            drawn = ours.generate(prompt, do_sample=True, max_new_tokens=8, top_k=0)
            log_q, log_p = (
                model(input_ids=drawn).logits[0, prompt.shape[1] - 1 : -1].double().log_softmax(-1)
                for model in (ours, theirs)
            )
        total += float((log_q.exp() * (log_q - log_p)).sum())
        tokens += len(log_q)
    return total / tokens


def test_a_student_comes_closer_to_its_teacher_where_it_goes_itself(
    teacher_folder: Path, tokenizer_folder: Path, make_rows: MakeRows, tmp_path: Path
) -> None:
    rows = make_rows(24)
    beginner = make_student(teacher_folder, tokenizer_folder, optimizer={"lr": 1e-9, "epochs": 0.1})
    student = make_student(teacher_folder, tokenizer_folder, optimizer={"lr": 1e-2, "epochs": 5})
    train(beginner, rows, tmp_path / "before")

    result, _ = train(student, rows, tmp_path / "after")

    before, after = (
        measure_reverse_kl(tmp_path / name, teacher_folder, rows) for name in ("before", "after")
    )
    assert after < before / 2
    assert result.log[0].loss == result.log[0].kd
    assert {entry.ce for entry in result.log} == {None}
    assert result.log[-1].loss < result.log[0].loss / 2


@pytest.mark.parametrize("beta", [0.0, 0.3, 1.0])
def test_the_first_loss_is_the_divergence_at_the_student_s_own_tokens(
    beta: float,
    teacher_folder: Path,
    tokenizer_folder: Path,
    make_rows: MakeRows,
    tmp_path: Path,
) -> None:
    student = make_student(
        teacher_folder, tokenizer_folder, beta=beta, max_new_tokens=1, optimizer={"batch_size": 20}
    )
    rows = make_rows(20)

    result, _ = train(student, rows, tmp_path / "tiny")

    assert result.log[0].loss == pytest.approx(expect_divergence(student, rows), rel=1e-3)


def expect_divergence(student: OnPolicyStudent, rows: list[TrainingRow]) -> float:
    """The divergence at the first token of an answer, which is the same whatever is sampled."""
    ours, tokenizer, _ = load_base(student, [])
    models = ours.eval(), AutoModelForCausalLM.from_pretrained(student.teacher).eval()
    beta = student.beta
    total = 0.0
    for row in rows:
        prompt = tokenizer.apply_chat_template(
            [message._asdict() for message in row.messages],
            add_generation_prompt=True,
            return_tensors="pt",
        )["input_ids"]
        with torch.no_grad():
            q, p = (model(input_ids=prompt).logits[0, -1].double().softmax(-1) for model in models)
        if beta == 0:
            total += float((p * (p / q).log()).sum())
        elif beta == 1:
            total += float((q * (q / p).log()).sum())
        else:
            m = beta * p + (1 - beta) * q
            total += float(
                beta * (p * (p / m).log()).sum() + (1 - beta) * (q * (q / m).log()).sum()
            )
    return total / len(rows)


def test_small_micro_batches_train_the_same_student(
    teacher_folder: Path, tokenizer_folder: Path, make_rows: MakeRows, tmp_path: Path
) -> None:
    rows = make_rows(24)

    whole, parts = (
        train(
            make_student(
                teacher_folder,
                tokenizer_folder,
                optimizer={"batch_size": 12, "micro_batch_size": size},
            ),
            rows,
            tmp_path / str(size),
        )[1]
        for size in (12, 3)
    )

    assert largest_difference(whole, parts) < 1e-5


def test_an_interrupted_training_goes_on_to_the_same_student(
    teacher_folder: Path, tokenizer_folder: Path, make_rows: MakeRows, tmp_path: Path
) -> None:
    rows = make_rows(22)
    student = make_student(
        teacher_folder,
        tokenizer_folder,
        optimizer={"epochs": 2},
        warm_up={"epochs": 1, "batch_size": 4},
    )
    expected, weights = train(student, rows, tmp_path / "whole" / "tiny")
    folder = tmp_path / "broken" / "tiny"

    def interrupt(step: int, steps: int, measured: Mapping[str, float]) -> None:
        assert steps == 6 + 12
        if step == 6 + 9:  # in the second of two epochs of six steps
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(student, rows, folder, interrupt)
    assert not folder.exists()
    seen: list[int] = []

    result, found = train(student, rows, folder, lambda step, *_: seen.append(step))

    assert seen == [15, 16, 17, 18]
    assert largest_difference(found, weights) == 0.0
    assert result.log == expected.log
    assert result.tokens == expected.tokens
    assert list((folder.parent / "checkpoints").iterdir()) == []


def test_low_rank_changes_learn_from_the_student_s_own_samples(
    teacher_folder: Path, make_rows: MakeRows, tmp_path: Path
) -> None:
    student = OnPolicyStudent.model_validate(
        {
            "name": "a",
            "base": str(teacher_folder),
            "method": "on_policy",
            "teacher": str(teacher_folder),
            "max_new_tokens": 4,
            "temperature": 0.5,
            "optimizer": {"epochs": 1, "batch_size": 4},
            "lora": {"r": 2},
        }
    )

    result, weights = train(student, make_rows(8), tmp_path / "a")

    assert weights.keys() == load_file(teacher_folder / "model.safetensors").keys()
    assert result.log[0].loss == pytest.approx(0, abs=1e-5)


def test_prompts_kept_aside_are_answered_and_not_learned(
    teacher_folder: Path, tokenizer_folder: Path, make_rows: MakeRows, tmp_path: Path
) -> None:
    student = make_student(
        teacher_folder,
        tokenizer_folder,
        validation=0.25,
        max_new_tokens=2,
        optimizer={"lr": 1e-2, "epochs": 3},
    )

    result, _ = train(student, make_rows(16), tmp_path / "tiny")

    measured = [entry.validation for entry in result.log if entry.validation is not None]
    assert result.rows == 12
    assert 0 < measured[-1] < measured[0]


def test_prompts_without_room_for_a_sample_are_skipped_and_counted(
    teacher_folder: Path, tokenizer_folder: Path, make_rows: MakeRows, tmp_path: Path
) -> None:
    rows = make_rows(12)
    student = make_student(teacher_folder, tokenizer_folder, max_length=33, max_new_tokens=13)

    result, _ = train(student, rows, tmp_path / "tiny")

    assert 0 < result.rows < 12
    assert result.rows + result.rows_skipped == 12
    with pytest.raises(ConfigError, match=r"max_new_tokens 29 leaves it 1"):
        train(
            make_student(teacher_folder, tokenizer_folder, max_length=30, max_new_tokens=29),
            rows,
            tmp_path / "tiny",
        )


def test_a_teacher_of_another_vocabulary_is_refused(
    teacher_folder: Path, make_rows: MakeRows, tmp_path: Path
) -> None:
    base = NewBase.model_validate({"from_scratch": {**TINY, "vocab_size": 280}})
    student = OnPolicyStudent(
        name="a", base=base, method="on_policy", teacher=str(teacher_folder), max_new_tokens=4
    )

    with pytest.raises(ConfigError, match="another vocabulary"):
        train(student, make_rows(4), tmp_path / "a")

    assert not (tmp_path / "a").exists()


@given(st.lists(st.integers(1, 9), min_size=1, max_size=40), st.integers(1, 7), st.integers(1, 3))
def test_every_prompt_is_answered_in_full_steps_that_their_micro_batches_share(
    lengths: list[int], micro_batch_size: int, micro_batches: int
) -> None:
    rows = micro_batch_size * micro_batches
    sampler = Prompts(lengths, rows, 0, micro_batches)

    order = list(sampler)

    steps = [
        order[i : i + rows * micro_batches] for i in range(0, len(order), rows * micro_batches)
    ]
    assert len(order) == len(sampler)
    assert len(steps) == math.ceil(len(lengths) / rows)
    assert set(order) == set(range(len(lengths)))
    assert all(step == step[:rows] * micro_batches for step in steps)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"optimizer": {"tokens": 100}}, "optimizer.tokens"),
        ({"warm_up": {"tokens": 100}}, "warm_up.tokens"),
    ],
)
def test_what_would_change_nothing_is_refused(
    tmp_path: Path, options: dict[str, Any], named: str
) -> None:
    with pytest.raises(ValidationError, match=f"{named} would change nothing"):
        make_student(tmp_path, tmp_path, **options)
