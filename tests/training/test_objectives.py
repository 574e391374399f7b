"""What each option makes a student minimize."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from synthkd.errors import ConfigError
from synthkd.records import Alternative, Message, Position, TokenLogprobs
from synthkd.training import KdStudent, LogEntry, TrainingRow
from synthkd.training.base import load_base
from synthkd.training.methods.kd import Taid
from synthkd.training.rows import read_student_vocabulary
from synthkd.training.schedule import Interpolation

from .conftest import MakeRows, largest_difference, make_student, train
from .telling import tell

ALL = {"optimizer": {"batch_size": 6}}  # six rows, one step


def first(folder: Path, rows: list[TrainingRow], student: Any) -> LogEntry:
    return train(student, rows, folder / "tiny")[0].log[0]


def ask(model: Any, tokenizer: Any, row: TrainingRow) -> torch.Tensor:
    """The log-probabilities of what follows each token before the completion's, in float64."""
    messages = [message._asdict() for message in row.messages]
    prompt = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
    ids = [*tokenizer(row.completion)["input_ids"], tokenizer.eos_token_id]
    with torch.no_grad():
        logits = model.eval()(input_ids=torch.tensor([[*prompt, *ids]])).logits[0].double()
    return logits[len(prompt) - 1 : -1].log_softmax(dim=-1)


def test_a_weight_multiplies_what_a_row_costs(
    tokenizer_folder: Path, make_rows: MakeRows, tmp_path: Path
) -> None:
    rows = make_rows(6)
    student = make_student("sft", tokenizer_folder, **ALL)
    alone = first(
        tmp_path / "alone",
        [replace(row, weight=float(i == 2)) for i, row in enumerate(rows)],
        student,
    )

    double = first(
        tmp_path / "double",
        [replace(row, weight=1 + float(i == 2)) for i, row in enumerate(rows)],
        student,
    )
    plain = first(tmp_path / "plain", rows, student)

    assert 0 < alone.loss < plain.loss
    assert double.loss == pytest.approx(plain.loss + alone.loss, rel=1e-5)
    assert double.ce == pytest.approx(plain.ce)
    assert plain.tokens == sum(len(row.logprobs.positions) for row in rows if row.logprobs)


def test_random_targets_are_learned_by_their_shares(
    tokenizer_folder: Path, make_rows: MakeRows, tmp_path: Path
) -> None:
    draw = np.random.default_rng(0)
    rows = []
    for row in make_rows(6):
        assert row.logprobs
        drawn = [
            (*((token, 1) for token in draw.choice(200, 3, replace=False).tolist()), (201, 2))
            for _ in row.logprobs.positions
        ]
        rows.append(replace(row, logprobs=replace(row.logprobs, draws=tuple(drawn))))
    student = make_student("kd", tokenizer_folder, targets="random", alpha=0.25, **ALL)
    base = load_base(student, [])
    kl = 0.0
    for row in rows:
        assert row.logprobs
        log_q = ask(base.model, base.tokenizer, row)
        for place, drawn_here in enumerate(row.logprobs.draws):
            kl += sum(n / 5 * (math.log(n / 5) - float(log_q[place][i])) for i, n in drawn_here)

    found = first(tmp_path, rows, student)

    assert student.needs == {"draws"}
    assert found.kd == pytest.approx(kl / found.tokens, rel=1e-4)
    assert found.loss == pytest.approx(0.25 * found.ce + 0.75 * kl / found.tokens, rel=1e-4)


def test_a_teacher_that_is_there_is_learned_whole(
    tokenizer_folder: Path, make_rows: MakeRows, tmp_path: Path
) -> None:
    rows = [replace(row, logprobs=None) for row in make_rows(6)]
    teacher = make_student("sft", tokenizer_folder, seed=7, optimizer={"epochs": 2})
    train(teacher, rows, tmp_path / "teacher")
    student = make_student(
        "kd",
        tokenizer_folder,
        targets="full",
        teacher=str(tmp_path / "teacher"),
        alpha=0.0,
        temperature=2.0,
        **ALL,
    )
    base = load_base(student, [])
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "teacher")
    kl = 0.0
    for row in rows:
        p, q = ((ask(m, base.tokenizer, row) / 2).log_softmax(-1) for m in (model, base.model))
        kl += float((p.exp() * (p - q)).sum())

    result, _ = train(student, rows, tmp_path / "tiny")

    assert student.needs == set()
    assert result.coverage == 1
    assert result.log[0].loss == pytest.approx(4 * kl / result.log[0].tokens, rel=1e-3)


def sample_everywhere(rows: list[TrainingRow], *, pure: bool | None) -> list[TrainingRow]:
    return [replace(row, is_pure_sample=pure) for row in rows]


@pytest.mark.parametrize("pure", [False, None])
def test_sampled_tokens_stand_for_the_tail_only_where_they_were_sampled_from_all(
    pure: bool | None, tokenizer_folder: Path, make_rows: MakeRows, tmp_path: Path
) -> None:
    student = make_student("kd", tokenizer_folder, tail="sampled")
    mixed = [
        *sample_everywhere(make_rows(2), pure=True),
        *sample_everywhere(make_rows(1), pure=pure),
    ]

    with pytest.raises(ConfigError, match=r"of 1 rows it is not known.*tail: bucket"):
        train(student, mixed, tmp_path / "tiny")

    assert train(student, mixed[:2], tmp_path / "tiny")[0].coverage == 1


def test_the_sampled_token_beyond_the_top_k_is_the_tails(
    tokenizer_folder: Path, tmp_path: Path
) -> None:
    # A top-2 of a teacher that sampled its best token, its second, and then one of the tail.
    tokenizer = AutoTokenizer.from_pretrained(tokenizer_folder)
    name = read_student_vocabulary(tokenizer).name
    a, b, c = (tokenizer(letter)["input_ids"][0] for letter in "abc")
    two = (Alternative(a, math.log(0.5)), Alternative(b, math.log(0.3)))
    three = (*two, Alternative(c, math.log(0.15)))
    end = Position((Alternative(tokenizer.eos_token_id, 0.0),), 0, 0.0)
    positions = (Position(two, 0, 0.2), Position(two, 1, 0.2), Position(three, 2, 0.05), end)
    row = TrainingRow(
        "1", (Message("user", "red"),), "abc", TokenLogprobs(name, positions), is_pure_sample=True
    )
    student = make_student("kd", tokenizer_folder, tail="sampled", alpha=0.0)
    base = load_base(student, [])
    log_q = ask(base.model, base.tokenizer, row)
    top = sum(
        p * (math.log(p) - float(log_q[place][token]))
        for place in range(3)
        for p, token in ((0.5, a), (0.3, b))
    )
    expected = top - float(log_q[2][c]) - float(log_q[3][tokenizer.eos_token_id])

    found = first(tmp_path, [row], student)

    assert found.loss == pytest.approx(expected / 4, rel=1e-4)


def test_a_temperature_that_is_not_exact_is_warned_of(
    tokenizer_folder: Path, make_rows: MakeRows, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    train(make_student("kd", tokenizer_folder, temperature=2.0), make_rows(4), tmp_path / "tiny")

    (warned,) = caplog.messages
    assert warned.startswith("an approximation: temperature softens the tokens outside")


def test_cross_entropy_comes_first_where_it_is_to_warm_up(
    tokenizer_folder: Path, make_rows: MakeRows, tmp_path: Path
) -> None:
    student = make_student("kd", tokenizer_folder, ce_warmup=0.5, alpha=0.2)

    result, _ = train(student, make_rows(16), tmp_path / "tiny")

    steps = [(entry, entry.kd) for entry in result.log]
    shares = [(entry.loss - kd) / (entry.ce - kd) for entry, kd in steps if kd is not None]
    assert shares == pytest.approx([1.0, 0.6, 0.2, 0.2], abs=1e-3)


def test_the_target_moves_to_the_teacher_at_least_linearly_and_faster_with_success() -> None:
    slow, fast = (Interpolation(Taid(alpha=0.1, momentum=0.0), lambda: 0.0) for _ in range(2))

    seen = []
    for step in range(1, 11):
        slow.move(1.0 + step, step / 100)
        fast.move(1.0 / step, step / 100)
        seen.append((slow.t, fast.t))

    assert all(0.4 + 0.6 * step / 100 <= t for step, (t, _) in enumerate(seen, 1))
    assert all(t <= u for t, u in seen)
    assert seen[-1][0] < seen[-1][1] < 1
    slow.move(1.0, 1.0)
    assert slow.t == 1.0


def test_a_moving_target_is_where_it_was_after_an_interruption(
    tokenizer_folder: Path, make_rows: MakeRows, tmp_path: Path
) -> None:
    student = make_student("kd", tokenizer_folder, taid={"alpha": 0.2}, alpha=0.0)
    expected, weights = train(student, make_rows(24), tmp_path / "whole" / "tiny")
    folder = tmp_path / "broken" / "tiny"

    def interrupt(step: int, *_: object) -> None:
        if step == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(student, make_rows(24), folder, interrupt)

    result, found = train(student, make_rows(24), folder)

    assert result.log == expected.log
    assert largest_difference(found, weights) == 0


def test_log_probabilities_that_are_none_are_left_out_and_told(
    tokenizer_folder: Path, make_rows: MakeRows, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = make_rows(6)
    said = rows[0].logprobs
    assert said
    nan, more, *rest = said.positions
    broken = (
        nan._replace(top=(nan.top[0], nan.top[1]._replace(logprob=math.nan), *nan.top[2:])),
        more._replace(tail=1.5),
        *rest,
    )
    rows[0] = replace(rows[0], logprobs=replace(said, positions=broken))

    result, weights = train(make_student("kd", tokenizer_folder), rows, tmp_path / "tiny")

    tokens = sum(len(row.logprobs.positions) for row in rows if row.logprobs)
    assert result.coverage == pytest.approx(1 - 2 / tokens)
    assert all(bool(tensor.isfinite().all()) for tensor in weights.values())
    assert f"tokens=2 of={tokens}" in caplog.text


def test_log_probabilities_that_claim_a_tokenizer_they_are_not_of_are_refused(
    tokenizer_folder: Path, make_rows: MakeRows, tmp_path: Path
) -> None:
    rows = make_rows(3)
    shifted = [
        replace(row, logprobs=other.logprobs)
        for row, other in zip(rows, rows[1:] + rows[:1], strict=True)
    ]

    with pytest.raises(ConfigError, match="do not spell their completion") as caught:
        train(make_student("kd", tokenizer_folder), shifted, tmp_path / "tiny")

    assert caught.value.mistakes[-1].startswith("3 of these name this very tokenizer")


def test_too_little_said_is_refused_unless_it_is_meant(
    tokenizer_folder: Path, make_rows: MakeRows, tmp_path: Path
) -> None:
    rows = [
        replace(row, logprobs=row.logprobs if i == 0 else None)
        for i, row in enumerate(make_rows(6))
    ]

    with pytest.raises(ConfigError, match=r"cover \d+% of the completion tokens.*min_coverage 50%"):
        train(make_student("kd", tokenizer_folder), rows, tmp_path / "tiny")

    meant = make_student("kd", tokenizer_folder, min_coverage=0.01)
    assert 0 < (train(meant, rows, tmp_path / "tiny")[0].coverage or 0) < 0.5


def test_what_another_tokenizer_leaves_no_choice_of_is_said_too(
    tokenizer_folder: Path, make_rows: MakeRows, tmp_path: Path
) -> None:
    # A teacher whose tokens are whole answers: all but their first letters follow from those.
    rows = []
    for row in make_rows(6):
        tokens = [row.completion.encode(), b""]
        numbers = {token: number for number, token in enumerate(tokens)}
        said = tell(tokens, [{token: 0.9} for token in tokens], numbers)
        rows.append(replace(row, logprobs=said))
    tokenizer = AutoTokenizer.from_pretrained(tokenizer_folder)
    tokens = sum(len(tokenizer(row.completion)["input_ids"]) + 1 for row in rows)

    result, _ = train(make_student("kd", tokenizer_folder), rows, tmp_path / "tiny")

    assert result.coverage == 1
    assert result.certain == pytest.approx(1 - 2 * len(rows) / tokens)
    assert result.certain > 0.3


def test_a_kd_student_needs_what_it_learns() -> None:
    plain = KdStudent.model_validate({"name": "a", "base": "b", "method": "kd"})

    assert plain.needs == {"logprobs"}
