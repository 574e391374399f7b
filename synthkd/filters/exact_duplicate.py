"""Drop samples that say again what an earlier one said."""

import hashlib
from collections.abc import Iterable, Iterator
from typing import Literal

from pydantic import Field

from synthkd.filters.base import Filter
from synthkd.records import KEEP, Sample, Verdict, canonical_json, drop


class ExactDuplicateFilter(Filter):
    """Keep the first of equal samples.

    By default equal means equal to the character. With `fold`, neither case nor the
    amount of white space counts. Note that `by: prompt` keeps one sample of each seed.
    """

    kind: Literal["exact_duplicate"] = "exact_duplicate"
    by: Literal["completion", "prompt", "both"] = Field(
        default="both", description="What must be equal."
    )
    fold: bool = Field(default=False, description="Let case and white space not count.")

    def judge(self, sample: Sample) -> Verdict:  # noqa: ARG002  (alone, nothing comes before it)
        """Keep: one sample repeats nothing."""
        return KEEP

    def judge_all(self, samples: Iterable[Sample]) -> Iterator[tuple[Sample, Verdict]]:
        """Drop what has been seen. Memory grows by 16 bytes of digest per kept sample, not text."""
        seen: set[bytes] = set()
        for sample in samples:
            mark = self._mark(sample)
            yield sample, drop("duplicate") if mark in seen else KEEP
            seen.add(mark)

    def _mark(self, sample: Sample) -> bytes:
        prompt = [[role, self._read(content)] for role, content in sample.messages]
        completion = self._read(sample.completion)
        parts = {"prompt": prompt, "completion": completion, "both": [prompt, completion]}
        text = canonical_json(parts[self.by])
        return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()

    def _read(self, text: str) -> str:
        return " ".join(text.casefold().split()) if self.fold else text
