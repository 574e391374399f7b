"""A teacher's log-probabilities, told over the tokens of a student with another tokenizer.

Both wrote the same bytes. Cut where both begin a token, they fall into groups:

    teacher   the | ·cats  | ·sat | ·ele phant        student   the | ·ca ts | ·sat | ·elephant

What the teacher could have written in a group is a tree. The probability of a leaf is a
product down the tree (chain rule), and the tokens in which the student would write the
leaf's bytes say what it means: its first token, for the first of the group; its second,
for the second, if its first is the one that was written; and so on.

    one token each   the candidates, by their bytes                     exact
    first of more    all leaves, by their first token                   a lower bound
    inside           leaves that go on from what is written, summing to 1   the same, given that

A lower bound, because the teacher could have cut the same bytes in yet another way, and
nobody knows what it would have said then. What is missing is in the tail, and so is what
the student has no token for. A leaf that is one token of the student may be the beginning
of a longer one: how often, is counted on the tokens sampled in this completion, and that
share of it goes to the tail too. With one tokenizer it is none, and all is exact.

Everything is said given where the teacher's own tokens ended, which a student cannot see
(arXiv:2410.09303). Over many samples that comes to what the teacher would say knowing the
text alone. Inside a group, the tail counts by the share of the other candidates that go on
from what is written; where none does, only what was sampled is known, and cross-entropy
says as much.
"""

from collections.abc import Iterator
from enum import IntEnum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from synthkd.corpus.positions import Floats, Integers
from synthkd.training.offsets import UNTOLD
from synthkd.training.spelling import ENDED, Spellings
from synthkd.training.tree import Groups, Said, Tree, Written, grow, pair


class Kind(IntEnum):
    """How a token of the student is taught, the first three by cross-entropy alone."""

    SILENT = 0  # the teacher said nothing: white space around the text, an end that is missing
    UNKNOWN = 1  # it is not known where the teacher's tokens begin
    CERTAIN = 2  # inside a token of the teacher, and no other candidate goes on from here
    EXACT = 3  # the same bytes are one token for both
    MERGED = 4  # both begin a token here, and end it elsewhere
    INSIDE = 5  # inside a token of the teacher


class Candidates(NamedTuple):
    """What could stand at the tokens of a completion: at which of them, its id, its mass."""

    rows: Integers
    ids: Integers
    masses: Floats

    def only(self, chosen: NDArray[np.bool_]) -> "Candidates":
        """Return those that are `chosen`."""
        return Candidates(self.rows[chosen], self.ids[chosen], self.masses[chosen])


def regroup(
    said: Said, written: Written, spellings: Spellings
) -> tuple[Candidates, NDArray[np.uint8]]:
    """Return candidates for the tokens in which a student wrote a text, and each token's Kind.

    Masses are of 1 for each token; what is missing is its tail.
    """
    groups = pair(said, written)
    size = len(groups.j)
    kinds = np.full(len(written.ids), Kind.SILENT, dtype=np.uint8)
    found = [Candidates(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0))]
    if not size:
        return found[0], kinds
    tree = grow(said, written, groups, spellings)
    longer = _count_longer(said, written, groups, spellings)
    is_beginning = spellings.vocabulary.is_beginning
    is_told = ~groups.any(said.starts == UNTOLD)
    for depth, alive in enumerate(_descend(tree, groups, written)):
        group, mass, token = tree.group[alive], tree.mass[alive], tree.rows[alive, depth]
        is_after = _find_after(said, written, groups, depth)
        whole = np.bincount(group, mass, size) + _count_spare(tree, groups, alive, is_after)
        kind = _find_kinds(groups, is_told, depth, np.bincount(group, minlength=size) - 1)
        is_there = groups.n > depth
        kinds[groups.i[is_there] + depth] = kind[is_there]
        is_open = (tree.rows[alive, depth + 1] == ENDED) & is_beginning[token]
        sure = mass * np.where(is_open, 1 - longer, 1.0) / whole[group]
        is_said = (token >= 0) & (sure != 0) & (kind[group] >= Kind.EXACT)
        found.append(Candidates(groups.i[group] + depth, token, sure).only(is_said))
    return Candidates(*map(np.concatenate, zip(*found, strict=True))), kinds


def _descend(tree: Tree, groups: Groups, written: Written) -> Iterator[Integers]:
    """Yield, depth by depth, the leaves that begin as their group was written and go on."""
    ids = np.array(written.ids)
    alive = np.arange(len(tree.group))
    for depth in range(int(groups.n.max(initial=0))):
        if depth:
            group = tree.group[alive]
            is_same = tree.rows[alive, depth - 1] == ids[groups.i[group] + depth - 1]
            goes_on = (tree.rows[alive, depth] != ENDED) & (groups.n[group] > depth)
            alive = alive[is_same & goes_on]
        yield alive


def _count_spare(
    tree: Tree, groups: Groups, alive: Integers, is_after: NDArray[np.bool_]
) -> Floats:
    """Return, by group, how much of the mass of what is no leaf goes on with those `alive`.

    All where `is_after`; where it is not, as many parts of it as of the leaves.
    """
    n, others = len(tree.spare), len(tree.group) - len(groups.j)
    every = np.bincount(tree.position[:others], minlength=n)
    left = np.bincount(tree.position[alive[alive < others]], minlength=n)
    share = np.where(is_after, 1.0, left / np.maximum(every, 1))
    spare = np.bincount(groups.hold(np.arange(n)), tree.spare * share, len(groups.j))
    return spare.astype(np.float64)


def _find_after(said: Said, written: Written, groups: Groups, depth: int) -> NDArray[np.bool_]:
    """Return, by position, whether what was said there follows all that is written by a depth."""
    every = np.arange(len(said.positions))
    if not depth:
        return every >= 0
    first, last, starts = written.places
    place = np.clip(groups.i + np.minimum(depth, groups.n - 1) - first, 0, last - first)
    begun = starts[place][groups.hold(every)]
    is_after: NDArray[np.bool_] = (begun != UNTOLD) & (said.starts >= begun)
    return is_after


def _find_kinds(
    groups: Groups, is_told: NDArray[np.bool_], depth: int, options: Integers
) -> Integers:
    """Return, by group, how the token at a depth is taught.

    `is_told`: where the teacher's tokens begin; `options`: leaves besides the sampled one.
    """
    if depth:
        inside = np.where(options > 0, Kind.INSIDE, Kind.CERTAIN)
        return np.where(is_told, inside, Kind.UNKNOWN)
    is_one = groups.n == 1
    kinds = np.where(is_one & (groups.stop - groups.j == 1), Kind.EXACT, Kind.MERGED)
    return np.where(is_told | is_one, kinds, Kind.UNKNOWN)


def _count_longer(said: Said, written: Written, groups: Groups, spellings: Spellings) -> float:
    """Return the share of sampled tokens that began a longer token of the student.

    Of those that begin a group, not the text, are one token of the student, and could; and
    of one more that did not, for few say little.
    """
    vocabulary, positions = spellings.vocabulary, said.positions
    later = groups.start > 0
    used, back = np.unique(positions.ids[positions.sampled[groups.j[later]]], return_inverse=True)
    rows = spellings.rows(used)[back]
    token = rows[:, 0]
    could = (rows[:, 1] == ENDED) & (token >= 0) & vocabulary.is_beginning[token]
    label = np.array(written.ids)[groups.i[later]]
    differs = could & (token != label)
    tokens = vocabulary.tokens
    longer = sum(
        len(tokens[one]) > len(tokens[other])
        for one, other in zip(label[differs].tolist(), token[differs].tolist(), strict=True)
    )
    return longer / (int(could.sum()) + 1)
