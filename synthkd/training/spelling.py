"""The tokens of a student, and how it would write the bytes of others with them.

What a teacher might have said next is bytes that no tokenizer was asked to cut: half a
character, a piece of a word. They are cut here as byte-pair encoding cuts them: of two
neighbours that make a token, those whose token came first in the vocabulary are joined.
That is the tokenizer's own order for BPE, by merges as by SentencePiece's scores, but for
rules on where a word may be split; and close to it for a unigram model.
"""

import re
from collections.abc import Callable, KeysView, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from synthkd.corpus.vocabulary import fingerprint

ENDED = -1  # behind the last token of a row
UNSPELLED = -2  # bytes that the student has no token for

_WIDEST = 32  # tokens of a row; more than any but runs of one character need
_MOST_TEACHERS = 8
_MOST_SPELLED = 1 << 17
_NEVER = 1 << 62
_WORD = re.compile(rb" ?[^ ]+| ")
# Names of tokens that are no text; a student that has one of the same name understands it.
_SPECIAL = re.compile(
    rb"<\|[^|]*\|>|</?s>|<(?:pad|unk|bos|eos|sep|cls|mask|unused\d+|start_of_turn|end_of_turn)>"
    rb"|\[/?(?:PAD|UNK|CLS|SEP|MASK|INST)\]"
)

_NAME = re.compile(rb"|<.*>|\[.*\]", re.DOTALL)  # what vocabularies that differ in names differ in


@dataclass(frozen=True)
class Vocabulary:
    """The tokens of a student: the bytes of each id, and the id that ends a completion.

    `spare` are ids that text is not made of when another id has the same bytes:
    special tokens and the single bytes of SentencePiece. `encode` is the student's own
    tokenizer, from a text to ids; `spell` stands in where there is none.
    """

    tokens: Mapping[int, bytes]
    end: int
    spare: frozenset[int] = frozenset()
    encode: Callable[[str], Sequence[int]] | None = field(default=None, repr=False)

    @cached_property
    def name(self) -> str:
        """The fingerprint."""
        return fingerprint(dict(self.tokens))

    @cached_property
    def ids(self) -> dict[bytes, int]:
        """The id that stands for some bytes."""
        order = sorted(self.tokens, key=lambda index: (index in self.spare, index), reverse=True)
        return {self.tokens[index]: index for index in order if self.tokens[index]}

    @cached_property
    def pieces(self) -> dict[bytes, int]:
        """The id that stands for some bytes, of the tokens that text is made of."""
        return {t: i for t, i in self.ids.items() if i not in self.spare or len(t) == 1}

    @cached_property
    def is_beginning(self) -> NDArray[np.bool_]:
        """Whether a longer token begins with the bytes of each id."""
        found = np.zeros(max([self.end, *self.tokens]) + 1, dtype=np.bool_)
        for token, following in pairwise(sorted(self.pieces)):
            found[self.pieces[token]] = following.startswith(token)
        return found

    def write(self, completion: str) -> list[int]:
        """Return the student's tokens for a whole text."""
        if self.encode is not None:
            return list(self.encode(completion))
        words = _WORD.findall(completion.encode("utf-8", "surrogatepass"))
        return [index for word in words for index in self.spell(word)]

    def text_of(self, index: int) -> bytes | None:
        """Return the bytes that an id puts into a text; None of a special token, such as <unk>."""
        token = self.tokens.get(index)
        return token if token in self.pieces else None

    def spell(self, text: bytes) -> tuple[int, ...]:
        """Return `text` in tokens, UNSPELLED where there is none for a character or byte.

        >>> Vocabulary({0: b"a", 1: b"b", 2: b"ab", 3: b"</s>"}, end=3).spell(b"abba")
        (2, 1, 0)
        """
        found = self._spelled.get(text)
        if found is None:
            if len(self._spelled) >= _MOST_SPELLED:
                self._spelled.clear()
            found = self._spelled[text] = self._spell(text)
        return found

    def spellings(self, tokens: Mapping[int, bytes]) -> "Spellings":
        """Return how the tokens of a teacher are written; kept for the next time."""
        found = self._teachers.get(id(tokens))
        if found is None:
            if len(self._teachers) >= _MOST_TEACHERS:
                self._teachers.clear()
            # It holds `tokens`, so that no other mapping can get the same id.
            found = self._teachers[id(tokens)] = Spellings(self, tokens)
        return found

    @cached_property
    def _spelled(self) -> dict[bytes, tuple[int, ...]]:
        return {}

    @cached_property
    def _teachers(self) -> dict[int, "Spellings"]:
        return {}

    def _spell(self, text: bytes) -> tuple[int, ...]:
        pieces = self.pieces
        if text in pieces:
            return (pieces[text],)
        parts = self._split(text)
        while len(parts) > 1:
            ranks = [pieces.get(left + right, _NEVER) for left, right in pairwise(parts)]
            best = min(ranks)
            if best == _NEVER:
                break
            place = ranks.index(best)
            parts[place : place + 2] = [parts[place] + parts[place + 1]]
        return tuple(pieces.get(part, UNSPELLED) for part in parts)

    def _split(self, text: bytes) -> list[bytes]:
        """Return what merging begins with: bytes, or characters where the vocabulary has those."""
        if self._is_byte_level:
            return [text[place : place + 1] for place in range(len(text))]
        parts: list[bytes] = []
        for character in text.decode("utf-8", "surrogateescape"):
            encoded = character.encode("utf-8", "surrogateescape")
            whole = encoded in self.pieces
            parts += [encoded] if whole else [encoded[i : i + 1] for i in range(len(encoded))]
        return parts

    @cached_property
    def _is_byte_level(self) -> bool:
        """Whether text is made of single bytes that are no whole character."""
        return self.pieces.get(b"\xc3", self.end) not in {self.end, *self.spare}


class Spellings:
    """How a student writes each token of one teacher, worked out as they are asked for."""

    def __init__(self, vocabulary: Vocabulary, tokens: Mapping[int, bytes]) -> None:
        """Know nothing yet of `tokens`, which may grow."""
        self.vocabulary = vocabulary
        self.tokens = tokens
        self._places = np.empty(0, dtype=np.int64)  # the row of each id, or -1
        self._rows = np.empty((0, 2), dtype=np.int32)
        self._compared = -1
        self._is_one = False

    @property
    def is_one_vocabulary(self) -> bool:
        """Whether text is made of the same tokens by both: only ids and special tokens differ."""
        if self._compared != len(self.tokens):
            self._compared = len(self.tokens)
            pieces = self.vocabulary.pieces.keys()
            self._is_one = len(self.tokens) >= len(pieces) and self._differ_in_names(pieces)
        return self._is_one

    def _differ_in_names(self, pieces: KeysView[bytes]) -> bool:
        theirs = set(self.tokens.values())
        return pieces <= theirs and all(_NAME.fullmatch(token) for token in theirs - pieces)

    def rows(self, ids: NDArray[np.int64]) -> NDArray[np.int32]:
        """Return the student's tokens for each of some distinct `ids`, ENDED behind the last."""
        missing = int(ids.max(initial=-1)) + 1 - len(self._places)
        if missing > 0:
            self._places = np.pad(self._places, (0, missing), constant_values=-1)
        fresh = ids[self._places[ids] < 0]
        if fresh.size:
            written = [self.write(self.tokens.get(index, b"")) for index in fresh.tolist()]
            self._places[fresh] = len(self._rows) + np.arange(len(fresh))
            self._rows = stack([self._rows, to_rows(written)])
        return self._rows[self._places[ids]]

    def write(self, token: bytes, before: bytes = b"") -> tuple[int, ...]:
        """Return the student's tokens for `token` where `before` came first.

        A token of the student's that has the same bytes is the same, special or not.
        """
        if not before and token in self.vocabulary.ids:
            return (self.vocabulary.ids[token],)
        if not token or _SPECIAL.fullmatch(token):
            return (UNSPELLED,)
        return self.vocabulary.spell(before + token)[:_WIDEST]


def is_special(token: bytes) -> bool:
    """Return whether `token` reads like the name of a special token."""
    return _SPECIAL.fullmatch(token) is not None


def to_rows(spelled: Sequence[Sequence[int]]) -> NDArray[np.int32]:
    """Return tokens as rows, with at least one ENDED behind the last."""
    width = max(map(len, spelled), default=0) + 1
    rows = np.full((len(spelled), width), ENDED, dtype=np.int32)
    for row, tokens in zip(rows, spelled, strict=True):
        row[: len(tokens)] = tokens
    return rows


def stack(parts: Sequence[NDArray[np.int32]]) -> NDArray[np.int32]:
    """Return rows of different widths as rows of one."""
    width = max(part.shape[1] for part in parts)
    return np.concatenate(
        [
            np.pad(part, ((0, 0), (0, width - part.shape[1])), constant_values=ENDED)
            for part in parts
        ]
    )
