"""Searching bytes for many passages at once, wherever they stand.

    text ──passage──► Passages ──find──► which of them are in some bytes, and where

The first eight bytes of each passage are looked up at every place at once; only where they
stand is the rest compared. So a thousand passages cost as much as one.
"""

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

SHORTEST = 32  # characters; a shorter text may well stand elsewhere by chance
_LONGEST = 64  # characters of a passage that are compared
_ANCHOR = 8  # bytes that are looked up at every place
_BITS = 20
_SHIFT = np.uint64(64 - _BITS)
_SPREAD = np.uint64(0x9E3779B97F4A7C15)  # Fibonacci hashing: the golden ratio of 64 bits
_CHUNK = 1 << 24  # bytes of a file in memory at a time
# What JSON or HTML write otherwise than it is: a passage is between two of these.
_WRITTEN_OTHERWISE = re.compile("[\x00-\x1f\"\\\\<>&'\x7f\ud800-\udfff\u2028\u2029]+")


class Found(NamedTuple):
    """A passage, by its number, and the byte at which it begins."""

    passage: int
    place: int


def find_passage(text: str) -> str | None:
    """Return the longest part of `text` that files of any kind hold as it stands.

    None where no part is long enough to tell `text` from another one.
    """
    runs = [run.strip() for run in _WRITTEN_OTHERWISE.split(text)]
    longest = max(runs, key=len)[:_LONGEST].strip()
    return longest if len(longest) >= SHORTEST else None


class Passages:
    """Passages to look for, each in UTF-8 and as JSON may escape it."""

    def __init__(self, texts: Iterable[str]) -> None:
        """Look for `texts`, which are known by their numbers from then on."""
        self.texts = list(texts)
        self._spellings: dict[bytes, list[tuple[bytes, int]]] = {}
        for number, text in enumerate(self.texts):
            for spelling in {text.encode(), json.dumps(text)[1:-1].encode()}:
                self._spellings.setdefault(spelling[:SHORTEST], []).append((spelling, number))
        self._overlap = max((len(s) for own in self._spellings.values() for s, _ in own), default=0)
        anchors = b"".join(beginning[:_ANCHOR] for beginning in self._spellings)
        self._anchors = np.unique(np.frombuffer(anchors, dtype="<u8"))
        self._table = np.zeros(1 << _BITS, dtype=np.bool_)
        self._table[_hash(self._anchors)] = True

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.texts)

    def find(self, data: bytes) -> Iterator[Found]:
        """Yield every passage that stands in `data`, as often as it does."""
        for start in range(_ANCHOR if self.texts else 0):
            count = (len(data) - start) // _ANCHOR
            if count <= 0:
                return
            words = np.frombuffer(data, dtype="<u8", count=count, offset=start)
            hits = np.flatnonzero(self._table[_hash(words)])
            hits = hits[np.isin(words[hits], self._anchors)]
            for place in (hits * _ANCHOR + start).tolist():
                for spelling, number in self._spellings.get(data[place : place + SHORTEST], ()):
                    if data.startswith(spelling, place):
                        yield Found(number, place)

    def find_among(self, rows: Iterable[tuple[str, bytes]]) -> Iterator[tuple[str, int]]:
        """Yield (name, passage) for each of `rows` (name, bytes) that a passage stands in."""
        names, parts = [], []
        ends: list[int] = []
        size = 0
        for name, data in rows:
            names.append(name)
            parts.append(data)
            size += len(data) + 1
            ends.append(size)
        if not names:
            return
        found = list(self.find(b"\0".join(parts)))
        owners = np.searchsorted(ends, [each.place for each in found], side="right").tolist()
        yield from dict.fromkeys(
            (names[owner], each.passage) for owner, each in zip(owners, found, strict=True)
        )

    def count_in(self, path: Path) -> int:
        """Return how many passages stand in the file `path`, whatever it is.

        Raises:
            OSError: It cannot be read.
        """
        found: set[int] = set()
        kept = b""
        if not self.texts:
            return 0
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                data = kept + chunk
                found.update(each.passage for each in self.find(data))
                kept = data[-self._overlap :]
        return len(found)


def _hash(words: npt.NDArray[np.uint64]) -> npt.NDArray[np.intp]:
    hashed: npt.NDArray[np.intp] = ((words * _SPREAD) >> _SHIFT).astype(np.intp)
    return hashed
