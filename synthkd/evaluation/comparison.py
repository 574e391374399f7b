"""How sure a mean is, and the difference of two.

Percentile bootstrap (Efron 1979): the rows are drawn again, with replacement, and the
mean is taken of each draw. Two models answered the same rows, so they are compared row
by row: drawing each apart would count how hard the rows are as chance, twice.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

RESAMPLES = 2000
_LEVEL = 0.95
_AT_ONCE = 2_000_000  # cells of a table of draws


class Interval(NamedTuple):
    """A mean, and the bounds it would likely be within on other rows like these."""

    mean: float
    low: float
    high: float


def bootstrap(
    scores: Sequence[float] | np.ndarray,
    seed: int = 0,
    resamples: int = RESAMPLES,
    level: float = _LEVEL,
) -> Interval:
    """Return the mean of `scores` with its interval, which always contains it.

    Scores that are all alike give an interval of no width: that says nothing about
    how sure they are.

    Raises:
        ValueError: There are no scores, or one is not finite.
    """
    rows = _check([scores])
    means = _resample(rows, seed, resamples)
    return _cover(float(_mean(rows)[0]), means[:, 0], level)


def paired_difference(
    left: Sequence[float] | np.ndarray,
    right: Sequence[float] | np.ndarray,
    seed: int = 0,
    resamples: int = RESAMPLES,
    level: float = _LEVEL,
) -> Interval:
    """Return the mean of `left` minus that of `right`, scores of the same rows in one order.

    Raises:
        ValueError: There are no scores, one is not finite, or there are not as many of both.
    """
    rows = _check([left, right])
    return bootstrap(rows[:, 0] - rows[:, 1], seed, resamples, level)


def retained_share(
    student: Sequence[float] | np.ndarray,
    teacher: Sequence[float] | np.ndarray,
    seed: int = 0,
    resamples: int = RESAMPLES,
    level: float = _LEVEL,
) -> Interval:
    """Return the mean of `student` over that of `teacher`, scores of the same rows in one order.

    Draws in which the teacher scores nothing are left out.

    Raises:
        ValueError: There are no scores, one is not finite, there are not as many of
            both, or the teacher's mean is not above 0: there is nothing to have a share of.
    """
    rows = _check([student, teacher])
    own, whole = _mean(rows)
    if whole <= 0:
        raise ValueError("the teacher scored nothing, so no share of it can be retained")
    means = _resample(rows, seed, resamples)
    means = means[means[:, 1] > 0]
    return _cover(float(own / whole), means[:, 0] / means[:, 1], level)


def _check(columns: Sequence[Sequence[float] | np.ndarray]) -> np.ndarray:
    """Return `columns` as an array [rows, columns]."""
    if len({len(column) for column in columns}) > 1:
        raise ValueError("the two models have not as many scores; they must answer the same rows")
    rows = np.array(columns, dtype=np.float64).T
    if not rows.size:
        raise ValueError("there are no scores, so there is no mean")
    if not np.isfinite(rows).all():
        raise ValueError("a score is not finite")
    return rows


def _mean(rows: np.ndarray) -> np.ndarray:
    """Return the mean of each column, summed as `_resample` sums."""
    values, counts = np.unique(rows, axis=0, return_counts=True)
    mean: np.ndarray = counts @ values / len(rows)
    return mean


def _resample(rows: np.ndarray, seed: int, resamples: int) -> np.ndarray:
    """Return the means [resamples, columns] of rows drawn again from `rows` [rows, columns].

    Equal rows are drawn together, by their number: scores take few values, so this
    gives the same distribution for a hundredth of the work.
    """
    values, counts = np.unique(rows, axis=0, return_counts=True)
    generator = np.random.default_rng(seed)
    size = max(1, _AT_ONCE // len(values))
    means = [
        generator.multinomial(len(rows), counts / len(rows), min(size, resamples - start))
        @ values
        / len(rows)
        for start in range(0, resamples, size)
    ]
    return np.concatenate(means)


def _cover(mean: float, means: np.ndarray, level: float) -> Interval:
    """Return the middle `level` of `means` as an interval around `mean`."""
    edges = np.array([(1 - level) / 2, (1 + level) / 2])
    low, high = np.quantile(means, edges).tolist() if len(means) else (mean, mean)
    return Interval(mean, min(low, mean), max(high, mean))
