"""What a server's headers say of its limits.

    x-ratelimit-limit-requests: 3000        anthropic-ratelimit-requests-limit: 3000
    x-ratelimit-remaining-requests: 2999    anthropic-ratelimit-requests-remaining: 2999
    x-ratelimit-reset-requests: 20ms        anthropic-ratelimit-requests-reset: 2026-11-22T09:00:01Z

Only a limit per minute is a pace. Some servers write one per day under the same name,
and what tells is the reset: a minute's limit is whole again within a minute.
"""

import re
import time
from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

_MINUTE = 60.0
_LONG_AGO = 1e9  # seconds; a larger number is no duration but a Unix time
_SLACK = 1.05  # clocks differ, and resets are rounded up
_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
_PART = re.compile(r"(\d+(?:\.\d+)?|\.\d+)(h|ms|m|s|us|µs|ns)")

# The names of one server for a limit and for its reset.
_REQUESTS = [
    ("x-ratelimit-limit-requests", "x-ratelimit-reset-requests"),
    ("anthropic-ratelimit-requests-limit", "anthropic-ratelimit-requests-reset"),
]
_TOKENS = [
    ("x-ratelimit-limit-tokens", "x-ratelimit-reset-tokens"),
    ("anthropic-ratelimit-tokens-limit", "anthropic-ratelimit-tokens-reset"),
]
_INPUT = ("anthropic-ratelimit-input-tokens-limit", "anthropic-ratelimit-input-tokens-reset")
_OUTPUT = ("anthropic-ratelimit-output-tokens-limit", "anthropic-ratelimit-output-tokens-reset")
LIMITS = tuple(limit for limit, _ in [*_REQUESTS, *_TOKENS, _INPUT, _OUTPUT])


class Stated(NamedTuple):
    """Limits per minute; None is one that the server does not state."""

    requests: float | None = None
    tokens: float | None = None


def read_limits(headers: Mapping[str, str], wall: float | None = None) -> Stated:
    """Return the limits per minute in `headers`, whose names are in lower case.

    Where input and output tokens are limited apart, `tokens` is what both make together.
    `wall` is the time of day that a reset is compared with.

    >>> read_limits({"x-ratelimit-limit-requests": "3000", "x-ratelimit-reset-requests": "20ms"})
    Stated(requests=3000.0, tokens=None)
    """
    wall = time.time() if wall is None else wall
    requests = [_read_limit(headers, *names, wall) for names in _REQUESTS]
    tokens = [_read_limit(headers, *names, wall) for names in _TOKENS]
    apart = [_read_limit(headers, *names, wall) for names in (_INPUT, _OUTPUT)]
    if all(apart):
        tokens.append(sum(filter(None, apart)))
    return Stated(
        min(filter(None, requests), default=None), min(filter(None, tokens), default=None)
    )


def read_seconds(text: str, wall: float) -> float | None:
    """Return the seconds in a duration as Go writes it, or until a date (RFC 3339, Unix time).

    >>> [read_seconds(text, 0) for text in ("120ms", "6m0s", "1.5", "1970-01-01T00:00:09Z", "?")]
    [0.12, 360.0, 1.5, 9.0, None]
    """
    text = text.strip()
    if parts := _PART.findall(text):
        whole = "".join(number + unit for number, unit in parts) == text
        return sum(float(number) * _UNITS[unit] for number, unit in parts) if whole else None
    try:
        if not _is_number(text):
            return datetime.fromisoformat(text).timestamp() - wall
        return float(text) - wall * (float(text) > _LONG_AGO)
    except (ValueError, OverflowError):
        return None


def _is_number(text: str) -> bool:
    return text.replace(".", "", 1).isdecimal()


def _read_limit(headers: Mapping[str, str], limit: str, reset: str, wall: float) -> float | None:
    said = headers.get(limit, "").strip()
    if not _is_number(said) or not float(said):
        return None
    seconds = read_seconds(headers.get(reset, ""), wall)
    if seconds is not None and seconds > _MINUTE * _SLACK:
        return None
    return float(said)
