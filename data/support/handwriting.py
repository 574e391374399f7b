"""How a customer writes: the words around a request, and the slips of the hand."""

import re
from random import Random

from phrases import Book, fill

FIXED = re.compile(r"[\d@]")
WORD = re.compile(r"[^\W\d_]{4,}")


def close(text: str) -> str:
    """Return `text` as a sentence: with a capital and a stop."""
    return text[0].upper() + text[1:] + ("" if text[-1] in ".?!" else ".")


def uncapitalize(text: str) -> str:
    """Return `text` to follow a comma: `I` and an order number keep their capitals."""
    first = text.split(maxsplit=1)[0]
    return text if first == "I" or FIXED.search(first) else text[0].lower() + text[1:]


def join(book: Book, main: str, aside: str, rng: Random) -> str:
    """Return both requests as one text; either may come first."""
    joint, opening, bridge = (rng.choice(book.around[k]) for k in ("joints", "openings", "bridges"))
    return rng.choice(
        (
            f"{close(main)} {joint} {aside}",
            f"{close(main)} {joint} {aside}",
            f"{opening} {close(aside)} {close(main)}",
            f"{close(aside)} {bridge} {close(main)}",
        )
    )


def wrap(book: Book, body: str, name: str, rng: Random, *, cross: bool) -> str:
    """Return a whole message: terse, plain, long or cross around the same body."""
    pick = {part: rng.choice(choices) for part, choices in book.around.items()}
    manner = rng.choice(("terse", "plain", "plain", "long", "cross" if cross else "plain"))
    if manner == "terse":
        return scribble(book, body[0].upper() + body[1:], rng, haste=0.4)
    parts = [close(body)]
    if manner == "long":
        parts.insert(0, pick["leads"])
    if manner == "cross":
        parts.append(pick["complaints"])
    elif rng.random() < (0.6 if manner == "long" else 0.2):
        parts.append(pick["tails"])
    greeting = ""
    if rng.random() < (0.2 if manner == "cross" else 0.6):
        greeting = pick["greetings"]
        # After a comma the sentence goes on, and after a name it starts anew.
        if greeting.endswith(","):
            parts[0] = uncapitalize(parts[0])
        parts.insert(0, fill(greeting, {"name": name}))
    if rng.random() < (0.2 if manner == "cross" else 0.4):
        signed = "{name}" not in greeting and rng.random() < 0.7  # noqa: PLR2004
        parts.append(f"{pick['closings']}, {name}" if signed else f"{pick['closings']}.")
    return scribble(book, " ".join(parts), rng, haste=0.12)


def scribble(book: Book, text: str, rng: Random, haste: float) -> str:
    """Return `text` as it is typed: in three messages of ten, some words have typos.

    With a probability of `haste` each, capitals and punctuation are left out.
    The words of `slots` have no typos, so that a reply can copy them, and an
    order number or an email address stays as it is.
    """
    kept = {word.lower() for words in book.slots.values() for word in " ".join(words).split()}
    rate = rng.choice((0.0,) * 7 + (0.05, 0.1, 0.15))
    lower, bare = rng.random() < haste, rng.random() < haste

    def slip(word: re.Match[str]) -> str:
        return (
            word[0] if word[0].lower() in kept or rng.random() >= rate else misspell(word[0], rng)
        )

    tokens = []
    for token in text.split():
        typed = token
        if not FIXED.search(token):
            typed = WORD.sub(slip, token)
            typed = typed.lower() if lower else typed
        tokens.append(typed.rstrip(".,:!").replace("'", "") if bare else typed)
    return " ".join(tokens)


def misspell(word: str, rng: Random) -> str:
    """Return `word` with an inner letter dropped, doubled, or swapped with the next."""
    at = rng.randrange(1, len(word) - 1)
    head, letter, tail = word[:at], word[at], word[at + 1 :]
    return rng.choice((head + tail, head + letter * 2 + tail, head + tail[0] + letter + tail[1:]))
