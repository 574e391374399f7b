"""The circuit breaker: when nothing more is worth asking, whoever asks."""

from synthkd.teachers.base import AttemptError
from synthkd.teachers.retries import PATIENCE

_DOWN_AFTER = 5  # requests in a row that failed after every try: the endpoint is down
_REFUSED_AFTER = 20  # requests in a row that were refused, and none answered: all of them are


class Breaker:
    """Counts requests that were given up in a row, until one is answered."""

    def __init__(self) -> None:
        """Begin without any."""
        self._given_up = 0
        self._has_answered = False

    def answered(self) -> None:
        """Note that a request was answered."""
        self._given_up, self._has_answered = 0, True

    def is_open(self, error: AttemptError) -> bool:
        """Note that a request was given up for `error`; return whether to ask nothing more.

        That is so where the key or the address is wrong, where the endpoint is down or
        refuses everything, and where it asks to come back on another day.
        """
        self._given_up += 1
        if error.is_fatal or (error.retry_after is not None and error.retry_after > PATIENCE):
            return True
        if not error.is_retryable:
            return not self._has_answered and self._given_up >= _REFUSED_AFTER
        is_never_there = not self._has_answered and error.status is None
        return is_never_there or self._given_up >= _DOWN_AFTER
