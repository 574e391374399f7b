"""Codec v1: the log-probabilities of one completion as one small blob.

Every position has k candidates, k varies, and most positions need few of them:
candidates under `FLOOR` are folded into the tail. What is left is laid out in
planes, so that like bytes lie together, and compressed with zstd:

    u32 n | k: u8[n] | rank: u8[n] | tail: u16[n] | ids: 3 byte planes of [Σk] | logprobs: u16[Σk]

Log-probabilities are 16-bit steps of -32 nats / 65534; a tail is stored as the
logarithm of its mass on the same scale, 65535 meaning no mass at all. The tail is
its own value because 1 - Σp of rounded numbers is biased, and often negative.
"""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import zstandard

from synthkd.errors import CorpusError
from synthkd.records import Alternative, Position

Floats = npt.NDArray[np.float64]
Steps = npt.NDArray[np.uint16]

CODEC = "v1"
FLOOR = 1e-4  # a candidate less probable than this keeps its mass in the tail
_LOWEST = -32.0  # nats; anything less probable is stored as this
_STEPS = 65534
_NO_MASS = 65535
_MOST = 255  # candidates at one position, so that k fits a byte


def encode(positions: Sequence[Position]) -> bytes:
    """Return `positions` as one blob.

    The sampled token is kept however improbable; at most 255 candidates are.

    Raises:
        ValueError: A log-probability is NaN, or an id needs more than 24 bits.
    """
    kept = [_fold(position) for position in positions]
    counts = np.array([len(position.top) for position in kept], dtype="<u1")
    ranks = np.array([position.rank for position in kept], dtype="<u1")
    flat = [alternative for position in kept for alternative in position.top]
    ids = np.array([alternative.token_id for alternative in flat], dtype=np.int64)
    if ids.size and (ids.min() < 0 or ids.max() >= 1 << 24):
        raise ValueError("a token id does not fit 24 bits")
    logprobs = _quantize(np.array([alternative.logprob for alternative in flat], dtype=np.float64))
    tails = _quantize_tails(np.array([position.tail for position in kept], dtype=np.float64))
    planes = ids.astype("<u4").view("<u1").reshape(-1, 4)[:, :3].T
    raw = b"".join(
        [
            np.uint32(len(kept)).tobytes(),
            counts.tobytes(),
            ranks.tobytes(),
            tails.tobytes(),
            np.ascontiguousarray(planes).tobytes(),
            logprobs.tobytes(),
        ]
    )
    return zstandard.ZstdCompressor(level=3).compress(raw)


def decode(blob: bytes) -> tuple[Position, ...]:
    """Return the positions that `encode` made a blob of.

    Raises:
        CorpusError: The blob is not one of codec v1, or is damaged.
    """
    try:
        return _decode(zstandard.ZstdDecompressor().decompress(blob))
    except (zstandard.ZstdError, ValueError, IndexError) as error:
        raise CorpusError(
            f"a logprob blob cannot be read as codec {CODEC} ({error}); "
            "its sample has no log-probabilities. Restore the corpus from a copy."
        ) from error


def _decode(raw: bytes) -> tuple[Position, ...]:
    n = int(np.frombuffer(raw, "<u4", 1)[0])
    counts = np.frombuffer(raw, "<u1", n, 4)
    ranks = np.frombuffer(raw, "<u1", n, 4 + n)
    tails = np.frombuffer(raw, "<u2", n, 4 + 2 * n)
    total = int(counts.sum(dtype=np.int64))
    planes = np.frombuffer(raw, "<u1", 3 * total, 4 + 4 * n).reshape(3, total).astype(np.int64)
    steps = np.frombuffer(raw, "<u2", total, 4 + 4 * n + 3 * total)
    ids = (planes[0] | planes[1] << 8 | planes[2] << 16).tolist()
    logprobs = (steps * (_LOWEST / _STEPS) + 0.0).tolist()  # no -0.0
    masses = np.where(tails == _NO_MASS, 0.0, np.exp(tails * (_LOWEST / _STEPS))).tolist()
    positions, start = [], 0
    for count, rank, tail in zip(counts.tolist(), ranks.tolist(), masses, strict=True):
        end = start + count
        top = tuple(map(Alternative, ids[start:end], logprobs[start:end]))
        positions.append(Position(top, rank, tail))
        start = end
    return tuple(positions)


def _fold(position: Position) -> Position:
    """Return `position` without its improbable candidates, their mass moved to the tail."""
    floor = math.log(FLOOR)
    keep = [
        index
        for index, alternative in enumerate(position.top)
        if index == position.rank or (alternative.logprob >= floor and index < _MOST - 1)
    ]
    if len(keep) == len(position.top):
        return position
    kept = set(keep)
    folded = sum(math.exp(a.logprob) for i, a in enumerate(position.top) if i not in kept)
    return Position(
        tuple(position.top[index] for index in keep),
        keep.index(position.rank),
        min(1.0, position.tail + folded),
    )


def _quantize(logprobs: Floats) -> Steps:
    """Return log-probabilities (nats) as 16-bit steps; over 0 is 0, under the lowest the lowest."""
    if np.isnan(logprobs).any():
        raise ValueError("a log-probability is NaN")
    return np.rint(np.clip(logprobs, _LOWEST, 0.0) * (_STEPS / _LOWEST)).astype("<u2")


def _quantize_tails(masses: Floats) -> Steps:
    """Return tail masses as the steps of their logarithms."""
    smallest = math.exp(_LOWEST)
    steps = _quantize(np.log(np.clip(masses, smallest, 1.0)))
    return np.where(masses < smallest, _NO_MASS, steps).astype("<u2")
