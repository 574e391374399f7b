"""Drop completions without the output parts their prompt declares."""

from typing import Literal

from synthkd.filters.base import Filter
from synthkd.records import KEEP, Sample, Verdict, drop


class UnsplitFilter(Filter):
    """Keep completions that split into their declared parts."""

    kind: Literal["unsplit"] = "unsplit"

    def judge(self, sample: Sample) -> Verdict:
        """A prompt that declares no parts has nothing to split."""
        return KEEP if sample.is_split else drop("unsplit")
