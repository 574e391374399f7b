"""The lines of batch files: written, and cut into their members as they were written.

The fast parser refuses half a character (a surrogate alone), which teachers do send, and
JSON allows. What it refuses is cut here, by the slower parser that takes it.
"""

import json
import re

from synthkd.records import Json
from synthkd.teachers.batch.base import BatchResult

_SPACE = re.compile(r"[ \t\r\n]*")


def encode(line: Json) -> bytes:
    """Return `line` as JSON in UTF-8; half a character becomes its JSON escape."""
    text = json.dumps(line, ensure_ascii=False, separators=(",", ":"))
    return text.encode("utf-8", "backslashreplace")


def unreadable(line: bytes, error: Exception) -> BatchResult:
    """Return what stands for a line of results that is none."""
    return BatchResult("", line, None, f"a line of the results cannot be read ({error})")


def cut(text: bytes) -> dict[str, bytes]:
    r"""Return the value of each member of the object `text`, to the byte.

    >>> cut(b'{"id": "a", "body": {"text":"\\ud83d", "n": 1.50}}')
    {'id': b'"a"', 'body': b'{"text":"\\ud83d", "n": 1.50}'}

    Raises:
        ValueError: It is no JSON object, or not a whole one.
    """
    # What is no UTF-8 is kept, as the parser keeps it: to be looked at, not to be lost.
    held = text.decode("utf-8", "surrogateescape")
    decoder = json.JSONDecoder(strict=False)
    members: dict[str, bytes] = {}
    at = _skip(held, 0)
    if held[at : at + 1] != "{":
        raise ValueError("not an object")
    mark = held[at]
    while mark != "}":
        at = _skip(held, at + 1)
        if held[at : at + 1] == "}" and not members:
            break
        name, at = decoder.raw_decode(held, at)
        start = _skip(held, _expect(held, _skip(held, at), ":"))
        _, end = decoder.raw_decode(held, start)
        members[name] = held[start:end].encode("utf-8", "surrogateescape")
        at = _skip(held, end)
        mark = held[at : at + 1]
        _expect(held, at, "," if mark != "}" else "}")
    if _skip(held, at + 1) != len(held):
        raise ValueError("more than one object")
    return members


def _skip(text: str, at: int) -> int:
    """Return where the next thing that is no space begins."""
    found = _SPACE.match(text, at)
    return found.end() if found else at


def _expect(text: str, at: int, mark: str) -> int:
    if text[at : at + 1] != mark:
        raise ValueError(f"no {mark!r} at character {at}")
    return at + 1
