"""Drop completions that were cut at their token limit."""

from typing import Literal

from synthkd.filters.base import Filter
from synthkd.records import KEEP, LENGTH, Sample, Verdict, drop


class TruncatedFilter(Filter):
    """Keep completions that the teacher ended itself."""

    kind: Literal["truncated"] = "truncated"

    def judge(self, sample: Sample) -> Verdict:
        """Ask the finish reason; a text can end well and still be cut."""
        return drop("truncated") if sample.finish_reason == LENGTH else KEEP
