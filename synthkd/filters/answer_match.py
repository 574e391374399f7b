"""Drop samples whose answer is not the reference."""

from typing import Literal

from pydantic import Field

from synthkd.answers import (
    DecimalMark,
    Number,
    are_equal,
    normalize_answer,
    read_number,
    read_whole_number,
)
from synthkd.filters.base import Filter
from synthkd.records import KEEP, Sample, Verdict, drop


class AnswerMatchFilter(Filter):
    """Keep samples whose answer equals their reference, as `mode` reads the two.

    `exact` ignores the white space around them and nothing else; `normalized` also
    case, spacing, wrapping and a full stop; `numeric` compares the last number of
    each; `auto` is numeric where the reference is a number and nothing else, and
    normalized where it is not.
    """

    kind: Literal["answer_match"] = "answer_match"
    mode: Literal["exact", "normalized", "numeric", "auto"] = "auto"
    tolerance: float = Field(
        default=0.0,
        ge=0,
        allow_inf_nan=False,
        description="Numbers this far apart are still equal; absolute.",
    )
    decimal_mark: DecimalMark = Field(
        default=".", description="What stands before the decimals; the other one groups thousands."
    )

    def judge(self, sample: Sample) -> Verdict:
        """A completion that did not split has no answer to compare."""
        if not sample.is_split:
            return drop("not_split")
        reference = sample.reference
        if reference is None or not reference.strip():
            return drop("no_reference")
        if self.mode == "numeric" and self._read_wanted(reference) is None:
            return drop("no_reference")
        return KEEP if self._is_right(sample.answer, reference) else drop("wrong_answer")

    def _is_right(self, answer: str, reference: str) -> bool:
        if self.mode == "exact":
            return answer.strip() == reference.strip()
        wanted = self._read_wanted(reference)
        if wanted is None:
            return normalize_answer(answer) == normalize_answer(reference)
        given = read_number(answer, self.decimal_mark)
        return given is not None and are_equal(given, wanted, self.tolerance)

    def _read_wanted(self, reference: str) -> Number | None:
        """Return the number that `reference` asks for, if it asks for one."""
        if self.mode == "numeric":
            return read_number(reference, self.decimal_mark)
        if self.mode == "auto":
            return read_whole_number(reference, self.decimal_mark)
        return None
