"""What a teacher cannot have said: it is left out, and what is left is learned."""

import numpy as np
from numpy.typing import NDArray

from synthkd.training.alignment import Alignment, Kind

_ABOVE_ONE = 0.05  # more than masses that sum to 1 are ever rounded


def is_damaged(alignment: Alignment) -> NDArray[np.bool_]:
    """Return at which positions [n] the masses are none: NaN, below 0, or more than 1 together."""
    n = len(alignment.counts)
    row = np.repeat(np.arange(n), alignment.counts)
    total = np.bincount(row, np.exp(alignment.logprobs), n) + alignment.tails
    # Of NaN, nothing is true.
    is_sound: NDArray[np.bool_] = (alignment.tails >= 0) & (total <= 1 + _ABOVE_ONE)
    return ~is_sound


def silence(alignment: Alignment, is_silent: NDArray[np.bool_]) -> Alignment:
    """Return `alignment` as if the teacher had said nothing at some of the positions [n]."""
    if not is_silent.any():
        return alignment
    is_kept = np.repeat(~is_silent, alignment.counts)
    return alignment._replace(
        counts=np.where(is_silent, 0, alignment.counts).astype(np.int32),
        tails=np.where(is_silent, 0, alignment.tails).astype(np.float32),
        candidates=alignment.candidates[is_kept],
        logprobs=alignment.logprobs[is_kept],
        kinds=np.where(is_silent, Kind.SILENT, alignment.kinds).astype(np.uint8),
    )
