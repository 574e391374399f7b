"""Rows that are kept aside: not learned, and measured while the others are."""

import hashlib
from array import array

import numpy as np
from datasets import Dataset
from numpy.typing import NDArray

from synthkd.errors import ConfigError


class Aside:
    """Which rows are kept aside to be measured: those of a share of the seeds, drawn by name.

    All samples of one prompt fall on one side, or the student would have seen what it is
    measured by.
    """

    def __init__(self) -> None:
        """Know of no rows yet."""
        self._draws = array("Q")

    def add(self, seed: str) -> None:
        """Draw a number for the next row, which answers `seed`."""
        text = seed.encode("utf-8", "surrogatepass")
        self._draws.append(int.from_bytes(hashlib.blake2b(text, digest_size=8).digest()))

    def choose(self, share: float) -> NDArray[np.bool_]:
        """Return which rows are kept aside: those of a `share` of the seeds, one at least.

        Raises:
            ConfigError: All rows are of one seed.
        """
        draws = np.frombuffer(self._draws, dtype=np.uint64)
        seeds = np.unique(draws)
        if len(seeds) < 2:  # noqa: PLR2004 - one to learn and one to measure
            raise ConfigError(
                "validation keeps rows of some prompts aside, and all rows answer one; "
                "leave validation out, or train on more prompts"
            )
        most = min(max(round(share * len(seeds)), 1), len(seeds) - 1)
        chosen: NDArray[np.bool_] = draws <= seeds[most - 1]
        return chosen


def split(rows: Dataset, is_aside: NDArray[np.bool_]) -> tuple[Dataset, Dataset]:
    """Return the rows to learn and those kept aside."""
    return rows.select(np.flatnonzero(~is_aside)), rows.select(np.flatnonzero(is_aside))
