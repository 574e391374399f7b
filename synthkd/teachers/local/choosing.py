"""How a token is chosen from logits, and what is kept of the distribution it came from."""

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from synthkd.teachers.local.rows import Ranked
from synthkd.teachers.local.sampling import Sampling


def random_numbers(seed: int, *, for_targets: bool = False) -> np.random.Generator:
    """Return the numbers that a row draws, the same on every device; targets draw others."""
    return np.random.default_rng((seed, int(for_targets)))


def choose(logits: Tensor, sampling: Sampling, draws: Tensor) -> Tensor:
    """Return one token [rows] of each row of `logits`, by inversion at `draws` [rows]."""
    if not sampling.temperature:
        return logits.argmax(-1)
    scaled, ids = logits / sampling.temperature, None
    if sampling.top_k or sampling.top_p < 1:
        size = scaled.shape[-1]
        scaled, ids = scaled.topk(min(sampling.top_k or size, size))
    probabilities = scaled.softmax(-1, dtype=torch.float64)
    if sampling.top_p < 1:
        # The token that crosses top_p stays.
        before = probabilities.cumsum(-1) - probabilities
        probabilities = probabilities.masked_fill(before >= sampling.top_p, 0)
    choice = _invert(probabilities, draws[:, None])
    return (choice if ids is None else ids.gather(-1, choice)).squeeze(-1)


def choose_targets(logits: Tensor, numbers: Iterable[np.random.Generator], count: int) -> Tensor:
    """Return `count` tokens [rows, count] drawn from each whole row of `logits` by its `numbers`.

    With replacement, at temperature 1: the shares among them are an unbiased estimate of
    the distribution, as Random Sampling KD learns from (https://arxiv.org/abs/2503.16870).
    """
    draws = np.stack([generator.random(count) for generator in numbers])
    probabilities = logits.softmax(-1, dtype=torch.float64)
    return _invert(probabilities, torch.from_numpy(draws).to(logits.device))


def rank(logits: Tensor, tokens: Tensor, k: int, drawn: Tensor | None = None) -> list[Ranked]:
    """Return the top `k` of each row of `logits` at temperature 1; nothing for k = 0.

    Raises:
        FloatingPointError: The logits are not finite.
    """
    total = logits.logsumexp(-1, keepdim=True)
    if not total.isfinite().all():
        raise FloatingPointError("logits")
    if not k:
        return []
    top, ids = logits.topk(min(k, logits.shape[-1]))
    sampled = logits.gather(-1, tokens[:, None]) - total
    # The tail is summed, not taken from 1: what is left of 1 after rounding is noise.
    rest = logits.scatter(-1, torch.cat([ids, tokens[:, None]], -1), -torch.inf)
    tail = (rest.logsumexp(-1, keepdim=True) - total).exp()
    return [
        Ranked(*values)
        for values in zip(
            ids.cpu().numpy(),
            (top - total).cpu().numpy(),
            sampled.squeeze(-1).tolist(),
            tail.squeeze(-1).tolist(),
            [()] * len(tokens) if drawn is None else drawn.tolist(),
            strict=True,
        )
    ]


def _invert(probabilities: Tensor, draws: Tensor) -> Tensor:
    """Return the indices [rows, n] at which the mass of each row reaches its `draws` [rows, n]."""
    reached = probabilities.cumsum(-1)
    choice = torch.searchsorted(reached, draws * reached[:, -1:], right=True)
    return choice.clamp(max=reached.shape[-1] - 1)
