"""Rows on their way into a table: by the page, and with nothing in them that no column can hold."""

import json
import re
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

import numpy as np
import numpy.typing as npt

T = TypeVar("T")
Column = npt.NDArray[np.object_]

_SURROGATE = re.compile("[\ud800-\udfff]")


def pages(rows: Iterable[T], size: int) -> Iterator[list[T]]:
    """Yield `rows` in lists of `size`, the last one shorter."""
    remaining = iter(rows)
    while page := list(islice(remaining, size)):
        yield page


def as_column(values: Iterable[object]) -> Column:
    """Return `values` as what DuckDB reads a column from, whatever mixture they are.

    Half a character is legal in JSON, and in no column: it is written as its escape.
    """
    listed = list(values)
    try:
        "".join(value for value in listed if isinstance(value, str)).encode()
    except UnicodeEncodeError:
        listed = [writable(value) for value in listed]
    if any(value != value for value in listed):  # noqa: PLR0124 - DuckDB takes NaN for NULL
        listed = [None if value is None else str(value) for value in listed]
    column = np.empty(len(listed), dtype=object)
    column[:] = listed
    return column


def to_json(value: object) -> str:
    """Return `value` as the text of a JSON column; half a character becomes its escape as text."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    if text.isascii():
        return text  # a search of every text for what is not there costs more than the JSON
    return _SURROGATE.sub(lambda found: rf"\\u{ord(found[0]):04x}", text)


def writable(value: object) -> object:
    """Return a text with the halves of characters escaped, and anything else as it is."""
    if isinstance(value, str) and not value.isascii():
        return _SURROGATE.sub(lambda found: rf"\u{ord(found[0]):04x}", value)
    return value
