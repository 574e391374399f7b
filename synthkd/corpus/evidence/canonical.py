"""One text for one value, so that it can be hashed: canonical JSON of RFC 8785.

Only strings and whole numbers are hashed, under ASCII names. For those, sorted and compact
JSON is what the RFC asks for; floats, and names that sort otherwise in UTF-16, are refused.
"""

import hashlib
import json
from collections.abc import Mapping

from synthkd.corpus.rows import writable
from synthkd.records import Json

LARGEST = 2**53 - 1  # the last whole number that every reader of JSON tells from the next

_SEAL = "sha256"


def canonical_bytes(value: Json) -> bytes:
    """Return `value` as canonical JSON.

    Raises:
        ValueError: There is something in it that is not hashed; `plain` makes it a text.
    """
    _require(value)
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text.encode()


def plain(value: object) -> Json:
    """Return `value` as what can be hashed: what is no string and no whole number, as a string.

    What is None in a mapping is left out. Half a character becomes its escape.

    >>> plain({"keep": True, "score": 0.5, "reason": None, "places": (1, 2**60)})
    {'keep': 'true', 'score': '0.5', 'places': [1, '1152921504606846976']}
    """
    if isinstance(value, str):
        return writable(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int) and abs(value) <= LARGEST:
        return value
    if isinstance(value, Mapping):
        return {str(name): plain(each) for name, each in value.items() if each is not None}
    if isinstance(value, list | tuple | set | frozenset):
        listed = sorted(value, key=str) if isinstance(value, set | frozenset) else value
        return [plain(each) for each in listed]
    return writable("" if value is None else str(value))


def tagged_hash(tag: str, data: bytes) -> str:
    """Return the SHA-256 of `data` as a thing of the kind `tag`, in hexadecimal.

    The tag keeps what is hashed as one thing from being shown as another.
    """
    return hashlib.sha256(tag.encode() + b"\0" + data).hexdigest()


def seal(value: Mapping[str, Json]) -> str:
    """Return `value` as one line of canonical JSON that holds its own SHA-256.

    That finds damage, and no forgery: who rewrites the line can rewrite its hash.
    """
    digest = hashlib.sha256(canonical_bytes(value)).hexdigest()
    return canonical_bytes({**value, _SEAL: digest}).decode()


def unseal(line: str | bytes) -> dict[str, Json]:
    """Return what was sealed in `line`.

    Raises:
        ValueError: It is not what was sealed, to the byte.
    """
    data = line.encode("utf-8", "surrogatepass") if isinstance(line, str) else line
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"it is no JSON ({error})") from error
    if not isinstance(value, dict) or _SEAL not in value:
        raise ValueError("it does not hold its own hash")
    given = value.pop(_SEAL)
    if seal(value).encode() != data:
        raise ValueError(f"it is not what was written: its hash is not {str(given)[:16]}…")
    return value


def _require(value: Json) -> None:
    if isinstance(value, dict):
        for name, each in value.items():
            if not (isinstance(name, str) and name.isascii()):
                raise ValueError(f"the name {name!r} is not ASCII")
            if type(each) is not str:
                _require(each)
    elif isinstance(value, list):
        for each in value:
            if type(each) is not str:
                _require(each)
    elif isinstance(value, str):
        return
    elif isinstance(value, bool) or not isinstance(value, int) or abs(value) > LARGEST:
        raise ValueError(f"{value!r} is neither a string nor a whole number within 2^53")
