"""Which rows a step learns, and how they become tensors.

Rows of like length share a batch, which saves padding; the order of the batches is drawn
from the seed and the epoch alone, so that a resumed training sees what an uninterrupted
one does. Each process gets its part of every step; one that no row is left for gets one
of which nothing is learned.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import datasets
import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset, Sampler
from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

from synthkd.training.blobs import NOTHING
from synthkd.training.store import IGNORED

_POOL = 50  # batches whose rows are sorted by length together
_FILLER = -1


class LikeLengths(Sampler[int]):
    """Rows in batches of like length, the batches in random order; another order each epoch."""

    def __init__(
        self, lengths: Sequence[int] | NDArray[np.int32], batch_size: int, seed: int
    ) -> None:
        """Draw batches of `batch_size` rows that have `lengths`."""
        self._lengths = np.asarray(lengths)
        self._batch_size, self._seed = batch_size, seed
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Draw the order of `epoch` from now on."""
        self._epoch = epoch

    def __len__(self) -> int:
        return len(self._lengths)

    def __iter__(self) -> Iterator[int]:
        random = torch.Generator().manual_seed(self._seed * 1_000_003 + self._epoch)
        order = torch.randperm(len(self._lengths), generator=random).numpy()
        size = self._batch_size
        for start in range(0, len(order), size * _POOL):
            pool = order[start : start + size * _POOL]
            pool[:] = pool[np.argsort(self._lengths[pool], kind="stable")]
        # A batch that is not full stays last, or the trainer would cut all that follow anew.
        full = len(order) // size
        for place in torch.randperm(full, generator=random).numpy():
            yield from order[place * size : (place + 1) * size].tolist()
        yield from order[full * size :].tolist()


class Batches(Sampler[list[int]]):
    """The micro-batches of one of several processes: of each step, an equal number."""

    def __init__(
        self, rows: Sampler[int] | range, batch_size: int, processes: int, process: int
    ) -> None:
        """Cut `rows` into batches of `batch_size` and deal them to `processes`, by turns."""
        self.sampler = rows
        self.batch_size = batch_size
        self._processes, self._process = processes, process

    def set_epoch(self, epoch: int) -> None:
        """Draw the order of `epoch` from now on."""
        if isinstance(self.sampler, LikeLengths):
            self.sampler.set_epoch(epoch)

    def __len__(self) -> int:
        batches = math.ceil(len(self.sampler) / self.batch_size)  # type: ignore[arg-type] # rows are counted
        return math.ceil(batches / self._processes)

    def __iter__(self) -> Iterator[list[int]]:
        rows = iter(self.sampler)
        while step := list(islice(rows, self.batch_size * self._processes)):
            start = self.batch_size * self._process
            yield step[start : start + self.batch_size] or [_FILLER]


class Rows(Dataset[dict[str, Any]]):
    """Encoded rows as the trainer's workers ask for them."""

    def __init__(self, rows: datasets.Dataset) -> None:
        """Read from `rows`."""
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitems__(self, places: list[int]) -> list[dict[str, Any]]:
        """Return the rows at `places`, or for a filler one of which nothing is learned."""
        if places == [_FILLER]:
            row = self._rows[0]
            nothing = {"labels": [IGNORED] * len(row["input_ids"]), "teacher": NOTHING}
            return [row | nothing]
        columns = self._rows[places]
        return [
            dict(zip(columns, values, strict=True))
            for values in zip(*columns.values(), strict=True)
        ]


@dataclass
class StudentCollator(DataCollatorForLanguageModeling):
    """Pads a batch; `weights` [B, T] are in it only if one of its rows has another than 1."""

    def torch_call(self, examples: list[dict[str, Any]]) -> dict[str, Any]:
        """Return TRL's batch, and the weights of its tokens."""
        batch: dict[str, Any] = super().torch_call(examples)
        weights = torch.tensor([example.get("weight", 1.0) for example in examples])
        if (weights != 1).any():
            batch["weights"] = weights[:, None].expand(batch["labels"].shape).contiguous()
        return batch
