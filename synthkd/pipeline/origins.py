"""Origins: what of its rows stands in a sample word for word, and which rows those are.

Samples that carry over about as much, of rows under the same license, were made from the
same contributions: a hundred thousand samples are some dozens of those.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from synthkd.corpus.origins import SeedKey, Shared, Shown, replace_origins
from synthkd.corpus.store import Corpus
from synthkd.pipeline.materials import Carried, Material
from synthkd.records import Json, Message
from synthkd.rights.folding import fold, fold_row
from synthkd.rights.overlap import band, compare


class Text(NamedTuple):
    """What a student could learn of a sample: `rationale` where that is not in the completion.

    `whole` is the answer as it stands in a row that holds it, before anything was cut off.
    """

    completion: str
    rationale: str | None = None
    whole: str | None = None

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
        self._names: list[tuple[str, str, str]] = []  # of each pair, as `Shared` has them
        self._pairs: list[tuple[str, str]] = []
        # Of each sample its first pair, and the licenses of its row and of its examples.
        self._made: list[tuple[int, str | None, Sequence[str | None]]] = []
        self._shared: list[Shared] = []
        self._shown: list[Shown] = []

    def add(
        self, sample: str, part: int, seed: SeedKey, text: Text, asked: Sequence[Message] = ()
    ) -> None:
        """Add a sample of the material `part` to the page.

        `asked` is what its teacher was asked with, where that may hold examples.
        """
        material, row = self._materials[part], self._rows[seed]
        folded = text.fold()
        source = fold_row(row, text.whole) if material.has_answers else self._fold(seed)
        first = len(self._pairs)
        self._names.append((sample, "seed", material.source))
        self._pairs.append((folded, source))
        shown: list[str | None] = []
        if material.examples is not None:
            texts = defaultdict(list)
            for origin in material.examples.find(asked):
                texts[origin.own_license].append(origin.text)
                self._shown.append(
                    Shown(sample, material.shown_from, origin.seed_id, origin.from_sample_id)
                )
            shown = sorted(texts, key=str)
            self._names += [(sample, "few_shot", material.examples.name)] * len(shown)
            self._pairs += [(folded, "\n".join(texts[own])) for own in shown]
        self._made.append((first, material.facts.find_license(row), shown))

    def find(self) -> list[Carried]:
        """Return what each sample of the page carries over, in the order they were added."""
        found = compare(self._pairs)
        self._shared = [Shared(*self._names[pair], *overlap) for pair, overlap in found.items()]
        spans = {pair: band(overlap.max_span) for pair, overlap in found.items()}
        carried = []
        for pair, own, shown in self._made:
            after = enumerate(shown, pair + 1)
            brought = tuple((each, spans.get(place, 0)) for place, each in after) if shown else ()
            carried.append(Carried(own, spans.get(pair, 0), brought))
        return carried

    def write(self, corpus: Corpus, sample_ids: Sequence[str]) -> None:
        """Write down what was found of `sample_ids`, in place of what was known before."""
        replace_origins(corpus, sample_ids, self._shared, self._shown)

    def _fold(self, seed: SeedKey) -> str:
        if seed not in self._texts:
            self._texts[seed] = fold_row(self._rows[seed])
        return self._texts[seed]
