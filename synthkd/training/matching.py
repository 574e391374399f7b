r"""How unlike two networks are inside: what a student can learn besides its teacher's answers.

Student s and teacher t read the same tokens. Of each of N tokens there are

    hidden states   h_s [H], h_t [H']; where H ≠ H' a learned projection makes H' of H
      cosine        1 - cos(h_s, h_t)                              arXiv:1910.01108
      mse           |h_s - h_t|² / H'                  arXiv:1412.6550, arXiv:1909.10351
    attention       rows a_s, a_t: what the token looks at, over T tokens
      mse           |a_s - a_t|²                                   arXiv:1909.10351
      kl            Σ a_t log(a_t / a_s)                           arXiv:2002.10957

and of each of R rows of a batch, by the mean hidden state of its tokens,

    relation        how it is related to the other rows
      similarity    |g_s - g_t|², g the row's cosines with all, as a unit vector  arXiv:1907.09682
      distance      Huber loss of its distances to the others, in units of their mean
                                                                   arXiv:1904.05068

Relations compare nothing but numbers within one network, so they need no projection, and
each needs two rows. All is computed in float32 or better.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity, normalize, smooth_l1_loss

from synthkd.errors import ConfigError

LayerMap = Literal["uniform", "last"] | Sequence[tuple[int, int]]
AttentionLoss = Literal["mse", "kl"]
Relation = Literal["similarity", "distance"]

_SMALLEST = 1e-12


def pair_layers(layers: LayerMap, student: int, teacher: int) -> list[tuple[int, int]]:
    """Return which layer of a student learns from which of its teacher's, 0 the embeddings.

    >>> pair_layers("uniform", 2, 6)
    [(1, 3), (2, 6)]

    Raises:
        ConfigError: One of the two has no such layer.
    """
    if layers == "last":
        return [(student, teacher)]
    if layers == "uniform":
        return [(layer, round(layer * teacher / student)) for layer in range(1, student + 1)]
    pairs = [(int(ours), int(theirs)) for ours, theirs in layers]
    wrong = [
        f"[{ours}, {theirs}] has no such layer"
        for ours, theirs in pairs
        if not (0 <= ours <= student and 0 <= theirs <= teacher)
    ]
    if wrong:
        raise ConfigError(
            f"layers pairs layers that are not there: the student has 0 to {student} and the "
            f"teacher 0 to {teacher} (0 are the embeddings); write [student, teacher] pairs of "
            "those, or uniform",
            wrong,
        )
    return pairs


def cosine(ours: Tensor, theirs: Tensor) -> Tensor:
    """Return 1 - cos of N pairs of hidden states [N, H]."""
    return 1 - cosine_similarity(_exactly(ours), _exactly(theirs), dim=-1)


def squared(ours: Tensor, theirs: Tensor) -> Tensor:
    """Return the mean squared difference of N pairs of hidden states [N, H]."""
    return (_exactly(ours) - _exactly(theirs)).square().mean(dim=-1)


def attention(ours: Tensor, theirs: Tensor, kind: AttentionLoss) -> Tensor:
    """Return how unlike what N tokens look at is: heads of [N, heads, T], averaged.

    Where the two have another number of heads, the mean over the heads is compared.
    """
    ours, theirs = _exactly(ours), _exactly(theirs)
    if ours.shape[1] != theirs.shape[1]:
        ours, theirs = ours.mean(dim=1, keepdim=True), theirs.mean(dim=1, keepdim=True)
    if kind == "mse":
        # A sum over the tokens, not a mean, or it would change with the padding.
        return (ours - theirs).square().sum(dim=-1).mean(dim=1)
    logs = theirs.clamp_min(_SMALLEST).log() - ours.clamp_min(_SMALLEST).log()
    return (theirs * logs).sum(dim=-1).mean(dim=1)


def relation(ours: Tensor, theirs: Tensor, kind: Relation) -> Tensor:
    """Return how differently R rows [R, H] and [R, H'] are related to one another."""
    ours, theirs = _exactly(ours), _exactly(theirs)
    if kind == "similarity":
        return (_similarities(ours) - _similarities(theirs)).square().sum(dim=-1)
    rows = len(ours)
    if rows == 1:
        return ours.sum(dim=-1) * 0
    losses = smooth_l1_loss(_distances(ours), _distances(theirs), reduction="none")
    return losses.sum(dim=-1) / (rows - 1)


def _similarities(states: Tensor) -> Tensor:
    unit = normalize(states, dim=-1)
    return normalize(unit @ unit.T, dim=-1)


def _distances(states: Tensor) -> Tensor:
    # The root of 0 has no gradient, and each row's distance to itself is 0.
    squares = (states[:, None] - states[None]).square().sum(dim=-1)
    is_other = ~torch.eye(len(states), dtype=torch.bool, device=states.device)
    lengths = torch.where(is_other, squares.clamp_min(_SMALLEST), 1.0).sqrt() * is_other
    mean = lengths.sum() / is_other.sum()
    return lengths / mean.clamp_min(_SMALLEST)


def _exactly(tensor: Tensor) -> Tensor:
    return tensor if tensor.dtype == torch.float64 else tensor.float()
