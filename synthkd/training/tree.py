"""What a teacher could have written between two places where a student begins a token too.

    sampled        " ele" ─ "phant"          p(" ele")·p("phant")
    its leaves     " dog"                    p(" dog")
                   " ele" ─ "ment"           p(" ele")·p("ment")

At each token of the teacher any candidate could have stood in place of the sampled one,
after those sampled before it. What is not listed, or too improbable, is spare mass.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from synthkd.corpus.positions import Floats, Integers, Positions
from synthkd.training.offsets import UNTOLD, Places
from synthkd.training.spelling import Spellings, stack, to_rows

_FLOOR = 1e-4  # a leaf less probable than this is spare, as a candidate is in the corpus
_LOWEST = -100.0  # nats; no sampled token is taken to be less probable
_HIGHEST = 0.01  # nats; a mass of 1 is never rounded to more
_SMALLEST = float(np.finfo(np.float32).tiny)


class Said(NamedTuple):
    """What a teacher said of a stripped `text`: its positions, and where its tokens lie.

    `end` is the position at which it ended, if it did.
    """

    text: bytes
    positions: Positions
    places: Places
    end: int | None

    @property
    def starts(self) -> Integers:
        """Where the token at each position begins in the text, or UNTOLD."""
        starts = np.full(len(self.positions), UNTOLD)
        starts[self.places.first : self.places.last] = self.places.starts[:-1]
        if self.end is not None:
            starts[self.end] = len(self.text)
        return starts


class Written(NamedTuple):
    """A completion as a student writes it, its end token last.

    `lead` is the white space that its first token with text in it begins with.
    """

    ids: Sequence[int]
    places: Places
    lead: bytes


class Groups(NamedTuple):
    """G groups of tokens with the same bytes, which begin at `start` of the text.

    The student's are `n` from index `i` on, the teacher's the positions `j` to `stop`.
    The end tokens are the last group.
    """

    start: Integers
    i: Integers
    n: Integers
    j: Integers
    stop: Integers

    def any(self, is_found: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return in which groups something is found at one of the teacher's positions."""
        counts = np.append(0, np.cumsum(is_found))
        return counts[self.stop] > counts[self.j]

    def hold(self, positions: Integers) -> Integers:
        """Return the last group that begins at or before each of the teacher's positions."""
        return np.maximum(np.searchsorted(self.j, positions, side="right") - 1, 0)


class Tree(NamedTuple):
    """L leaves: the group of each, the position of its last token, its mass.

    `rows` [L, W] are the tokens in which the student would write them. The last G leaves
    are those that were sampled. `spare` is, by position, the mass of what is no leaf.
    """

    group: Integers
    position: Integers
    mass: Floats
    rows: NDArray[np.int32]
    spare: Floats


def pair(said: Said, written: Written) -> Groups:
    """Return the groups into which two ways to write a text fall."""
    ours, theirs = written.places, said.places
    start, i, j = np.intersect1d(ours.starts[:-1], theirs.starts[:-1], return_indices=True)
    is_shared = (start != UNTOLD) & (start < len(said.text))
    start, i, j = start[is_shared], i[is_shared] + ours.first, j[is_shared] + theirs.first
    n = np.diff(i, append=ours.last)
    stop = np.append(j, theirs.last)[1:]
    if said.end is not None:
        start = np.append(start, len(said.text))
        i, n = np.append(i, len(written.ids) - 1), np.append(n, 1)
        j, stop = np.append(j, said.end), np.append(stop, said.end + 1)
    return Groups(start, i, n, j, stop)


def grow(said: Said, written: Written, groups: Groups, spellings: Spellings) -> Tree:
    """Return what the teacher could have written in each of `groups`."""
    positions = said.positions
    # What is no probability spoils its own group, and no other.
    logprobs = np.where(positions.logprobs <= _HIGHEST, positions.logprobs, np.nan)
    chosen = np.fmax(logprobs[positions.sampled], _LOWEST)
    until = np.cumsum(chosen)
    begun = (until - chosen)[groups.j]
    every = np.arange(len(positions))
    group_at = groups.hold(every)
    is_grouped = (every >= groups.j[group_at]) & (every < groups.stop[group_at])
    reach = np.where(is_grouped, np.exp(until - chosen - begun[group_at]), 0.0)

    is_other = is_grouped[positions.rows]
    is_other[positions.sampled] = False
    place = np.flatnonzero(is_other)
    position = positions.rows[place]
    mass = np.exp(logprobs[place]) * reach[position]
    others = _Candidates(place, position, group_at[position], mass)
    is_leaf = others.begin(groups) | ((mass >= _FLOOR) & (said.starts[position] != UNTOLD))
    spare = np.bincount(position[~is_leaf], mass[~is_leaf], len(positions))
    leaves = _Candidates(*(column[is_leaf] for column in others))
    path = np.maximum(np.exp(until[groups.stop - 1] - begun), _SMALLEST)
    path[groups.any(np.isnan(logprobs[positions.sampled]))] = np.nan
    sampled = to_rows([written.ids[i : i + n] for i, n in zip(groups.i, groups.n, strict=True)])
    return Tree(
        np.append(leaves.group, np.arange(len(groups.j))),
        np.append(leaves.position, groups.stop - 1),
        np.append(leaves.mass, path),
        stack([_write(leaves, said, written, groups, spellings), sampled]),
        reach * positions.tails + spare,
    )


class _Candidates(NamedTuple):
    """Candidates: where each is among all, its position, its group, the mass of its leaf."""

    place: Integers
    position: Integers
    group: Integers
    mass: Floats

    def begin(self, groups: Groups) -> NDArray[np.bool_]:
        """Return which of them begin a group, but not the text: they are all of their leaf."""
        is_first: NDArray[np.bool_] = self.position == groups.j[self.group]
        return is_first & (groups.start[self.group] > 0)


def _write(
    leaves: _Candidates, said: Said, written: Written, groups: Groups, spellings: Spellings
) -> NDArray[np.int32]:
    """Return the tokens in which the student would write each of `leaves`."""
    ids = said.positions.ids[leaves.place]
    used, row = np.unique(ids, return_inverse=True)
    later = np.flatnonzero(~leaves.begin(groups))
    row[later] = len(used) + np.arange(len(later))
    spelled: list[Sequence[int]] = []
    for token_id, start, end in zip(
        ids[later].tolist(),
        groups.start[leaves.group[later]].tolist(),
        said.starts[leaves.position[later]].tolist(),
        strict=True,
    ):
        token = spellings.tokens.get(token_id, b"")
        before = said.text[start:end] if start else written.lead + said.text[:end]
        # White space around the text is not compared.
        spelled.append(spellings.write(token if end else token.lstrip(), before))
    if said.end is not None:
        row[ids == said.positions.ids[said.positions.sampled[said.end]]] = len(used) + len(later)
        spelled.append(written.ids[-1:])
    return stack([spellings.rows(used), to_rows(spelled)])[row]
