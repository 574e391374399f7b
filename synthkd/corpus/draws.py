"""Random targets: tokens drawn from a teacher's whole vocabulary at each position, as one blob.

A top-k with a tail says nothing of how the tail is shared out. A dozen draws with
replacement at temperature 1 do: the share of a token among the draws is an unbiased
estimate of its probability (Random Sampling KD, https://arxiv.org/abs/2503.16870).

    u32 n | distinct: u8[n] | ids: 3 byte planes of [Σ distinct] | counts: u8[Σ distinct]

compressed with zstd, as the log-probabilities beside it are.
"""

from collections.abc import Sequence
from itertools import accumulate, pairwise

import numpy as np
import zstandard

from synthkd.errors import CorpusError

Drawn = tuple[tuple[int, int], ...]  # token ids drawn at one position, and how often each was

CODEC = "draws-v1"
MOST = 255  # draws at one position, so that a count fits a byte


def encode(draws: Sequence[Sequence[tuple[int, int]]]) -> bytes:
    """Return `draws`, one entry per completion token, as one blob.

    Raises:
        ValueError: A position has more than 255 draws, or an id needs more than 24 bits.
    """
    flat = [pair for drawn in draws for pair in drawn]
    ids = np.array([token for token, _ in flat], dtype=np.int64)
    if ids.size and (ids.min() < 0 or ids.max() >= 1 << 24):
        raise ValueError("a token id does not fit 24 bits")
    if any(sum(count for _, count in drawn) > MOST for drawn in draws):
        raise ValueError(f"a position has more than {MOST} draws")
    planes = ids.astype("<u4").view("<u1").reshape(-1, 4)[:, :3].T
    raw = b"".join(
        [
            np.uint32(len(draws)).tobytes(),
            bytes(len(drawn) for drawn in draws),
            np.ascontiguousarray(planes).tobytes(),
            bytes(count for _, count in flat),
        ]
    )
    return zstandard.ZstdCompressor(level=3).compress(raw)


def decode(blob: bytes) -> tuple[Drawn, ...]:
    """Return the draws that `encode` made a blob of.

    Raises:
        CorpusError: The blob is not one of this codec, or is damaged.
    """
    try:
        raw = zstandard.ZstdDecompressor().decompress(blob)
        n = int(np.frombuffer(raw, "<u4", 1)[0])
        distinct = np.frombuffer(raw, "<u1", n, 4).tolist()
        total = sum(distinct)
        planes = np.frombuffer(raw, "<u1", 3 * total, 4 + n).reshape(3, total).astype(np.int64)
        counts = np.frombuffer(raw, "<u1", total, 4 + n + 3 * total).tolist()
    except (zstandard.ZstdError, ValueError, IndexError) as error:
        raise CorpusError(
            f"a blob of random targets cannot be read as codec {CODEC} ({error}); its sample "
            "has none. Restore the corpus from a copy."
        ) from error
    ids = (planes[0] | planes[1] << 8 | planes[2] << 16).tolist()
    pairs = list(zip(ids, counts, strict=True))
    bounds = accumulate(distinct, initial=0)
    return tuple(tuple(pairs[start:end]) for start, end in pairwise(bounds))
