"""Log-probabilities read one by one from dictionaries: slow, and plainly right."""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from synthkd.records import Alternative, Position, TokenLogprobs


def read_body(body: bytes) -> TokenLogprobs | None:
    """Return the log-probabilities of the first choice of a chat completion."""
    return read_entries(json.loads(body)["choices"][0]["logprobs"]["content"])


def read_entries(entries: Sequence[Mapping[str, Any]]) -> TokenLogprobs | None:
    """Return all candidates of all entries, however improbable, or None if one is broken."""
    numbers: dict[bytes, int] = {}
    try:
        positions = tuple(_read_position(entry, numbers) for entry in entries)
    except (KeyError, TypeError, ValueError, AttributeError):
        return None
    tokens = {number: token for token, number in numbers.items()}
    return TokenLogprobs("", positions, tokens) if positions else None


def _read_position(entry: Mapping[str, Any], numbers: dict[bytes, int]) -> Position:
    logprobs: dict[bytes, float] = {}
    for candidate in _find_candidates(entry):
        token, logprob = read_token(candidate), _read_logprob(candidate)
        logprobs[token] = _add(logprobs[token], logprob) if token in logprobs else logprob
    ranked = sorted(logprobs, key=lambda token: -logprobs[token])
    top = tuple(
        Alternative(numbers.setdefault(token, len(numbers)), logprobs[token]) for token in ranked
    )
    tail = max(0.0, 1.0 - math.fsum(map(math.exp, logprobs.values())))
    return Position(top, ranked.index(read_token(entry)), tail)


def _find_candidates(entry: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    listed = entry.get("top_logprobs") or []
    if entry.get("id") is not None:
        return list({candidate["id"]: candidate for candidate in [entry, *listed]}.values())
    sampled = read_token(entry)
    is_listed = any(read_token(candidate) == sampled for candidate in listed)
    return listed if is_listed else [entry, *listed]


def read_token(entry: Mapping[str, Any]) -> bytes:
    """Return what a token stands for: its bytes where they are given."""
    given = entry.get("bytes")
    if given is not None:
        return bytes(given)
    token: str = entry["token"]
    return token.encode("utf-8", "surrogatepass")


def _read_logprob(entry: Mapping[str, Any]) -> float:
    logprob = float(entry["logprob"])
    if math.isnan(logprob):
        raise ValueError("a log-probability is NaN")
    return min(0.0, max(-100.0, logprob))


def _add(first: float, second: float) -> float:
    return min(0.0, max(first, second) + math.log1p(math.exp(-abs(first - second))))
