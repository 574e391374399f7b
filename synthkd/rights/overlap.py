"""How much of a source's text stands in a completion word for word.

A shared passage shows what was carried over, whatever was meant: whether a license reaches
the sample, whether a duty to credit is owed, whether a text was memorised.

Case and white space are no difference. A passage of 32 characters holds 12 that begin at
a multiple of 21 in either text, so only those are looked for, until some are found.
"""

import unicodedata
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from synthkd.records import SPANS, Json

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Hashes = npt.NDArray[np.uint64]
    Places = npt.NDArray[np.int64]

SHORTEST = SPANS[1]  # characters; a shorter passage is nobody's expression
_BLOCK = 12
_STRIDE = SHORTEST - _BLOCK + 1
_MOST = 1 << 26  # characters gone through one by one; what takes more is hashed
_MILLION = 1_000_000
# ASCII in lower case, and a space for white space.
_FOLDED = bytes(
    ord(" " if chr(each).isspace() else chr(each).lower()) for each in range(128)
).ljust(256)
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


def measure(completion: str, source: str) -> Overlap:
    r"""Return what `completion` shares with `source`.

    >>> measure("They said: it was the best of times, IT WAS the worst.",
    ...         "It was the best of times,\nit was the worst of times")
    Overlap(max_span=42, containment_ppm=777777)

    It is exact. At most 67 million characters are compared one after the other, some
    hundredths of a second; what would take more is found by hashes of 64 bits, in a time
    that grows with n log n: seconds for two texts of a million characters each.
    """
    return compare(fold(completion), fold(source))


def compare(completion: str, source: str) -> Overlap:
    """Return what two texts share that `fold` was applied to; as `measure`."""
    if min(len(completion), len(source)) < SHORTEST:
        return NONE
    steps = _MOST // len(source)
    if len(completion) > steps * _STRIDE:
        return _count_by_hashes(completion, source)
    is_shorter = len(completion) < len(source)
    short, long = (completion, source) if is_shorter else (source, completion)
    for start in range(0, len(short) - _BLOCK + 1, _STRIDE):
        if short[start : start + _BLOCK] in long:
            break
    else:
        return NONE  # as nearly always, and soon found: whichever text the blocks are of
    try:
        return _count(_Passages(completion, source, steps), len(completion))
    except _TooLongError:
        return _count_by_hashes(completion, source)


def fold(text: str) -> str:
    """Return `text` without what is no difference: composition, white space, case."""
    if text.isascii():
        folded = text.encode().translate(_FOLDED).decode()
    else:
        folded = unicodedata.normalize("NFC", text).casefold()
        if not folded.isprintable():  # it holds white space of other kinds
            folded = " ".join(folded.split())
    while "  " in folded:
        folded = folded.replace("  ", " ")
    return folded.strip()


def fold_row(value: Json, but: str | None = None) -> str:
    """Return all texts in `value`, which is JSON, as `fold` leaves them, but not `but` itself.

    What is shared with it lies in one of them: no passage goes on from one to the next. One
    that is too short to hold any is left out.
    """
    texts = [
        fold(text)
        for text in read_texts(value)
        if (len(text) >= SHORTEST or not text.isascii()) and text != but
    ]
    return "\n".join(texts)


def band(span: int) -> int:
    """Return `span`, in characters, rounded down to one of `SPANS`.

    >>> band(31), band(32), band(300), band(100_000)
    (0, 32, 256, 512)
    """
    return SPANS[bisect_right(SPANS, span) - 1]


def read_texts(value: Json) -> Iterator[str]:
    """Yield every text in `value`, which is JSON, but not the names of its fields."""
    inside = value.values() if isinstance(value, dict) else value
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list | tuple):
        for inner in inside:
            if isinstance(inner, str):
                yield inner
            else:
                yield from read_texts(inner)


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
    starts = np.flatnonzero(_are_among(ours, theirs))
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
        return kept[_are_among(windows, _join(theirs, apart))]

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


def _are_among(ours: "Hashes", theirs: "Hashes") -> "npt.NDArray[np.bool_]":
    """Return which of `ours` are among `theirs`: `isin`, which is slower, sorts both."""
    import numpy as np

    known = np.sort(theirs)
    places = np.minimum(np.searchsorted(known, ours), len(known) - 1)
    found: npt.NDArray[np.bool_] = known[places] == ours
    return found
