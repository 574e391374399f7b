"""The trainer beside TRL's own, and a step beside its parts."""

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer, MixtralConfig, MixtralForCausalLM
from trl.trainer.sft_trainer import SFTTrainer

from synthkd.training import KdStudent, SftStudent, TrainingRow
from synthkd.training.base import load_base
from synthkd.training.batches import Batches, LikeLengths, StudentCollator
from synthkd.training.rows import encode_rows
from synthkd.training.settings import configure
from synthkd.training.trainer import StudentTrainer

from .conftest import MakeRows, largest_difference, make_student, train


def make_trainer(
    kind: type[SFTTrainer], student: Any, rows: list[TrainingRow], folder: Path
) -> Any:
    base = load_base(student, [])
    encoded = encode_rows(rows, base.tokenizer, 96)
    own = {"lengths": encoded.lengths, "progress": None} if kind is StudentTrainer else {}
    return kind(
        model=base.model,
        args=configure(student, rows=len(rows), parameters=1, checkpoint_folder=folder),
        train_dataset=encoded.dataset,
        data_collator=StudentCollator(pad_token_id=base.tokenizer.pad_token_id),
        processing_class=base.tokenizer,
        **own,
    )


def test_sft_has_the_loss_and_gradients_of_trls_own_trainer(
    tokenizer_folder: Path, make_rows: MakeRows, tmp_path: Path
) -> None:
    student = make_student("sft", tokenizer_folder)
    ours, theirs = (
        make_trainer(kind, student, make_rows(6), tmp_path) for kind in (StudentTrainer, SFTTrainer)
    )
    batch = ours.data_collator([ours.train_dataset[place] for place in range(6)])

    losses = [
        trainer.training_step(trainer.model, dict(batch), num_items_in_batch=torch.tensor(77))
        for trainer in (ours, theirs)
    ]

    assert float(losses[0]) == pytest.approx(float(losses[1]), rel=1e-5)
    for one, other in zip(ours.model.parameters(), theirs.model.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, atol=1e-6, rtol=1e-4)


def test_a_batch_of_which_nothing_is_learned_has_gradients_of_zero(
    tokenizer_folder: Path, make_rows: MakeRows, tmp_path: Path
) -> None:
    trainer = make_trainer(
        StudentTrainer, make_student("sft", tokenizer_folder), make_rows(2), tmp_path
    )
    batch = trainer.data_collator([trainer.train_dataset[0]])
    batch["labels"][:] = -100

    loss = trainer.training_step(trainer.model, batch, num_items_in_batch=torch.tensor(5))

    assert float(loss) == 0
    for parameter in trainer.model.parameters():
        assert parameter.grad is not None
        assert not parameter.grad.any()


@pytest.mark.parametrize("tied", [True, False])
def test_small_micro_batches_train_the_same_adapted_student(
    tied: bool, tokenizer_folder: Path, make_rows: MakeRows, tmp_path: Path
) -> None:
    new = make_student("sft", tokenizer_folder)
    assert not isinstance(new.base, str)
    options = new.base.from_scratch.model_copy(update={"tie_embeddings": tied})
    base = new.base.model_copy(update={"from_scratch": options})
    train(new.model_copy(update={"base": base}), make_rows(8), tmp_path / "base")

    whole, parts = (
        train(
            KdStudent.model_validate(
                {
                    "name": "a",
                    "base": str(tmp_path / "base"),
                    "method": "kd",
                    "lora": {"r": 2},
                    "optimizer": {"batch_size": 16, "micro_batch_size": size, "epochs": 2},
                }
            ),
            make_rows(32),
            tmp_path / str(size),
        )[1]
        for size in (16, 4)
    )

    assert largest_difference(whole, parts) < 1e-5


def test_the_experts_of_a_mixture_are_kept_balanced(
    tokenizer_folder: Path, make_rows: MakeRows, tmp_path: Path
) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tokenizer_folder)
    folder = tmp_path / "mixture"
    config = MixtralConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        num_local_experts=4,
        num_experts_per_tok=1,
        router_aux_loss_coef=0.5,
        eos_token_id=tokenizer.eos_token_id,
    )
    MixtralForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    student = SftStudent.model_validate(
        {"name": "a", "base": str(folder), "method": "sft", "optimizer": {"batch_size": 8}}
    )

    result, _ = train(student, make_rows(8), tmp_path / "a")

    # Used alike, top-1 experts cost 1 a layer's worth; any other use costs more.
    imbalance = (result.log[0].loss - result.log[0].ce) / 0.5
    assert 0.99 < imbalance < 4


@given(
    st.integers(1, 200),
    st.sampled_from([(1, 1), (4, 1), (2, 2), (2, 4), (1, 8)]),
    st.integers(1, 4),
)
def test_processes_share_each_step_without_doing_a_row_twice(
    rows: int, cut: tuple[int, int], processes: int
) -> None:
    size, accumulated = cut
    order = list(LikeLengths([1] * rows, size * accumulated * processes, seed=0))

    dealt = [
        list(
            Batches(LikeLengths([1] * rows, size * accumulated * processes, 0), size, processes, p)
        )
        for p in range(processes)
    ]

    assert len({len(batches) for batches in dealt}) == 1
    assert {len(Batches(range(rows), size, processes, p)) for p in range(processes)} == {
        len(dealt[0])
    }
    for start in range(0, len(dealt[0]), accumulated):
        step = [row for own in dealt for batch in own[start : start + accumulated] for row in batch]
        place = start * size * processes
        learned = order[place : place + size * accumulated * processes]
        assert sorted(row for row in step if row >= 0) == sorted(learned)
