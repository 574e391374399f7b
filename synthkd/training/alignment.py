"""What a teacher said of a completion, told over the tokens of a student.

Two tokens are the same when they stand for the same bytes.

    one vocabulary    The fingerprint is the same, or only ids and special tokens differ. The
                      student is trained on the tokens that the teacher sampled.
    two vocabularies  The student is trained on its own tokens for the completion, and what
                      the teacher said is carried over (see `regrouping`).

A candidate that is no token of the student leaves its mass to the tail. A token of which
the teacher said nothing that can be carried over is learned by cross-entropy alone.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from synthkd.corpus.positions import Floats, Integers, Positions
from synthkd.records import TokenLogprobs
from synthkd.training.offsets import Places, find_places
from synthkd.training.regrouping import Candidates, Kind, regroup
from synthkd.training.spelling import ENDED, UNSPELLED, Spellings, Vocabulary, is_special
from synthkd.training.tree import Said, Written

__all__ = ["Alignment", "Kind", "Mismatch", "Vocabulary", "align", "align_draws"]

Mismatch = Literal["no_logprobs", "unknown_bytes", "other_text", "other_tokens"]
"""Why a row has no alignment: nothing stored; the bytes of the teacher's tokens are not
known; they do not put the completion together; the student cannot write it, or (for random
targets) has another vocabulary."""

_SMALLEST = float(np.finfo(np.float32).tiny)
_UNREADABLE = "\N{REPLACEMENT CHARACTER}".encode()  # how servers show half a character


class Alignment(NamedTuple):
    """A completion in the student's tokens and what the teacher said of the first n of them.

    `ids` end with the student's end token. Position i of n has `counts[i]` candidates,
    which lie one after another in `candidates` and `logprobs` (nats); `tails[i]` is
    the mass of all others. `kinds[i]` is the `Kind` of what was said.
    """

    ids: list[int]
    counts: NDArray[np.int32]
    tails: NDArray[np.float32]
    candidates: NDArray[np.int32]
    logprobs: NDArray[np.float32]
    kinds: NDArray[np.uint8] = np.empty(0, dtype=np.uint8)

    def first(self, length: int) -> "Alignment":
        """Return the alignment of the first `length` tokens."""
        end = int(self.counts[:length].sum())
        return Alignment(
            self.ids[:length],
            self.counts[:length],
            self.tails[:length],
            self.candidates[:end],
            self.logprobs[:end],
            self.kinds[:length],
        )

    def count_kinds(self) -> Counter[Kind]:
        """Return how many of the tokens were taught in which way; they sum to len(ids)."""
        counts = np.bincount(self.kinds, minlength=len(Kind)).tolist()
        counts[Kind.SILENT] += len(self.ids) - len(self.kinds)
        return Counter({kind: counts[kind] for kind in Kind if counts[kind]})


def align(
    logprobs: TokenLogprobs | None, completion: str, vocabulary: Vocabulary
) -> Alignment | Mismatch:
    """Return what the teacher said of `completion` in the student's tokens, or why nothing.

    White space around the completion is not compared: tokenizers add and servers strip it.
    """
    if logprobs is None or not logprobs.positions:
        return "no_logprobs"
    spellings = _find_spellings(logprobs, vocabulary)
    said = _read(Positions.of(logprobs.positions), spellings.tokens, completion)
    if not isinstance(said, Said):
        return said
    positions = said.positions
    text = _name_sampled(said, spellings)
    if text is None:
        return _carry_over(said, completion, spellings)
    ids = _map_ids(positions.ids, said, spellings)
    masses, is_lost = np.exp(positions.logprobs), ids < 0
    lost = np.bincount(positions.rows[is_lost], masses[is_lost], len(positions))
    said_of = Candidates(positions.rows, ids, masses).only(~is_lost)
    return _put_together([*text, vocabulary.end], said_of, positions.tails + lost)


def align_draws(
    logprobs: TokenLogprobs | None, completion: str, vocabulary: Vocabulary
) -> Alignment | Mismatch:
    """Return the random targets of `completion` in the student's tokens, or why there are none.

    The `logprobs` are those of each token's share of the draws, and `tails` are 0. A draw
    says nothing of another vocabulary, so that is "other_tokens"; a position where a token
    was drawn that the student has not is one of which nothing is said.
    """
    if logprobs is None or not logprobs.positions or not logprobs.draws:
        return "no_logprobs"
    spellings = _find_spellings(logprobs, vocabulary)
    said = _read(Positions.of(logprobs.positions), spellings.tokens, completion)
    if not isinstance(said, Said):
        return said
    text = _name_sampled(said, spellings)
    if text is None:
        return "other_tokens"
    n = len(said.positions)
    drawn = logprobs.draws[:n]
    rows = np.repeat(np.arange(len(drawn)), [len(pairs) for pairs in drawn])
    flat = np.array([pair for pairs in drawn for pair in pairs], dtype=np.int64).reshape(-1, 2)
    ids, times = _map_ids(flat[:, 0], said, spellings), flat[:, 1]
    shares = times / np.bincount(rows, times, n)[rows]
    is_whole = np.bincount(rows[ids < 0], minlength=n)[rows] == 0
    said_of = Candidates(rows, ids, shares).only(is_whole)
    return _put_together([*text, vocabulary.end], said_of, np.zeros(n))


def _find_spellings(logprobs: TokenLogprobs, vocabulary: Vocabulary) -> Spellings:
    is_same = logprobs.vocabulary == vocabulary.name
    return vocabulary.spellings(vocabulary.tokens if is_same else logprobs.tokens)


def _read(
    positions: Positions, tokens: Mapping[int, bytes], completion: str
) -> Said | Literal["unknown_bytes", "other_text"]:
    """Return how the sampled tokens, all or all but an end token, make the completion."""
    ids = positions.ids[positions.sampled].tolist()
    if not any(index in tokens for index in ids):
        return "unknown_bytes"
    text = completion.encode("utf-8", "surrogatepass").strip()
    sampled = [tokens.get(index) or None for index in ids]
    found = _find(sampled, text)
    if found is None:
        doubted = [None if token is None or _is_doubtful(token) else token for token in sampled]
        found = _find(doubted, text)
    if found is None:
        return "other_text"
    last, places = found
    return Said(text, positions, places, None if last == len(sampled) else last)


def _find(sampled: Sequence[bytes | None], text: bytes) -> tuple[int, Places] | None:
    """Return how many of the sampled tokens make the text, and where they lie."""
    n = len(sampled)
    for last in (n, n - 1) if sampled[-1] else (n - 1, n):
        if (places := find_places(sampled[:last], text)) is not None:
            return last, places
    return None


def _is_doubtful(token: bytes) -> bool:
    """Return whether a token may stand for other bytes than its own, or for none."""
    return _UNREADABLE in token or is_special(token)


def _name_sampled(said: Said, spellings: Spellings) -> list[int] | None:
    """Return the student's ids of the sampled text, if both have one vocabulary."""
    if spellings.tokens is not spellings.vocabulary.tokens and not spellings.is_one_vocabulary:
        return None
    sampled = said.positions.ids[said.positions.sampled][: said.end]
    ids = _map_ids(sampled, said, spellings)
    return None if (ids < 0).any() else ids.tolist()


def _map_ids(ids: Integers, said: Said, spellings: Spellings) -> Integers:
    """Return the one token of the student that each of `ids` is, or -1."""
    used, place = np.unique(ids, return_inverse=True)
    if spellings.tokens is spellings.vocabulary.tokens:
        mapped = np.array([i if i in spellings.tokens else -1 for i in used.tolist()], np.int64)
    else:
        rows = spellings.rows(used)
        mapped = np.where(rows[:, 1] == ENDED, rows[:, 0], -1)
    if said.end is not None:
        end = said.positions.ids[said.positions.sampled[said.end]]
        mapped[used == end] = spellings.vocabulary.end
    return np.maximum(mapped, -1)[place]


def _carry_over(said: Said, completion: str, spellings: Spellings) -> Alignment | Mismatch:
    """Return what was said told over the tokens in which the student writes the completion."""
    vocabulary = spellings.vocabulary
    ids = vocabulary.write(completion)
    tokens = [vocabulary.text_of(index) for index in ids]
    places = find_places(tokens, said.text)
    if places is None or UNSPELLED in ids:
        return "other_tokens"
    written = Written([*ids, vocabulary.end], places, _find_lead(tokens, places))
    candidates, kinds = regroup(said, written, spellings)
    if not len(candidates.rows):
        return "other_tokens"
    total = np.bincount(candidates.rows, candidates.masses, len(kinds))
    tails = np.where(kinds >= Kind.EXACT, np.maximum(1 - total, 0.0), 0.0)
    return _put_together(written.ids, candidates, tails)._replace(kinds=kinds)


def _find_lead(tokens: Sequence[bytes | None], places: Places) -> bytes:
    """Return the white space that the first token with text in it begins with."""
    token = tokens[places.first] if places.first < places.last else None
    return token[: len(token) - len(token.lstrip())] if token else b""


def _put_together(ids: Sequence[int], candidates: Candidates, tails: Floats) -> Alignment:
    """Return the alignment of `ids`; candidates of one position that are one token add up."""
    rows, tokens, masses = candidates
    n, width = len(tails), int(tokens.max(initial=0)) + 1
    keys, where = np.unique(rows * width + tokens, return_inverse=True)
    counts = np.bincount(keys // width, minlength=n).astype(np.int32)
    merged = np.maximum(np.bincount(where, masses, len(keys)), _SMALLEST)
    return Alignment(
        list(ids),
        counts,
        np.minimum(tails, 1.0).astype(np.float32),
        (keys % width).astype(np.int32),
        np.log(merged).astype(np.float32),
        np.where(counts > 0, Kind.EXACT, Kind.SILENT).astype(np.uint8),
    )
