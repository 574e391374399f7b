r"""Drop samples by a regular expression.

Python's `re` backtracks, and on some patterns it backtracks for ever: `(\w+\s?)*$`
doubles its time with every character. Such patterns are refused where a probe finds
them out. The probe is not a proof: write possessive quantifiers (`\w++`) when in doubt.
"""

import re
import time
from functools import cached_property
from itertools import product
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from synthkd.filters.base import Filter
from synthkd.records import KEEP, Sample, Verdict, drop

_LONGEST = 34  # characters of a probe
_SECONDS = 0.02  # a sound pattern needs microseconds on one


def _read_pattern(pattern: str) -> str:
    """Return `pattern`.

    Raises:
        ValueError: It is no regular expression, or its time explodes.
    """
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        place = "" if error.pos is None else f" at character {error.pos + 1}"
        raise ValueError(f"{pattern!r} is no regular expression: {error.msg}{place}") from None
    except (OverflowError, RecursionError) as error:
        raise ValueError(f"{pattern!r} is no regular expression: {error}") from None
    if probe := _find_explosion(compiled):
        raise ValueError(
            f"{pattern!r} takes exponential time on texts like {probe!r}, so one sample could "
            "stop the run; make the inner repetition possessive (e.g. (\\w++\\s?)*+)"
        )
    return pattern


def _find_explosion(compiled: re.Pattern[str]) -> str | None:
    """Return a short text that `compiled` cannot be matched against in time, if one is found.

    Time grows step by step, so the first text over the limit is only just over it.
    """
    characters = dict.fromkeys("a0 -_,." + compiled.pattern)
    for character, end in product(characters, ("\0", "\n\0")):
        for length in range(1, _LONGEST):
            probe = character * length + end
            start = time.thread_time()
            compiled.search(probe)
            if time.thread_time() - start > _SECONDS:
                return probe
    return None


Pattern = Annotated[str, AfterValidator(_read_pattern)]


class PatternFilter(Filter):
    """Keep samples whose `part` has a match of `must_match` and none of `must_not_match`.

    A match may be anywhere in the text; anchor it with `^` and `$` if it may not.
    A rationale that is not there matches nothing.
    """

    kind: Literal["pattern"] = "pattern"
    must_match: Pattern | None = Field(default=None, description="Python re; searched for.")
    must_not_match: Pattern | None = Field(default=None, description="Python re; searched for.")
    part: Literal["completion", "answer", "rationale"] = "completion"

    @model_validator(mode="after")
    def _set_a_pattern(self) -> Self:
        if self.must_match is None and self.must_not_match is None:
            raise ValueError(
                "without must_match or must_not_match every sample would be kept; "
                "write one of them, e.g. must_not_match: '(?i)as an ai'"
            )
        return self

    @cached_property
    def _patterns(self) -> tuple[re.Pattern[str] | None, re.Pattern[str] | None]:
        wanted, unwanted = (
            re.compile(pattern) if pattern is not None else None
            for pattern in (self.must_match, self.must_not_match)
        )
        return wanted, unwanted

    def judge(self, sample: Sample) -> Verdict:
        """Look for the wanted match first."""
        text: str | None = getattr(sample, self.part)
        wanted, unwanted = self._patterns
        if wanted and (text is None or not wanted.search(text)):
            return drop("no_match")
        if unwanted and text is not None and unwanted.search(text):
            return drop("forbidden_match")
        return KEEP
