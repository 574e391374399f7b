import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from synthkd.errors import ConfigError
from synthkd.outputs import Output
from synthkd.prompts import read_prompt
from synthkd.records import Message
from synthkd.training import FromScratch, NewBase, Optimizer, RationaleStudent, TrainingRow
from synthkd.training.methods.rationale import add_instruction, leave_out

from .conftest import TINY, MakeRows

ROOT = Path(__file__).resolve().parents[2]
RATIONALES = ROOT.parent / "shared" / "data" / "dss_palm_rationales" / "cqa"
WORDS = st.lists(st.text("abcxyz'é", min_size=1, max_size=5), min_size=2, max_size=6).map(" ".join)


def make_student(**options: Any) -> RationaleStudent:
    return RationaleStudent.model_validate(
        {"name": "small", "base": "a/base", "method": "rationale", **options}
    )


def make_row(completion: str, rationale: str | None, answer: str = "a") -> TrainingRow:
    return TrainingRow("1", (Message("user", "Q"),), completion, answer=answer, rationale=rationale)


def make_tasks(rows: Sequence[TrainingRow], **options: Any) -> list[tuple[str, str, float]]:
    """Return what each task asks, what it answers, and what it weighs."""
    return [
        (task.messages[-1].content, task.completion, task.weight)
        for task in make_student(**options).tasks(rows)
    ]


def test_a_sample_is_two_tasks_and_one_without_a_rationale_is_one() -> None:
    rows = [make_row("<why>so</why>\n<a>x</a>", "so"), make_row("<a>y</a>", None)]

    tasks = make_tasks(rows, rationale_weight=0.5, instruction="Say why.")

    assert tasks == [("Q", "<a>x</a>", 1.0), ("Q\n\nSay why.", "so", 0.5), ("Q", "<a>y</a>", 1.0)]


def test_without_any_weight_only_answers_are_learned() -> None:
    rows = [make_row("so\nAnswer: x", "so")]

    assert make_tasks(rows, rationale_weight=0) == [("Q", "Answer: x", 1.0)]


def test_samples_without_a_rationale_are_refused_with_the_way_out() -> None:
    with pytest.raises(ConfigError, match=r"none of its 2 samples has a rationale.*method: sft"):
        make_tasks([make_row("x", None), make_row("y", "  ")])


@pytest.mark.parametrize("option", [{"instruction": " "}, {"rationale_weight": -1}])
def test_options_that_make_no_sense_are_refused(option: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        make_student(**option)


def test_the_instruction_follows_what_the_user_said_last() -> None:
    turns = (Message("system", "s"), Message("user", "u"), Message("assistant", "<why>"))

    assert [turn.content for turn in add_instruction(turns, "Why?")] == ["s", "u\n\nWhy?", "<why>"]
    assert add_instruction(turns[:1], "Why?")[0].content == "s\n\nWhy?"


@pytest.mark.parametrize(
    ("completion", "rationale", "left"),
    [
        pytest.param("<why> so </why>\n<a>x</a>\n<b>y</b>", "so", "<a>x</a>\n<b>y</b>", id="tags"),
        pytest.param("<a>x</a> <why>so</why>", "so", "<a>x</a>", id="tag-at-the-end"),
        pytest.param("one\ntwo\n\nAnswer: x", "one\ntwo", "Answer: x", id="last-line"),
        pytest.param("one\r\ntwo\r\nAnswer: x", "one\ntwo", "Answer: x", id="other-line-ends"),
        pytest.param("It is far. So the answer is (b).", "It is far.", "So the answer is (b).", id="pattern"),
        pytest.param('{"why": " caf\\u00e9 \\"x\\"", "a": "so"}', 'café "x"', '{"why": "", "a": "so"}', id="json"),
        pytest.param('```json\n{"a": 1, "why": "so"}\n```', "so", '```json\n{"a": 1, "why": ""}\n```', id="fenced"),
        pytest.param("42", "I thought long", "42", id="thought-before"),
        pytest.param("so", "so", "so", id="nothing-else"),
        pytest.param("if a < b then so", "so", "if a < b then", id="no-tag"),
    ],
)  # fmt: skip
def test_the_rationale_is_left_out_and_what_marks_the_answer_stays(
    completion: str, rationale: str, left: str
) -> None:
    assert leave_out(completion, rationale) == left


@pytest.mark.parametrize(
    ("declared", "write"),
    [
        pytest.param(
            {"kind": "tags", "answer": "a"}, "<why>{why}</why>\n<a>{answer}</a>", id="tags"
        ),
        pytest.param(
            {"kind": "last_line", "prefix": "Answer:"}, "{why}\nAnswer: {answer}", id="last-line"
        ),
        pytest.param(
            {"kind": "pattern", "pattern": r"(?s)^(?P<rationale>.*?)\s*So: (?P<answer>.+)$"},
            "{why} So: {answer}",
            id="pattern",
        ),
        pytest.param({"kind": "json", "answer": "a", "rationale": "why"}, "", id="json"),
    ],
)
@given(why=WORDS, answer=WORDS)
def test_what_is_left_reads_as_the_same_answer(
    declared: dict[str, Any], write: str, why: str, answer: str
) -> None:
    output: Output = TypeAdapter(Output).validate_python(declared)
    said = {"why": why, "a": answer}
    completion = write.format(why=why, answer=answer) if write else json.dumps(said)

    parts = output.read(leave_out(completion, why))

    assert parts.is_split
    assert parts.answer == answer
    assert not parts.rationale


def test_each_row_weighs_as_its_mean_whatever_its_length() -> None:
    from synthkd.training.rationale import RowMeanCollator

    collator = RowMeanCollator(pad_token_id=0, mean_length=3.0)
    rows = [([1, 2, 3, 4], 2, 1.0), ([1, 2, 3, 4, 5, 6, 7], 1, 0.5)]

    batch = collator(
        [
            {"input_ids": ids, "labels": [-100] * prompt + ids[prompt:], "weight": weight}
            for ids, prompt, weight in rows
        ]
    )

    assert batch["weights"].sum(1).tolist() == pytest.approx([3.0 * 1.0, 3.0 * 0.5])
    assert ((batch["weights"] > 0) == (batch["labels"] != -100)).all()
    assert torch.unique(batch["weights"][1][1:]).numel() == 1


def explain(rows: Sequence[TrainingRow]) -> list[TrainingRow]:
    """Return rows whose completions name the first word of their prompts, and say why."""
    return [
        TrainingRow(
            row.sample_id,
            row.messages,
            f"<why>{first} is said</why>\n<a>{first}</a>",
            answer=first,
            rationale=f"{first} is said",
        )
        for row in rows
        for first in [row.messages[0].content.split()[0]]
    ]


def test_the_loss_is_that_of_answers_and_lambda_times_that_of_rationales(
    tokenizer_folder: Path, make_rows: MakeRows, tmp_path: Path
) -> None:
    """By definition, in float64, on the untrained student: the first step has every row."""
    from synthkd.training.base import load_base

    rows = explain(make_rows(6))
    base = NewBase(from_scratch=FromScratch(**TINY, tokenizer=str(tokenizer_folder)))
    student = RationaleStudent(
        name="tiny",
        base=base,
        method="rationale",
        rationale_weight=0.3,
        optimizer=Optimizer(epochs=1, batch_size=12, micro_batch_size=4),
    )
    model, tokenizer, _ = load_base(student, [])

    def measure(messages: tuple[Message, ...], completion: str) -> float:
        prompt = tokenizer.apply_chat_template(
            [turn._asdict() for turn in messages], add_generation_prompt=True, return_dict=False
        )
        said = [*tokenizer(completion)["input_ids"], tokenizer.eos_token_id]
        with torch.no_grad():
            logits = model.eval()(input_ids=torch.tensor([[*prompt, *said]])).logits[0].double()
        nats = logits.log_softmax(-1)[len(prompt) - 1 : -1]
        return -float(nats.gather(-1, torch.tensor(said)[:, None]).mean())

    answers = [measure(row.messages, f"<a>{row.answer}</a>") for row in rows]
    rationales = [
        measure(add_instruction(row.messages, student.instruction), row.rationale or "")
        for row in rows
    ]

    result = student.train(rows, tmp_path / "tiny", checkpoint_folder=tmp_path / "c")

    expected = (sum(answers) + 0.3 * sum(rationales)) / 12
    assert result.log[0].loss == pytest.approx(expected, rel=1e-4)


def test_it_learns_to_answer_shortly_and_to_explain_when_told(
    tokenizer_folder: Path, make_rows: MakeRows, tmp_path: Path
) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    rows = explain(make_rows(60))
    base = NewBase(from_scratch=FromScratch(**TINY, tokenizer=str(tokenizer_folder)))
    student = RationaleStudent(
        name="tiny",
        base=base,
        method="rationale",
        optimizer=Optimizer(epochs=12, batch_size=8, lr=1e-2),
    )

    result = student.train(rows, tmp_path / "tiny", checkpoint_folder=tmp_path / "c")

    model = AutoModelForCausalLM.from_pretrained(tmp_path / "tiny")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "tiny")

    def ask(messages: tuple[Message, ...]) -> str:
        ids = tokenizer.apply_chat_template(
            [turn._asdict() for turn in messages], add_generation_prompt=True, return_tensors="pt"
        )["input_ids"]
        out = model.generate(ids, max_new_tokens=24, do_sample=False)
        return str(tokenizer.decode(out[0, ids.shape[1] :], skip_special_tokens=True))

    assert result.rows == 120
    plain = [ask(row.messages) for row in rows[:10]]
    explained = [ask(add_instruction(row.messages, student.instruction)) for row in rows[:10]]
    assert all(text.startswith("<a>") and text.endswith("</a>") for text in plain)
    assert all(text.endswith(" is said") and "<" not in text for text in explained)


@pytest.mark.skipif(
    not RATIONALES.is_dir(), reason="the PaLM rationales are not beside the project"
)
def test_real_rationales_are_left_out_of_real_answers() -> None:
    output = read_prompt(ROOT / "prompts/commonsense.md").output
    texts = json.loads((RATIONALES / "palm/train_CoT_0.json").read_text())
    read = [(text, output.read(text)) for text in texts]
    split = [(text.split("\n\nQ:")[0], parts) for text, parts in read if parts.rationale]

    assert len(split) > 900
    for text, parts in split:
        left = leave_out(text, parts.rationale or "")
        assert left.startswith("So the answer is (")
        assert output.read(left) == (parts.answer, None, True)
