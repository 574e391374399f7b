"""A tiny task: a few words in, a few words out, by a teacher whose mind we know."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import load_file
from torch import Tensor

from synthkd.records import Alternative, Message, Position, TokenLogprobs
from synthkd.training import (
    KdStudent,
    NewBase,
    Progress,
    SftStudent,
    TrainingResult,
    TrainingRow,
)

Weights = dict[str, Tensor]
MakeRows = Callable[..., list[TrainingRow]]
TINY = {"hidden_size": 16, "layers": 1, "heads": 2, "vocab_size": 300, "context": 96}
WORDS = ["red", "green", "blue", "cold", "warm", "slow", "fast", "old", "new", "tall"]


def make_texts(count: int, seed: int = 0) -> list[tuple[str, str]]:
    draw = np.random.default_rng(seed)
    texts = []
    for _ in range(count):
        words = draw.choice(WORDS, draw.integers(2, 7)).tolist()
        texts.append((" ".join(words), " ".join(sorted(words)[: draw.integers(1, 6)])))
    return texts


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Models this small wait for each other's threads longer than they compute."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tokenizer_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from synthkd.training.base import train_tokenizer

    folder = tmp_path_factory.mktemp("tokenizer")
    train_tokenizer([" ".join(pair) for pair in make_texts(50)], 300).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def make_rows(tokenizer_folder: Path) -> MakeRows:
    """Rows whose teacher has the tokenizer of the fixture; `seed` is of its log-probabilities."""
    from transformers import AutoTokenizer

    from synthkd.training.rows import read_student_vocabulary

    tokenizer = AutoTokenizer.from_pretrained(tokenizer_folder)
    name = read_student_vocabulary(tokenizer).name

    def make(count: int, *, seed: int = 0, k: int = 4) -> list[TrainingRow]:
        draw = np.random.default_rng(seed)
        rows = []
        for number, (prompt, completion) in enumerate(make_texts(count)):
            ids = [*tokenizer(completion)["input_ids"], tokenizer.eos_token_id]
            positions = tuple(draw_position(draw, token, k, len(tokenizer)) for token in ids)
            logprobs = TokenLogprobs(name, positions)
            messages = (Message("user", prompt),)
            rows.append(TrainingRow(str(number), messages, completion, logprobs))
        return rows

    return make


def draw_position(draw: np.random.Generator, sampled: int, k: int, vocabulary: int) -> Position:
    others = [int(i) for i in draw.permutation(vocabulary)[:k] if i != sampled][: k - 1]
    tail, *masses = draw.dirichlet(np.ones(k + 1)).tolist()
    pairs = zip([sampled, *others], masses, strict=True)
    top = sorted((Alternative(i, math.log(m)) for i, m in pairs), key=lambda a: -a.logprob)
    rank = next(index for index, a in enumerate(top) if a.token_id == sampled)
    return Position(tuple(top), rank, tail)


STUDENTS = {"sft": SftStudent, "kd": KdStudent}


def make_student(method: str, base: str | Path, **options: Any) -> SftStudent | KdStudent:
    """A tiny student; `base` is a tokenizer's folder to start from scratch with."""
    new = NewBase.model_validate({"from_scratch": {**TINY, "tokenizer": str(base)}})
    optimizer = {"epochs": 1, "batch_size": 4, **options.pop("optimizer", {})}
    return STUDENTS[method].model_validate(
        {"name": "tiny", "base": new, "method": method, "optimizer": optimizer, **options}
    )


def train(
    student: SftStudent | KdStudent,
    rows: list[TrainingRow],
    folder: Path,
    progress: Progress | None = None,
) -> tuple[TrainingResult, Weights]:
    result = student.train(
        rows, folder, checkpoint_folder=folder.parent / "checkpoints", progress=progress
    )
    return result, load_file(folder / "model.safetensors")


def largest_difference(one: Weights, other: Weights) -> float:
    assert one.keys() == other.keys()
    return max(float((one[name] - other[name]).abs().max()) for name in one)
