import json
import math
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from synthkd.errors import ConfigError
from synthkd.records import Alternative, Message, Position, TokenLogprobs
from synthkd.training import (
    KdStudent,
    NewBase,
    SftStudent,
    TrainingRow,
)
from synthkd.training.base import load_base
from synthkd.training.checkpoints import find_checkpoint
from synthkd.training.rows import read_student_vocabulary

from .conftest import TINY, MakeRows, largest_difference, make_student, train


def expect_first_loss(student: KdStudent, rows: list[TrainingRow]) -> tuple[float, float]:
    """Cross-entropy and divergence per token of an untrained student, in float64, by definition."""
    base = load_base(student, [])
    tokenizer, model = base.tokenizer, base.model.eval()
    ce, kl, tokens = 0.0, 0.0, 0
    for row in rows:
        messages = [message._asdict() for message in row.messages]
        prompt = tokenizer.apply_chat_template(
            messages, add_generation_prompt=True, return_dict=False
        )
        assert row.logprobs is not None
        sampled = [position.sampled.token_id for position in row.logprobs.positions]
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([[*prompt, *sampled]])).logits[0].double()
        for place, position in enumerate(row.logprobs.positions):
            if len(prompt) + place >= (student.max_length or 10**9):
                break
            q = logits[len(prompt) + place - 1].softmax(dim=0)
            ce -= math.log(q[sampled[place]])
            tail_q = 1 - sum(float(q[candidate.token_id]) for candidate in position.top)
            pairs = [(math.exp(c.logprob), float(q[c.token_id])) for c in position.top]
            kl += sum(p * math.log(p / q) for p, q in [*pairs, (position.tail, tail_q)])
            tokens += 1
    return ce / tokens, kl / tokens


def test_the_trainer_minimizes_what_the_teacher_said_token_by_token(
    tokenizer_folder: Path, make_rows: MakeRows, tmp_path: Path
) -> None:
    # Rows of many lengths, some cut, in micro-batches: everything that could shift them.
    student = make_student(
        "kd",
        tokenizer_folder,
        optimizer={"batch_size": 12, "micro_batch_size": 4},
        max_length=24,
        alpha=0.3,
    )
    assert isinstance(student, KdStudent)

    for seed in (0, 1):
        rows = make_rows(12, seed=seed)
        result, _ = train(student, rows, tmp_path / str(seed))
        ce, kd = expect_first_loss(student, rows)

        assert result.rows_cut > 0
        assert result.coverage == 1.0
        assert result.log[0].loss == pytest.approx(0.3 * ce + 0.7 * kd, rel=1e-4)


@pytest.mark.parametrize("method", ["sft", "kd"])
def test_small_micro_batches_train_the_same_student(
    method: str, tokenizer_folder: Path, make_rows: MakeRows, tmp_path: Path
) -> None:
    rows = make_rows(40)

    whole, parts = (
        train(
            make_student(
                method,
                tokenizer_folder,
                optimizer={"batch_size": 16, "micro_batch_size": size, "epochs": 2},
            ),
            rows,
            tmp_path / str(size),
        )[1]
        for size in (16, 4)
    )

    assert largest_difference(whole, parts) < 1e-5


@pytest.mark.parametrize("method", ["sft", "kd"])
def test_an_interrupted_training_goes_on_to_the_same_student(
    method: str, tokenizer_folder: Path, make_rows: MakeRows, tmp_path: Path
) -> None:
    rows = make_rows(22)
    student = make_student(method, tokenizer_folder, optimizer={"epochs": 2})
    expected, weights = train(student, rows, tmp_path / "whole" / "tiny")
    folder = tmp_path / "broken" / "tiny"

    def interrupt(step: int, steps: int, measured: Mapping[str, float]) -> None:
        if step == 9:  # in the second of two epochs of six steps
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(student, rows, folder, interrupt)
    (checkpoints,) = (folder.parent / "checkpoints").iterdir()
    damaged = checkpoints / "checkpoint-11"
    damaged.mkdir()
    (damaged / "trainer_state.json").write_text('{"global_step": 1')
    assert not folder.exists()
    seen: list[int] = []

    result, found = train(student, rows, folder, lambda step, *_: seen.append(step))

    assert seen[0] == 9
    assert largest_difference(found, weights) == 0.0
    assert result.log == expected.log
    assert list((folder.parent / "checkpoints").iterdir()) == []


def test_a_checkpoint_of_other_rows_is_not_gone_on_from(
    tokenizer_folder: Path, make_rows: MakeRows, tmp_path: Path
) -> None:
    student = make_student("sft", tokenizer_folder)

    def interrupt(step: int, steps: int, measured: Mapping[str, float]) -> None:
        if step == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(student, make_rows(20), tmp_path / "tiny", interrupt)
    seen: list[int] = []

    train(student, make_rows(19), tmp_path / "tiny", lambda step, *_: seen.append(step))

    assert seen[0] == 1


def test_the_newest_whole_checkpoint_is_found(tmp_path: Path) -> None:
    for step, state in [(9, {"global_step": 9}), (10, {"global_step": 10}), (11, {}), (12, None)]:
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        if state is not None:
            (folder / "trainer_state.json").write_text(json.dumps(state))

    assert find_checkpoint(tmp_path) == tmp_path / "checkpoint-10"
    assert find_checkpoint(tmp_path / "nowhere") is None


def test_a_seed_makes_one_student(
    tokenizer_folder: Path, make_rows: MakeRows, tmp_path: Path
) -> None:
    first, again, other = (
        train(make_student("sft", tokenizer_folder, seed=seed), make_rows(8), tmp_path / name)[1]
        for seed, name in [(1, "first"), (1, "again"), (2, "other")]
    )

    assert largest_difference(first, again) == 0.0
    assert largest_difference(first, other) > 0.0


def test_distillation_comes_closer_to_the_teacher_than_its_samples_do(
    tokenizer_folder: Path, tmp_path: Path
) -> None:
    # One question, and a teacher that answers with six letters, each with its own probability.
    tokenizer = AutoTokenizer.from_pretrained(tokenizer_folder)
    name = read_student_vocabulary(tokenizer).name
    masses = {letter: mass / 21 for letter, mass in zip("abcdef", range(1, 7), strict=True)}
    ids = {letter: tokenizer(letter)["input_ids"][0] for letter in masses}
    top = [Alternative(ids[letter], math.log(mass)) for letter, mass in masses.items()]
    top.sort(key=lambda candidate: -candidate.logprob)
    question = (Message("user", "red"),)
    rows = []
    for number, letter in enumerate("fedcffebfefd"):
        rank = next(i for i, candidate in enumerate(top) if candidate.token_id == ids[letter])
        end = Position((Alternative(tokenizer.eos_token_id, 0.0),), 0, 0.0)
        said = TokenLogprobs(name, (Position(tuple(top), rank, 0.0), end))
        rows.append(TrainingRow(str(number), question, letter, said))
    prompt = tokenizer.apply_chat_template(
        [question[0]._asdict()], add_generation_prompt=True, return_tensors="pt"
    )["input_ids"]

    def measure(method: str) -> float:
        student = make_student(
            method,
            tokenizer_folder,
            optimizer={"epochs": 40, "lr": 1e-2, "batch_size": 4},
            **({"alpha": 0.0} if method == "kd" else {}),
        )
        train(student, rows, tmp_path / method)
        model = AutoModelForCausalLM.from_pretrained(tmp_path / method)
        with torch.no_grad():
            log_q = model(input_ids=prompt).logits[0, -1].double().log_softmax(dim=0)
        return sum(p * (math.log(p) - float(log_q[ids[letter]])) for letter, p in masses.items())

    sft, kd = measure("sft"), measure("kd")

    assert kd < 0.02
    assert kd < sft / 2


def test_a_row_without_logprobs_is_learned_without_them(
    tokenizer_folder: Path, make_rows: MakeRows, tmp_path: Path
) -> None:
    with_teacher, without = make_rows(8)[:6], make_rows(8)[6:]
    silent = [TrainingRow(row.sample_id, row.messages, row.completion) for row in without]

    result, _ = train(
        make_student("kd", tokenizer_folder), [*with_teacher, *silent], tmp_path / "tiny"
    )

    assert result.rows == 8
    assert result.coverage is not None
    assert 0.5 < result.coverage < 1


def test_nothing_to_distill_is_an_error_with_a_way_out(
    tokenizer_folder: Path, make_rows: MakeRows, tmp_path: Path
) -> None:
    rows = make_rows(3)
    silent = TrainingRow("s", rows[0].messages, rows[0].completion)
    assert rows[1].logprobs is not None
    foreign = TokenLogprobs("another", rows[1].logprobs.positions)
    student = make_student("kd", tokenizer_folder)

    with pytest.raises(ConfigError, match="method: sft") as caught:
        train(
            student,
            [silent, TrainingRow("f", rows[1].messages, rows[1].completion, foreign)],
            tmp_path / "tiny",
        )

    assert caught.value.mistakes == (
        "1 have no log-probabilities stored",
        "1 have tokens whose bytes are not known",
    )


def test_a_student_from_scratch_brings_its_own_tokenizer(
    make_rows: MakeRows, tmp_path: Path
) -> None:
    base = NewBase.model_validate({"from_scratch": TINY})
    student = SftStudent(name="tiny", base=base, method="sft", dtype="bfloat16")

    result, weights = train(student, make_rows(8), tmp_path / "tiny")

    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "tiny")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "tiny")
    assert tokenizer.eos_token_id == model.generation_config.eos_token_id
    assert tokenizer.chat_template
    assert model.num_parameters() == result.parameters
    assert {tensor.dtype for tensor in weights.values()} == {torch.bfloat16}
    assert result.log[-1].step == 3
    assert result.tokens > 0


def test_low_rank_changes_are_merged_into_the_student(
    tokenizer_folder: Path, make_rows: MakeRows, tmp_path: Path
) -> None:
    base_folder = tmp_path / "base"
    _, before = train(make_student("sft", tokenizer_folder), make_rows(8), base_folder)
    student = KdStudent.model_validate(
        {"name": "a", "base": str(base_folder), "method": "kd", "lora": {"r": 2}}
    )

    result, after = train(student, make_rows(8), tmp_path / "adapted")

    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert result.coverage == 1.0
    assert before.keys() == after.keys()
    assert changed
    assert all("proj" in name for name in changed)
    assert not list((tmp_path / "adapted").glob("adapter*"))
    AutoModelForCausalLM.from_pretrained(tmp_path / "adapted")


def test_layers_that_the_base_lacks_cannot_be_adapted(
    tokenizer_folder: Path, make_rows: MakeRows, tmp_path: Path
) -> None:
    train(make_student("sft", tokenizer_folder), make_rows(4), tmp_path / "base")
    student = SftStudent.model_validate(
        {
            "name": "a",
            "base": str(tmp_path / "base"),
            "method": "sft",
            "lora": {"target_modules": ["nowhere"]},
        }
    )

    with pytest.raises(ConfigError, match="other target_modules"):
        train(student, make_rows(4), tmp_path / "adapted")


def test_a_student_replaces_a_student_and_nothing_else(
    tokenizer_folder: Path, make_rows: MakeRows, tmp_path: Path
) -> None:
    student, other = (make_student("sft", tokenizer_folder, seed=seed) for seed in (0, 1))
    _, before = train(student, make_rows(4), tmp_path / "tiny")
    _, after = train(other, make_rows(4), tmp_path / "tiny")
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter1.txt").write_text("...")

    assert largest_difference(before, after) > 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoints", "thesis", "tiny"]
    with pytest.raises(ConfigError, match="is no student"):
        train(student, make_rows(4), tmp_path / "thesis")


def test_a_loss_that_is_no_number_stops_the_training(
    tokenizer_folder: Path, make_rows: MakeRows, tmp_path: Path
) -> None:
    student = make_student("sft", tokenizer_folder, optimizer={"lr": 1e30, "epochs": 3})

    with pytest.raises(ConfigError, match=r"lower optimizer\.lr"):
        train(student, make_rows(8), tmp_path / "tiny")

    assert not (tmp_path / "tiny").exists()


def test_a_row_longer_than_the_base_can_read_is_refused(
    tokenizer_folder: Path, make_rows: MakeRows, tmp_path: Path
) -> None:
    student = make_student("sft", tokenizer_folder, max_length=97)

    with pytest.raises(ConfigError, match="at most 96 tokens"):
        train(student, make_rows(4), tmp_path / "tiny")


def test_training_is_quiet_and_never_reaches_for_a_network(
    tokenizer_folder: Path, tmp_path: Path
) -> None:
    script = f"""
import os, socket, sys
from pathlib import Path

def refuse(event, args):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname"):
        print("reached for a network:", event, args, flush=True)
        os._exit(1)  # from a thread, too

sys.addaudithook(refuse)
import huggingface_hub.constants  # has read its environment by the time training sets it
from synthkd.records import Message
from synthkd.training import SftStudent, TrainingRow

rows = [TrainingRow(str(i), (Message("user", "red"),), "blue") for i in range(4)]
base = {{"from_scratch": {TINY | {"tokenizer": str(tokenizer_folder)}}}}
student = SftStudent.model_validate({{"name": "a", "base": base, "method": "sft"}})
student.train(rows, Path({str(tmp_path)!r}) / "a", checkpoint_folder=Path({str(tmp_path)!r}))
"""
    # On a build server TRL keeps quiet of its own accord.
    environment = {k: v for k, v in os.environ.items() if k != "CI" and not k.startswith("HF_")}

    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
