"""Several teachers that share the work: which of them is asked for a seed.

Each seed goes to the teacher with the lowest of weighted random times that hang on the
seed and the teacher alone (weighted rendezvous hashing: Schindelhauer and Schomaker
2005, doi:10.1145/1073970.1074008). So a row more moves no other row, and another
weight moves only the rows it has to.
"""

import hashlib
import math
from collections import Counter
from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Literal

from pydantic import Field

from synthkd.records import Seed
from synthkd.teachers.options import TeacherOptions

Choose = Literal["mixture", "all", "best_of"]


class SharingTeacher(TeacherOptions):
    """One of several teachers."""

    weight: float = Field(default=1.0, gt=0, description="Its share of the seeds, beside others'.")


def name_apart(models: Sequence[str]) -> list[str]:
    """Return `models` with a number where one stands twice.

    >>> name_apart(["openai/a", "openai/b", "openai/a"])
    ['openai/a', 'openai/b', 'openai/a#2']

    Parameters do not count, so that editing them moves no seed to another teacher.
    """
    seen: Counter[str] = Counter()
    names = []
    for model in models:
        seen[model] += 1
        names.append(model if seen[model] == 1 else f"{model}#{seen[model]}")
    return names


def choose_teacher(seed: Seed, names: Sequence[str], weights: Sequence[float]) -> int:
    """Return the place of the teacher that `seed` goes to.

    >>> seed = Seed("tickets", "7", {})
    >>> choose_teacher(seed, ["a", "b"], [2, 1]) == choose_teacher(seed, ["a", "b"], [4, 2])
    True
    """
    times = [
        -math.log(_draw(f"{seed.source_id}\0{seed.seed_id}\0{name}")) / weight
        for name, weight in zip(names, weights, strict=True)
    ]
    return times.index(min(times))


def share(count: int, weights: Sequence[float]) -> list[int]:
    """Return how many of `count` rows are each teacher's.

    >>> share(10, [2, 1])
    [7, 3]
    """
    ends = [round(count * end / sum(weights)) for end in accumulate(weights)]
    return [end - start for start, end in pairwise([0, *ends])]


def _draw(text: str) -> float:
    """Return a number above 0 and up to 1 that `text` decides."""
    hashed = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return (int.from_bytes(hashed) + 1) / 2**64
