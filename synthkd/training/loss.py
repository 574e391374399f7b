r"""The distillation loss over what a teacher's log-probabilities tell.

For one token the teacher gave log-probabilities of k candidates and the mass of all
others together. Teacher p and student q are compared over these k + 1 outcomes:

    loss = a·CE + (1 - a)·τ²·KL(p_τ ‖ q_τ)        CE = -log q(token)
    KL(p ‖ q) = Σ_{i ∈ top-k} p_i·log(p_i / q_i) + p_other·log(p_other / q_other)

q_other is summed over every token of the student's vocabulary that is no candidate,
so mass that the student moves out of the top-k is paid for. (Renormalizing both sides
over the top-k alone would make that free.) CE and KL come from one log-softmax.

τ softens the k + 1 outcomes of both sides: p_τ ∝ p^(1/τ), "other" as if it were one
token; τ² keeps the size of the gradient (Hinton et al., arXiv:1503.02531). That is
the loss over the whole vocabulary when τ = 1 and the tail is grouped, and when k + 1
outcomes are all there is. Otherwise it is not, but it is still zero exactly where
teacher and student agree on the k + 1.

A token of which the teacher said nothing costs CE, with weight 1. All is in float32,
finite, and never negative.
"""

from collections.abc import Callable
from typing import NamedTuple, cast

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

_NEVER = -1e4  # nats: log of no mass at all, finite so that 0 * log 0 and its gradient are 0
_TILE = 1 << 24  # logits held at once: 64 MiB in float32


class TeacherBatch(NamedTuple):
    """What the teacher said of N tokens, at most K candidates each.

    The first `counts[n]` of `ids[n]` are distinct candidates (student's ids) and
    `logprobs[n]` theirs, in nats; what follows is padding. `tails[n]` is the mass
    (0 to 1) of all others. A count of 0: the teacher said nothing of this token.
    """

    ids: Tensor  # int64 [N, K]
    logprobs: Tensor  # float32 [N, K]
    tails: Tensor  # float32 [N]
    counts: Tensor  # int64 [N]

    def rows(self, part: slice) -> "TeacherBatch":
        """Return what was said of some of the tokens."""
        return TeacherBatch(*(tensor[part] for tensor in self))


class LossSums(NamedTuple):
    """Sums over tokens, in nats; `kd` over those that the teacher said something of."""

    loss: Tensor
    ce: Tensor
    kd: Tensor


def distillation_loss(
    logits: Tensor, targets: Tensor, teacher: TeacherBatch, *, alpha: float, temperature: float
) -> LossSums:
    """Return the loss of `logits` [N, V] for `targets` [N], summed over the N tokens."""
    log_q = torch.log_softmax(logits.float(), dim=-1)
    ce = -log_q.gather(1, targets[:, None]).squeeze(1)
    kl = divergence(log_q, teacher, temperature)
    is_covered = teacher.counts > 0
    mixed = alpha * ce + (1 - alpha) * temperature**2 * kl
    loss = torch.where(is_covered, mixed, ce)
    return LossSums(loss.sum(), ce.sum().detach(), kl[is_covered].sum().detach())


def divergence(log_q: Tensor, teacher: TeacherBatch, temperature: float) -> Tensor:
    """Return KL(p_τ ‖ q_τ) of each of N tokens from the student's log-softmax [N, V]."""
    columns = torch.arange(teacher.ids.shape[1], device=log_q.device)
    is_padding = columns >= teacher.counts[:, None]
    # Padding repeats the first candidate, so that taking candidates out takes out no other token.
    ids = torch.where(is_padding, teacher.ids[:, :1], teacher.ids)
    top_q = log_q.gather(1, ids).masked_fill(is_padding, _NEVER)
    other_q = log_q.scatter(1, ids, _NEVER).logsumexp(dim=1, keepdim=True)
    top_p = teacher.logprobs.masked_fill(is_padding, _NEVER)
    # With every token a candidate there is no other; a mass there is a rounding error.
    is_whole = teacher.counts >= log_q.shape[1]
    other_p = teacher.tails.log().masked_fill(is_whole, _NEVER)[:, None]
    log_p_tau = _soften(torch.cat([top_p, other_p], dim=1), temperature)
    log_q_tau = _soften(torch.cat([top_q, other_q], dim=1), temperature)
    return (log_p_tau.exp() * (log_p_tau - log_q_tau)).sum(dim=1).clamp_min(0.0)


def tiled_loss(
    hidden: Tensor,
    head: Callable[[Tensor], Tensor],
    vocabulary_size: int,
    loss: Callable[[Tensor, slice], LossSums],
) -> LossSums:
    """Sum `loss` over tiles of the N rows of `hidden`, so that [N, vocabulary] is never held whole.

    `head` makes logits of hidden states; `loss` is given those of the tokens in a
    slice. More than one tile is computed again in the backward pass.
    """
    size = max(1, _TILE // vocabulary_size)
    tiles = [slice(start, start + size) for start in range(0, len(hidden), size)]

    def lose(part: Tensor, tile: slice) -> LossSums:
        return loss(head(part), tile)

    if len(tiles) <= 1:
        return lose(hidden, slice(None))
    sums = [
        cast("LossSums", checkpoint(lose, hidden[tile], tile, use_reentrant=False))
        for tile in tiles
    ]
    return LossSums(*(torch.stack(terms).sum() for terms in zip(*sums, strict=True)))


def _soften(log_masses: Tensor, temperature: float) -> Tensor:
    """Return log-probabilities at a temperature, from log-masses that may not sum to 1."""
    return torch.log_softmax(log_masses.clamp_min(_NEVER) / temperature, dim=1)
