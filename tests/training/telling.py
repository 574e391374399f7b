"""Teachers whose mind we know, for alignments."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from synthkd.records import Alternative, Position, TokenLogprobs
from synthkd.training.alignment import Alignment, Vocabulary

END = 99
STUDENT = Vocabulary(
    {0: b"a", 1: b"b", 2: b"ab", 3: b" ", 4: "é".encode(), END: b"<end>"},
    end=END,
    spare=frozenset({END}),
)


def say(
    *tokens: bytes, others: Sequence[tuple[bytes, float]] = (), vocabulary: str = ""
) -> TokenLogprobs:
    """Log-probabilities of a teacher that sampled `tokens`, each with p = 1/2, and told `others`."""
    numbers = {token: 1000 + i for i, token in enumerate(dict.fromkeys([*tokens, *dict(others)]))}
    masses = [{token: 0.5} | {o: mass for o, mass in others if o != token} for token in tokens]
    return tell(tokens, masses, numbers, vocabulary)


def tell(
    tokens: Sequence[bytes],
    masses: Sequence[Mapping[bytes, float]],
    numbers: Mapping[bytes, int],
    vocabulary: str = "",
) -> TokenLogprobs:
    """Log-probabilities of a teacher that sampled `tokens`, each from its `masses`."""
    positions = []
    for token, chances in zip(tokens, masses, strict=True):
        top = [Alternative(numbers[each], math.log(mass)) for each, mass in chances.items() if mass]
        rank = [each.token_id for each in top].index(numbers[token])
        positions.append(Position(tuple(top), rank, max(0.0, 1 - sum(chances.values()))))
    return TokenLogprobs(vocabulary, tuple(positions), {n: token for token, n in numbers.items()})


def spell(alignment: Alignment, vocabulary: Vocabulary) -> bytes:
    """Return what the tokens of an alignment spell, without its end."""
    return b"".join(vocabulary.tokens[index] for index in alignment.ids[:-1])


def masses(alignment: Alignment, index: int) -> dict[int, float]:
    """Return what is said of one token: the mass of each candidate."""
    start = int(alignment.counts[:index].sum())
    part = slice(start, start + int(alignment.counts[index]))
    ids, logprobs = alignment.candidates[part].tolist(), alignment.logprobs[part].tolist()
    return {token: math.exp(logprob) for token, logprob in zip(ids, logprobs, strict=True)}


def sums(alignment: Alignment) -> np.ndarray:
    """Return, for each token of which something is said, all its mass, the tail's too."""
    rows = np.repeat(np.arange(len(alignment.counts)), alignment.counts)
    total = np.bincount(rows, np.exp(alignment.logprobs), len(alignment.counts)) + alignment.tails
    return total[alignment.counts > 0]
