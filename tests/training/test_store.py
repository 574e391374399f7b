"""Rows on disk: in little memory, whole or not at all, and gone when they are learned."""

import math
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from synthkd.errors import ConfigError
from synthkd.records import Message
from synthkd.training import SftStudent, TrainingRow, store
from synthkd.training.blobs import unpack
from synthkd.training.rows import encode_rows, read_student_vocabulary

from .conftest import TINY, MakeRows, largest_difference, make_student, train


@pytest.fixture(scope="module")
def tokenizer(tokenizer_folder: Path) -> PreTrainedTokenizerBase:
    return AutoTokenizer.from_pretrained(tokenizer_folder)


def test_memory_does_not_grow_with_the_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "_BATCH", 1 << 17)

    def peak(rows: int) -> int:
        tracemalloc.start()
        held = pa.total_allocated_bytes()
        with store.writing_rows(tmp_path) as writer:
            for _ in range(rows):
                writer.add(np.arange(25, dtype=np.int32), 5, bytes(400), 1.0)
        held = pa.total_allocated_bytes() - held
        most = tracemalloc.get_traced_memory()[1] + held
        tracemalloc.stop()
        return most

    peak(10)  # what is loaded once
    few, many = peak(1000), peak(10_000)

    assert writer_bytes(tmp_path) > 20 * many
    # Of a row, its length stays in memory.
    assert many - few < 9000 * 16


def writer_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())


def test_rows_are_on_the_disk_before_the_next_ones_are_read(
    tokenizer: PreTrainedTokenizerBase,
    make_rows: MakeRows,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(store, "_BATCH", 1 << 11)
    sizes = []

    def rows() -> Iterator[TrainingRow]:
        for row in make_rows(40):
            sizes.append(writer_bytes(tmp_path))
            yield row

    encode_rows(rows(), tokenizer, 96, read_student_vocabulary(tokenizer), folder=tmp_path)

    assert len(set(sizes)) > 5
    assert sizes[-1] > writer_bytes(tmp_path) * 0.8


def test_rows_are_read_back_from_many_batches_as_they_were_written(
    tokenizer: PreTrainedTokenizerBase, make_rows: MakeRows, monkeypatch: pytest.MonkeyPatch
) -> None:
    vocabulary = read_student_vocabulary(tokenizer)
    rows = [replace(row, weight=number / 4) for number, row in enumerate(make_rows(30))]
    whole = encode_rows(rows, tokenizer, 96, vocabulary)
    monkeypatch.setattr(store, "_BATCH", 1)

    cut = encode_rows(rows, tokenizer, 96, vocabulary)

    assert cut.dataset.to_list() == whole.dataset.to_list()
    assert cut.digest == whole.digest
    assert cut.dataset["weight"] == [number / 4 for number in range(30)]
    assert cut.lengths.tolist() == [len(ids) for ids in cut.dataset["input_ids"]]


def test_rows_leave_no_file(tokenizer_folder: Path, make_rows: MakeRows, tmp_path: Path) -> None:
    def rows() -> Iterator[TrainingRow]:
        yield from make_rows(4)
        raise KeyboardInterrupt

    student = make_student("sft", tokenizer_folder)

    with pytest.raises(KeyboardInterrupt):
        student.train(rows(), tmp_path / "a", checkpoint_folder=tmp_path / "c")
    assert list((tmp_path / "c").iterdir()) == []

    student.train(iter(make_rows(4)), tmp_path / "a", checkpoint_folder=tmp_path / "c")
    assert list((tmp_path / "c").iterdir()) == []


def test_a_tokenizer_is_trained_on_rows_that_are_read_once_more(
    make_rows: MakeRows, tmp_path: Path
) -> None:
    student = SftStudent.model_validate(
        {"name": "tiny", "method": "sft", "base": {"from_scratch": TINY}}
    )

    _, from_list = train(student, make_rows(6), tmp_path / "list")
    student.train(iter(make_rows(6)), tmp_path / "iterator", checkpoint_folder=tmp_path / "c")

    again, _ = train(student, make_rows(6), tmp_path / "list")
    assert again.rows == 6
    files = [tmp_path / name / "model.safetensors" for name in ("list", "iterator")]
    assert files[0].read_bytes() == files[1].read_bytes()
    assert from_list


def test_an_empty_completion_is_learned_as_its_end(tokenizer: PreTrainedTokenizerBase) -> None:
    (empty,) = encode_rows([TrainingRow("1", (Message("user", "red"),), "")], tokenizer, 96).dataset

    assert [label for label in empty["labels"] if label != -100] == [tokenizer.eos_token_id]


def test_a_row_without_messages_is_named(tokenizer: PreTrainedTokenizerBase) -> None:
    with pytest.raises(ConfigError, match=r"sample 7 .*empty conversation"):
        encode_rows([TrainingRow("7", (), "red")], tokenizer, 96)


def test_the_first_token_is_never_learned(tokenizer_folder: Path) -> None:
    silent = AutoTokenizer.from_pretrained(tokenizer_folder)
    silent.chat_template = "{{ '' }}"

    (row,) = encode_rows([TrainingRow("7", (Message("user", "x"),), "red")], silent, 96).dataset

    assert row["labels"][0] == -100
    assert silent.decode(row["labels"][1:]) == "red<|end|>"


def test_rows_are_kept_aside_by_prompt(
    tokenizer: PreTrainedTokenizerBase, make_rows: MakeRows
) -> None:
    rows = [replace(row, seed=f"seed {i % 10}") for i, row in enumerate(make_rows(40))]

    encoded = encode_rows(rows, tokenizer, 96, validation=0.2)

    assert encoded.aside is not None
    apart = [{tuple(row["input_ids"]) for row in part} for part in (encoded.dataset, encoded.aside)]
    assert (len(encoded.dataset), len(encoded.aside)) == (32, 8)
    assert len(encoded.lengths) == 32
    assert not apart[0] & apart[1]


def test_one_prompt_cannot_be_divided(
    tokenizer: PreTrainedTokenizerBase, make_rows: MakeRows
) -> None:
    rows = [replace(row, seed="one") for row in make_rows(4)]

    with pytest.raises(ConfigError, match="leave validation out"):
        encode_rows(rows, tokenizer, 96, validation=0.5)


@pytest.mark.parametrize("method", ["sft", "kd"])
def test_rows_kept_aside_are_measured_and_not_learned(
    method: str, tokenizer_folder: Path, make_rows: MakeRows, tmp_path: Path
) -> None:
    student = make_student(method, tokenizer_folder, validation=0.25, optimizer={"epochs": 2})
    rows = make_rows(20)

    result, weights = train(student, rows, tmp_path / "tiny")

    measured = [entry.validation for entry in result.log if entry.validation is not None]
    _, unmeasured = train(make_student(method, tokenizer_folder), rows, tmp_path / "all")
    assert result.rows == 15
    assert len(measured) == len(result.log) == 8
    assert measured[-1] < measured[0]
    assert all(math.isfinite(loss) for loss in measured)
    assert largest_difference(weights, unmeasured) > 0


FULL = """
import resource, sys
from pathlib import Path
from synthkd.errors import ConfigError
from synthkd.records import Message
from synthkd.training import SftStudent, TrainingRow, fit

home = Path(sys.argv[1])
rows = [TrainingRow(str(i), (Message("user", "red " * i),), "blue " * i) for i in range(1, 33)]
student = SftStudent.model_validate(
    {"name": "a", "method": "sft", "base": {"from_scratch": {"tokenizer": sys.argv[2],
     "hidden_size": 16, "layers": 1, "heads": 2}}, "optimizer": {"epochs": 1, "batch_size": 2}}
)

def leave(room):
    # As much as that can be written to one file: it stands for the disk.
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, resource.RLIM_INFINITY))

def train(stop=None):
    seen = []
    def watch(step, *_):
        seen.append(step)
        if step == stop:
            leave(20_000)
    try:
        student.train(rows, home / "a", checkpoint_folder=home / "c", progress=watch)
        print("trained", seen)
    except ConfigError as error:
        print(str(error).splitlines()[0])
    leave(resource.RLIM_INFINITY)
    print(sorted(path.name for path in home.rglob("*") if "checkpoint" in path.name),
          [path.name for path in home.iterdir()])

leave(4_000)
train()
train(stop=7)
save = fit._save
def fill(*args):
    leave(20_000)
    save(*args)
fit._save = fill
train()
fit._save = save
train()
"""


def test_a_full_disk_is_told_and_training_goes_on_from_what_was_kept(
    tokenizer_folder: Path, tmp_path: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path), str(tokenizer_folder)],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    rows, _, checkpoint, kept, student, last, trained, nothing = done.stdout.splitlines()
    assert "cannot be written to" in rows
    assert "as token ids: " in rows
    assert checkpoint.startswith("the checkpoint of step 8 of 16 cannot be written")
    assert kept == "['checkpoint-4', 'checkpoint-6'] ['c']"
    assert student.startswith("the student cannot be written")
    assert "'checkpoint-16'" in last
    assert last.endswith("['c']")
    assert trained == "trained []"
    assert sorted(nothing) == sorted("[] ['a', 'c']")


def test_what_was_said_is_cut_with_its_row(
    tokenizer: PreTrainedTokenizerBase, make_rows: MakeRows
) -> None:
    vocabulary = read_student_vocabulary(tokenizer)

    for row in encode_rows(make_rows(8), tokenizer, 24, vocabulary).dataset:
        counts = unpack([row["teacher"]]).counts
        assert len(counts) == np.count_nonzero(np.array(row["labels"]) != -100)
