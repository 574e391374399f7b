"""Drop completions too short to teach anything or too long to fit the student."""

from typing import Literal, Self

from pydantic import Field, model_validator

from synthkd.filters.base import Filter
from synthkd.records import Sample, Verdict, drop


class LengthFilter(Filter):
    """Keep completions of `min_words` to `max_words` words, both included."""

    kind: Literal["length"] = "length"
    min_words: int = Field(default=1, ge=0, description="Fewer words are too_short.")
    max_words: int = Field(default=512, gt=0, description="More words are too_long.")

    @model_validator(mode="after")
    def _leave_room(self) -> Self:
        if self.min_words > self.max_words:
            raise ValueError(
                f"min_words is {self.min_words} and max_words {self.max_words}, so no completion "
                "would be kept; write a max_words that is not less than min_words"
            )
        return self

    def judge(self, sample: Sample) -> Verdict:
        """Count words, not tokens: the rule must not change with the student."""
        words = len(sample.completion.split())
        if words < self.min_words:
            return drop("too_short", words)
        if words > self.max_words:
            return drop("too_long", words)
        return Verdict(keep=True, score=words)
