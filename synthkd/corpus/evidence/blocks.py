"""The bytes of a corpus file: every block of it holds its own checksum.

    3 headers of 4 KiB ─ blocks of one size, each with eight bytes of checksum before it

DuckDB checks a block when it reads it, and reads what a query needs. Here all of them are
checked, those that nothing uses any more too, so that a flipped byte is found wherever it is.
What a disk gave back in place of a block as a whole, checksum and all, is not found here.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

_HEADER = 4096  # bytes; there are three
_HEADERS = 3
_MAGIC = slice(8, 12)
_FACTOR = np.uint64(0xBF58476D1CE4E5B9)
_START = 5381
_AT_ONCE = 512  # blocks in memory at a time
_SIZES = frozenset({16384, 32768, 65536, 131072, 262144})


class BadBlock(NamedTuple):
    """A stretch of a file whose checksum is wrong: a block by its number, or a header (-1).

    A block that the file has no bytes of `is_missing`. That is damage if anything is in it: a
    free block at the end may never have been written.
    """

    block: int
    start: int
    end: int

    @property
    def is_missing(self) -> bool:
        """Whether the file ends before it."""
        return self.start == self.end


class Scan(NamedTuple):
    """What was found of a file: how many bytes have a checksum, and where one is wrong.

    `is_known` is false where no header is as this module knows them: then nothing is said.
    """

    size: int
    bad: list[BadBlock]
    is_known: bool = True


class _State(NamedTuple):
    """What a header says of the database: the one that was written last, says how it is."""

    iteration: int
    blocks: int
    block_size: int


def is_database(path: Path) -> bool:
    """Return whether a file says of itself that it is one of DuckDB's."""
    with path.open("rb") as file:
        return file.read(_MAGIC.stop)[_MAGIC] == b"DUCK"


def scan(path: Path) -> Scan:
    """Check every checksum in the file at `path`, a few megabytes in memory at a time."""
    size = path.stat().st_size
    with path.open("rb") as file:
        heads = file.read(_HEADERS * _HEADER)
        whole = [heads[at : at + _HEADER] for at in range(0, len(heads), _HEADER)]
        right = [len(head) == _HEADER and bool(_are_right(head, _HEADER)[0]) for head in whole]
        bad = [
            BadBlock(-1, number * _HEADER, (number + 1) * _HEADER)
            for number, is_right in enumerate(right)
            if not is_right
        ]
        # The last two are states of the database by turns; either tells the size of blocks.
        states = [
            _State(*(int.from_bytes(head[at : at + 8], "little") for at in (8, 32, 40)))
            for head, is_right in list(zip(whole, right, strict=True))[1:]
            if is_right
        ]
        state = max(states, default=None)
        if state is None or state.block_size not in _SIZES:
            return Scan(size, [], is_known=False)
        bad += _scan_blocks(file, state.block_size, size)
        begun = -(-(size - _HEADERS * _HEADER) // state.block_size)
        bad += [BadBlock(number, size, size) for number in range(begun, state.blocks)]
    return Scan(size, bad)


def _scan_blocks(file: BinaryIO, block: int, size: int) -> Iterator[BadBlock]:
    """Yield the blocks after the headers that are not what their checksums say."""
    start, number = _HEADERS * _HEADER, 0
    while data := file.read(block * _AT_ONCE):
        cut = len(data) % block
        rights = _are_right(data[: len(data) - cut], block)
        for at in np.flatnonzero(~rights):
            begins = start + (number + int(at)) * block
            # A file grows before it is filled: zeros were never written to.
            if data[int(at) * block : (int(at) + 1) * block].strip(b"\0"):
                yield BadBlock(number + int(at), begins, begins + block)
        number += len(rights)
        if cut:
            yield BadBlock(number, size - cut, size)


def _are_right(data: bytes, block: int) -> "np.ndarray[tuple[int], np.dtype[np.bool_]]":
    """Return which of the blocks in `data` are what their checksums say."""
    words = np.frombuffer(data, dtype="<u8").reshape(-1, block // 8)
    sums = np.bitwise_xor.reduce(words[:, 1:] * _FACTOR, axis=1) ^ np.uint64(_START)
    return np.asarray(sums == words[:, 0])
