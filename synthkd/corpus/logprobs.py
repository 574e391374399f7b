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
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import zstandard

from synthkd.corpus.positions import Floats, Positions
from synthkd.errors import CorpusError
from synthkd.records import Position

Steps = npt.NDArray[np.uint16]

CODEC = "v1"
FLOOR = 1e-4  # a candidate less probable than this keeps its mass in the tail
_LOWEST = -32.0  # nats; anything less probable is stored as this
_STEPS = 65534
_NO_MASS = 65535
_MOST = 255  # candidates at one position, so that k fits a byte
_ID_BYTES = 3


def encode(positions: Iterable[Position]) -> bytes:
    """Return `positions` as one blob.

    The sampled token is kept however improbable; at most 255 candidates are.

    Raises:
        ValueError: A log-probability is NaN, or an id needs more than 24 bits.
    """
    return pack(fold(Positions.of(positions)))


def fold(positions: Positions) -> Positions:
    """Return `positions` without the candidates no blob keeps, their mass moved to the tails."""
    logprobs, starts, rows = positions.logprobs, positions.starts, positions.rows
    is_kept = logprobs >= math.log(FLOOR)
    if positions.counts.max(initial=0) >= _MOST:
        is_kept &= np.arange(len(logprobs)) - starts[rows] < _MOST - 1
    is_kept[(starts + positions.ranks)[positions.counts > 0]] = True
    if is_kept.all():
        return positions
    n = len(positions)
    gone = np.flatnonzero(~is_kept)
    folded = np.bincount(rows[gone], np.exp(logprobs[gone]), n)
    is_before = gone < (starts + positions.ranks)[rows[gone]]
    return Positions(
        positions.counts - np.bincount(rows[gone], minlength=n),
        positions.ranks - np.bincount(rows[gone[is_before]], minlength=n),
        np.minimum(1.0, positions.tails + folded),
        positions.ids[is_kept],
        logprobs[is_kept],
    )


def pack(positions: Positions) -> bytes:
    """Return positions that were folded as one blob.

    Raises:
        ValueError: A log-probability is NaN, or an id needs more than 24 bits.
    """
    ids = positions.ids
    if ids.size and (ids.min() < 0 or ids.max() >= 1 << 8 * _ID_BYTES):
        raise ValueError("a token id does not fit 24 bits")
    planes = ids.astype("<u4").view("<u1").reshape(-1, 4)[:, :_ID_BYTES].T
    raw = b"".join(
        [
            np.uint32(len(positions)).tobytes(),
            positions.counts.astype("<u1").tobytes(),
            positions.ranks.astype("<u1").tobytes(),
            _quantize_tails(positions.tails).tobytes(),
            planes.tobytes(),
            _quantize(positions.logprobs).tobytes(),
        ]
    )
    return zstandard.ZstdCompressor(level=3).compress(raw)


def decode(blob: bytes) -> Positions:
    """Return the positions that `encode` made a blob of.

    Raises:
        CorpusError: The blob is not one of codec v1, or is damaged.
    """
    try:
        return _unpack(zstandard.ZstdDecompressor().decompress(blob))
    except (zstandard.ZstdError, ValueError, IndexError) as error:
        raise CorpusError(
            f"a logprob blob cannot be read as codec {CODEC} ({error}); "
            "its sample has no log-probabilities. Restore the corpus from a copy."
        ) from error


def _unpack(raw: bytes) -> Positions:
    n = int(np.frombuffer(raw, "<u4", 1)[0])
    counts = np.frombuffer(raw, "<u1", n, 4).astype(np.int64)
    ranks = np.frombuffer(raw, "<u1", n, 4 + n).astype(np.int64)
    tails = np.frombuffer(raw, "<u2", n, 4 + 2 * n)
    total = int(counts.sum())
    planes = np.frombuffer(raw, "<u1", 3 * total, 4 + 4 * n).reshape(3, total).astype(np.int64)
    steps = np.frombuffer(raw, "<u2", total, 4 + 4 * n + 3 * total)
    return Positions(
        counts,
        ranks,
        np.where(tails == _NO_MASS, 0.0, np.exp(tails * (_LOWEST / _STEPS))),
        planes[0] | planes[1] << 8 | planes[2] << 16,
        steps * (_LOWEST / _STEPS) + 0.0,  # no -0.0
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
