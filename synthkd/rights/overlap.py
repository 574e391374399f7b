"""How much of a source's text stands in a completion word for word.

A shared passage shows what was carried over, whatever was meant: whether a license reaches
the sample, whether a duty to credit is owed, whether a text was memorised.

Texts are compared as `fold` leaves them. A passage of 32 characters holds 16 bytes that begin
at a multiple of 16: nearly all pairs of texts share none of those, which is soon found for
many of them at once. The others are gone through, each on its own.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from synthkd.records import SPANS
from synthkd.rights.folding import SHORTEST

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Hashes = npt.NDArray[np.uint64]
    Places = npt.NDArray[np.int64]

_BLOCK = 12
_STRIDE = SHORTEST - _BLOCK + 1
_CELL = 8  # bytes
_AT_ONCE = 1 << 17  # characters whose hashes are held at a time, in a processor's cache
_MOST = 1 << 26  # characters gone through one by one; what takes more is hashed
_MILLION = 1_000_000
_TRUE = True  # what `bisect_left` finds the first of
# Odd numbers of 64 bits, drawn once: what texts the hashes are of, nobody chose to fit them.
_LEFT, _RIGHT, _MIX = 0x9E6C63D0876A9A47, 0xB3BFA6A3CF1E8F3D, 0xD6E8FEB86659FD93


class Overlap(NamedTuple):
    """The longest passage that is shared, and how much all such passages cover.

    `max_span` is in characters, `containment_ppm` in parts per million of the completion;
    both of the texts as `fold` leaves them, and 0 where no passage has 32 characters.
    """

    max_span: int
    containment_ppm: int


NONE = Overlap(0, 0)


def compare(pairs: Sequence[tuple[str, str]]) -> dict[int, Overlap]:
    r"""Return what a completion and a source share, by the pair's place; nothing of most pairs.

    Both are as `fold` leaves them.

    >>> from synthkd.rights.folding import fold
    >>> compare([("it rains today", "as it did"),
    ...          (fold("They said: it was the best of times, IT WAS the worst."),
    ...           fold("It was the best of times,\nit was the worst of times"))])
    {1: Overlap(max_span=42, containment_ppm=777777)}

    It is exact. Of one pair at most 67 million characters are compared one after the other,
    some hundredths of a second; what would take more is found by hashes of 64 bits, in a time
    that grows with n log n: seconds for two texts of a million characters each.
    """
    near: list[int] = []
    places: list[int] = []
    size = 0
    for place, (completion, source) in enumerate(pairs):
        if len(completion) >= SHORTEST and len(source) >= SHORTEST:
            places.append(place)
            size += len(completion) + len(source)
            if size > _AT_ONCE:
                near += _find_near(pairs, places)
                places, size = [], 0
    near += _find_near(pairs, places)
    found = {place: _measure(*pairs[place]) for place in near}
    return {place: overlap for place, overlap in found.items() if overlap != NONE}


def band(span: int) -> int:
    """Return `span`, in characters, rounded down to one of `SPANS`.

    >>> band(31), band(32), band(300), band(100_000)
    (0, 32, 256, 512)
    """
    return SPANS[bisect_right(SPANS, span) - 1]


def _find_near(pairs: Sequence[tuple[str, str]], places: Sequence[int]) -> list[int]:
    """Return those of `places` whose pairs may share a passage: nearly all share none.

    32 bytes hold 16 that begin at a multiple of 16: those of each completion are looked for
    at every byte of its source, by hashes that the pair's place is part of.
    """
    if not places:
        return []
    import numpy as np

    ours, our_keys = _pack([pairs[place][0] for place in places])
    theirs, their_keys = _pack([pairs[place][1] for place in places])
    cells: Hashes = np.frombuffer(ours, dtype="<u8", count=len(our_keys))
    begins: Hashes = cells[::2] * np.uint64(_LEFT) + our_keys[::2]
    blocks: Hashes = np.sort(begins + cells[1::2] * np.uint64(_RIGHT))
    bits = len(blocks).bit_length() + 6  # by chance one place in a hundred is marked
    rest = np.uint64(64 - bits)
    is_begin = np.zeros(1 << bits, dtype=np.bool_)
    is_begin[begins >> rest] = True
    near: set[int] = set()
    for offset in range(_CELL):
        cells = np.frombuffer(theirs, dtype="<u8", count=len(their_keys), offset=offset)
        begins = cells[:-1] * np.uint64(_LEFT) + their_keys[:-1]
        marked = np.flatnonzero(is_begin.take((begins >> rest).view(np.int64), mode="clip"))
        windows: Hashes = begins[marked] + cells[marked + 1] * np.uint64(_RIGHT)
        same = marked[_are_among(windows, blocks)]
        near.update(their_keys[same].tolist())
    return [place for number, place in enumerate(places) if number * _MIX % (1 << 64) in near]


def _pack(texts: Sequence[str]) -> "tuple[bytes, Hashes]":
    """Return `texts` one after the other, each filled up to 16 bytes, and whose each cell is."""
    import numpy as np

    encoded = [text.encode("utf-8", "surrogatepass") for text in texts]
    sizes = [-(-len(text) // (2 * _CELL)) * 2 for text in encoded]  # in cells
    packed = b"".join(
        text.ljust(size * _CELL, b"\0") for text, size in zip(encoded, sizes, strict=True)
    )
    keys: Hashes = np.arange(len(texts), dtype=np.uint64) * np.uint64(_MIX)
    return packed + bytes(_CELL), keys.repeat(sizes)


def _measure(completion: str, source: str) -> Overlap:
    steps = _MOST // len(source)
    if len(completion) > steps * _STRIDE:
        return _count_by_hashes(completion, source)
    try:
        return _count(_Passages(completion, source, steps), len(completion))
    except _TooLongError:
        return _count_by_hashes(completion, source)


class _TooLongError(Exception):
    """Going through a text would take longer than hashing it."""


class _Passages:
    """The shared passages that are part of no longer one, by their place in the completion."""

    def __init__(self, completion: str, source: str, steps: int) -> None:
        """Look for them in at most `steps` searches of `source`."""
        self._completion, self._source, self._steps = completion, source, steps

    def __iter__(self) -> Iterator[tuple[int, int]]:
        size = len(self._completion)
        begin = 0  # whatever starts before it was found
        while True:
            block = next(filter(self._has_block, self._blocks(begin)), None)
            if block is None:
                return
            # Both are sought by halves: a part of what is shared is shared.
            earliest = max(begin, block - _STRIDE + 1)
            start = self._find_start(earliest, block, block + _BLOCK)
            end = self._find_end(start, block + _BLOCK)
            if end - start >= SHORTEST:
                yield start, end
            if end == size:
                return
            begin = self._find_start(start + 1, end, end + 1)

    def _blocks(self, begin: int) -> range:
        first = -(-begin // _STRIDE) * _STRIDE
        return range(first, len(self._completion) - _BLOCK + 1, _STRIDE)

    def _has_block(self, block: int) -> bool:
        return self._has(block, block + _BLOCK)

    def _find_start(self, earliest: int, latest: int, end: int) -> int:
        """Return the first start from which all up to `end` is shared; else after `latest`."""
        starts = range(earliest, latest + 1)
        return earliest + bisect_left(starts, _TRUE, key=lambda start: self._has(start, end))

    def _find_end(self, start: int, earliest: int) -> int:
        """Return the last end, from `earliest` on, up to which all from `start` is shared."""
        longer = range(earliest + 1, min(len(self._completion), start + len(self._source)) + 1)
        return earliest + bisect_left(longer, _TRUE, key=lambda end: not self._has(start, end))

    def _has(self, start: int, end: int) -> bool:
        self._steps -= 1
        if self._steps < 0:
            raise _TooLongError
        return self._completion[start:end] in self._source


def _count(passages: Iterable[tuple[int, int]], size: int) -> Overlap:
    longest = covered = until = 0
    for start, end in passages:
        longest = max(longest, end - start)
        covered += end - max(start, until)
        until = end
    return Overlap(longest, covered * _MILLION // size)


def _count_by_hashes(completion: str, source: str) -> Overlap:
    """Do the same for long texts: which windows of one length are shared, all at once."""
    import numpy as np

    ours, theirs = _hash(completion), _hash(source)
    length = 1
    while length < SHORTEST:
        ours, theirs = _join(ours, length), _join(theirs, length)
        length *= 2
    starts = np.flatnonzero(_are_among(ours, np.sort(theirs)))
    if not starts.size:
        return NONE
    edges = np.zeros(len(completion) + 1, dtype=np.int64)
    edges[starts] += 1
    edges[starts + SHORTEST] -= 1
    covered = int((edges.cumsum() > 0).sum())

    def find(size: int) -> "Places":
        """Return which of `starts` begin a shared passage of up to twice the `length`."""
        apart = size - length
        kept = starts[starts + size <= len(completion)]
        if size > len(source) or not kept.size:
            return kept[:0]
        windows = _mix(ours[kept], ours[kept + apart])
        return kept[_are_among(windows, np.sort(_join(theirs, apart)))]

    while (longer := find(2 * length)).size:
        starts, length, ours, theirs = (
            longer, 2 * length, _join(ours, length), _join(theirs, length)
        )  # fmt: skip
    sizes = range(length + 1, 2 * length)
    return Overlap(
        length + bisect_left(sizes, _TRUE, key=lambda size: not find(size).size),
        covered * _MILLION // len(completion),
    )


def _hash(text: str) -> "Hashes":
    import numpy as np

    data = text.encode("utf-32-le", "surrogatepass")
    return np.frombuffer(data, dtype="<u4").astype(np.uint64)


def _join(hashes: "Hashes", apart: int) -> "Hashes":
    """Return hashes of windows made of two, `apart` from each other."""
    return _mix(hashes[: len(hashes) - apart], hashes[apart:])


def _mix(left: "Hashes", right: "Hashes") -> "Hashes":
    import numpy as np

    joined: Hashes = left * np.uint64(_LEFT) + right * np.uint64(_RIGHT)
    mixed: Hashes = (joined ^ (joined >> np.uint64(29))) * np.uint64(_MIX)
    return mixed


def _are_among(ours: "Hashes", known: "Hashes") -> "npt.NDArray[np.bool_]":
    """Return which of `ours` are among `known`, which are sorted."""
    import numpy as np

    places = np.minimum(np.searchsorted(known, ours), len(known) - 1)
    found: npt.NDArray[np.bool_] = known[places] == ours
    return found
