"""Every error synthkd raises on purpose.

* SynthkdError
  + ConfigError         a pipeline file, a prompt file, a data file or an option is wrong     exit 2
  + CorpusError         the corpus is missing, locked, damaged, or from another schema        exit 2
  + MissingExtraError   an optional dependency is not installed                               exit 2
  + RightsError         a licence or the teacher's terms refuse it, or nobody knows them      exit 3
  + BudgetError         the budget is spent; everything paid for is kept                      exit 4
  + TeacherError        the teacher could not be reached, or refused                          exit 5

The command line prints the message of a `SynthkdError` and exits with its
`exit_code`. Any other exception is a bug in synthkd and keeps its traceback.
"""

from collections.abc import Sequence
from typing import ClassVar


class SynthkdError(Exception):
    """What went wrong, what follows from it, and what to do."""

    exit_code: ClassVar[int] = 2


class ConfigError(SynthkdError):
    """A pipeline file, a prompt file, a data file or an option is wrong.

    All mistakes found are told at once, one line each.
    """

    def __init__(self, summary: str, mistakes: Sequence[str] = ()) -> None:
        """Tell `summary`, then each of `mistakes` on a line of its own."""
        self.mistakes = tuple(mistakes)
        super().__init__("\n".join([summary, *(f"  {mistake}" for mistake in mistakes)]))


class CorpusError(SynthkdError):
    """The corpus is missing, locked, damaged, or from another schema."""


class MissingExtraError(SynthkdError):
    """An optional dependency is not installed."""

    def __init__(self, doing: str, *, extra: str) -> None:
        """Name what was wanted and the extra that brings it."""
        super().__init__(
            f"{doing} needs packages that are not installed; "
            f"install them with: pip install 'synthkd[{extra}]'"
        )


class RightsError(SynthkdError):
    """A licence or the teacher's terms refuse it, or nobody knows them."""

    exit_code = 3


class BudgetError(SynthkdError):
    """The budget is spent. Everything paid for is kept."""

    exit_code = 4


class TeacherError(SynthkdError):
    """The teacher could not be reached, or refused. Everything paid for is kept."""

    exit_code = 5
