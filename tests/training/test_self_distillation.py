from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from synthkd.training import (
    NewBase,
    Progress,
    SelfDistillationStudent,
    SftStudent,
    TrainingResult,
    TrainingRow,
)

from .conftest import TINY, MakeRows

Weights = dict[str, torch.Tensor]


def make_student(tokenizer_folder: Path | None, **options: Any) -> SelfDistillationStudent:
    own = {"tokenizer": str(tokenizer_folder)} if tokenizer_folder else {}
    new = NewBase.model_validate({"from_scratch": {**TINY, **own}})
    optimizer = {"epochs": 1, "batch_size": 4, **options.pop("optimizer", {})}
    return SelfDistillationStudent.model_validate(
        {
            "name": "tiny",
            "base": new,
            "method": "self_distillation",
            "optimizer": optimizer,
            **options,
        }
    )


def train(
    student: SelfDistillationStudent | SftStudent,
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


def measure_divergence(teacher: Path, student: Path, rows: list[TrainingRow]) -> float:
    """KL(teacher ‖ student) per completion token, by definition."""
    tokenizer = AutoTokenizer.from_pretrained(student)
    models = [AutoModelForCausalLM.from_pretrained(path).eval() for path in (teacher, student)]
    total, tokens = 0.0, 0
    for row in rows:
        prompt = tokenizer.apply_chat_template(
            [message._asdict() for message in row.messages],
            add_generation_prompt=True,
            return_dict=False,
        )
        ids = [*prompt, *tokenizer(row.completion)["input_ids"], tokenizer.eos_token_id]
        with torch.no_grad():
            log_p, log_q = (
                model(input_ids=torch.tensor([ids])).logits[0].double().log_softmax(-1)
                for model in models
            )
        found = (log_p.exp() * (log_p - log_q)).sum(-1)[len(prompt) - 1 : -1]
        total, tokens = total + float(found.sum()), tokens + len(found)
    return total / tokens


def test_the_second_round_begins_anew_and_learns_what_the_first_student_says(
    tokenizer_folder: Path, make_rows: MakeRows, tmp_path: Path
) -> None:
    rows = make_rows(12)
    options = {"optimizer": {"batch_size": 12, "epochs": 6, "lr": 1e-2}, "alpha": 0.1, "seed": 3}
    student = make_student(tokenizer_folder, **options)
    told: list[tuple[int, int]] = []
    common = {name: getattr(student, name) for name in SftStudent.model_fields if name != "method"}
    first = SftStudent.model_validate({**common, "method": "sft"})
    fresh = SftStudent.model_validate(
        {**common, "method": "sft", "seed": 4, "optimizer": {"epochs": 1, "lr": 1e-20}}
    )
    train(fresh, rows, tmp_path / "fresh")
    expected, _ = train(first, rows, tmp_path / "first")

    result, _ = train(
        student, rows, tmp_path / "tiny", lambda step, steps, _: told.append((step, steps))
    )

    rounds = [[entry for entry in result.log if entry.more["round"] == n] for n in (1, 2)]
    assert [entry.loss for entry in rounds[0]] == [entry.loss for entry in expected.log]
    opening = rounds[1][0]
    assert opening.kd == pytest.approx(
        measure_divergence(tmp_path / "first", tmp_path / "fresh", rows), rel=1e-4
    )
    assert opening.loss == pytest.approx(0.1 * opening.ce + 0.9 * opening.kd, rel=1e-4)
    assert [entry.step for entry in result.log] == list(range(1, 13))
    assert told == [(step, 12) for step in range(1, 13)]
    assert result.tokens == 2 * expected.tokens
    assert measure_divergence(tmp_path / "first", tmp_path / "tiny", rows) < opening.kd / 2


def test_an_interrupted_training_goes_on_with_the_round_it_was_in(
    make_rows: MakeRows, tmp_path: Path
) -> None:
    rows = make_rows(14)
    student = make_student(None, rounds=3)  # with a tokenizer that the first round trains
    expected, weights = train(student, rows, tmp_path / "whole" / "tiny")
    folder = tmp_path / "broken" / "tiny"

    def interrupt(step: int, steps: int, measured: Mapping[str, float]) -> None:
        assert steps == 12
        if step == 7:  # the third of four steps of the second round
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(student, rows, folder, interrupt)
    assert not folder.exists()
    seen: list[tuple[int, float]] = []

    result, found = train(
        student, rows, folder, lambda step, _, told: seen.append((step, told["round"]))
    )

    assert seen == [(7, 2), (8, 2), (9, 3), (10, 3), (11, 3), (12, 3)]
    assert largest_difference(found, weights) == 0.0
    assert result.log == expected.log
    assert result.tokens == expected.tokens
    assert list((folder.parent / "checkpoints").iterdir()) == []


def test_the_first_round_may_learn_stored_logprobs(
    tokenizer_folder: Path, make_rows: MakeRows, tmp_path: Path
) -> None:
    student = make_student(tokenizer_folder, first="kd")

    result, _ = train(student, make_rows(8), tmp_path / "tiny")

    assert student.needs == {"logprobs"}
    assert make_student(tokenizer_folder).needs == frozenset()
    assert all(entry.kd is not None for entry in result.log)


def test_gold_rows_have_no_logprobs_for_the_first_round(tokenizer_folder: Path) -> None:
    with pytest.raises(ValidationError, match="first: sft"):
        make_student(tokenizer_folder, first="kd", gold={"path": "g.jsonl", "license": "CC0-1.0"})


def test_a_budget_of_tokens_for_several_trainings_is_refused(tokenizer_folder: Path) -> None:
    with pytest.raises(ValueError, match="write epochs"):
        make_student(tokenizer_folder, optimizer={"tokens": 100})
