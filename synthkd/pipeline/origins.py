"""Origins: what of its rows stands in a sample word for word, and which rows those are.

Samples that carry over about as much, of rows under the same license, were made from the
same contributions: a hundred thousand samples are some dozens of those.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from synthkd.corpus.origins import Shared, Shown, replace_origins
from synthkd.corpus.store import Corpus
from synthkd.pipeline.materials import Carried, Material
from synthkd.records import Json, Message
from synthkd.rights.overlap import band, compare, fold, fold_row

SeedKey = tuple[str, str, str]  # source id, seed id, version


class Text(NamedTuple):
    """What a student could learn of a sample: `rationale` where that is not in the completion."""

    completion: str
    rationale: str | None = None

    def fold(self) -> str:
        """Return it as it is compared; no passage goes on from one part to the other."""
        completion = fold(self.completion)
        if not self.rationale or self.rationale in self.completion:
            return completion
        return f"{fold(self.rationale)}\0{completion}"


class Origins:
    """What the samples of one page carry over, until it is written down."""

    def __init__(
        self, materials: Sequence[Material], rows: Mapping[SeedKey, Mapping[str, Json]]
    ) -> None:
        """Look among `rows`, which are those of the page's seeds."""
        self._materials, self._rows = materials, rows
        self._texts: dict[SeedKey, str] = {}
        self._shared: list[Shared] = []
        self._shown: list[Shown] = []

    def find(
        self, sample: str, part: int, seed: SeedKey, text: Text, asked: Sequence[Message] = ()
    ) -> Carried:
        """Return what a sample of the material `part` carries over, and note it.

        `asked` is what its teacher was asked with, where that may hold examples.
        """
        material, row = self._materials[part], self._rows[seed]
        folded = text.fold()
        source = fold_row(row, text.completion) if material.has_answers else self._fold(seed)
        span = self._compare(sample, "seed", material.source, folded, source)
        shown: tuple[tuple[str | None, int], ...] = ()
        if material.examples is not None:
            shown = self._find_shown(sample, material, folded, asked)
        return Carried(material.facts.find_license(row), span, shown)

    def write(self, corpus: Corpus, sample_ids: Sequence[str]) -> None:
        """Write down what was noted of `sample_ids`, in place of what was known before."""
        replace_origins(corpus, sample_ids, self._shared, self._shown)

    def _find_shown(
        self, sample: str, material: Material, folded: str, asked: Sequence[Message]
    ) -> tuple[tuple[str | None, int], ...]:
        """Return the licenses of the examples shown, and how long a passage each brought."""
        if material.examples is None:
            return ()
        texts = defaultdict(list)
        for origin in material.examples.find(asked):
            texts[origin.own_license].append(origin.text)
            self._shown.append(
                Shown(sample, material.shown_from, origin.seed_id, origin.from_sample_id)
            )
        name = material.examples.name
        return tuple(
            (own, self._compare(sample, "few_shot", name, folded, "\n".join(texts[own])))
            for own in sorted(texts, key=str)
        )

    def _compare(self, sample: str, role: str, name: str, text: str, source: str) -> int:
        overlap = compare(text, source)
        if not overlap.max_span:
            return 0
        self._shared.append(Shared(sample, role, name, *overlap))
        return band(overlap.max_span)

    def _fold(self, seed: SeedKey) -> str:
        if seed not in self._texts:
            self._texts[seed] = fold_row(self._rows[seed])
        return self._texts[seed]
