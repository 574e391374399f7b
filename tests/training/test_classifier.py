import asyncio
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertConfig,
    BertForMaskedLM,
    PreTrainedTokenizerFast,
    pipeline,
)

from synthkd.corpus.store import read_corpus
from synthkd.errors import ConfigError
from synthkd.pipeline import read_project, run
from synthkd.records import Alternative, Message, Position, TokenLogprobs
from synthkd.teachers.local import LocalTeacher, parse
from synthkd.teachers.options import TeacherOptions
from synthkd.training import (
    ClassifierStudent,
    NewBase,
    Progress,
    SftStudent,
    TrainingResult,
    TrainingRow,
)
from synthkd.training.classifier import find_losses
from synthkd.training.labelled import read_prompt
from tests.pipeline.quickstart import ROOT, Notes

from .conftest import TINY, WORDS

COLOURS = ("red", "green", "blue")
Weights = dict[str, torch.Tensor]


def make_row(number: int, shares: Mapping[str, float] | None = None) -> TrainingRow:
    """A row that names its colour among other words; `shares` are the teacher's."""
    draw = np.random.default_rng(number)
    colour = COLOURS[number % len(COLOURS)]
    words = [*draw.choice(WORDS[3:], draw.integers(1, 9)).tolist(), colour]
    text = " ".join(draw.permutation(words).tolist())
    said = None
    if shares is not None:
        top = sorted(
            (Alternative(COLOURS.index(label), math.log(share)) for label, share in shares.items()),
            key=lambda one: -one.logprob,
        )
        rank = next(i for i, one in enumerate(top) if one.token_id == COLOURS.index(colour))
        tokens = {place: label.encode() for place, label in enumerate(COLOURS)}
        said = TokenLogprobs("toy", (Position(tuple(top), rank, 0.0),), tokens)
    return TrainingRow(str(number), (Message("user", text),), colour, said)


def make_rows(count: int, *, silent: int = 0) -> list[TrainingRow]:
    """Rows with shares that a seed decides; of the last `silent` the teacher said nothing."""
    draw = np.random.default_rng(7)
    rows = []
    for number in range(count):
        shares = dict(zip(COLOURS, draw.dirichlet(np.ones(3)).tolist(), strict=True))
        rows.append(make_row(number, shares if number < count - silent else None))
    return rows


def make_student(base: str | Path | None = None, **options: Any) -> ClassifierStudent:
    """A tiny student, from scratch if no base is given."""
    optimizer = {"epochs": 1, "batch_size": 4, **options.pop("optimizer", {})}
    return ClassifierStudent.model_validate(
        {
            "name": "tiny",
            "method": "classifier",
            "base": str(base) if base else {"from_scratch": TINY},
            "optimizer": optimizer,
            **options,
        }
    )


def train(
    student: ClassifierStudent,
    rows: Sequence[TrainingRow],
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


@pytest.fixture(scope="session")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT of random weights and words, without a head for labels or a chat template."""
    folder = tmp_path_factory.mktemp("bases") / "bert"
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS]
    tokenizer = Tokenizer(models.WordLevel({name: i for i, name in enumerate(names)}, "[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        **{f"{name}_token": f"[{name.upper()}]" for name in ("pad", "unk", "cls", "sep")},
    ).save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(names),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=32,
    )
    BertForMaskedLM(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def decoder(tokenizer_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A language model with a chat template."""
    folder = tmp_path_factory.mktemp("bases") / "llama"
    new = NewBase.model_validate({"from_scratch": {**TINY, "tokenizer": str(tokenizer_folder)}})
    rows = [TrainingRow("1", (Message("user", "red"),), "red")]
    student = SftStudent(name="base", base=new, method="sft")
    student.train(rows, folder, checkpoint_folder=folder.parent / "checkpoints")
    return folder


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_the_loss_is_that_of_its_definition(temperature: float) -> None:
    draw = np.random.default_rng(0)
    logits, labels = draw.normal(size=(5, 4)), draw.integers(0, 4, 5)
    shares = draw.dirichlet(np.ones(4), 5) * [[1], [1], [0], [1], [1]]
    shares[0] = [0, 0, 1, 0]

    found = find_losses(
        torch.tensor(logits),
        torch.tensor(labels),
        torch.tensor(shares),
        alpha=0.3,
        temperature=temperature,
    )

    for row in range(5):
        q = np.exp(logits[row]) / np.exp(logits[row]).sum()
        ce = -math.log(q[labels[row]])
        q_soft = q ** (1 / temperature) / (q ** (1 / temperature)).sum()
        p_soft = shares[row] ** (1 / temperature) / (shares[row] ** (1 / temperature)).sum() \
            if shares[row].any() else q_soft  # fmt: skip
        kl = sum(p * math.log(p / q) for p, q in zip(p_soft, q_soft, strict=True) if p)
        loss = 0.3 * ce + 0.7 * temperature**2 * kl if shares[row].any() else ce
        assert found.loss[row].item() == pytest.approx(loss, rel=1e-5)
        assert found.kd[row].item() == pytest.approx(kl, rel=1e-5) or not found.taught[row]


def test_the_first_step_measures_what_the_teacher_said_of_each_row(tmp_path: Path) -> None:
    rows = make_rows(12, silent=3)
    student = make_student(optimizer={"batch_size": 12, "micro_batch_size": 4, "lr": 1e-30})

    result, _ = train(student, rows, tmp_path / "tiny")

    model = AutoModelForSequenceClassification.from_pretrained(tmp_path / "tiny").eval()
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "tiny")
    ce, kd = [], []
    for row in rows:
        inputs = tokenizer(row.messages[0].content, return_tensors="pt")["input_ids"]
        with torch.no_grad():
            q = model(input_ids=inputs).logits[0].double().softmax(dim=0)
        names = model.config.label2id
        ce.append(-math.log(q[names[row.completion]]))
        if row.logprobs:
            shares = {
                row.logprobs.tokens[one.token_id].decode(): math.exp(one.logprob)
                for one in row.logprobs.positions[0].top
            }
            kd.append(sum(p * math.log(p / q[names[name]]) for name, p in shares.items()))
    assert result.log[0].ce == pytest.approx(np.mean(ce), rel=1e-4)
    assert result.log[0].kd == pytest.approx(np.mean(kd), rel=1e-4)
    expected = (0.5 * sum(ce[:9]) + 0.5 * sum(kd) + sum(ce[9:])) / 12
    assert result.log[0].loss == pytest.approx(expected, rel=1e-4)
    assert result.coverage == pytest.approx(9 / 12)


def test_soft_labels_teach_what_hard_ones_cannot(tmp_path: Path) -> None:
    # Every prompt is the same; the teacher finds red twice as likely as green.
    shares = {"red": 0.6, "green": 0.3, "blue": 0.1}
    rows = [
        replace(make_row(number, shares), messages=(Message("user", "which?"),))
        for number in (0, 0, 0, 1, 2, 2)
    ]

    def measure(alpha: float) -> float:
        optimizer = {"epochs": 12, "lr": 3e-2}
        student = make_student(alpha=alpha, optimizer=optimizer, labels=COLOURS)
        train(student, rows, tmp_path / str(alpha))
        model = AutoModelForSequenceClassification.from_pretrained(tmp_path / str(alpha)).eval()
        tokenizer = AutoTokenizer.from_pretrained(tmp_path / str(alpha))
        with torch.no_grad():
            q = model(**tokenizer("which?", return_tensors="pt")).logits[0].softmax(dim=0)
        return sum(
            p * math.log(p / float(q[model.config.label2id[name]])) for name, p in shares.items()
        )

    soft, hard = measure(0.0), measure(1.0)

    assert soft < 0.02
    assert hard > 5 * soft


def test_small_micro_batches_train_the_same_student(tmp_path: Path) -> None:
    whole, parts = (
        train(
            make_student(optimizer={"batch_size": 16, "micro_batch_size": size, "epochs": 2}),
            make_rows(40, silent=9),
            tmp_path / str(size),
        )[1]
        for size in (16, 4)
    )

    assert largest_difference(whole, parts) < 1e-5


def test_an_interrupted_training_goes_on_to_the_same_student(encoder: Path, tmp_path: Path) -> None:
    # With dropout, so that the random numbers have to go on as well.
    rows = make_rows(22)
    student = make_student(encoder, optimizer={"epochs": 2})
    expected, weights = train(student, rows, tmp_path / "whole" / "tiny")
    folder = tmp_path / "broken" / "tiny"

    def interrupt(step: int, steps: int, measured: Mapping[str, float]) -> None:
        if step == 9:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(student, rows, folder, interrupt)
    assert not folder.exists()
    seen: list[int] = []

    result, found = train(student, rows, folder, lambda step, *_: seen.append(step))

    assert seen[0] == 9
    assert largest_difference(found, weights) == 0.0
    assert result.log == expected.log
    assert list((folder.parent / "checkpoints").iterdir()) == []


def test_a_seed_makes_one_student(tmp_path: Path) -> None:
    first, again, other = (
        train(make_student(seed=seed), make_rows(8), tmp_path / name)[1]
        for seed, name in [(1, "first"), (1, "again"), (2, "other")]
    )

    assert largest_difference(first, again) == 0.0
    assert largest_difference(first, other) > 0.0


@pytest.mark.parametrize("kind", ["scratch", "encoder", "decoder"])
def test_a_student_is_asked_as_it_was_trained(
    kind: str, encoder: Path, decoder: Path, tmp_path: Path
) -> None:
    base = {"scratch": None, "encoder": encoder, "decoder": decoder}[kind]
    rows = make_rows(9, silent=9)
    rows[4] = replace(rows[4], messages=(Message("user", "red cold " * 60),))  # it is cut
    rows[5] = replace(rows[5], messages=(Message("user", "one"), *rows[5].messages))
    student = make_student(base, alpha=1.0, optimizer={"lr": 1e-2})

    result, _ = train(student, rows, tmp_path / "tiny")

    model = AutoModelForSequenceClassification.from_pretrained(tmp_path / "tiny").eval()
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "tiny")
    assert bool(tokenizer.chat_template) == (kind == "decoder")
    options = TeacherOptions(model=f"local/{tmp_path / 'tiny'}", logprobs=3)
    teacher = LocalTeacher.connect(options)
    requests = [options.request(teacher, row.messages) for row in rows]
    answers = [parse(answer.body) for answer in asyncio.run(teacher.ask(requests))]
    names = model.config.id2label
    for row, answer in zip(rows, answers, strict=True):
        ids, is_cut = read_prompt(row, tokenizer, tokenizer.model_max_length)
        with torch.no_grad():
            expected = model(input_ids=torch.tensor([ids])).logits[0].log_softmax(dim=0)
        assert is_cut == (row is rows[4])
        assert answer.logprobs is not None
        (position,) = answer.logprobs.positions
        found = {names[one.token_id]: one.logprob for one in position.top}
        assert found == pytest.approx(
            {names[index]: one.item() for index, one in enumerate(expected)}, abs=1e-3
        )
        assert answer.text == names[int(expected.argmax())]
    if kind != "decoder":
        classify = pipeline("text-classification", str(tmp_path / "tiny"))
        (said,) = classify([rows[0].messages[0].content])
        assert said["label"] == answers[0].text
    assert result.coverage is None
    assert result.rows_cut == 1
    assert names == {0: "blue", 1: "green", 2: "red"}


def test_low_rank_changes_and_a_new_head_are_merged_into_the_student(
    decoder: Path, tmp_path: Path
) -> None:
    student = make_student(decoder, lora={"r": 2}, optimizer={"epochs": 2, "lr": 1e-2})

    _, weights = train(student, make_rows(16), tmp_path / "tiny")
    _, base = train(make_student(decoder, optimizer={"lr": 1e-30}), make_rows(4), tmp_path / "base")

    changed = {name for name in base if not torch.equal(base[name], weights[name])}
    assert base.keys() == weights.keys()
    assert all("proj" in name or name == "score.weight" for name in changed)
    assert len(changed) > 1
    assert "score.weight" in changed
    assert not list((tmp_path / "tiny").glob("adapter*"))


def test_answers_that_are_no_label_are_counted_and_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    student = make_student(labels=["red", "green", "never answered"])

    result, _ = train(student, make_rows(12), tmp_path / "tiny")

    assert result.rows == 8
    assert result.rows_skipped == 4
    assert "no label are left out: student=tiny rows=4" in caplog.text
    config = json.loads((tmp_path / "tiny" / "config.json").read_text())
    assert list(config["id2label"].values()) == ["red", "green", "never answered"]


def test_the_label_is_the_answer_and_not_what_is_said_around_it(tmp_path: Path) -> None:
    rows = [
        replace(row, completion=f"<a>{row.completion}</a>", answer=row.completion)
        for row in make_rows(8, silent=8)
    ]

    train(make_student(alpha=1.0), rows, tmp_path / "tiny")

    config = json.loads((tmp_path / "tiny" / "config.json").read_text())
    assert set(config["label2id"]) == set(COLOURS)


def test_rows_kept_aside_are_measured_and_not_learned(tmp_path: Path) -> None:
    student = make_student(validation=0.25, optimizer={"epochs": 2})

    result, _ = train(student, make_rows(16), tmp_path / "tiny")

    assert result.rows == 12
    assert any(entry.validation is not None for entry in result.log)


def test_heavier_rows_count_for_more(tmp_path: Path) -> None:
    rows = make_rows(8)
    heavy = [replace(row, weight=3.0) for row in rows]

    (plain, _), (weighted, _) = (
        train(make_student(optimizer={"lr": 1e-30}), some, tmp_path / name)
        for name, some in [("plain", rows), ("heavy", heavy)]
    )

    assert weighted.log[0].loss == pytest.approx(3 * plain.log[0].loss, rel=1e-5)


def test_a_round_can_begin_with_a_classifier(tmp_path: Path) -> None:
    _, first = train(make_student(), make_rows(8), tmp_path / "first")
    again = make_student(tmp_path / "first", optimizer={"lr": 1e-30})
    fewer = make_student(tmp_path / "first", labels=["red", "blue"])

    _, second = train(again, make_rows(8), tmp_path / "second")
    _, third = train(fewer, make_rows(8), tmp_path / "third")

    assert largest_difference(first, second) < 1e-6
    assert third["score.weight"].shape == (2, 16)


@pytest.mark.parametrize(
    ("options", "rows", "told"),
    [
        pytest.param({}, make_rows(6, silent=6), "write alpha: 1", id="nothing-was-said"),
        pytest.param({}, [], "no rows to train on", id="no-rows"),
        pytest.param({}, [make_row(0), make_row(3)], "every row answers 'red'", id="one-label"),
        pytest.param(
            {"labels": ["yes", "no"]}, make_rows(3), "commonest answers are", id="other-labels"
        ),
        pytest.param(
            {},
            [replace(make_row(0), completion=str(number)) for number in range(1001)],
            "1001 different answers",
            id="free-text",
        ),
        pytest.param({"max_length": 97}, make_rows(3), "at most 96 tokens", id="too-long"),
        pytest.param(
            {"optimizer": {"lr": 1e30, "epochs": 5}},
            make_rows(12),
            r"lower optimizer\.lr",
            id="the-loss-is-no-number",
        ),
    ],
)
def test_what_cannot_be_learned_is_an_error_with_a_way_out(
    options: dict[str, Any], rows: list[TrainingRow], told: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=told):
        train(make_student(**options), rows, tmp_path / "tiny")

    assert not (tmp_path / "tiny").exists()


def test_a_base_that_is_none_is_an_error_with_a_way_out(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()

    with pytest.raises(ConfigError, match=r"trained as a classifier: the folder holds no"):
        train(make_student(tmp_path / "empty"), make_rows(3), tmp_path / "tiny")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        pytest.param({"labels": ["a", "a"]}, "there twice", id="a-label-twice"),
        pytest.param({"labels": ["a", " b"]}, "never answered", id="white-space"),
        pytest.param({"labels": ["a"]}, "at least 2", id="one-label"),
        pytest.param(
            {"gold": {"path": "x", "license": "CC0-1.0"}},
            "write alpha: 1",
            id="gold-has-no-teacher",
        ),
    ],
)
def test_options_that_contradict_are_refused(options: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        make_student(**options)


def test_log_probabilities_are_read_only_if_they_are_learned() -> None:
    assert make_student().needs == {"parts", "logprobs"}
    assert make_student(alpha=1.0).needs == {"parts"}


def test_training_is_quiet(encoder: Path, tmp_path: Path, capfd: pytest.CaptureFixture) -> None:
    train(make_student(encoder), make_rows(8), tmp_path / "tiny")

    assert capfd.readouterr() == ("", "")


def test_the_shipped_pipeline_makes_a_classifier_and_measures_it(tmp_path: Path) -> None:
    project = read_project(
        str(ROOT / "pipelines/classifier.yaml"),
        [
            f"corpus={tmp_path / 'corpus.duckdb'}",
            "sources[0].limit=16",
            "teacher.concurrency=16",
            "evaluation.held_out.limit=4",
            "evaluation.resamples=100",
            *(f"students[{number}].optimizer.epochs=1" for number in range(2)),
        ],
    )

    outcome = run(project, Notes())

    with read_corpus(tmp_path / "corpus.duckdb") as corpus:
        students = corpus.db.execute("SELECT name, method, coverage FROM students").fetchall()
        scores = corpus.db.execute(
            "SELECT model, n, invalid FROM evaluations WHERE metric = 'exact_match'"
        ).fetchall()
    assert ("student-soft", "classifier", 1.0) in students
    assert {("student-soft", 4, 0), ("student-hard", 4, 0)} <= set(scores)
    assert outcome.report is not None
