"""Merkle trees of RFC 6962: one root for many leaves, and short proofs of what is under it.

A leaf is hashed with a byte 0 before it and a node with a byte 1, so that none passes for
the other. Where a level is odd its last node goes up as it is: that is the RFC's split at
the largest power of two.
"""

import hashlib
from collections.abc import Sequence


def hash_leaf(leaf: bytes) -> bytes:
    """Return the hash of a leaf."""
    return hashlib.sha256(b"\0" + leaf).digest()


class Tree:
    """A tree over `leaves`, in their order."""

    def __init__(self, leaves: Sequence[bytes]) -> None:
        """Hash all of it: two hashes a leaf."""
        level = [hash_leaf(leaf) for leaf in leaves]
        self._levels = [level]
        while len(level) > 1:
            above = [_join(level[at], level[at + 1]) for at in range(0, len(level) - 1, 2)]
            level = [*above, level[-1]] if len(level) % 2 else above
            self._levels.append(level)

    @property
    def size(self) -> int:
        """How many leaves there are."""
        return len(self._levels[0])

    @property
    def root(self) -> bytes:
        """The hash of everything; of nothing it is that of no bytes."""
        return self._levels[-1][0] if self.size else hashlib.sha256().digest()

    def prove(self, index: int) -> list[bytes]:
        """Return the audit path of the leaf at `index`: its neighbours on the way up."""
        path = []
        for level in self._levels[:-1]:
            if index ^ 1 < len(level):
                path.append(level[index ^ 1])
            index //= 2
        return path


def is_included(leaf: bytes, index: int, size: int, path: Sequence[bytes], root: bytes) -> bool:
    """Return whether `path` proves that `leaf` stands at `index` under a `root` of `size` leaves.

    The algorithm is that of RFC 9162, section 2.1.3.2.
    """
    if not 0 <= index < size:
        return False
    node, place, last = hash_leaf(leaf), index, size - 1
    for neighbour in path:
        if last == 0:
            return False
        if place % 2 or place == last:
            node = _join(neighbour, node)
            while place % 2 == 0 and place:
                place, last = place >> 1, last >> 1
        else:
            node = _join(node, neighbour)
        place, last = place >> 1, last >> 1
    return last == 0 and node == root


def _join(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\1" + left + right).digest()
