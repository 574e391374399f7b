"""Rows on their way into a table: by the page, and with nothing in them that no column can hold."""

import json
import re
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

T = TypeVar("T")

_SURROGATE = re.compile("[\ud800-\udfff]")


def pages(rows: Iterable[T], size: int) -> Iterator[list[T]]:
    """Yield `rows` in lists of `size`, the last one shorter."""
    remaining = iter(rows)
    while page := list(islice(remaining, size)):
        yield page


def to_json(value: object) -> str:
    """Return `value` as the text of a JSON column; half a character becomes its escape as text."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return _SURROGATE.sub(lambda found: rf"\\u{ord(found[0]):04x}", text)


def writable(value: object) -> object:
    """Return a text with the halves of characters escaped, and anything else as it is."""
    if isinstance(value, str):
        return _SURROGATE.sub(lambda found: rf"\u{ord(found[0]):04x}", value)
    return value
