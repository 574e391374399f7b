import os
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from synthkd.errors import ConfigError
from synthkd.records import Message
from synthkd.training import (
    NewBase,
    Pairing,
    PreferenceRow,
    PreferenceStudent,
    Progress,
    SftStudent,
    TrainingResult,
    TrainingRow,
)
from synthkd.training.preference import Pairs, encode_pairs

from .conftest import TINY, make_texts

Weights = dict[str, torch.Tensor]


def make_pairs(count: int) -> list[PreferenceRow]:
    """Pairs that prefer what ends warm to what ends cold."""
    return [
        PreferenceRow(
            f"{number}+", (Message("user", prompt),), f"{words} warm", f"{number}-", f"{words} cold"
        )
        for number, (prompt, words) in enumerate(make_texts(count))
    ]


@pytest.fixture(scope="session")
def base_folder(tokenizer_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A student that learned both completions of each pair, so that it prefers neither."""
    rows = [
        TrainingRow(f"{pair.sample_id}{text}", pair.messages, text)
        for pair in make_pairs(40)
        for text in (pair.completion, pair.rejected)
    ]
    folder = tmp_path_factory.mktemp("base") / "sft"
    new = NewBase.model_validate({"from_scratch": {**TINY, "tokenizer": str(tokenizer_folder)}})
    student = SftStudent.model_validate(
        {"name": "sft", "base": new, "method": "sft", "optimizer": {"epochs": 20, "lr": 1e-2}}
    )
    student.train(rows, folder, checkpoint_folder=folder.parent / "checkpoints")
    return folder


def make_student(base: Path | str, **options: Any) -> PreferenceStudent:
    optimizer = {"epochs": 1, "batch_size": 8, "lr": 5e-3, **options.pop("optimizer", {})}
    return PreferenceStudent.model_validate(
        {
            "name": "tiny",
            "base": str(base),
            "method": "preference",
            "optimizer": optimizer,
            **options,
        }
    )


def train(
    student: PreferenceStudent,
    pairs: Iterable[PreferenceRow],
    folder: Path,
    progress: Progress | None = None,
) -> tuple[TrainingResult, Weights]:
    result = student.train(
        pairs, folder, checkpoint_folder=folder.parent / "checkpoints", progress=progress
    )
    return result, load_file(folder / "model.safetensors")


def largest_difference(one: Weights, other: Weights) -> float:
    assert one.keys() == other.keys()
    return max(float((one[name] - other[name]).abs().max()) for name in one)


class Reader:
    """What a student says of a completion, worked out in float64 and by definition."""

    def __init__(self, folder: Path) -> None:
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float64)

    def score(self, messages: tuple[Message, ...], completion: str) -> tuple[float, int]:
        """How likely it finds a completion and its end, in nats, and its tokens."""
        prompt = self.tokenizer.apply_chat_template(
            [message._asdict() for message in messages],
            add_generation_prompt=True,
            return_dict=False,
        )
        ids = [*self.tokenizer(completion)["input_ids"], self.tokenizer.eos_token_id]
        with torch.no_grad():
            logits = self.model(input_ids=torch.tensor([[*prompt, *ids]])).logits[0]
        logprobs = logits[len(prompt) - 1 : -1].log_softmax(dim=-1)
        return float(logprobs[torch.arange(len(ids)), torch.tensor(ids)].sum()), len(ids)


def measure_margins(student: Path, base: Path, pairs: list[PreferenceRow]) -> list[float]:
    """How much likelier than the base a student finds the better completion than the worse."""
    after, before = Reader(student), Reader(base)
    margins = []
    for pair in pairs:
        gain, loss = (
            after.score(pair.messages, text)[0] - before.score(pair.messages, text)[0]
            for text in (pair.completion, pair.rejected)
        )
        margins.append(gain - loss)
    return margins


def test_better_completions_become_likelier_than_worse_ones(
    base_folder: Path, tmp_path: Path
) -> None:
    pairs = make_pairs(40)
    seen: list[Mapping[str, float]] = []
    student = make_student(base_folder, optimizer={"epochs": 6})

    result, _ = train(student, pairs, tmp_path / "tiny", lambda *told: seen.append(told[-1]))

    margins = measure_margins(tmp_path / "tiny", base_folder, pairs)
    assert sum(margin > 0 for margin in margins) >= 38
    assert result.rows == 40
    assert result.log[0].loss == pytest.approx(0.6931, abs=1e-3)  # nothing is preferred yet: ln 2
    assert result.log[-1].loss < 0.5
    assert result.log[-1].more == {name: seen[-1][name] for name in ("margin", "accuracy")}
    assert seen[0]["margin"] == pytest.approx(0, abs=1e-3)
    assert seen[-1]["margin"] > 1
    assert seen[-1]["accuracy"] > 0.9


def test_the_loss_is_that_of_the_papers(base_folder: Path, tmp_path: Path) -> None:
    # What the second step starts from is the student that one step made.
    pairs = make_pairs(8)
    student = make_student(
        base_folder,
        beta=0.3,
        sft_weight=0.5,
        optimizer={"epochs": 2, "warmup_ratio": 0, "schedule": "constant"},
    )
    once = student.model_copy(
        update={"optimizer": student.optimizer.model_copy(update={"epochs": 1})}
    )
    train(once, pairs, tmp_path / "once")

    result, _ = train(student, pairs, tmp_path / "twice")

    margins = measure_margins(tmp_path / "once", base_folder, pairs)
    dpo = [-torch.nn.functional.logsigmoid(torch.tensor(0.3 * margin)) for margin in margins]
    reader = Reader(tmp_path / "once")
    scores = [reader.score(pair.messages, pair.completion) for pair in pairs]
    per_token = [-logprob / tokens for logprob, tokens in scores]
    expected = sum(map(float, dpo)) / 8 + 0.5 * sum(per_token) / 8
    assert result.log[1].loss == pytest.approx(expected, rel=1e-4)
    assert result.log[1].ce == pytest.approx(
        -sum(logprob for logprob, _ in scores) / sum(tokens for _, tokens in scores), rel=1e-4
    )


@pytest.mark.parametrize(
    "loss",
    ["sigmoid_norm", "ipo", "hinge", "robust", "exo_pair", "apo_zero", "apo_down"],
)
def test_every_loss_prefers_the_better_completions(
    loss: str, base_folder: Path, tmp_path: Path
) -> None:
    pairs = make_pairs(8)

    train(make_student(base_folder, loss=loss, optimizer={"epochs": 4}), pairs, tmp_path / "tiny")

    margins = measure_margins(tmp_path / "tiny", base_folder, pairs)
    assert sum(margins) > 0


def test_small_micro_batches_train_the_same_student(base_folder: Path, tmp_path: Path) -> None:
    pairs = make_pairs(21)  # the last step has five, in micro-batches of 2, 2 and 1

    whole, parts = (
        train(
            make_student(
                base_folder,
                sft_weight=1.0,
                optimizer={"batch_size": 8, "micro_batch_size": size, "epochs": 2},
            ),
            pairs,
            tmp_path / str(size),
        )[1]
        for size in (8, 2)
    )

    assert largest_difference(whole, parts) < 1e-5


def test_an_interrupted_training_goes_on_to_the_same_student(
    base_folder: Path, tmp_path: Path
) -> None:
    pairs = make_pairs(22)
    student = make_student(base_folder, optimizer={"epochs": 2, "batch_size": 4})
    expected, weights = train(student, pairs, tmp_path / "whole" / "tiny")
    folder = tmp_path / "broken" / "tiny"

    def interrupt(step: int, steps: int, measured: Mapping[str, float]) -> None:
        if step == 9:  # in the second of two epochs of six steps
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(student, pairs, folder, interrupt)
    assert not folder.exists()
    seen: list[int] = []

    result, found = train(student, pairs, folder, lambda step, *_: seen.append(step))

    assert seen[0] == 9
    assert largest_difference(found, weights) == 0.0
    assert result.log == expected.log
    assert list((folder.parent / "checkpoints").iterdir()) == []


def test_low_rank_changes_are_compared_with_the_base_and_merged(
    base_folder: Path, tmp_path: Path
) -> None:
    pairs = make_pairs(16)
    student = make_student(base_folder, lora={"r": 4}, optimizer={"lr": 1e-2, "epochs": 4})

    result, after = train(student, pairs, tmp_path / "adapted")

    before = load_file(base_folder / "model.safetensors")
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert before.keys() == after.keys()
    assert changed
    assert all("proj" in name for name in changed)
    assert result.log[0].loss == pytest.approx(0.6931, abs=1e-3)
    assert sum(measure_margins(tmp_path / "adapted", base_folder, pairs)) > 0


def test_prompts_are_rendered_as_for_every_other_method(base_folder: Path, tmp_path: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(base_folder)
    (pair,) = make_pairs(1)
    messages = [message._asdict() for message in pair.messages]

    row = Pairs(encode_pairs([pair], tokenizer, 96, tmp_path).dataset)[0]

    assert row["prompt_ids"] == tokenizer.apply_chat_template(
        messages, add_generation_prompt=True, return_dict=False
    )
    assert tokenizer.decode(row["chosen_ids"]) == pair.completion + tokenizer.eos_token
    assert tokenizer.decode(row["rejected_ids"]) == pair.rejected + tokenizer.eos_token
    assert list(tmp_path.iterdir()) == []


def test_long_pairs_are_cut_and_counted_and_those_without_a_difference_skipped(
    base_folder: Path, tmp_path: Path
) -> None:
    tokenizer = AutoTokenizer.from_pretrained(base_folder)
    (pair,) = make_pairs(1)
    prompt = len(Pairs(encode_pairs([pair], tokenizer, 96, tmp_path).dataset)[0]["prompt_ids"])
    pairs = [
        replace(pair, completion="red", rejected="blue"),
        replace(pair, completion="red " * 20, rejected="blue"),
        replace(pair, completion="red " * 20, rejected="red " * 30),
        replace(pair, messages=(Message("user", "red " * 60),)),
    ]

    encoded = encode_pairs(pairs, tokenizer, prompt + 8, tmp_path)

    cut = Pairs(encoded.dataset)[1]
    assert (len(encoded.lengths), encoded.cut, encoded.skipped) == (2, 1, 2)
    assert len(cut["chosen_ids"]) == 8
    assert tokenizer.eos_token_id not in cut["chosen_ids"]
    with pytest.raises(ConfigError, match="none of 2 pairs can be learned"):
        encode_pairs(pairs[2:], tokenizer, prompt + 8, tmp_path)


def test_another_worse_completion_is_another_training(base_folder: Path, tmp_path: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(base_folder)
    (pair,) = make_pairs(1)

    one, other = (
        encode_pairs([each], tokenizer, 96, tmp_path).digest
        for each in (pair, replace(pair, rejected="red"))
    )

    assert one != other


def test_pairs_that_are_kept_aside_are_measured_and_not_learned(
    base_folder: Path, tmp_path: Path
) -> None:
    tokenizer = AutoTokenizer.from_pretrained(base_folder)
    pairs = make_pairs(20)
    twice = [*pairs, *(replace(pair, rejected=f"{pair.rejected} red") for pair in pairs)]
    encoded = encode_pairs(twice, tokenizer, 96, tmp_path, validation=0.25)
    student = make_student(base_folder, validation=0.25, optimizer={"epochs": 2})

    result, _ = train(student, twice, tmp_path / "tiny")

    assert encoded.aside is not None
    prompts = [
        {str(Pairs(rows)[place]["prompt_ids"]) for place in range(len(rows))}
        for rows in (encoded.dataset, encoded.aside)
    ]
    assert not prompts[0] & prompts[1]
    assert result.rows == len(encoded.lengths) == 30
    measured = [entry.validation for entry in result.log if entry.validation is not None]
    assert measured
    assert measured[-1] < 0.66  # ln 2 is that of the base


def test_a_loss_that_is_no_number_stops_the_training(base_folder: Path, tmp_path: Path) -> None:
    student = make_student(base_folder, optimizer={"lr": 1e30, "epochs": 3})

    with pytest.raises(ConfigError, match=r"lower optimizer\.lr"):
        train(student, make_pairs(16), tmp_path / "tiny")

    assert not (tmp_path / "tiny").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        pytest.param({"base": {"from_scratch": {}}}, "random weights say nothing", id="random"),
        pytest.param({"gold": {"path": "gold.jsonl", "license": "CC0-1.0"}}, "no worse", id="gold"),
        pytest.param({"label_smoothing": 0.1}, "not used by the loss sigmoid", id="smoothing"),
        pytest.param({"lora": {"dropout": 0.1}}, "switched off", id="dropout"),
        pytest.param({"pairs": {"by": "judge", "filter": "length"}}, "by: verdict", id="filter"),
        pytest.param({"pairs": {"min_margin": 2}}, "by: judge", id="margin"),
        pytest.param({"pairs": {"per_prompt": 0}}, "write 1 or more", id="no-pairs"),
    ],
)
def test_options_that_would_not_be_heeded_are_refused(
    options: dict[str, object], message: str
) -> None:
    given = {"name": "tiny", "base": "org/model", "method": "preference", **options}

    with pytest.raises(ValidationError, match=message):
        PreferenceStudent.model_validate(given)


@pytest.mark.parametrize(
    ("options", "smoothing"),
    [
        ({}, 0.0),
        ({"loss": "robust"}, 0.1),
        ({"loss": "exo_pair"}, 1e-3),
        ({"loss": "robust", "label_smoothing": 0.3}, 0.3),
    ],
)
def test_smoothing_is_what_the_papers_of_the_losses_advise(
    options: dict[str, object], smoothing: float
) -> None:
    assert make_student("org/model", **options).smoothing == smoothing


@pytest.mark.parametrize(
    ("pairing", "there_is", "missing"),
    [
        pytest.param({}, {}, [], id="all-there"),
        pytest.param({}, {"samples": 1}, ["one sample of each prompt"], id="one-sample"),
        pytest.param({"by": "judge"}, {}, ["no judge"], id="no-judge"),
        pytest.param({"by": "judge"}, {"has_judge": True, "filters": ()}, [], id="judge"),
        pytest.param({"filter": "vot"}, {}, ["no filter 'vot'; write one of vote"], id="misspelt"),
        pytest.param({"filter": "vote"}, {"filters": ()}, ["add it to `filters`"], id="unfiltered"),
        pytest.param({}, {"filters": ()}, ["there is no filter; add one"], id="no-filter"),
        pytest.param(
            {"by": "judge"}, {"samples": 1}, ["one sample", "no judge"], id="several-at-once"
        ),
    ],
)
def test_what_is_missing_to_make_pairs_is_known_before_anything_is_paid_for(
    pairing: dict[str, Any], there_is: dict[str, Any], missing: list[str]
) -> None:
    given = {"samples": 4, "filters": ("vote",), "has_judge": False, **there_is}

    told = Pairing.model_validate(pairing).find_missing(**given)

    sentences = [sentence for _, sentence in told]
    assert len(sentences) == len(missing)
    assert all(part in sentence for part, sentence in zip(missing, sentences, strict=True))


def test_training_is_quiet_and_never_reaches_for_a_network(
    base_folder: Path, tmp_path: Path
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
from synthkd.training import PreferenceRow, PreferenceStudent

turns = (Message("user", "red"),)
pairs = [PreferenceRow(f"{{i}}", turns, "blue", f"{{i}}-", "cold") for i in range(4)]
student = PreferenceStudent(name="a", base={str(base_folder)!r}, method="preference")
student.train(pairs, Path({str(tmp_path)!r}) / "a", checkpoint_folder=Path({str(tmp_path)!r}))
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
