"""What somebody may have meant by a word that nobody knows."""

from collections.abc import Sequence
from difflib import get_close_matches


def suggest(wrong: str, known: Sequence[str]) -> str:
    """Return "; did you mean ...?" for a word near `wrong`, or else what is known.

    >>> suggest("nmae", ["name", "path"])
    "; did you mean 'name'?"
    """
    near = get_close_matches(wrong, known, n=1, cutoff=0.6)
    if near:
        return f"; did you mean {near[0]!r}?"
    return f"; known: {', '.join(known)}" if known else ""
