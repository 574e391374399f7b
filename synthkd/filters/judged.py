"""Drop samples that a judge model thinks little of."""

from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Literal, Self

from pydantic import Field, model_validator

from synthkd.filters.base import Filter
from synthkd.records import Sample, Verdict, drop

_UNJUDGED = "unjudged"


class JudgedFilter(Filter):
    """Keep samples with a score of `keep_from` or more, and the `best` of each seed.

    A sample that was not judged, or not understandably, is kept as `unjudged`, unless
    `best` others of its seed were chosen: a judge that fails drops nothing.
    """

    kind: Literal["judged"] = "judged"
    keep_from: float | None = Field(default=None, description="The least score that is kept.")
    best: int | None = Field(
        default=None,
        ge=1,
        description="How many of a seed's samples are kept; ties by their order.",
    )

    @model_validator(mode="after")
    def _choose_by_something(self) -> Self:
        if self.keep_from is None and self.best is None:
            raise ValueError(
                "without keep_from or best every sample would be kept; write one of them, "
                "e.g. keep_from: 7"
            )
        return self

    def judge(self, sample: Sample) -> Verdict:
        """Compare the score alone."""
        score = sample.judge_score
        if score is None:
            return Verdict(keep=True, reason=_UNJUDGED)
        if self.keep_from is not None and score < self.keep_from:
            return drop("low_score", score)
        return Verdict(keep=True, score=score)

    def judge_all(self, samples: Iterable[Sample]) -> Iterator[tuple[Sample, Verdict]]:
        """Compare the samples of each seed; only those of one seed are held in memory."""
        for _, group in groupby(samples, key=lambda sample: (sample.source_id, sample.seed_id)):
            of_seed = list(group)
            chosen = self._choose(of_seed)
            is_full = len(chosen) == self.best
            for sample in of_seed:
                verdict = self.judge(sample)
                if verdict.keep and is_full and sample.sample_id not in chosen:
                    verdict = drop("not_best", sample.judge_score)
                yield sample, verdict

    def _choose(self, samples: list[Sample]) -> set[str]:
        """Return the best of the samples whose score is high enough."""
        scored = [s for s in samples if s.judge_score is not None and self.judge(s).keep]
        ranked = sorted(scored, key=lambda sample: -(sample.judge_score or 0.0))
        return {sample.sample_id for sample in ranked[: self.best]}
