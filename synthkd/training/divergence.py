"""What each token costs, of the few logits that a loss looks at; differentiable.

The formulas are those of `loss`.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from synthkd.training.loss import Draws, Objective, TopK

NEVER = -1e4  # nats: log of no mass at all, finite so that 0 * log 0 and its gradient are 0
FLOOR = -50.0  # nats: reverse KL takes less for this, or a mass rounded to 0 would be all of it


class Logits(NamedTuple):
    """As much of the student's logits at n tokens as a loss looks at.

    `named` are those of the tokens that the teacher named. `rest` is the log-sum-exp of the
    others; with `Draws` or no teacher, of all.
    """

    labels: Tensor  # [n]
    named: Tensor  # [n, k]
    rest: Tensor  # [n]


class TokenLosses(NamedTuple):
    """What each of n tokens costs; `kd` is D, 0 where the teacher said nothing."""

    loss: Tensor
    ce: Tensor
    kd: Tensor
    is_covered: Tensor


def token_losses(
    logits: Logits, labels: Tensor, teacher: TopK | Draws | None, objective: Objective
) -> TokenLosses:
    """Return what each of `labels` [n] costs."""
    match teacher:
        case None:
            ce, kd = logits.rest - logits.labels, torch.zeros_like(logits.rest)
            is_covered = torch.zeros_like(labels, dtype=torch.bool)
        case TopK():
            named = logits.named.masked_fill(teacher.is_padding, -math.inf)
            outcomes = torch.cat([named, logits.rest[:, None]], dim=1)
            ce = outcomes.logsumexp(1) - logits.labels
            kd = _compare_top(teacher, outcomes, labels, ce, objective)
            is_covered = teacher.counts > 0
        case Draws():
            ce = logits.rest - logits.labels
            kd = _compare_shares(teacher.shares, logits.named - logits.rest[:, None])
            is_covered = teacher.counts > 0
    return mix(ce, kd, is_covered, objective)


def mix(ce: Tensor, kd: Tensor, is_covered: Tensor, objective: Objective) -> TokenLosses:
    """Return alpha·CE + (1 - alpha)·τ²·D where the teacher said something, CE where it did not."""
    kd = torch.where(is_covered, kd, 0.0)
    mixed = objective.alpha * ce + (1 - objective.alpha) * objective.temperature**2 * kd
    return TokenLosses(torch.where(is_covered, mixed, ce), ce, kd, is_covered)


def divergence(log_p: Tensor, logits: Tensor, objective: Objective) -> Tensor:
    """Return D(p_τ, q_τ) [n] over outcomes [n, k], of log-masses that need not be normalized."""
    log_p = log_p.clamp_min(NEVER)
    if objective.interpolation is not None:
        held = logits.detach().log_softmax(1).clamp_min(NEVER)
        log_p = torch.lerp(held, log_p.log_softmax(1), objective.interpolation)
    p = (log_p / objective.temperature).log_softmax(1)
    q = (logits / objective.temperature).log_softmax(1).clamp_min(NEVER)
    return _never_negative(_diverge(p, q, objective))


def _diverge(log_p: Tensor, log_q: Tensor, objective: Objective) -> Tensor:
    beta = objective.skew
    if objective.divergence == "total_variation":
        return (log_p.exp() - log_q.exp()).abs().sum(1) / 2
    if beta == 0:
        return _kl(log_p, log_q)
    if beta == 1:
        return _kl(log_q, log_p.clamp_min(FLOOR))
    log_m = torch.logaddexp(log_p + math.log(beta), log_q + math.log1p(-beta))
    return beta * _kl(log_p, log_m) + (1 - beta) * _kl(log_q, log_m)


def _never_negative(found: Tensor) -> Tensor:
    """Take a rounding error under 0 off the value; the gradient there is as good as any."""
    return found - found.detach().clamp_max(0.0)


def _kl(log_p: Tensor, log_q: Tensor) -> Tensor:
    return (log_p.exp() * (log_p - log_q)).sum(1)


def _compare_top(
    teacher: TopK, outcomes: Tensor, labels: Tensor, ce: Tensor, objective: Objective
) -> Tensor:
    """Return D [n] over `outcomes` [n, K + 1], the last of them all that is no candidate."""
    log_top = teacher.logprobs.to(outcomes.dtype).masked_fill(teacher.is_padding, -math.inf)
    # What is left of a mass where no token is left for it is a rounding error.
    has_no_tail = outcomes[:, -1].isneginf() | (objective.tail == "renormalized")
    log_tail = (
        teacher.tails.to(outcomes.dtype).clamp_min(0).log().masked_fill(has_no_tail, -math.inf)
    )
    log_p = torch.cat([log_top, log_tail[:, None]], dim=1).clamp_min(NEVER)
    if objective.tail != "sampled":
        return divergence(log_p, outcomes, objective)
    log_p, log_q = log_p.log_softmax(1), outcomes.log_softmax(1).clamp_min(NEVER)
    is_named = ((teacher.ids == labels[:, None]) & ~teacher.is_padding).any(1)
    return _kl(log_p[:, :-1], log_q[:, :-1]) + torch.where(is_named, 0.0, ce)


def _compare_shares(shares: Tensor, log_q: Tensor) -> Tensor:
    """Return the KL [n] of `shares` [n, D] from the mass q gives the same tokens."""
    log_p = shares.to(log_q.dtype).log().clamp_min(NEVER)
    return _never_negative(_kl(log_p, log_q.clamp_min(NEVER)))
