"""The loss by its definition, token by token in float64; and small cases of everything it takes."""

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from synthkd.training.fused import fused_loss
from synthkd.training.head import Head
from synthkd.training.loss import Draws, Full, LossSums, Objective, Teacher, TopK

Row = NDArray[np.float64]
EXACT = torch.float64
N, V, H, K = 7, 30, 5, 4
TEACHERS = ["none", "top", "draws", "full"]
LABELS = torch.arange(N) * 4


def softmax(row: Row) -> Row:
    powers = np.exp(row - row.max())
    return powers / powers.sum()


def draw_distributions(seed: int, n: int, v: int) -> NDArray[np.float64]:
    """`n` distributions over `v` tokens, no token without mass."""
    return np.random.default_rng(seed).dirichlet(np.full(v, 0.3), size=n) * 0.99 + 0.01 / v


def say_top(p: NDArray[np.float64], k: int) -> TopK:
    """What a teacher who thinks `p` [n, v] says of its top `k`."""
    order = np.argsort(-p, axis=1)[:, :k]
    top = np.take_along_axis(p, order, axis=1)
    tails = 1 - top.sum(axis=1)
    counts = torch.full((len(p),), k)
    return TopK(torch.tensor(order), torch.tensor(np.log(top)), torch.tensor(tails.clip(0)), counts)


def lose(
    logits: Tensor, labels: Tensor, teacher: Teacher | None, objective: Objective, **options
) -> LossSums:
    """The loss of logits as they stand: hidden states of a head that is the identity."""
    head = Head(torch.eye(logits.shape[1], dtype=logits.dtype))
    return fused_loss(logits, head, labels, teacher, objective, **options)


def expect(logits: Row, label: int, p: Row | None, objective: Objective) -> float:
    """The loss of one token; `p` is over all tokens."""
    ce = -np.log(softmax(logits)[label])
    if p is None:
        return float(ce)
    tau = objective.temperature
    found = diverge(
        temper(intermediate(logits, p, objective), tau), softmax(logits / tau), objective
    )
    return float(objective.alpha * ce + (1 - objective.alpha) * tau**2 * found)


def expect_top(
    logits: Row, label: int, p: Row, kept: NDArray[np.int64], objective: Objective
) -> float:
    """The same where of `p` only the tokens `kept` are known, and what is left in one piece."""
    if objective.tail == "renormalized":
        p = np.where(np.isin(np.arange(len(p)), kept), p, 0)
        p = p / p.sum()
    q = softmax(logits)
    grouped = np.log([*q[kept], np.delete(q, kept).sum() + 1e-300])
    told = np.array([*p[kept], np.delete(p, kept).sum()])
    found = expect(grouped, 0, told, replace(objective, alpha=0.0, tail="bucket"))
    return float(-objective.alpha * np.log(q[label]) + (1 - objective.alpha) * found)


def diverge(p: Row, q: Row, objective: Objective) -> float:
    """D, by the formulas of the papers."""
    beta = objective.beta
    if objective.divergence == "total_variation":
        return float(np.abs(p - q).sum() / 2)
    if objective.divergence == "forward_kl":
        return kl(p, q)
    if objective.divergence == "reverse_kl":
        return kl(q, p)
    mixture = beta * p + (1 - beta) * q
    return beta * kl(p, mixture) + (1 - beta) * kl(q, mixture)


def kl(p: Row, q: Row) -> float:
    return float(sum(a * np.log(a / b) for a, b in zip(p, q, strict=True) if a > 1e-15))


def temper(p: Row, tau: float) -> Row:
    powers = p ** (1 / tau)
    return powers / powers.sum()


def intermediate(logits: Row, p: Row, objective: Objective) -> Row:
    """TAID's target: between student and teacher, in logits."""
    if objective.interpolation is None:
        return p
    t = objective.interpolation
    return softmax((1 - t) * logits + t * np.log(p + 1e-300))


def make_hidden(n: int = N, dtype: torch.dtype = EXACT, h: int = H) -> Tensor:
    return torch.tensor(np.random.default_rng(0).normal(size=(n, h)), dtype=dtype)


def make_head(
    seed: int = 1, *, v: int = V, h: int = H, dtype: torch.dtype = EXACT, bias: bool = False, **rest
) -> Head:
    draw = np.random.default_rng(seed)
    weight = torch.tensor(draw.normal(size=(v, h)), dtype=dtype)
    return Head(weight, torch.tensor(draw.normal(size=v), dtype=dtype) if bias else None, **rest)


def make_teacher(kind: str, n: int = N, v: int = V, dtype: torch.dtype = EXACT) -> Teacher | None:
    top = say_top(draw_distributions(2, n, v), K)
    if kind == "top":
        counts = torch.tensor([K, 2, 0, K, 1, K, 3]).repeat(n // N + 1)[:n]
        return top._replace(logprobs=top.logprobs.float(), tails=top.tails.float(), counts=counts)
    if kind == "draws":
        shares = torch.tensor([0.5, 0.3, 0.2, 0.0]).repeat(n, 1)
        return Draws(top.ids, shares, torch.full((n,), 3))
    if kind == "full":
        hidden = torch.tensor(np.random.default_rng(3).normal(size=(n, 3)), dtype=dtype)
        return Full(hidden, make_head(4, v=v, h=3, dtype=dtype, bias=True, softcap=4.0))
    return None


def descend(
    hidden: Tensor, head: Head, labels: Tensor, *rest: object, **options: object
) -> tuple[LossSums, list[Tensor]]:
    """The sums, and the gradients in hidden states, weight and bias."""
    inputs = [given.clone().requires_grad_() for given in (hidden, *head[:2]) if given is not None]
    head = head._replace(weight=inputs[1], bias=inputs[2] if len(inputs) > 2 else None)
    sums = fused_loss(inputs[0], head, labels, *rest, **options)
    sums.loss.backward()
    return sums, [given.grad for given in inputs if given.grad is not None]
