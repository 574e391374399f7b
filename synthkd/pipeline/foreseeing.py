"""Foreseeing: what samples will be made from, told from the pipeline before any is paid for."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace

from synthkd.corpus.checks import Profile
from synthkd.pipeline.graph import Graph
from synthkd.pipeline.materials import Material, describe_prompt
from synthkd.records import Contribution, digest


def foresee(materials: Sequence[Material], graph: Graph) -> list[Profile]:
    """Return the profiles of the samples that `graph` will make of `materials`.

    Each has all that may come to be in it: whatever examples may be shown, and whoever may be
    asked again, criticise, rewrite or judge. Nothing is asked: who is connected to only says
    which host it is.

    Raises:
        ConfigError: A teacher's folder is missing.
    """
    voices = [voice.describe(voice.connect(needs_key=False)) for voice in graph.voices]
    return [
        describe_profile(
            [*describe_rows(material, own), *_describe_answer(graph, voices, voice)],
            {material.source: seeds * graph.voices[voice].options.samples},
        )
        for material in materials
        for (voice, own), seeds in _share(material, graph).items()
    ]


def describe_profile(made_from: Sequence[Contribution], sources: dict[str, int]) -> Profile:
    """Return the profile of samples that are not there yet."""
    parts = tuple(dict.fromkeys(made_from))
    key = digest(sorted(map(repr, parts)))[:32]
    return Profile(key, None, parts, sources)


def describe_rows(material: Material, own_license: str | None = None) -> Iterator[Contribution]:
    """Yield what rows of `own_license`, their prompt and its examples bring to a sample."""
    yield material.facts.describe("seed", "content", material.source, own_license=own_license)
    yield describe_prompt(material.prompt)
    examples = material.examples
    if examples is not None:
        own = (examples.facts.find_license(seed.row) for seed in examples.rows)
        for stated in dict.fromkeys(own):
            name = material.shown_from
            yield examples.facts.describe("few_shot", "transform", name, own_license=stated)


def count_licenses(material: Material) -> Counter[str | None]:
    """Return how many rows state which license of their own; None for those that state none."""
    if material.facts.license_column is None:
        return Counter({None: len(material.seeds)})
    return Counter(material.facts.find_license(seed.row) for seed in material.seeds)


def _share(material: Material, graph: Graph) -> Counter[tuple[int, str | None]]:
    """Return how many seeds, by the license of their own, each teacher answers."""
    shares: Counter[tuple[int, str | None]] = Counter()
    for voice in range(graph.answering):
        if graph.answering > 1 and graph.choose == "mixture":
            is_for = graph.is_for(voice)
            for seed in filter(is_for, material.seeds):
                shares[voice, material.facts.find_license(seed.row)] += 1
        else:
            shares.update({(voice, own): n for own, n in count_licenses(material).items()})
    return shares


def _describe_answer(
    graph: Graph, voices: Sequence[Contribution], voice: int
) -> Iterator[Contribution]:
    yield voices[voice]
    if graph.refuge is not None:
        yield voices[graph.refuge]
    if graph.refining:
        again = voices[voice if graph.refiner is None else graph.refiner]
        yield replace(again, role="rewriter")
        yield describe_prompt(graph.refining.revise)
        if graph.refining.critique:
            yield replace(again, role="critic", reach="transform")
            yield describe_prompt(graph.refining.critique)
    if graph.judging:
        yield replace(voices[graph.judge], role="judge", reach="selection")
        yield replace(describe_prompt(graph.judging.prompt), reach="selection")
