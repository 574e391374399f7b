"""Log-probabilities as servers give them, made regular.

Servers of one protocol differ: vLLM puts the sampled token first and does not sort,
llama.cpp sorts and may leave the sampled token out, and one that cannot name half a
character gives two tokens the same text. Tokens are told apart by what they stand
for, in bytes: that is what a student's tokenizer can be aligned with.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from synthkd.records import Alternative, Position, TokenLogprobs

_LOWEST = -100.0  # nats; servers write -9999 and the like where they mean "hardly ever"


def read_positions(entries: Sequence[Mapping[str, Any]]) -> TokenLogprobs | None:
    """Return the log-probabilities in the `logprobs.content` of a chat completion.

    The ids are numbers of this value alone (`vocabulary` is ""). An end of sequence
    stays a token, named as the server names it: b"" or the likes of b"<|im_end|>".

    None if there are no entries, or one of them cannot be read: then its neighbours
    say nothing sure either, and the text that was paid for is worth keeping without.
    """
    numbers: dict[bytes, int] = {}
    try:
        positions = tuple(_read_position(entry, numbers) for entry in entries)
    except (KeyError, TypeError, ValueError, AttributeError):
        return None
    tokens = {number: token for token, number in numbers.items()}
    return TokenLogprobs("", positions, tokens) if positions else None


def _read_position(entry: Mapping[str, Any], numbers: dict[bytes, int]) -> Position:
    """Return one position, numbering the tokens not seen before in `numbers`."""
    logprobs: dict[bytes, float] = {}
    for candidate in _find_candidates(entry):
        token, logprob = _read_token(candidate), _read_logprob(candidate)
        # Two tokens that read the same are one candidate, with the mass of both.
        logprobs[token] = _add(logprobs[token], logprob) if token in logprobs else logprob
    ranked = sorted(logprobs, key=lambda token: -logprobs[token])
    top = tuple(
        Alternative(numbers.setdefault(token, len(numbers)), logprobs[token]) for token in ranked
    )
    tail = max(0.0, 1.0 - math.fsum(map(math.exp, logprobs.values())))
    return Position(top, ranked.index(_read_token(entry)), tail)


def _find_candidates(entry: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """Return the sampled token and the alternatives listed with it, each token once.

    Where the server gives token ids, they tell. Where it does not, entries of the list
    that read the same are different tokens, and the sampled one is the one it reads like.
    """
    listed = entry.get("top_logprobs") or []
    if entry.get("id") is not None:
        return list({candidate["id"]: candidate for candidate in [entry, *listed]}.values())
    sampled = _read_token(entry)
    is_listed = any(_read_token(candidate) == sampled for candidate in listed)
    return listed if is_listed else [entry, *listed]


def _read_token(entry: Mapping[str, Any]) -> bytes:
    given = entry.get("bytes")
    if given is not None:
        return bytes(given)
    token: str = entry["token"]
    # JSON can say half a surrogate pair, and a server that cuts inside one does.
    return token.encode("utf-8", "surrogatepass")


def _read_logprob(entry: Mapping[str, Any]) -> float:
    logprob = float(entry["logprob"])
    if math.isnan(logprob):
        raise ValueError("a log-probability is NaN")
    return min(0.0, max(_LOWEST, logprob))


def _add(first: float, second: float) -> float:
    """Return the log-probability of either of two tokens."""
    return min(0.0, max(first, second) + math.log1p(math.exp(-abs(first - second))))
