"""Drop completions the teacher itself was not sure of."""

import math
from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from synthkd.filters.base import Filter
from synthkd.records import Sample, Verdict, drop


class ConfidenceFilter(Filter):
    """Keep completions whose tokens were probable enough.

    Both bounds are natural logarithms: -0.69 is a probability of one half. The mean
    says how sure the teacher was overall, the lowest token where it was not.
    """

    needs_logprobs: ClassVar[bool] = True

    kind: Literal["confidence"] = "confidence"
    min_mean: float | None = Field(
        default=None, le=0, description="Least mean log-probability of the tokens, in nats."
    )
    min_lowest: float | None = Field(
        default=None, le=0, description="Least log-probability of any one token, in nats."
    )

    @model_validator(mode="after")
    def _set_a_bound(self) -> Self:
        if self.min_mean is None and self.min_lowest is None:
            raise ValueError(
                "without min_mean or min_lowest every completion would be kept; "
                "write one of them, e.g. min_mean: -0.5"
            )
        return self

    def judge(self, sample: Sample) -> Verdict:
        """Score by the mean. A NaN is under every bound."""
        logprobs = sample.token_logprobs
        if not logprobs:
            return drop("no_logprobs")
        mean = math.fsum(logprobs) / len(logprobs)
        if self.min_mean is not None and not mean >= self.min_mean:
            return drop("low_mean", mean)
        if self.min_lowest is not None and not all(
            logprob >= self.min_lowest for logprob in logprobs
        ):
            return drop("low_token", mean)
        return Verdict(keep=True, score=mean)
