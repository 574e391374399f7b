from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils.checkpoint import checkpoint
from trl.kernels.chunked_divergence import ChunkedDivergenceFunction
from trl.kernels.chunked_logprob import ChunkedLogProbFunction

from synthkd.training.fused import fused_loss
from synthkd.training.head import Head
from synthkd.training.loss import Full, Objective
from tests.training.whole import (
    EXACT,
    LABELS,
    TEACHERS,
    N,
    V,
    descend,
    make_head,
    make_hidden,
    make_teacher,
)

OBJECTIVES = {
    "forward": Objective(alpha=0.3),
    "reverse": Objective(divergence="reverse_kl", temperature=2.0),
    "jsd": Objective(divergence="jsd", beta=0.3),
    "variation": Objective(divergence="total_variation", alpha=0.1),
    "taid": Objective(interpolation=0.5),
    "sampled": Objective(tail="sampled"),
}
HEADS = {
    "plain": {},
    "bias": {"bias": True},
    "scale": {"scale": 0.25},
    "softcap": {"softcap": 3.0},
    "all": {"bias": True, "scale": 2.0, "softcap": 5.0},
}
EVERY = [  # the others know cross-entropy and forward KL alone
    ("none", "forward"),
    ("draws", "forward"),
    *((teacher, objective) for teacher in ("top", "full") for objective in OBJECTIVES),
]


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize(("teacher", "objective"), [pair for pair in EVERY if "taid" not in pair])
def test_gradients_are_those_of_the_value(teacher: str, head: str, objective: str) -> None:
    """A checkpoint makes the loss anew for each look that gradcheck has at its gradient.

    TAID is not among them: its target is held fixed.
    """
    told, chosen = make_teacher(teacher), OBJECTIVES[objective]
    given = make_head(**HEADS[head])
    weights = torch.linspace(0.0, 2.0, N)

    def lose(hidden: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        made = given._replace(weight=weight, bias=bias)
        return fused_loss(hidden, made, LABELS, told, chosen, weights, tile=3).loss

    inputs = [make_hidden(), *(tensor for tensor in given[:2] if tensor is not None)]

    assert torch.autograd.gradcheck(
        lambda *tensors: checkpoint(lose, *tensors, use_reentrant=False),
        [tensor.requires_grad_() for tensor in inputs],
        fast_mode=True,
    )


@pytest.mark.parametrize(("teacher", "objective"), EVERY)
def test_tiles_add_up_to_the_whole(teacher: str, objective: str) -> None:
    told, chosen = make_teacher(teacher), OBJECTIVES[objective]
    arguments = (make_hidden(), make_head(bias=True), LABELS, told, chosen)

    whole = descend(*arguments)

    for tile in (1, 3, N - 1, 100):
        torch.testing.assert_close(descend(*arguments, tile=tile), whole)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.floats(0, 5), min_size=N, max_size=N),
    st.sampled_from(TEACHERS),
    st.integers(1, N),
)
def test_weights_multiply_what_a_token_costs(weights: list[float], teacher: str, tile: int) -> None:
    hidden, head, told = make_hidden(), make_head(), make_teacher(teacher)
    alone = [
        fused_loss(hidden[one], head, LABELS[one], told and told.rows(one), Objective())
        for one in (slice(i, i + 1) for i in range(N))
    ]

    found = fused_loss(hidden, head, LABELS, told, Objective(), torch.tensor(weights), tile=tile)

    torch.testing.assert_close(
        found.loss, sum(w * one.loss for w, one in zip(weights, alone, strict=True))
    )
    for name in ("ce", "kd", "covered"):
        torch.testing.assert_close(getattr(found, name), sum(getattr(one, name) for one in alone))


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_cross_entropy_is_that_of_trl(head: str, dtype: torch.dtype) -> None:
    hidden, given = make_hidden(dtype=dtype), make_head(dtype=dtype, **HEADS[head])

    sums, gradients = descend(hidden, given, LABELS, None, Objective(), tile=3)

    inputs = [
        tensor.clone().requires_grad_() for tensor in (hidden, *given[:2]) if tensor is not None
    ]
    bias = inputs[2] if len(inputs) > 2 else None
    theirs = -ChunkedLogProbFunction.apply(
        *inputs[:2], bias, LABELS, 1.0, 8, given.softcap, given.scale
    )[0].sum()
    theirs.backward()
    close = (
        {"rtol": 2e-2, "atol": 2e-2} if dtype == torch.bfloat16 else {"rtol": 1e-5, "atol": 1e-5}
    )
    torch.testing.assert_close(sums.loss, theirs, **close)
    torch.testing.assert_close(gradients, [tensor.grad for tensor in inputs], **close)


@pytest.mark.parametrize("temperature", [1.0, 2.0])
@pytest.mark.parametrize(
    ("objective", "beta"),
    [
        (Objective(alpha=0.0), 0.0),
        (Objective(alpha=0.0, divergence="jsd", beta=0.3), 0.3),
        (Objective(alpha=0.0, divergence="reverse_kl"), 1.0),
    ],
    ids=["forward", "jsd", "reverse"],
)
def test_the_divergence_from_a_local_teacher_is_that_of_trl(
    objective: Objective, beta: float, temperature: float
) -> None:
    """But for the square of the temperature, which TRL leaves out."""
    dtype = torch.float32
    hidden, head = make_hidden(dtype=dtype), make_head(dtype=dtype, bias=True, scale=0.5)
    told = make_teacher("full", dtype=dtype)
    objective = replace(objective, temperature=temperature)

    sums, gradients = descend(hidden, head, LABELS, told, objective, tile=3)

    inputs = [tensor.clone().requires_grad_() for tensor in (hidden, *head[:2])]
    theirs = ChunkedDivergenceFunction.apply(
        *inputs, told.hidden, *told.head[:2], beta, temperature,
        head.scale, head.softcap, told.head.scale, told.head.softcap,
    )[0].sum() * temperature**2  # fmt: skip
    theirs.backward()
    torch.testing.assert_close(sums.loss, theirs, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(gradients, [t.grad for t in inputs], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("theirs", [V - 4, V + 6])
def test_ids_that_only_one_model_has_are_given_no_mass_by_the_teacher(theirs: int) -> None:
    hidden, head, objective = make_hidden(), make_head(), Objective(alpha=0.0)
    of_teacher, common = make_head(4, v=theirs, bias=True), min(V, theirs)
    log_p = torch.full((N, V), -np.inf, dtype=EXACT)
    log_p[:, :common] = of_teacher.logits(hidden)[:, :common]

    found = descend(hidden, head, LABELS, Full(hidden, of_teacher), objective)

    eye = Head(torch.eye(V, dtype=EXACT))
    expected = descend(hidden, head, LABELS, Full(log_p.clamp_min(-1e6), eye), objective)
    torch.testing.assert_close(found, expected)


def test_a_frozen_head_has_no_gradient() -> None:
    hidden, head = make_hidden().requires_grad_(), make_head(bias=True)

    fused_loss(hidden, head, LABELS, make_teacher("top"), Objective()).loss.backward()

    assert hidden.grad is not None
    assert head.weight.grad is None
    _, gradients = descend(make_hidden(), head, LABELS, make_teacher("top"), Objective())
    torch.testing.assert_close(hidden.grad, gradients[0])


@pytest.mark.parametrize("teacher", TEACHERS)
def test_evaluation_finds_the_same_loss_and_no_gradient(teacher: str) -> None:
    hidden, told = make_hidden().requires_grad_(), make_teacher(teacher)
    expected = fused_loss(hidden, make_head(), LABELS, told, Objective())

    for context in (torch.no_grad(), torch.inference_mode()):
        with context:
            found = fused_loss(hidden, make_head(), LABELS, told, Objective())

        assert not found.loss.requires_grad
        torch.testing.assert_close(tuple(found), tuple(term.detach() for term in expected))


@pytest.mark.parametrize("teacher", TEACHERS)
def test_no_tokens_cost_nothing(teacher: str) -> None:
    told = make_teacher(teacher)
    nothing = slice(0, 0)

    sums, gradients = descend(
        make_hidden()[nothing], make_head(bias=True), LABELS[nothing],
        told and told.rows(nothing), Objective(),
    )  # fmt: skip

    assert [term.item() for term in sums] == [0, 0, 0, 0]
    assert [gradient.abs().sum().item() for gradient in gradients] == [0, 0, 0]
