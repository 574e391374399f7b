"""Positions as a few arrays instead of thousands of small values.

    counts [n]   ranks [n]   tails [n]   and, one position after another,   ids [Σk]   logprobs [Σk]

An answer of 150 tokens with 20 alternatives each is 3,000 candidates: as objects they
cost more than all the rest of reading it. They are made when somebody looks at one.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import overload

import numpy as np
import numpy.typing as npt

from synthkd.records import Alternative, Position

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


class Positions(Sequence[Position]):
    """Positions as arrays; each one, asked for, is a `Position`.

    `ids` and `logprobs` (nats) hold the candidates of all positions one after another,
    `counts` of them at each; `ranks` says which was sampled. Equal arrays are equal.
    """

    __slots__ = ("counts", "ids", "logprobs", "ranks", "tails")

    def __init__(
        self, counts: Integers, ranks: Integers, tails: Floats, ids: Integers, logprobs: Floats
    ) -> None:
        """Keep the arrays, which nobody may write to any more."""
        self.counts = counts
        self.ranks = ranks
        self.tails = tails
        self.ids = ids
        self.logprobs = logprobs

    @classmethod
    def of(cls, positions: Iterable[Position]) -> "Positions":
        """Return `positions` as arrays; arrays stay what they are."""
        if isinstance(positions, Positions):
            return positions
        listed = list(positions)
        flat = [alternative for position in listed for alternative in position.top]
        return cls(
            np.array([len(position.top) for position in listed], dtype=np.int64),
            np.array([position.rank for position in listed], dtype=np.int64),
            np.array([position.tail for position in listed], dtype=np.float64),
            np.array([alternative.token_id for alternative in flat], dtype=np.int64),
            np.array([alternative.logprob for alternative in flat], dtype=np.float64),
        )

    @property
    def starts(self) -> Integers:
        """Where the candidates of each position begin."""
        return np.cumsum(self.counts) - self.counts

    @property
    def rows(self) -> Integers:
        """The position each candidate belongs to."""
        return np.repeat(np.arange(len(self.counts)), self.counts)

    @property
    def sampled(self) -> Integers:
        """Where the sampled token of each position is among all candidates."""
        return self.starts + self.ranks

    def __len__(self) -> int:
        return len(self.counts)

    @overload
    def __getitem__(self, index: int) -> Position: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Position, ...]: ...
    def __getitem__(self, index: int | slice) -> Position | tuple[Position, ...]:
        if isinstance(index, slice):
            return tuple(self)[index]
        place = range(len(self))[index]
        start = int(self.counts[:place].sum())
        end = start + int(self.counts[place])
        top = map(Alternative, self.ids[start:end].tolist(), self.logprobs[start:end].tolist())
        return Position(tuple(top), int(self.ranks[place]), float(self.tails[place]))

    def __iter__(self) -> Iterator[Position]:
        ids, logprobs = self.ids.tolist(), self.logprobs.tolist()
        start = 0
        for count, rank, tail in zip(
            self.counts.tolist(), self.ranks.tolist(), self.tails.tolist(), strict=True
        ):
            end = start + count
            top = tuple(map(Alternative, ids[start:end], logprobs[start:end]))
            yield Position(top, rank, tail)
            start = end

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Positions):
            return NotImplemented
        return all(
            np.array_equal(getattr(self, name), getattr(other, name)) for name in self.__slots__
        )

    __hash__ = None  # type: ignore[assignment]  # arrays are no keys

    def __repr__(self) -> str:
        return f"Positions({list(self)})"
