"""What a teacher said of the tokens of a completion, as bytes: a column the trainer carries along.

    u32 tokens | u32 candidates | counts: i32 | tails: f32 | ids: i32 | log-probabilities: f32

Bytes, because a nested list of candidates takes seven times as long to read. Random
targets travel the same way: their shares are the probabilities, and there is no tail.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from synthkd.training.alignment import Alignment

NOTHING = np.zeros(2, dtype=np.uint32).tobytes()  # said of no token at all


class Said(NamedTuple):
    """What was said of N tokens: at most K candidates of each, padded with 0 behind `counts`."""

    counts: NDArray[np.int32]  # [N]
    tails: NDArray[np.float32]  # [N]
    ids: NDArray[np.int32]  # [N, K]
    logprobs: NDArray[np.float32]  # [N, K]


def pack(alignment: Alignment) -> bytes:
    """Return what the teacher said of each token of a completion, as bytes."""
    silent = len(alignment.ids) - len(alignment.counts)
    sizes = np.array([len(alignment.ids), len(alignment.candidates)], dtype=np.uint32)
    parts = (
        sizes,
        np.pad(alignment.counts, (0, silent)),
        np.pad(alignment.tails, (0, silent)),
        alignment.candidates,
        alignment.logprobs,
    )
    return b"".join(part.tobytes() for part in parts)


def unpack(blobs: Sequence[bytes]) -> Said:
    """Return what `pack` packed, of several completions one after another."""
    columns: list[list[NDArray[np.generic]]] = [[], [], [], []]
    for blob in blobs:
        tokens, candidates = (int(size) for size in np.frombuffer(blob, np.uint32, 2))
        start = 8
        for column, kind, size in zip(
            columns, "ifif", (tokens, tokens, candidates, candidates), strict=True
        ):
            column.append(np.frombuffer(blob, f"<{kind}4", size, start))
            start += 4 * size
    counts, tails, flat_ids, flat_logprobs = (np.concatenate(column) for column in columns)
    is_candidate = np.arange(counts.max(initial=0)) < counts[:, None]
    ids = np.zeros(is_candidate.shape, dtype=np.int32)
    logprobs = np.zeros(is_candidate.shape, dtype=np.float32)
    ids[is_candidate], logprobs[is_candidate] = flat_ids, flat_logprobs
    return Said(counts, tails, ids, logprobs)
