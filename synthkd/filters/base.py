"""What a filter is: a rule that judges samples and deletes nothing.

A verdict is kept beside its sample, so a dropped sample can say why, and another
rule can bring it back for free.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from typing import ClassVar

from pydantic import BaseModel, ConfigDict, Field

from synthkd.records import Sample, Verdict


class Filter(BaseModel, ABC):
    """One rule and its options. `name` tells two filters of one kind apart."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    needs_logprobs: ClassVar[bool] = False

    kind: str
    name: str | None = Field(
        default=None, min_length=1, description="What its verdicts are stored under; else its kind."
    )

    @property
    def label(self) -> str:
        """What its verdicts are stored under."""
        return self.name or self.kind

    @abstractmethod
    def judge(self, sample: Sample) -> Verdict:
        """Return the verdict on `sample` as if it were the only one."""

    def judge_all(self, samples: Iterable[Sample]) -> Iterator[tuple[Sample, Verdict]]:
        """Yield each of `samples` with its verdict, in their order, as they come.

        `samples` are ordered by source, seed and sample index, so that those of one
        seed stand together. A rule about several samples at once says so here.
        """
        for sample in samples:
            yield sample, self.judge(sample)
