"""When a request that failed is tried again: tenacity's policy, without its sleeping.

The engine does not sleep with a request in its hands: it puts the request aside until
its time has come and asks another one meanwhile.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING

from tenacity import Future, RetryCallState, Retrying, retry_if_exception
from tenacity.stop import stop_base
from tenacity.wait import wait_random_exponential

from synthkd.records import Request
from synthkd.teachers.base import AttemptError

if TYPE_CHECKING:
    from synthkd.teachers.lanes import Lane

# Seconds: soon at first, and long enough in the end for a server to start again.
_BACKOFF = wait_random_exponential(multiplier=0.25, exp_base=3, max=60.0)
PATIENCE = 3600.0  # seconds that a server may keep saying "later" to one request


@dataclass(slots=True)
class Ticket:
    """Requests that are asked together, and how that went until now.

    `failures` are those that count; being told to come later, first at `refused_at`, does
    not. `failed_at` is who failed last: another is asked next, where there is one.
    """

    requests: Sequence[Request]
    failures: int = 0
    refusals: int = 0
    refused_at: float = 0.0
    failed_at: "Lane | None" = None


class Policy:
    """What is tried again, how often, and after how long.

    Being rate-limited is no failure: such a request waits for up to an hour. Anything
    else that may pass has `max_attempts` tries.
    """

    def __init__(self, max_attempts: int) -> None:
        """Set the number of tries, the first included."""
        self._policy = Retrying(
            stop=_Stop(max_attempts),
            wait=_wait,
            retry=retry_if_exception(lambda e: isinstance(e, AttemptError) and e.is_retryable),
        )

    def wait(self, ticket: Ticket, error: AttemptError) -> float | None:
        """Return the seconds until `ticket` is tried again, or None if it is not."""
        is_later = is_refusal(error)
        if is_later and not ticket.refusals:
            ticket.refused_at = time.monotonic()
        ticket.refusals += is_later
        ticket.failures += not is_later
        state = RetryCallState(self._policy, None, (ticket,), {})
        state.attempt_number = max(1, ticket.refusals if is_later else ticket.failures)
        state.outcome = Future(state.attempt_number)
        state.outcome.set_exception(error)
        if not self._policy.retry(state) or self._policy.stop(state):
            return None
        seconds = float(self._policy.wait(state))
        return seconds if seconds <= PATIENCE else None


def is_refusal(error: AttemptError) -> bool:
    """Return whether a server said "later", which is no failure."""
    return error.status == HTTPStatus.TOO_MANY_REQUESTS


class _Stop(stop_base):
    """Stop after so many failures, or when a server said "later" for too long."""

    def __init__(self, max_attempts: int) -> None:
        self.max_attempts = max_attempts

    def __call__(self, retry_state: RetryCallState) -> bool:
        (ticket,) = retry_state.args
        is_late = time.monotonic() - ticket.refused_at > PATIENCE
        return ticket.failures >= self.max_attempts or bool(ticket.refusals and is_late)


def _wait(state: RetryCallState) -> float:
    """Return the seconds until the next try: what the server asks for, else ever longer.

    One that was told "later" and not when is tried as soon as its limits let it go.
    """
    error = state.outcome.exception() if state.outcome else None
    if isinstance(error, AttemptError):
        if error.retry_after is not None:
            return error.retry_after
        if is_refusal(error):
            return 0.0
    return _BACKOFF(state)
