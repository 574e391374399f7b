"""What the sentences of `phrases.toml` are, and the rules that they keep.

A phrase has slots in {braces} and one cue in [brackets]: the words that decide
the intent. A cue belongs to one intent. A held-out phrase has no cue that the
training frames do not teach, or it could not be solved, and at most half of its
words in common with any one of them, or it would only test memory.
"""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path

SLOT = re.compile(r"\{(\w+)\}")
CUE = re.compile(r"\[(.+?)\]")
WORD = re.compile(r"[\w{}']+")

MOST_OVERLAP = 0.5  # what a held-out phrase may share with a training phrase


@dataclass(frozen=True, slots=True)
class Intent:
    """What a customer can want, and all the ways to say and to answer it."""

    name: str
    noun: str
    meaning: str
    item: str
    frames: list[str]
    asides: list[str]
    held_out_frames: list[str]
    held_out_asides: list[str]
    replies: list[str]


@dataclass(frozen=True, slots=True)
class Book:
    """Everything in `phrases.toml`; `intents` stand in the order they are handled."""

    slots: Mapping[str, list[str]]
    around: Mapping[str, list[str]]
    intents: list[Intent]

    def hold_out(self) -> "Book":
        """Return the book that has the held-out phrases and no others."""
        swapped = [
            replace(intent, frames=intent.held_out_frames, asides=intent.held_out_asides)
            for intent in self.intents
        ]
        return replace(self, intents=swapped)


def read_book(path: Path) -> Book:
    """Return the phrases, once they are known to keep their own rules.

    Raises:
        ValueError: The cue of a phrase is missing, ambiguous, or never taught.
    """
    tables = tomllib.loads(path.read_text(encoding="utf-8"))
    intents = [Intent(name=name, **table) for name, table in tables["intents"].items()]
    cues = {intent.name: {*map(find_cue, intent.frames)} for intent in intents}
    for intent in intents:
        for phrase in intent.asides + intent.held_out_frames + intent.held_out_asides:
            if find_cue(phrase) not in cues[intent.name]:
                raise ValueError(f"{intent.name}: no frame has the cue of {phrase!r}; add one.")
        for held_out in intent.held_out_frames + intent.held_out_asides:
            for phrase in intent.frames + intent.asides:
                if find_overlap(held_out, phrase) > MOST_OVERLAP:
                    raise ValueError(
                        f"{held_out!r} is too close to {phrase!r}; reword one of them."
                    )
    for one, other in combinations(cues, 2):
        if shared := sorted(cues[one] & cues[other]):
            raise ValueError(f"{one} and {other} share the cues {shared}; reword one of them.")
    return Book(tables["slots"], tables["around"], intents)


def find_cue(phrase: str) -> str:
    """Return the bracketed words of a phrase, in lower case.

    >>> find_cue("[Where is my order] {order}?")
    'where is my order'

    Raises:
        ValueError: There is not exactly one cue.
    """
    cues: list[str] = CUE.findall(phrase)
    if len(cues) != 1:
        raise ValueError(f"{phrase!r} has {len(cues)} cues; put brackets around one.")
    return cues[0].lower()


def find_overlap(one: str, other: str) -> float:
    """Return the share of the words and slots of two phrases that both have.

    >>> find_overlap("[cancel] {order} now", "Now [cancel] {order}!")
    1.0
    """
    words, others = set(WORD.findall(one.lower())), set(WORD.findall(other.lower()))
    return len(words & others) / len(words | others)


def fill(phrase: str, values: Mapping[str, str]) -> str:
    """Return `phrase` with a value in each slot."""
    return SLOT.sub(lambda slot: values[slot[1]], phrase)
