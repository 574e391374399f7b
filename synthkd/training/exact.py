"""The loss against a teacher whose every logit is known, and its gradient, in four tensors.

What `divergence` says of all outcomes, for [n, V] so large that the dozen tensors autograd would
keep are too many. The gradients are written out by hand: with c = ∂D/∂log q, that in the logits
is c - q·Σc.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from synthkd.training.divergence import FLOOR, NEVER, TokenLosses, mix
from synthkd.training.loss import Objective


class Buffers(NamedTuple):
    """Tensors [n, V]: the logits of student and teacher, and two to work in. All are spent."""

    student: Tensor
    teacher: Tensor
    first: Tensor
    second: Tensor


def lose_exactly(
    buffers: Buffers, labels: Tensor, weights: Tensor, objective: Objective
) -> TokenLosses:
    """Return what each of `labels` [n] costs; `buffers.student` becomes the gradient.

    That is: of the losses times `weights` [n], summed, in the student's logits.
    """
    log_q, log_p, work = buffers.student, buffers.teacher, buffers.first
    tau, alpha = objective.temperature, objective.alpha
    _normalize(log_q, work)
    ce = -log_q.gather(1, labels[:, None])[:, 0]
    log_q.clamp_min_(NEVER)
    _normalize(log_p, work)
    log_p.clamp_min_(NEVER)
    if objective.interpolation is not None:
        torch.lerp(log_q, log_p, objective.interpolation, out=log_p)
    if objective.interpolation is not None or tau != 1:
        _normalize(log_p.div_(tau), work)
    shift = _normalize(log_q.div_(tau), work) if tau != 1 else None
    kd, by_kd = _derive(buffers, objective)
    if shift is not None:
        log_q.add_(shift).mul_(tau)
    log_q.exp_().mul_(alpha).add_(by_kd, alpha=(1 - alpha) * tau)
    log_q.scatter_add_(1, labels[:, None], torch.full_like(ce, -alpha)[:, None])
    log_q.mul_(weights[:, None])
    return mix(ce, kd.clamp_min(0.0), torch.ones_like(labels, dtype=torch.bool), objective)


def _derive(buffers: Buffers, objective: Objective) -> tuple[Tensor, Tensor]:
    """Return D [n] and its gradient in the student's softened logits, in one of the buffers."""
    if objective.divergence == "total_variation":
        return _derive_variation(buffers)
    if objective.skew == 0:
        return _derive_forward(buffers)
    if objective.skew == 1:
        return _derive_reverse(buffers)
    return _derive_jsd(buffers, objective.skew)


def _derive_forward(buffers: Buffers) -> tuple[Tensor, Tensor]:
    log_q, log_p, p, _ = buffers
    torch.exp(log_p, out=p)
    found = log_p.sub_(log_q).mul_(p).sum(1)
    return found, torch.exp(log_q, out=log_p).sub_(p)


def _derive_reverse(buffers: Buffers) -> tuple[Tensor, Tensor]:
    log_q, log_p, q, _ = buffers
    torch.exp(log_q, out=q)
    ratio = torch.sub(log_q, log_p.clamp_min_(FLOOR), out=log_p).mul_(q)
    found = ratio.sum(1)
    return found, ratio.sub_(q.mul_(found[:, None]))


def _derive_jsd(buffers: Buffers, beta: float) -> tuple[Tensor, Tensor]:
    log_q, log_p, log_m, mass = buffers
    torch.add(log_p, math.log(beta) - math.log1p(-beta), out=log_m)
    torch.logaddexp(log_m, log_q, out=log_m).add_(math.log1p(-beta))
    torch.exp(log_p, out=mass)
    of_teacher = log_p.sub_(log_m).mul_(mass).sum(1)
    torch.exp(log_q, out=mass)
    ratio = torch.sub(log_q, log_m, out=log_m).mul_(mass)
    of_student = ratio.sum(1)
    found = beta * of_teacher + (1 - beta) * of_student
    return found, ratio.sub_(mass.mul_(of_student[:, None])).mul_(1 - beta)


def _derive_variation(buffers: Buffers) -> tuple[Tensor, Tensor]:
    log_q, log_p, q, sign = buffers
    torch.exp(log_q, out=q)
    torch.sub(q, log_p.exp_(), out=sign)
    found = torch.linalg.vector_norm(sign, 1, dim=1) / 2
    moved = sign.sign_().mul_(q)
    return found, moved.sub_(q.mul_(moved.sum(1, keepdim=True))).div_(2)


def _normalize(logits: Tensor, work: Tensor) -> Tensor:
    """Make log-probabilities of `logits`; return what was taken off each row [n, 1]."""
    peak = logits.amax(1, keepdim=True).clamp_min(torch.finfo(logits.dtype).min)
    torch.sub(logits, peak, out=work)
    total = peak + work.exp_().sum(1, keepdim=True).log()
    logits.sub_(total)
    return total
