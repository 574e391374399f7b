"""One row of a batch: what it is asked, what it has come to, and what each token was among."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from synthkd.corpus.draws import Drawn
from synthkd.corpus.positions import Positions
from synthkd.records import LENGTH

STOP = "stop"


class Task(NamedTuple):
    """One row: its prompt's ids, the seed of its random numbers, and the most tokens to add."""

    prompt: Sequence[int]
    seed: int
    limit: int


class Text(NamedTuple):
    """A prompt, what completed it, and the seed of its random numbers.

    Where the text `has_ended`, the end that the model finds most probable is scored too.
    """

    prompt: Sequence[int]
    completion: Sequence[int]
    has_ended: bool
    seed: int = 0

    @property
    def ids(self) -> list[int]:
        """The prompt and the completion."""
        return [*self.prompt, *self.completion]


class Ranked(NamedTuple):
    """The top of one distribution: ids and log-probabilities [k], falling; the rest as its mass.

    `drawn` are ids sampled from the whole of it, with replacement, where that was asked for.
    """

    ids: np.ndarray
    logprobs: np.ndarray
    sampled: float
    tail: float
    drawn: Sequence[int] = ()


class Endings(NamedTuple):
    """What ends an answer: a token of `tokens`, or bytes of `stop` as `spelling` spells them."""

    tokens: frozenset[int]
    stop: tuple[bytes, ...]
    spelling: Mapping[int, bytes]


class Row:
    """What one task has come to: its tokens, why they ended, what each was chosen among.

    `tokens` are all that were generated, and `ranked` what they were chosen among, where
    that was noted; the first `kept` of them spell nothing of a stop string.
    """

    def __init__(self, task: Task, endings: Endings) -> None:
        """Begin with nothing."""
        self.task = task
        self.tokens: list[int] = []
        self.finish_reason = ""
        self._endings = endings
        self.ranked: list[Ranked] = []
        self._words: list[tuple[int, int]] = []
        self._spelled = bytearray()
        self._cut: int | None = None

    def add(self, token: int, ranked: Ranked | None) -> None:
        """Add a token to a row that has not ended; end it if this ends it."""
        self.tokens.append(token)
        if ranked is not None:
            self.ranked.append(ranked)
        if token in self._endings.tokens or self._spells_a_stop(token):
            self.finish_reason = STOP
        elif len(self.tokens) == self.task.limit:
            self.finish_reason = LENGTH

    @property
    def kept(self) -> int:
        """How many of the tokens are before the stop string, all where there is none.

        One that the stop begins in counts if only white space of it is cut off.
        """
        if self._cut is None:
            return len(self.tokens)
        return sum(start < self._cut and end <= self._cut for start, end in self._words)

    def positions(self) -> Positions:
        """Return what each of the first `kept` tokens was chosen among."""
        ranked = self.ranked[: self.kept]
        ids, logprobs, ranks = [np.zeros(0, np.int64)], [np.zeros(0)], []
        for one, token in zip(ranked, self.tokens, strict=False):
            places = np.flatnonzero(one.ids == token)
            is_beside = not len(places)
            ranks.append(len(one.ids) if is_beside else places[0])
            ids += [one.ids, np.array([token])] if is_beside else [one.ids]
            logprobs += [one.logprobs, np.array([one.sampled])] if is_beside else [one.logprobs]
        widths = np.array([len(one.ids) for one in ranked], dtype=np.int64)
        return Positions(
            np.maximum(widths, np.array(ranks, dtype=np.int64) + 1),
            np.array(ranks, dtype=np.int64),
            np.array([one.tail for one in ranked], dtype=np.float64),
            np.concatenate(ids),
            np.concatenate(logprobs).astype(np.float64),
        )

    def draws(self) -> tuple[Drawn, ...]:
        """Return what was drawn at each of the first `kept` tokens, with how often."""
        return tuple(tuple(Counter(ranked.drawn).items()) for ranked in self.ranked[: self.kept])

    def _spells_a_stop(self, token: int) -> bool:
        stops = self._endings.stop
        if not stops:
            return False
        # A stop string may begin in an earlier token and end inside this one.
        start = max(0, len(self._spelled) - max(map(len, stops)))
        before, spelled = len(self._spelled), self._endings.spelling.get(token, b"")
        self._spelled += spelled
        self._words.append((before, before + len(spelled.rstrip())))
        found = [self._spelled.find(stop, start) for stop in stops]
        self._cut = min((place for place in found if place >= 0), default=None)
        return self._cut is not None
