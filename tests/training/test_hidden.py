import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from safetensors.torch import load_file
from torch import Tensor
from torch.optim.optimizer import register_optimizer_step_pre_hook
from transformers import AutoModelForCausalLM

from synthkd.errors import ConfigError
from synthkd.training import (
    HiddenStudent,
    Progress,
    SftStudent,
    TrainingResult,
    TrainingRow,
)
from synthkd.training.base import load_base
from synthkd.training.matching import attention, cosine, pair_layers, relation, squared

from .conftest import TINY, MakeRows

Weights = dict[str, Tensor]
MakeTeacher = Any


@pytest.fixture(scope="module")
def make_teacher(tokenizer_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> MakeTeacher:
    """A teacher with random weights, larger than they usually are: each token is its own."""

    def make(**sizes: Any) -> Path:
        folder = tmp_path_factory.mktemp("teacher")
        new = {"from_scratch": {**TINY, **sizes, "tokenizer": str(tokenizer_folder)}}
        student = SftStudent.model_validate({"name": "t", "base": new, "method": "sft", "seed": 7})
        model, tokenizer, _ = load_base(student, [])
        with torch.no_grad():
            for weight in model.parameters():
                weight.mul_(10 if weight.dim() > 1 else 1)
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        return folder

    return make


def make_student(teacher: Path, tokenizer_folder: Path, **options: Any) -> HiddenStudent:
    sizes = {**TINY, "layers": 2, "tokenizer": str(tokenizer_folder)}
    optimizer = {"epochs": 1, "batch_size": 4, **options.pop("optimizer", {})}
    return HiddenStudent.model_validate(
        {
            "name": "tiny",
            "base": {"from_scratch": sizes},
            "method": "hidden",
            "teacher": str(teacher),
            "optimizer": optimizer,
            **options,
        }
    )


def train(
    student: HiddenStudent,
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


def expect_first_terms(student: HiddenStudent, rows: list[TrainingRow]) -> dict[str, float]:
    """Every term per token of an untrained student, row by row in float64, by definition."""
    base = load_base(student, [])
    teacher = AutoModelForCausalLM.from_pretrained(student.teacher)
    models = [model.double().eval() for model in (base.model, teacher)]
    for model in models:
        model.set_attn_implementation("eager")
    pairs = [(1, 2), (2, 4)]
    sums: dict[str, float] = dict.fromkeys(("ce", "kd", "cosine", "mse", "attention"), 0.0)
    means: list[list[list[Tensor]]] = [[], []]
    counts = []
    for row in rows:
        prompt = base.tokenizer.apply_chat_template(
            [message._asdict() for message in row.messages],
            add_generation_prompt=True,
            return_dict=False,
        )
        ids = [*prompt, *base.tokenizer(row.completion)["input_ids"], base.tokenizer.eos_token_id]
        places = range(len(prompt) - 1, len(ids) - 1)
        with torch.no_grad():
            q, p = (
                model(
                    input_ids=torch.tensor([ids]), output_hidden_states=True, output_attentions=True
                )
                for model in models
            )
        counts.append(len(places))
        for place in places:
            log_q = q.logits[0, place].log_softmax(0)
            sums["ce"] -= float(log_q[ids[place + 1]])
            soft_q, soft_p = (
                (out.logits[0, place] / student.temperature).log_softmax(0) for out in (q, p)
            )
            sums["kd"] += float((soft_p.exp() * (soft_p - soft_q)).sum())
            for ours, theirs in pairs:
                a, b = q.hidden_states[ours][0, place], p.hidden_states[theirs][0, place]
                sums["cosine"] += float(1 - (a @ b) / (a.norm() * b.norm())) / 2
                sums["mse"] += float(((a - b) ** 2).mean()) / 2
                # Four heads against two: their mean is compared.
                x, y = (
                    out.attentions[layer - 1][0, :, place].mean(0)
                    for out, layer in ((q, ours), (p, theirs))
                )
                if student.attention_loss == "mse":
                    sums["attention"] += float(((x - y) ** 2).sum()) / 2
                else:
                    seen = y > 0
                    sums["attention"] += float((y * (y / x).log())[seen].sum()) / 2
        for side, out, layers in ((0, q, (1, 2)), (1, p, (2, 4))):
            means[side].append([out.hidden_states[layer][0, places].mean(0) for layer in layers])
    sums["relation"] = sum(
        count * expect_relation(means, pair, row, student.relation_loss) / 2
        for pair in (0, 1)
        for row, count in enumerate(counts)
    )
    return {name: total / sum(counts) for name, total in sums.items()}


def expect_relation(means: list[list[list[Tensor]]], pair: int, row: int, kind: str) -> float:
    ours, theirs = ([state[pair] for state in side] for side in means)
    if kind == "similarity":
        found = []
        for states in (ours, theirs):
            here = torch.stack(
                [other @ states[row] / (other.norm() * states[row].norm()) for other in states]
            )
            found.append(here / here.norm())
        return float(((found[0] - found[1]) ** 2).sum())
    total, number = 0.0, len(ours)
    scales = [
        sum(float((a - b).norm()) for a in states for b in states) / (number * (number - 1))
        for states in (ours, theirs)
    ]
    for other in range(number):
        gap = abs(
            float((ours[row] - ours[other]).norm()) / scales[0]
            - float((theirs[row] - theirs[other]).norm()) / scales[1]
        )
        total += gap**2 / 2 if gap < 1 else gap - 0.5
    return total / (number - 1)


@pytest.mark.parametrize("kinds", [("mse", "similarity"), ("kl", "distance")], ids="-".join)
def test_the_trainer_minimizes_what_is_unlike_inside_token_by_token(
    kinds: tuple[str, str],
    make_teacher: MakeTeacher,
    tokenizer_folder: Path,
    make_rows: MakeRows,
    tmp_path: Path,
) -> None:
    weights = {"cosine": 0.5, "mse": 0.25, "attention": 2.0, "relation": 3.0}
    student = make_student(
        make_teacher(layers=4, heads=4),
        tokenizer_folder,
        optimizer={"batch_size": 12},
        alpha=0.3,
        temperature=2.0,
        attention_loss=kinds[0],
        relation_loss=kinds[1],
        **weights,
    )
    rows = make_rows(12)

    result, _ = train(student, rows, tmp_path / "tiny")

    expected, entry = expect_first_terms(student, rows), result.log[0]
    assert {name: entry.more[name] for name in weights} == pytest.approx(
        {name: expected[name] for name in weights}, rel=1e-4
    )
    assert (entry.ce, entry.kd) == pytest.approx((expected["ce"], expected["kd"]), rel=1e-4)
    inside = sum(weight * expected[name] for name, weight in weights.items())
    assert entry.loss == pytest.approx(
        0.3 * expected["ce"] + 0.7 * 4 * expected["kd"] + inside, rel=1e-4
    )
    assert result.coverage == 1.0


def test_small_micro_batches_train_the_same_student(
    make_teacher: MakeTeacher, tokenizer_folder: Path, make_rows: MakeRows, tmp_path: Path
) -> None:
    teacher, rows = make_teacher(hidden_size=24), make_rows(40)

    whole, parts = (
        train(
            make_student(
                teacher,
                tokenizer_folder,
                optimizer={"batch_size": 16, "micro_batch_size": size},
                mse=0.1,
                attention=1.0,
            ),
            rows,
            tmp_path / str(size),
        )
        for size in (16, 4)
    )

    assert largest_difference(whole[1], parts[1]) < 1e-5
    for one, other in zip(whole[0].log, parts[0].log, strict=True):
        assert dict(one.more) == pytest.approx(dict(other.more), rel=1e-4)


def test_an_interrupted_training_goes_on_with_its_projections(
    make_teacher: MakeTeacher, tokenizer_folder: Path, make_rows: MakeRows, tmp_path: Path
) -> None:
    rows = make_rows(22)
    student = make_student(make_teacher(hidden_size=24), tokenizer_folder, optimizer={"epochs": 2})
    expected, weights = train(student, rows, tmp_path / "whole" / "tiny")
    folder = tmp_path / "broken" / "tiny"

    def interrupt(step: int, steps: int, measured: Mapping[str, float]) -> None:
        if step == 9:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(student, rows, folder, interrupt)
    seen: list[int] = []

    result, found = train(student, rows, folder, lambda step, *_: seen.append(step))

    assert seen[0] > 1
    assert largest_difference(found, weights) == 0.0
    assert result.log == expected.log


def test_the_gradients_of_its_projections_are_clipped_with_its_own(
    make_teacher: MakeTeacher, tokenizer_folder: Path, make_rows: MakeRows, tmp_path: Path
) -> None:
    norms = []

    def measure(optimizer: torch.optim.Optimizer, *_: Any) -> None:
        gradients = [p.grad for group in optimizer.param_groups for p in group["params"]]
        norms.append(float(torch.cat([g.flatten() for g in gradients if g is not None]).norm()))

    teacher = make_teacher(hidden_size=24)
    hook = register_optimizer_step_pre_hook(measure)
    try:
        train(make_student(teacher, tokenizer_folder, mse=100.0), make_rows(8), tmp_path / "tiny")
    finally:
        hook.remove()

    assert norms == pytest.approx([1.0] * 2, abs=1e-4)


def test_a_student_grows_like_its_teacher_and_keeps_nothing_of_the_comparison(
    make_teacher: MakeTeacher, tokenizer_folder: Path, make_rows: MakeRows, tmp_path: Path
) -> None:
    student = make_student(
        make_teacher(hidden_size=24, layers=3),
        tokenizer_folder,
        alpha=1.0,
        layers="last",
        mse=1.0,
        attention=10.0,
        relation=1.0,
        optimizer={"epochs": 8, "lr": 1e-2},
    )

    result, weights = train(student, make_rows(24), tmp_path / "tiny")

    first, last = result.log[0].more, result.log[-1].more
    assert all(last[name] < first[name] for name in ("cosine", "mse", "attention", "relation"))
    assert last["mse"] < first["mse"] / 2
    assert result.log[0].kd is None
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "tiny")
    assert set(weights) <= set(model.state_dict())
    written = (tmp_path / "tiny" / "config.json").read_text()
    assert "eager" not in written
    assert not json.loads(written).get("output_hidden_states")


def test_low_rank_changes_learn_what_is_inside(
    make_teacher: MakeTeacher, make_rows: MakeRows, tmp_path: Path
) -> None:
    teacher, base = make_teacher(), make_teacher(hidden_size=24)
    student = HiddenStudent.model_validate(
        {
            "name": "a",
            "base": str(base),
            "method": "hidden",
            "teacher": str(teacher),
            "optimizer": {"epochs": 2, "batch_size": 4, "lr": 1e-2},
            "lora": {"r": 2},
        }
    )

    result, weights = train(student, make_rows(8), tmp_path / "a")

    assert result.log[-1].more["cosine"] < result.log[0].more["cosine"]
    assert weights.keys() == load_file(base / "model.safetensors").keys()


def test_layers_that_are_not_there_are_told(
    make_teacher: MakeTeacher, tokenizer_folder: Path, make_rows: MakeRows, tmp_path: Path
) -> None:
    student = make_student(make_teacher(), tokenizer_folder, layers=[[1, 1], [3, 1], [2, 5]])

    with pytest.raises(ConfigError, match="0 to 2 and the teacher 0 to 1") as caught:
        train(student, make_rows(4), tmp_path / "tiny")

    assert [mistake[:6] for mistake in caught.value.mistakes] == ["[3, 1]", "[2, 5]"]


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        pytest.param({"cosine": 0}, "nothing inside the teacher", id="nothing-to-learn"),
        pytest.param({"layers": []}, "layers is empty", id="no-layers"),
        pytest.param(
            {"layers": [[0, 0]], "attention": 1}, "attend to nothing", id="embeddings-attend"
        ),
        pytest.param({"layers": "first"}, "uniform", id="unknown-layers"),
    ],
)
def test_options_that_compare_nothing_are_refused(
    options: dict[str, Any], complaint: str, tokenizer_folder: Path
) -> None:
    with pytest.raises(ValidationError, match=complaint):
        make_student(Path("teacher"), tokenizer_folder, **options)


def test_layers_are_paired_by_depth() -> None:
    assert pair_layers("uniform", 3, 12) == [(1, 4), (2, 8), (3, 12)]
    assert pair_layers("uniform", 4, 2)[-1] == (4, 2)
    assert pair_layers("last", 3, 12) == [(3, 12)]
    assert pair_layers([(0, 0), (3, 5)], 3, 12) == [(0, 0), (3, 5)]


@given(st.integers(0, 1000), st.integers(1, 5), st.sampled_from(["similarity", "distance"]))
def test_relations_are_the_same_from_another_side_and_in_another_unit(
    seed: int, rows: int, kind: Any
) -> None:
    random = torch.Generator().manual_seed(seed)
    states = torch.randn(rows, 6, dtype=torch.float64, generator=random)
    turn = torch.linalg.qr(torch.randn(6, 6, dtype=torch.float64, generator=random))[0]
    ours = (3 * states @ turn).requires_grad_()

    found = relation(ours, states, kind)
    (gradient,) = torch.autograd.grad(found.sum(), ours)

    assert found.shape == (rows,)
    assert float(found.detach().abs().max()) < 1e-12
    assert gradient.isfinite().all()


@pytest.mark.parametrize("kind", ["similarity", "distance"])
def test_gradients_are_those_of_the_losses(kind: Any) -> None:
    random = torch.Generator().manual_seed(0)
    draw = lambda *shape: torch.randn(*shape, dtype=torch.float64, generator=random)  # noqa: E731
    ours, theirs = draw(4, 5).requires_grad_(), draw(4, 7)
    maps, other = draw(4, 2, 3).softmax(-1).requires_grad_(), draw(4, 3, 3).softmax(-1)

    assert torch.autograd.gradcheck(lambda x: relation(x, theirs, kind), ours)
    assert torch.autograd.gradcheck(lambda x: cosine(x, theirs[:, :5]), ours)
    assert torch.autograd.gradcheck(lambda x: squared(x, theirs[:, :5]), ours)
    for attention_kind in ("mse", "kl"):
        assert torch.autograd.gradcheck(lambda x, k=attention_kind: attention(x, other, k), maps)


def test_one_row_is_related_to_nothing() -> None:
    state = torch.ones(1, 3, requires_grad=True)

    losses = [relation(state, torch.ones(1, 4), kind) for kind in ("similarity", "distance")]

    assert [float(loss.detach()) for loss in losses] == [0.0, 0.0]
