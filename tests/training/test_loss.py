import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from synthkd.training import loss as losses
from synthkd.training.loss import LossSums, TeacherBatch, distillation_loss, tiled_loss


def draw_case(seed: int, n: int, v: int, k: int) -> tuple[Tensor, Tensor, np.ndarray, TeacherBatch]:
    """Logits, targets, the teacher's whole distribution [n, v] and its top-k."""
    random = np.random.default_rng(seed)
    logits = torch.tensor(random.normal(size=(n, v)) * 3, dtype=torch.float32)
    teacher = random.dirichlet(np.full(v, 0.3), size=n)
    order = np.argsort(-teacher, axis=1)[:, :k]
    top = np.take_along_axis(teacher, order, axis=1)
    batch = TeacherBatch(
        torch.tensor(order),
        torch.tensor(np.log(np.maximum(top, 1e-30)), dtype=torch.float32),
        torch.tensor(np.maximum(1 - top.sum(axis=1), 0), dtype=torch.float32),
        torch.full((n,), k),
    )
    targets = torch.tensor(random.integers(0, v, size=n))
    return logits, targets, teacher, batch


def softmax(row: np.ndarray) -> np.ndarray:
    powers = np.exp(row - row.max())
    return powers / powers.sum()


def expect_loss(
    logits: Tensor, targets: Tensor, teacher: np.ndarray, kept: np.ndarray, alpha: float
) -> float:
    """The loss at temperature 1 by its definition, token by token, in float64."""
    total = 0.0
    for row, target, p, candidates in zip(
        logits.double().numpy(), targets.tolist(), teacher, kept, strict=True
    ):
        q = softmax(row)
        grouped_p = [*p[candidates], 1 - p[candidates].sum()]
        grouped_q = [*q[candidates], np.delete(q, candidates).sum()]
        kl = sum(
            a * math.log(a / b) for a, b in zip(grouped_p, grouped_q, strict=True) if a > 1e-15
        )
        total += -alpha * math.log(q[target]) + (1 - alpha) * kl
    return total


@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("k", [1, 5, 39])
def test_the_loss_is_its_definition_over_the_whole_vocabulary(k: int, alpha: float) -> None:
    logits, targets, teacher, batch = draw_case(seed=k, n=6, v=40, k=k)

    found = distillation_loss(logits, targets, batch, alpha=alpha, temperature=1.0)

    expected = expect_loss(logits, targets, teacher, batch.ids.numpy(), alpha)
    assert found.loss.item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("k", [29, 30])
def test_a_temperature_is_exact_where_the_candidates_are_the_whole_vocabulary(k: int) -> None:
    tau = 2.5
    logits, targets, teacher, batch = draw_case(seed=1, n=5, v=30, k=k)

    found = distillation_loss(logits, targets, batch, alpha=0.0, temperature=tau)

    expected = 0.0
    for row, p in zip(logits.double().numpy(), teacher, strict=True):
        p_tau, q_tau = p ** (1 / tau) / (p ** (1 / tau)).sum(), softmax(row / tau)
        expected += tau**2 * (p_tau * np.log(p_tau / q_tau)).sum()
    assert found.loss.item() == pytest.approx(expected, rel=1e-4)


def test_the_gradient_is_that_of_the_definition() -> None:
    logits, targets, _, batch = draw_case(seed=2, n=6, v=40, k=5)
    logits.requires_grad_()
    distillation_loss(logits, targets, batch, alpha=0.4, temperature=1.0).loss.backward()

    exact = logits.detach().double().requires_grad_()
    q = exact.softmax(dim=1)
    top_p, top_q = batch.logprobs.double().exp(), q.gather(1, batch.ids)
    tail_p, tail_q = batch.tails.double(), 1 - top_q.sum(dim=1)
    kl = (top_p * (top_p / top_q).log()).sum() + (tail_p * (tail_p / tail_q).log()).sum()
    ce = -q.gather(1, targets[:, None]).log().sum()
    (0.4 * ce + 0.6 * kl).backward()

    assert logits.grad is not None
    assert exact.grad is not None
    torch.testing.assert_close(logits.grad.double(), exact.grad, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_nothing_diverges_from_itself(temperature: float) -> None:
    logits, _, _, batch = draw_case(seed=3, n=6, v=40, k=5)
    log_q = logits.log_softmax(dim=1)
    top = log_q.gather(1, batch.ids)
    same = batch._replace(logprobs=top, tails=1 - top.exp().sum(dim=1))

    divergence = losses.divergence(log_q, same, temperature)

    assert divergence.abs().max() < 1e-5


def test_mass_moved_out_of_the_candidates_is_paid_for() -> None:
    logits, targets, _, batch = draw_case(seed=4, n=1, v=40, k=3)
    outside = torch.ones(40, dtype=torch.bool)
    outside[batch.ids[0]] = False
    leaked = logits + 5.0 * outside

    before = distillation_loss(logits, targets, batch, alpha=0.0, temperature=1.0).loss
    after = distillation_loss(leaked, targets, batch, alpha=0.0, temperature=1.0).loss

    assert after > before + 1


def test_a_token_the_teacher_said_nothing_of_costs_its_cross_entropy() -> None:
    logits, targets, _, batch = draw_case(seed=5, n=4, v=40, k=3)
    silent = batch._replace(counts=torch.zeros(4, dtype=torch.long))

    found = distillation_loss(logits, targets, silent, alpha=0.2, temperature=1.0)

    expected = torch.nn.functional.cross_entropy(logits, targets, reduction="sum")
    torch.testing.assert_close(found.loss, expected)
    assert found.kd == 0


def test_padding_behind_the_candidates_changes_nothing() -> None:
    logits, targets, _, batch = draw_case(seed=6, n=4, v=40, k=3)
    padding = torch.zeros(4, 2)
    padded = batch._replace(
        ids=torch.cat([batch.ids, padding.long()], dim=1),
        logprobs=torch.cat([batch.logprobs, padding], dim=1),
    )

    found = [
        distillation_loss(logits, targets, b, alpha=0.5, temperature=2.0).loss
        for b in (batch, padded)
    ]

    torch.testing.assert_close(*found)


# Log-probabilities as bad as they come: certain, impossible, rounded past one.
LOGPROBS = st.one_of(st.floats(-40, 0), st.sampled_from([0.0, -1e-7, -100.0, -math.inf]))
TAILS = st.one_of(st.floats(0, 1), st.sampled_from([0.0, 1.0, 1e-30]))
LOGITS = st.one_of(st.floats(-30, 30), st.sampled_from([-1e6, -1e4, 1e4, 1e6]))


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_the_loss_is_finite_and_never_negative(data: st.DataObject) -> None:
    n, v = data.draw(st.integers(1, 3)), data.draw(st.integers(2, 6))
    k = data.draw(st.integers(0, v))
    take = lambda values, *shape: torch.tensor(  # noqa: E731
        data.draw(st.lists(values, min_size=math.prod(shape), max_size=math.prod(shape)))
    ).reshape(shape)
    ids = [data.draw(st.permutations(range(v)))[:k] for _ in range(n)]
    teacher = TeacherBatch(
        torch.tensor(ids, dtype=torch.long).reshape(n, k),
        take(LOGPROBS, n, k).float(),
        take(TAILS, n).float(),
        take(st.integers(0, k), n).long(),
    )
    logits = take(LOGITS, n, v).float().requires_grad_()
    options = {"alpha": data.draw(st.floats(0, 1)), "temperature": data.draw(st.floats(0.5, 4))}

    found = distillation_loss(logits, take(st.integers(0, v - 1), n).long(), teacher, **options)
    found.loss.backward()

    assert all(math.isfinite(term) and term >= 0 for term in (sums.item() for sums in found))
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


def test_tiles_add_up_to_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    _, targets, _, batch = draw_case(seed=7, n=11, v=40, k=5)
    weight = torch.randn(40, 8, generator=torch.Generator().manual_seed(0))

    def run() -> tuple[LossSums, Tensor]:
        hidden = torch.linspace(-1, 1, 88).reshape(11, 8).requires_grad_()
        sums = tiled_loss(
            hidden,
            lambda part: part @ weight.T,
            40,
            lambda logits, tile: distillation_loss(
                logits, targets[tile], batch.rows(tile), alpha=0.5, temperature=1.0
            ),
        )
        sums.loss.backward()
        assert hidden.grad is not None
        return sums, hidden.grad

    whole, whole_gradient = run()
    monkeypatch.setattr(losses, "_TILE", 3 * 40)
    tiled, tiled_gradient = run()

    torch.testing.assert_close(tuple(tiled), tuple(whole))
    torch.testing.assert_close(tiled_gradient, whole_gradient)
