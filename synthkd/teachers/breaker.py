"""The circuit breaker: when an endpoint is not worth asking any more, by anyone."""

from math import inf

from synthkd.errors import TeacherError
from synthkd.teachers.base import AttemptError
from synthkd.teachers.retries import PATIENCE, is_refusal

_DOWN_AFTER = 5  # requests in a row that failed after every try: the endpoint is down
_REFUSED_AFTER = 20  # requests in a row that were refused, and none answered: all of them are
_FAILING_AFTER = 10  # calls in a row that failed: whoever can is asked instead
_REST = 60.0  # seconds until an endpoint that was failing is asked again


class Breaker:
    """Counts what failed at one endpoint in a row, until something is answered."""

    def __init__(self) -> None:
        """Begin without any."""
        self._given_up = 0
        self._failed = 0
        self._has_answered = False

    def answered(self) -> None:
        """Note that a request was answered."""
        self._given_up, self._failed, self._has_answered = 0, 0, True

    def failed(self, error: AttemptError) -> float:
        """Note a call that failed; return the seconds for which others should be asked instead.

        After a rest it has one call to show that it is back.
        """
        if error.is_fatal:
            return inf
        if _is_for_another_day(error):
            return error.retry_after or inf
        self._failed += error.is_retryable and not is_refusal(error)
        return _REST if self._failed >= _FAILING_AFTER else 0.0

    def is_open(self, error: AttemptError) -> bool:
        """Note that a request was given up for `error`; return whether to ask nothing more.

        That is so where the key or the address is wrong, where the endpoint is down or
        refuses everything, and where it asks to come back on another day.
        """
        self._given_up += 1
        if error.is_fatal or _is_for_another_day(error):
            return True
        if not error.is_retryable:
            return not self._has_answered and self._given_up >= _REFUSED_AFTER
        is_never_there = not self._has_answered and error.status is None
        return is_never_there or self._given_up >= _DOWN_AFTER


def explain(name: str, error: AttemptError, answered: int) -> TeacherError:
    """Return why the teacher `name` is asked nothing more; `answered` answers are new."""
    if _is_for_another_day(error):
        hours = (error.retry_after or 0.0) / 3600
        cure = f"It asks to come back in {hours:.1f} hours: run again then."
    else:
        cure = "Check the address, the key and the model's name, then run again."
    return TeacherError(
        f"{name} cannot be asked: {error}\n{answered} new answers are kept, and nothing more is "
        f"asked. {cure}"
    )


def _is_for_another_day(error: AttemptError) -> bool:
    return error.retry_after is not None and error.retry_after > PATIENCE
