"""Where tokens lie in a text, in bytes, also where the bytes of some are not known.

A server that cannot show half a character says nothing of its bytes, or shows the whole
character with the token that completes it. What lies before and after such a token often
leaves only one place for it.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from synthkd.corpus.positions import Integers

UNTOLD = -1
_LONGEST = 32  # bytes of a token that is not known


class Places(NamedTuple):
    """Where the tokens `first` to `last` (not included) begin, and where the last ends.

    The others are white space around the text. `starts` are in bytes; UNTOLD where more
    than one place would do.
    """

    first: int
    last: int
    starts: Integers  # [last - first + 1]


def find_places(tokens: Sequence[bytes | None], text: bytes) -> Places | None:
    """Return where `tokens`, None where one's bytes are not known, lie in a stripped `text`.

    White space around them is not compared. None if they do not make the text.

    >>> find_places([b" a", None, b"b "], b"axyb").starts.tolist()
    [0, 1, 3, 4]
    """
    held = [place for place, token in enumerate(tokens) if token is None or token.strip()]
    first, last = (held[0], held[-1] + 1) if held else (0, 0)
    inner = list(tokens[first:last])
    if inner and (token := inner[0]) is not None:
        inner[0] = token.lstrip()
    if inner and (token := inner[-1]) is not None:
        inner[-1] = token.rstrip()
    known = [token for token in inner if token is not None]
    if len(known) < len(inner):
        starts = _search(inner, text)
    elif b"".join(known) == text:
        starts = np.cumsum([0, *map(len, known)])
    else:
        starts = None
    return None if starts is None else Places(first, last, starts)


def _search(tokens: Sequence[bytes | None], text: bytes) -> NDArray[np.int64] | None:
    size = len(text)
    before = _reach(tokens, text)
    turned = [token and token[::-1] for token in reversed(tokens)]
    after = [{size - end for end in ends} for ends in reversed(_reach(turned, text[::-1]))]
    if not all(possible := [left & right for left, right in zip(before, after, strict=True)]):
        return None
    places = [min(ends) if len(ends) == 1 else UNTOLD for ends in possible]
    starts = np.array(places)
    for index, token in enumerate(tokens[:-1]):
        # It is not nothing: the token after it was shown with this one's bytes.
        if token is None and places[index] == places[index + 1] != UNTOLD:
            starts[index + 1] = UNTOLD
    return starts


def _reach(tokens: Sequence[bytes | None], text: bytes) -> list[set[int]]:
    """Return where in `text` each token could begin if those before it came first."""
    reached = [{0}]
    for token in tokens:
        begins = reached[-1]
        if token is None:
            longest = range(_LONGEST + 1)
            ends = {
                end for start in begins for size in longest if (end := start + size) <= len(text)
            }
        else:
            ends = {start + len(token) for start in begins if text.startswith(token, start)}
        reached.append(ends)
    return reached
