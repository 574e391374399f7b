"""Texts as passages are compared in them: without what is no difference."""

import unicodedata

from synthkd.records import SPANS, Json

SHORTEST = SPANS[1]  # characters; a shorter passage is nobody's expression
# ASCII in lower case, and a space for white space.
_FOLDED = bytes(
    ord(" " if chr(each).isspace() else chr(each).lower()) for each in range(128)
).ljust(256)


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
    """Return all texts in `value`, which is JSON, as `fold` leaves them.

    What is shared with it lies in one of them: no passage goes on from one to the next. One
    that is too short to hold any is left out, and so is the last that is `but` itself: an
    answer comes after what it answers, which may say the same.
    """
    texts = read_texts(value)
    if but in texts:
        del texts[len(texts) - 1 - texts[::-1].index(but)]
    long = (text for text in texts if len(text) >= SHORTEST or not text.isascii())
    return "\n".join(fold(text) for text in long)


def read_texts(value: Json) -> list[str]:
    """Return every text in `value`, which is JSON, but not the names of its fields."""
    if isinstance(value, str):
        return [value]
    if not isinstance(value, (dict, list, tuple)):
        return []
    texts = []
    for inner in value.values() if isinstance(value, dict) else value:
        if isinstance(inner, str):
            texts.append(inner)
        else:
            texts += read_texts(inner)
    return texts
