from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from synthkd.errors import ConfigError
from synthkd.records import Message
from synthkd.training import TrainingRow
from synthkd.training.alignment import Alignment
from synthkd.training.base import train_tokenizer
from synthkd.training.batches import LikeLengths
from synthkd.training.blobs import pack, unpack
from synthkd.training.rows import encode_rows, read_student_vocabulary

from .conftest import MakeRows


@pytest.fixture(scope="module")
def tokenizer(tokenizer_folder: Path) -> PreTrainedTokenizerBase:
    return AutoTokenizer.from_pretrained(tokenizer_folder)


def test_a_row_is_its_prompt_unlearned_then_its_completion_and_an_end(
    tokenizer: PreTrainedTokenizerBase,
) -> None:
    row = TrainingRow("1", (Message("user", "red blue"),), "blue red")

    encoded = encode_rows([row], tokenizer, 96)

    found = encoded.dataset[0]
    learned = [label for label in found["labels"] if label != -100]
    assert tokenizer.decode(found["input_ids"]) == "user:\nred blue\nassistant:\nblue red<|end|>"
    assert tokenizer.decode(learned) == "blue red<|end|>"
    assert found["input_ids"][-len(learned) :] == learned


def test_rows_too_long_are_cut_or_skipped_and_counted(
    tokenizer: PreTrainedTokenizerBase, make_rows: MakeRows
) -> None:
    long_prompt = TrainingRow("p", (Message("user", "red " * 50),), "red")
    long_completion = TrainingRow("c", (Message("user", "red"),), "red " * 50)

    encoded = encode_rows([long_prompt, long_completion, *make_rows(2)], tokenizer, 40)

    assert (encoded.cut, encoded.skipped, len(encoded.lengths)) == (1, 1, 3)
    assert max(encoded.lengths) == 40


def test_a_teacher_is_cut_where_its_row_is(
    tokenizer: PreTrainedTokenizerBase, make_rows: MakeRows
) -> None:
    vocabulary = read_student_vocabulary(tokenizer)
    rows = make_rows(20)
    whole = encode_rows(rows, tokenizer, 96, vocabulary)
    limit = max(whole.lengths) - 2

    cut = encode_rows(rows, tokenizer, limit, vocabulary)

    assert cut.cut > 0
    assert cut.covered_tokens == cut.completion_tokens < whole.completion_tokens
    for row in cut.dataset:
        counts, *_ = unpack([row["teacher"]])
        assert len(counts) == sum(label != -100 for label in row["labels"])


@pytest.mark.parametrize(
    ("prompt", "complaint"), [(None, "no rows to train on"), ("red " * 99, "fills max_length")]
)
def test_no_row_to_train_on_is_an_error(
    tokenizer: PreTrainedTokenizerBase, prompt: str | None, complaint: str
) -> None:
    rows = [TrainingRow("1", (Message("user", prompt),), "red")] if prompt else []

    with pytest.raises(ConfigError, match=complaint):
        encode_rows(rows, tokenizer, 40)


def test_messages_the_chat_template_refuses_are_an_error(tokenizer_folder: Path) -> None:
    strict = AutoTokenizer.from_pretrained(tokenizer_folder)
    strict.chat_template = "{{ raise_exception('no system role') }}"

    with pytest.raises(ConfigError, match=r"sample 7 \(no system role\)"):
        encode_rows([TrainingRow("7", (Message("system", "x"),), "y")], strict, 40)


def test_equal_rows_have_equal_digests(
    tokenizer: PreTrainedTokenizerBase, make_rows: MakeRows
) -> None:
    vocabulary = read_student_vocabulary(tokenizer)

    digests = [
        encode_rows(make_rows(4, seed=seed), tokenizer, 96, vocabulary).digest for seed in (0, 0, 1)
    ]

    assert digests[0] == digests[1] != digests[2]


@given(st.lists(st.lists(st.integers(0, 4), min_size=1, max_size=5), min_size=1, max_size=4))
def test_what_is_packed_is_unpacked(shape: list[list[int]]) -> None:
    rows = []
    for counts in shape:
        size = sum(counts)
        rows.append(
            Alignment(
                list(range(len(counts) + 1)),  # the end token has no teacher
                np.array(counts, dtype=np.int32),
                np.linspace(0, 1, len(counts), dtype=np.float32),
                np.arange(size, dtype=np.int32),
                -np.arange(size, dtype=np.float32),
            )
        )

    counts, tails, ids, logprobs = unpack([pack(row) for row in rows])

    flat = [count for row in rows for count in [*row.counts, 0]]
    is_candidate = np.arange(ids.shape[1]) < counts[:, None]
    assert counts.tolist() == flat
    assert tails.tolist() == [tail for row in rows for tail in [*row.tails.tolist(), 0.0]]
    assert ids[is_candidate].tolist() == [i for row in rows for i in row.candidates]
    assert logprobs[is_candidate].tolist() == [p for row in rows for p in row.logprobs]


@given(st.text())
def test_a_tokenizer_trained_on_little_can_write_anything(text: str) -> None:
    tokenizer = train_tokenizer(["red green blue"], 280)
    text = text.encode("utf-8", "ignore").decode()

    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


@given(
    st.lists(st.integers(1, 50), min_size=1, max_size=300),
    st.integers(1, 9),
    st.integers(0, 3),
    st.integers(0, 5),
)
def test_an_epoch_is_every_row_once_in_an_order_of_its_own(
    lengths: list[int], batch_size: int, seed: int, epoch: int
) -> None:
    sampler, again = (LikeLengths(lengths, batch_size, seed) for _ in range(2))
    list(again)  # what was drawn before does not matter
    for drawn in (sampler, again):
        drawn.set_epoch(epoch)

    order = list(sampler)

    assert sorted(order) == list(range(len(lengths)))
    assert order == list(again)


def test_rows_of_like_length_share_a_batch_and_the_batches_are_shuffled() -> None:
    lengths = [1, 9] * 40
    sampler = LikeLengths(lengths, 4, seed=0)

    batches = [[lengths[row] for row in list(sampler)[i : i + 4]] for i in range(0, 80, 4)]

    assert all(len(set(batch)) == 1 for batch in batches)
    assert sorted(batches) != batches
    assert sorted(batches, reverse=True) != batches


def test_each_epoch_has_another_order() -> None:
    sampler = LikeLengths([1] * 80, 4, seed=0)
    first = list(sampler)

    sampler.set_epoch(1)

    assert list(sampler) != first
