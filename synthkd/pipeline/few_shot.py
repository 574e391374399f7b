"""Few-shot examples: gold rows that a teacher is shown before it is asked, chosen for each seed.

Which ones a seed gets depends on the seed, the examples and the options alone, so a
second run asks nothing. A row is never an example for itself. Students do not see
them: what the teacher does with examples, a student learns to do without.
"""

import math
import random
import re
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from functools import cached_property
from itertools import pairwise
from typing import Literal, NamedTuple

from pydantic import Field

from synthkd.errors import ConfigError
from synthkd.prompts import Prompt
from synthkd.records import Message, Seed, digest
from synthkd.rights.facts import Facts
from synthkd.rights.folding import fold_row

_WORD = re.compile(r"\w+")
# Okapi BM25 with its usual constants (Robertson and Zaragoza 2009, doi:10.1561/1500000019).
_SATURATION, _BY_LENGTH = 1.2, 0.75


class FewShot(Facts):
    """Which gold rows a teacher is shown, how many, and what is known of their rights."""

    path: str = Field(
        description="A file of rows with a completion, or what the prompt makes one of."
    )
    count: int = Field(default=3, ge=1, description="Examples per prompt.")
    by: Literal["similar", "random", "fixed"] = Field(
        default="similar",
        description="Those most like the seed by their words, some at random, or the first ones.",
    )
    seed: int = Field(default=0, description="For another random choice.")

    def prepare(self, prompt: Prompt, rows: Collection[Seed], sha256: str = "") -> "Examples":
        """Return the examples that `rows`, the file with that `sha256`, make of `prompt`.

        Raises:
            ConfigError: There are too few, or a row does not fill the prompt.
        """
        if len(rows) <= self.count:
            raise ConfigError(
                f"{self.path} has {len(rows)} rows, which is too few to choose {self.count} "
                "examples from for each seed; lower few_shot.count, or add rows"
            )
        shown = [
            _Example(ask, Message("assistant", prompt.read_gold(row.row)))
            for row in rows
            for ask in [prompt.render(row.row)[-1]]
        ]
        return Examples(self, rows, shown, sha256)


class _Example(NamedTuple):
    ask: Message
    answer: Message


class Origin(NamedTuple):
    """What a row that was shown brings: `text` is all that it says, as `fold_row` gives it."""

    seed_id: str
    from_sample_id: str | None
    own_license: str | None
    text: str


class Examples:
    """Examples that were read, and how they are chosen; `name` is what the corpus calls them."""

    def __init__(
        self,
        options: FewShot,
        rows: Collection[Seed],
        examples: Sequence[_Example],
        sha256: str = "",
    ) -> None:
        """Use `FewShot.prepare` instead."""
        self.rows = rows
        self.name, self.sha256 = options.path, sha256
        self.facts: Facts = options
        self._options = options
        self._examples = examples
        self._normal = [_normalize(example.ask.content) for example in examples]
        self._index = _Index([e.ask.content for e in examples]) if options.by == "similar" else None

    @cached_property
    def origins(self) -> Mapping[tuple[Message, Message], Sequence[Origin]]:
        """The rows that each pair of turns is made from: more than one where rows say the same."""
        found: dict[tuple[Message, Message], list[Origin]] = defaultdict(list)
        for row, example in zip(self.rows, self._examples, strict=True):
            stated = row.row.get("sample_id")
            found[example.ask, example.answer].append(
                Origin(
                    row.seed_id,
                    stated if isinstance(stated, str) else None,
                    self.facts.find_license(row.row),
                    fold_row(row.row),
                )
            )
        return found

    def find(self, messages: Sequence[Message]) -> list[Origin]:
        """Return the rows of the examples among `messages`, which a teacher was shown.

        What an answer was asked with says that best: examples may be chosen otherwise today.
        """
        pairs = pairwise(messages)
        return [origin for pair in dict.fromkeys(pairs) for origin in self.origins.get(pair, ())]

    def turns(self, seed_id: str, messages: Sequence[Message]) -> tuple[Message, ...]:
        """Return the turns to show before the last one of `messages`, which ask for a seed.

        The most similar example comes last, next to what it is like (Liu et al. 2022,
        https://arxiv.org/abs/2101.06804).
        """
        asked = messages[-1].content
        own = _normalize(asked)
        chosen: list[int] = []
        for place in self._order(seed_id, asked):
            if self._normal[place] != own and place not in chosen:
                chosen.append(place)
            if len(chosen) == self._options.count:
                break
        if self._index is not None:
            chosen.reverse()
        return tuple(turn for place in chosen for turn in self._examples[place])

    def _order(self, seed_id: str, asked: str) -> Sequence[int]:
        """Return places of examples, the best first: enough of them, were one the seed itself."""
        if self._index is not None:
            return self._index.rank(asked)
        everything = range(len(self._examples))
        if self._options.by == "fixed":
            return everything
        draw = random.Random(digest([self._options.seed, seed_id]))  # noqa: S311 - no secret
        # Several examples may have the text of the seed, though rarely more than a few.
        first = draw.sample(everything, min(len(everything), self._options.count + 8))
        return [*first, *everything]


class _Index:
    """The words of some texts, and which texts each is in."""

    def __init__(self, texts: Sequence[str]) -> None:
        counts = [Counter(_words(text)) for text in texts]
        lengths = [count.total() for count in counts]
        mean = sum(lengths) / len(lengths) or 1.0
        self._size = len(texts)
        self._weights: dict[str, list[tuple[int, float]]] = defaultdict(list)
        for place, count in enumerate(counts):
            norm = _SATURATION * (1 - _BY_LENGTH + _BY_LENGTH * lengths[place] / mean)
            for word, times in count.items():
                weight = times * (_SATURATION + 1) / (times + norm)
                self._weights[word].append((place, weight))

    def rank(self, text: str) -> list[int]:
        """Return the places of the texts, the most similar to `text` first; ties in their order."""
        scores = [0.0] * self._size
        for word in dict.fromkeys(_words(text)):
            found = self._weights.get(word, ())
            rarity = math.log(1 + (self._size - len(found) + 0.5) / (len(found) + 0.5))
            for place, weight in found:
                scores[place] += rarity * weight
        return sorted(range(self._size), key=lambda place: -scores[place])


def _words(text: str) -> list[str]:
    return _WORD.findall(text.casefold())


def _normalize(text: str) -> str:
    return " ".join(text.casefold().split())
