"""The loss of a language model from its last hidden states, without the logits of all tokens.

Logits z [tokens, V] are made tile by tile and turned into their gradient in place. The loss
looks at few of them: the label's, those of the k tokens that the teacher named, and the
log-sum-exp r of the rest. So its gradient is a small one, that autograd finds, and

    ∂loss/∂z_j = ∂loss/∂r · exp(z_j - r)        for every j that is not named,

a softmax over the rest: the work of cross-entropy alone, whatever the divergence. Gradients of
hidden states, weight and bias are made in the forward pass while the tile is there, and only
scaled in the backward pass; nothing is computed twice. Only against the hidden states of a local
teacher are all logits of both models looked at, in smaller tiles.
"""

import math
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.autograd.graph import saved_tensors_hooks

from synthkd.training.divergence import Logits, TokenLosses, token_losses
from synthkd.training.exact import Buffers, lose_exactly
from synthkd.training.head import Head
from synthkd.training.loss import Draws, Full, LossSums, Objective, Teacher, TopK

_LOGITS = {"cuda": 1 << 28}  # in a tile: 1 GiB of float32; 64 MiB elsewhere
_HALF = 2  # bytes


def fused_loss(  # noqa: PLR0917 - what is multiplied, then what it is held against
    hidden: Tensor,
    head: Head,
    labels: Tensor,
    teacher: Teacher | None,
    objective: Objective,
    weights: Tensor | None = None,
    *,
    tile: int | None = None,
) -> LossSums:
    """Return the loss of `labels` [N], given the student's last hidden states [N, H] at them.

    `loss` is differentiable, once, in `hidden` and in the weight and bias of `head`, where they
    require it. `weights` [N] multiply what each token adds to it. No teacher: cross-entropy
    alone. Matrices are multiplied in the dtype of autocast, or of `hidden`; all else is
    computed in float32, or in float64 if `hidden` is.

    Args:
        hidden: Last hidden states.
        head: What makes logits of them.
        labels: The tokens to be learned.
        teacher: What is known of the teacher's distribution at each.
        objective: What is minimized.
        weights: What each token counts, 1 by default.
        tile: Tokens whose logits are held at once: by default as many as fit in 64 MiB, on
            a GPU in 1 GiB (four times half of that where the teacher is `Full`).

    Raises:
        ValueError: `objective` cannot be computed from what `teacher` tells.
    """
    if teacher is not None:
        objective.check(type(teacher))
    kind = hidden.device.type
    is_cast = torch.is_autocast_enabled(kind) and hidden.dtype != torch.float64
    job = _Job(
        labels=labels,
        teacher=teacher,
        objective=objective,
        weights=torch.ones_like(labels, dtype=torch.float32) if weights is None else weights,
        scale=head.scale,
        softcap=head.softcap,
        dtype=torch.get_autocast_dtype(kind) if is_cast else hidden.dtype,
        tile=tile or _choose_tile(head, teacher, kind),
        is_learned=torch.is_grad_enabled(),
    )
    return LossSums(*_FusedLoss.apply(hidden, head.weight, head.bias, job))  # type: ignore[no-untyped-call]


def _choose_tile(head: Head, teacher: Teacher | None, kind: str) -> int:
    logits = _LOGITS.get(kind, 1 << 24)
    return max(1, (logits // 2 if isinstance(teacher, Full) else logits) // len(head.weight))


@dataclass(frozen=True, slots=True)
class _Job:
    """What `_FusedLoss` is told that is no input to differentiate in."""

    labels: Tensor
    teacher: Teacher | None
    objective: Objective
    weights: Tensor
    scale: float
    softcap: float | None
    dtype: torch.dtype  # of the matrices that are multiplied
    tile: int
    is_learned: bool

    def rows(self, part: slice) -> "_Job":
        """Return the job at some of the tokens."""
        return replace(
            self,
            labels=self.labels[part],
            teacher=self.teacher and self.teacher.rows(part),
            weights=self.weights[part],
        )


class _FusedLoss(torch.autograd.Function):
    """The four sums of `LossSums`; the gradients of the first are found with it."""

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401 - torch's own, of no class
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        job: _Job,
    ) -> tuple[Tensor, ...]:
        exact = torch.promote_types(job.dtype, torch.float32)
        needed = [job.is_learned and is_needed for is_needed in ctx.needs_input_grad[:3]]
        gradients = [
            torch.zeros_like(given, dtype=exact) if is_needed and given is not None else None
            for given, is_needed in zip((hidden, weight, bias), needed, strict=True)
        ]
        head = Head(weight.to(job.dtype), bias, job.scale, job.softcap)
        tensors = len(Buffers._fields) if isinstance(job.teacher, Full) else 1
        tiles = weight.new_empty(tensors, min(job.tile, len(hidden)), len(weight), dtype=exact)
        found = []
        with torch.autocast(hidden.device.type, enabled=False):
            for start in range(0, max(1, len(hidden)), job.tile):
                part = slice(start, start + job.tile)
                rows = hidden[part].to(job.dtype)
                buffers = tiles[:, : len(rows)]
                logits = _project(rows, head, buffers[0])
                slope = _slope(logits, head) if any(needed) else None
                found.append(_lose(buffers, job.rows(part)))
                if any(needed):
                    gradient = logits if slope is None else logits.mul_(slope)
                    _spread(gradient, rows, head.weight, gradients, part)
        ctx.save_for_backward(*gradients)
        ctx.dtypes = [None if given is None else given.dtype for given in (hidden, weight, bias)]
        loss, ce, kd, is_covered = (torch.cat(terms) for terms in zip(*found, strict=True))
        sums = (loss * job.weights).sum(), ce.sum(), kd.sum(), is_covered.sum()
        ctx.mark_non_differentiable(*sums[1:])
        return sums

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, factor: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401 - torch's own
        # In place, for a second tensor as large as the head would be the peak of all memory.
        # A second call finds that what was saved has changed, and autograd refuses it.
        scaled = (
            None if gradient is None else gradient.mul_(factor).to(dtype)
            for gradient, dtype in zip(ctx.saved_tensors, ctx.dtypes, strict=True)
        )
        return (*scaled, None)


def _project(rows: Tensor, head: Head, out: Tensor) -> Tensor:
    """Write the logits of `rows` to `out`, rounded to its dtype and no other where that can be."""
    if rows.dtype == out.dtype:
        torch.mm(rows, head.weight.t(), out=out)
    elif out.is_cuda and rows.dtype.itemsize == _HALF:
        torch.mm(rows, head.weight.t(), out_dtype=out.dtype, out=out)
    else:
        out.copy_(rows @ head.weight.t())
    if head.bias is not None:
        out.add_(head.bias)
    if head.scale != 1:
        out.mul_(head.scale)
    return out.div_(head.softcap).tanh_().mul_(head.softcap) if head.softcap else out


def _slope(logits: Tensor, head: Head) -> Tensor | float | None:
    """Return the derivative of `logits` in the product they were made of; None for 1."""
    if not head.softcap:
        return None if head.scale == 1 else head.scale
    return torch.div(logits, head.softcap).square_().neg_().add_(1).mul_(head.scale)


def _lose(buffers: Tensor, job: _Job) -> TokenLosses:
    """Return the losses of the logits in `buffers[0]`, which become the gradient."""
    if isinstance(job.teacher, Full):
        _project_teacher(job.teacher, buffers[1])
        return lose_exactly(Buffers(*buffers), job.labels, job.weights, job.objective)
    return _lose_at_named(buffers[0], job.teacher, job)


def _project_teacher(teacher: Full, out: Tensor) -> None:
    """Write the teacher's logits of the tokens that the student has to `out`."""
    weight, bias = teacher.head.weight, teacher.head.bias
    common = min(len(weight), out.shape[1])
    head = teacher.head._replace(
        weight=weight[:common], bias=None if bias is None else bias[:common]
    )
    _project(teacher.hidden.to(weight.dtype), head, out[:, :common])
    out[:, common:] = -math.inf


def _lose_at_named(logits: Tensor, teacher: TopK | Draws | None, job: _Job) -> TokenLosses:
    ids = job.labels[:, None]
    if teacher is not None:
        ids = torch.cat([teacher.ids, ids], dim=1)
    named = logits.gather(1, ids)
    if isinstance(teacher, TopK):
        taken = torch.zeros_like(named[:, :-1]).masked_fill(~teacher.is_padding, -math.inf)
        logits.scatter_add_(1, teacher.ids, taken)
    peak = logits.amax(1, keepdim=True).clamp_min(torch.finfo(logits.dtype).min)
    mass = logits.sub_(peak).exp_().sum(1, keepdim=True)
    rest = peak + mass.log()
    # Hooks that offload or recompute activations are not meant for what is used at once; what
    # they return must not be the tensor itself, or it would hold its own graph.
    with (
        torch.set_grad_enabled(job.is_learned),
        saved_tensors_hooks(Tensor.detach, lambda saved: saved),
    ):
        named.requires_grad_(job.is_learned)
        rest.requires_grad_(job.is_learned)
        looked_at = Logits(named[:, -1], named[:, :-1], rest[:, 0])
        losses = token_losses(looked_at, job.labels, teacher, job.objective)
        total = (losses.loss * job.weights).sum()
    if job.is_learned:
        by_named, by_rest = torch.autograd.grad(total, (named, rest))
        logits.mul_(by_rest / mass.clamp_min(torch.finfo(mass.dtype).tiny))
        logits.scatter_add_(1, ids, by_named)
    return TokenLosses(*(term.detach() for term in losses))


def _spread(
    gradient: Tensor, rows: Tensor, weight: Tensor, gradients: list[Tensor | None], part: slice
) -> None:
    """Add what a tile's `gradient` in the logits [n, V] is in hidden states, weight and bias."""
    of_hidden, of_weight, of_bias = gradients
    narrow = gradient.to(rows.dtype)
    if of_hidden is not None:
        of_hidden[part] = narrow @ weight
    if of_weight is not None:
        _add_product(of_weight, narrow.t(), rows)
    if of_bias is not None:
        of_bias += gradient.sum(0)


def _add_product(total: Tensor, left: Tensor, right: Tensor) -> None:
    """Add a product of matrices to `total` without rounding it to their dtype first.

    Rounding each tile's product adds up to an error that grows with the number of tiles.
    """
    if left.dtype == total.dtype:
        total.addmm_(left, right)
    elif total.is_cuda:
        torch.addmm(total, left, right, out_dtype=total.dtype, out=total)
    else:
        total.addmm_(left.to(total.dtype), right.to(total.dtype))
