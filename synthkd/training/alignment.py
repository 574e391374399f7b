"""Which tokens of the student the teacher's tokens are.

Two tokens are the same when they stand for the same bytes. Where the tokens a teacher
sampled put its completion together again, and each of them is a token of the student,
the student is trained on exactly those tokens, and on the teacher's log-probabilities
at each. A candidate that is no token of the student leaves its mass to the tail. A row
in which one sampled token is none of the student's has no alignment.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from synthkd.corpus.positions import Positions
from synthkd.corpus.vocabulary import fingerprint
from synthkd.records import TokenLogprobs

Mismatch = Literal["no_logprobs", "unknown_bytes", "other_text", "other_tokens"]
"""Why a row has no alignment: nothing stored; the bytes of the teacher's tokens are not
known; they do not put the completion together; the student has no such token."""

_SMALLEST = float(np.finfo(np.float32).tiny)


@dataclass(frozen=True)
class Vocabulary:
    """The tokens of a student: the bytes of each id, and the id that ends a completion.

    `spare` are ids that text is not made of when another id has the same bytes:
    special tokens and the single bytes of SentencePiece.
    """

    tokens: Mapping[int, bytes]
    end: int
    spare: frozenset[int] = frozenset()

    @cached_property
    def name(self) -> str:
        """The fingerprint."""
        return fingerprint(dict(self.tokens))

    @cached_property
    def ids(self) -> dict[bytes, int]:
        """The id that stands for some bytes."""
        order = sorted(self.tokens, key=lambda index: (index in self.spare, index), reverse=True)
        return {self.tokens[index]: index for index in order if self.tokens[index]}


class Alignment(NamedTuple):
    """A completion in the student's tokens and what the teacher said of the first n of them.

    `ids` end with the student's end token. Position i of n has `counts[i]` candidates,
    which lie one after another in `candidates` and `logprobs` (nats); `tails[i]` is
    the mass of all others.
    """

    ids: list[int]
    counts: NDArray[np.int32]
    tails: NDArray[np.float32]
    candidates: NDArray[np.int32]
    logprobs: NDArray[np.float32]

    def first(self, length: int) -> "Alignment":
        """Return the alignment of the first `length` tokens."""
        end = int(self.counts[:length].sum())
        return Alignment(
            self.ids[:length],
            self.counts[:length],
            self.tails[:length],
            self.candidates[:end],
            self.logprobs[:end],
        )


def align(
    logprobs: TokenLogprobs | None, completion: str, vocabulary: Vocabulary
) -> Alignment | Mismatch:
    """Return `completion` in the student's tokens as the teacher sampled it, or why it has none.

    White space around the completion is not compared: tokenizers add and servers strip it.
    """
    if logprobs is None or not logprobs.positions:
        return "no_logprobs"
    positions = Positions.of(logprobs.positions)
    is_same = logprobs.vocabulary == vocabulary.name
    tokens = vocabulary.tokens if is_same else logprobs.tokens
    sampled = positions.ids[positions.sampled].tolist()
    if any(index not in tokens for index in sampled):
        return "unknown_bytes"
    length = _text_length([tokens[index] for index in sampled], completion)
    if length is None:
        return "other_text"
    used = np.unique(positions.ids).tolist()
    if is_same:
        ids = {index: index for index in used if index in tokens}
    else:
        named = {index: tokens[index] for index in used if index in tokens}
        ids = {i: vocabulary.ids[token] for i, token in named.items() if token in vocabulary.ids}
    if length < len(sampled):
        ids[sampled[length]] = vocabulary.end
    if any(index not in ids for index in sampled):
        return "other_tokens"
    text = [ids[index] for index in sampled[:length]]
    return Alignment([*text, vocabulary.end], *_map_candidates(positions, ids))


def _text_length(sampled: list[bytes], completion: str) -> int | None:
    """Return how many of the sampled tokens make the completion: all, or all but an end token."""
    text = completion.encode("utf-8", "surrogatepass").strip()
    if sampled[-1] and b"".join(sampled).strip() == text:
        return len(sampled)
    if b"".join(sampled[:-1]).strip() == text:
        return len(sampled) - 1
    return None


def _map_candidates(
    positions: Positions, ids: Mapping[int, int]
) -> tuple[NDArray[np.int32], NDArray[np.float32], NDArray[np.int32], NDArray[np.float32]]:
    """Return counts, tails, candidates and log-probabilities in the student's ids.

    Candidates that become one token add up; those that become none go to the tail.
    """
    row = positions.rows
    used, place = np.unique(positions.ids, return_inverse=True)
    mapped = np.array([ids.get(index, -1) for index in used.tolist()], dtype=np.int64)[place]
    mass = np.exp(positions.logprobs)
    tails = positions.tails.copy()
    is_lost = mapped < 0
    tails += np.bincount(row[is_lost], weights=mass[is_lost], minlength=len(positions))
    width = int(mapped.max()) + 1
    keys, where = np.unique(row[~is_lost] * width + mapped[~is_lost], return_inverse=True)
    merged = np.bincount(where, weights=mass[~is_lost])
    return (
        np.bincount(keys // width, minlength=len(positions)).astype(np.int32),
        np.minimum(tails, 1.0).astype(np.float32),
        (keys % width).astype(np.int32),
        np.log(np.maximum(merged, _SMALLEST)).astype(np.float32),
    )
