"""How likely the teacher found each label, from what it said of the tokens of its answer.

A label may be several tokens long, and what a teacher said is a path: the candidates of
each token it wrote, given the tokens before. So the labels are a tree of bytes, and the
answer walks down it. At a token of the answer

    share of a candidate  =  share of the path so far · p(candidate) / Σ p(candidates that fit)

where a candidate fits if it can be the next of at least one label. A candidate that fits
one label gives it all of its share; of one that several begin with, nothing further is
known, and they share in proportion to how often each is answered. One that all of them
begin with tells nothing, and is left out. The candidate that was written goes on to the
next token, until one label is left. So the shares are those of a
teacher that can say nothing but labels. They are exact where the top-k holds every label's
next token and no two labels that were not answered begin alike; the mass of what fits no
label, the tail included, is lost, and told.

Where the answer comes after a rationale, these are the shares given the rationale that
was written.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from synthkd.corpus.positions import Positions
from synthkd.records import Position, TokenLogprobs

_CONTEXT = 2  # characters on each side of an answer that tell it from other mentions of it
_AFTER = 16  # bytes after an answer that a token may reach into


class Shares(NamedTuple):
    """The teacher's share of each label, summing to 1.

    `lost` is the probability of saying no label, or none that is known; `blurred` is the
    share that was divided among labels that could not be told apart.
    """

    shares: NDArray[np.float32]
    lost: float
    blurred: float


class _Answer(NamedTuple):
    """An answer in the tokens it was written in.

    `before` is what its first token says ahead of it, and `after` what follows it. `end` is
    the token that ended the completion, if it was told.
    """

    positions: Sequence[Position]
    before: bytes
    after: bytes
    end: int | None


class Verbalizer:
    """The labels as bytes; `weights` say how often each is answered, and are positive."""

    def __init__(self, labels: Sequence[str], weights: Sequence[float]) -> None:
        """Sort the labels, so that those with one beginning are neighbours."""
        encoded = [label.encode("utf-8", "surrogatepass") for label in labels]
        self._order = np.array(sorted(range(len(labels)), key=encoded.__getitem__))
        self._labels = [encoded[index] for index in self._order]
        self._places = {label: place for place, label in enumerate(self._labels)}
        self._lengths = sorted({len(label) for label in self._labels})
        self._weights = np.array(weights, dtype=np.float64)[self._order]
        self._known: dict[tuple[bytes, bytes, bool], NDArray[np.int64]] = {}

    def read(
        self, logprobs: TokenLogprobs, completion: str, label: str, start: int
    ) -> Shares | None:
        """Return the shares of the labels where `completion` answers `label` at `start`.

        None where the teacher's tokens do not spell the completion, or their
        log-probabilities are none (NaN).
        """
        answer = _find_answer(logprobs, completion, label, start)
        if answer is None:
            return None
        shares = np.zeros(len(self._labels))
        reached, lost, blurred, written = 1.0, 0.0, 0.0, b""  # `reached`: by the teacher itself
        share, left = 1.0, np.arange(len(self._labels))  # of the path, and its labels
        for position in answer.positions:
            candidates = [
                (np.exp(logprob), self._fit(written, index, logprobs, answer))
                for index, logprob in position.top
            ]
            chosen, fits = candidates[position.rank]
            if not chosen or not len(fits):
                return None
            lost += reached * max(0.0, 1.0 - sum(mass for mass, fits in candidates if len(fits)))
            # What all the labels left begin with, such as a space, tells nothing of any.
            others = [
                (mass, fits)
                for rank, (mass, fits) in enumerate(candidates)
                if rank != position.rank and 0 < len(fits) < len(left)
            ]
            fitting = chosen + sum(mass for mass, _ in others)
            for mass, fits_other in others:
                self._divide(shares, fits_other, share * mass / fitting)
                blurred += share * mass / fitting * (len(fits_other) > 1)
            left = fits
            reached *= chosen
            share *= chosen / fitting
            if len(left) == 1:
                break
            written += logprobs.tokens[position.sampled.token_id]
        self._divide(shares, left, share)
        blurred += share * (len(left) > 1)
        total = shares.sum()
        if not np.isfinite(total):
            return None
        found = np.empty(len(shares), dtype=np.float32)
        found[self._order] = shares / total
        return Shares(found, min(1.0, lost), blurred)

    def _divide(self, shares: NDArray[np.float64], places: NDArray[np.int64], mass: float) -> None:
        weights = self._weights[places]
        shares[places] += mass * weights / weights.sum()

    def _fit(
        self, written: bytes, index: int, logprobs: TokenLogprobs, answer: _Answer
    ) -> NDArray[np.int64]:
        """Return the places of the labels that can be what is said after one more token."""
        token = logprobs.tokens.get(index)
        nothing = np.empty(0, dtype=np.int64)
        if token is None:
            return nothing
        is_end = index == answer.end or not token
        text = written if is_end else written + token
        before = answer.before
        if not text.startswith(before):
            is_beginning = before.startswith(text) and not is_end
            return np.arange(len(self._labels)) if is_beginning else nothing
        return self._complete(text[len(before) :].lstrip(), answer.after, is_end=is_end)

    def _complete(self, said: bytes, after: bytes, *, is_end: bool) -> NDArray[np.int64]:
        """Return the places of the labels that `said` begins, or is with something after it."""
        key = (said, after, is_end)
        if key not in self._known:
            first = last = bisect_left(self._labels, said)
            if not is_end:
                # No UTF-8 has this byte: it sorts after whatever begins as `said` does.
                last = bisect_left(self._labels, said + b"\xff")
            whole = [
                self._places[said[:length]]
                for length in self._lengths
                if length < len(said) + is_end
                and said[:length] in self._places
                and _can_follow(said[length:], after, is_end=is_end)
            ]
            self._known[key] = np.array([*range(first, last), *whole], dtype=np.int64)
        return self._known[key]


def find_answers(said: Sequence[tuple[str, str]]) -> list[int | None]:
    """Return where in each completion its answer stands, of pairs (completion, answer).

    An answer may be mentioned in a rationale or a reply as well: of several places it is
    the one whose neighbouring characters most of the completions have around their answer,
    of equals one between marks such as tags, and then the last. None where the answer is
    not there as it stands, such as one that JSON escapes.

    >>> find_answers([("no: <a>no</a>", "no"), ("<a>yes</a>", "yes")])
    [7, 3]
    """
    places = [_find_all(completion, answer) for completion, answer in said]
    votes: Counter[tuple[str, str]] = Counter()
    for (completion, answer), starts in zip(said, places, strict=True):
        votes.update({_surroundings(completion, answer, start) for start in starts})
    return [
        max(
            starts,
            key=lambda start: (
                votes[_surroundings(completion, answer, start)],
                _is_marked_off(completion, answer, start),
                start,
            ),
            default=None,
        )
        for (completion, answer), starts in zip(said, places, strict=True)
    ]


def _find_all(text: str, part: str) -> list[int]:
    starts, start = [], text.find(part)
    while part and start >= 0:
        starts.append(start)
        start = text.find(part, start + 1)
    return starts


def _surroundings(completion: str, answer: str, start: int) -> tuple[str, str]:
    end = start + len(answer)
    return completion[max(0, start - _CONTEXT) : start], completion[end : end + _CONTEXT]


def _is_marked_off(completion: str, answer: str, start: int) -> bool:
    before, after = _surroundings(completion, answer, start)
    return not any(
        neighbour.isalnum() or neighbour in " .,;!?" for neighbour in before[-1:] + after[:1]
    )


def _find_answer(
    logprobs: TokenLogprobs, completion: str, label: str, start: int
) -> _Answer | None:
    """Return the tokens of `label` at character `start`, or None if they do not spell it."""
    positions = Positions.of(logprobs.positions)
    sampled = positions.ids[positions.sampled].tolist()
    tokens = [logprobs.tokens.get(index) for index in sampled]
    pieces = [token for token in tokens if token is not None]
    text = completion.encode("utf-8", "surrogatepass")
    if not pieces or len(pieces) < len(tokens):
        return None
    for count in (len(pieces), len(pieces) - 1):
        spelled = b"".join(pieces[:count])
        # Tokenizers add white space around a completion, and servers strip it.
        if spelled.strip() == text.strip():
            break
    else:
        return None
    ahead = completion[:start].encode("utf-8", "surrogatepass")
    begin = len(ahead) + spelled.find(text.strip()) - text.find(text.strip())
    end = begin + len(label.encode("utf-8", "surrogatepass"))
    ends = np.cumsum([len(piece) for piece in pieces[:count]])
    # White space that a completion begins with is written instead of another label already.
    first = int(np.searchsorted(ends, begin, side="right")) if spelled[:begin].strip() else 0
    token_start = int(ends[first]) - len(pieces[first])
    return _Answer(
        positions[first:],
        spelled[token_start:begin].rstrip(),
        spelled[end:].lstrip()[:_AFTER],
        sampled[count] if count < len(sampled) else None,
    )


def _can_follow(said: bytes, after: bytes, *, is_end: bool) -> bool:
    """Tell whether `said` can stand behind an answer, as `after` does behind the one given."""
    said = said.lstrip()
    if is_end:
        return not said and not after
    return after.startswith(said) or (bool(after) and said.startswith(after))
