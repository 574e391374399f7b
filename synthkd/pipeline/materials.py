"""Materials: the rows that prompts are made from, the prompt they fill, and the terms of both."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from synthkd.corpus.ledger import Served
from synthkd.corpus.origins import add_subjects
from synthkd.corpus.samples import add_seeds
from synthkd.corpus.store import Corpus
from synthkd.corpus.tombstones import Tombstones
from synthkd.errors import ConfigError
from synthkd.pipeline.few_shot import Examples
from synthkd.prompts import Prompt
from synthkd.records import Contribution, Message, Seed
from synthkd.rights.facts import Facts, find_value
from synthkd.rights.terms import UNKNOWN, resolve_terms
from synthkd.teachers.options import TeacherOptions


class Carried(NamedTuple):
    """What tells the contributions of a material's samples apart.

    `own_license` is that of the sample's row, where it has one; `span` how long a passage
    they share, rounded down to one of `SPANS`; `shown` both for the examples shown.
    """

    own_license: str | None = None
    span: int = 0
    shown: tuple[tuple[str | None, int], ...] = ()


NOTHING_CARRIED = Carried()


@dataclass(frozen=True, slots=True)
class Material:
    """Seeds of one source, what is known of their rights, and the prompt they fill.

    `examples` are for the teacher alone: its students see the prompt without them.
    `has_answers` where the rows hold the completions too, as those that are imported do.
    """

    source: str
    path: str
    facts: Facts
    sha256: str
    seeds: Collection[Seed]
    prompt: Prompt
    examples: Examples | None = None
    has_answers: bool = False

    def ask(self, seed: Seed) -> tuple[Message, ...]:
        """Return what a teacher is shown for `seed`.

        Raises:
            ConfigError: The row does not fill the prompt.
        """
        bare = render(self.prompt, seed, self.path)
        if self.examples is None:
            return bare
        return self.prompt.render(seed.row, self.examples.turns(seed.seed_id, bare))

    def describe(self, carried: Carried = NOTHING_CARRIED) -> list[Contribution]:
        """Return what its rows, its prompt and its examples bring to a sample."""
        own, span, shown = carried
        seed = self.facts.describe("seed", "content", self.source, own_license=own, span=span)
        made_from = [seed, describe_prompt(self.prompt)]
        if self.examples is not None:
            name, facts = self.examples.name, self.examples.facts
            made_from += [
                facts.describe("few_shot", "transform", name, own_license=own, span=span)
                for own, span in shown or [(None, 0)]
            ]
        return made_from

    @property
    def license(self) -> str:
        """The license of its rows, but for those that have their own."""
        return self.facts.license

    @property
    def shown_from(self) -> str:
        """The source of its examples: itself where they are rows of the same file."""
        is_own = self.examples is None or self.examples.sha256 == self.sha256
        return self.source if self.examples is None or is_own else self.examples.name


def render(prompt: Prompt, seed: Seed, path: str) -> tuple[Message, ...]:
    """Return `prompt` filled with a row of the file `path`.

    Raises:
        ConfigError: The row does not fill it.
    """
    try:
        return prompt.render(seed.row)
    except ConfigError as error:
        raise ConfigError(f"{path}: row {seed.seed_id!r}: {error}") from error


def describe_prompt(prompt: Prompt) -> Contribution:
    """Return what a prompt file brings to a sample."""
    license_ = prompt.front_matter.license
    return Contribution("prompt", "transform", prompt.name, license_, license_)


def describe_teacher(name: str, host: str, options: TeacherOptions | None = None) -> Contribution:
    """Return what the teacher `name` (PROVIDER/MODEL), served by `host`, brings: its terms.

    They are `unknown` where nobody read them; what a local model was made from, the files of
    its folder tell.
    """
    tier = (options.tier if options else None) or ""
    is_local = options is not None and options.provider in {"local", "vllm"}
    model = options.model_name if options and is_local else name.partition("/")[2]
    terms = resolve_terms(model, host, tier=tier)
    is_stated = "declared:" in terms.name
    return Contribution(
        "teacher",
        "content",
        name,
        terms.license,
        terms.name,
        host,
        tier=tier,
        grade=terms.grade if is_stated else "inferred",
    )


def require_stated(rows: Iterable[Seed], facts: Facts, path: str) -> None:
    """Refuse a column that `facts` name and that no row has anything in: it is misspelled.

    Raises:
        ConfigError: There is one.
    """
    missing = dict.fromkeys(facts.columns)
    for row in rows if missing else ():
        for name in [name for name in missing if find_value(row.row, name) is not None]:
            del missing[name]
        if not missing:
            return
    if missing:
        raise ConfigError(
            f"{path}: no row has anything in {', '.join(map(repr, missing))}, which its facts "
            "name; correct the name of the column, or leave it out"
        )


def record_served(teacher: Contribution, served: Served) -> Contribution:
    """Return what `teacher` brings by what its answer itself says of who gave it.

    Where the name that was asked for says nothing of its terms, as `auto` does, the name of
    whoever answered may.
    """
    if not served.model:
        return replace(teacher, provider=served.provider)
    known = replace(teacher, provider=served.provider, grade="recorded")
    if teacher.terms != UNKNOWN:
        return known
    terms = resolve_terms(served.model, teacher.host, tier=teacher.tier)
    return replace(known, license=terms.license, terms=terms.name)


def write_sources(
    corpus: Corpus, materials: Iterable[Material], prompts: Sequence[Prompt] = ()
) -> None:
    """Write down where samples will come from: sources, their prompts, and more `prompts`."""
    seen = list(prompts)
    erased = Tombstones(corpus)
    for material in materials:
        if not erased.has_source(material.source, material.seeds):
            _write_source(corpus, material.source, material.path, material.sha256, material.facts)
        seen.append(material.prompt)
        examples = material.examples
        if examples is not None and material.shown_from != material.source:
            _write_source(corpus, examples.name, examples.name, examples.sha256, examples.facts)
            # What was shown has to be known where somebody wants it erased.
            add_seeds(corpus, (replace(row, source_id=examples.name) for row in examples.rows))
            _write_subjects(corpus, examples.name, examples.facts, examples.rows)
    for prompt in seen:
        row = {
            "prompt_version": prompt.version,
            "name": prompt.name,
            "license": prompt.front_matter.license,
            "text": prompt.text,
        }
        corpus.insert("store.prompts", [row], key=("prompt_version",))


def write_seeds(corpus: Corpus, material: Material, seeds: Collection[Seed]) -> None:
    """Write down some of the rows of `material`, and whom they are about."""
    add_seeds(corpus, seeds)
    _write_subjects(corpus, material.source, material.facts, seeds)


def _write_source(corpus: Corpus, name: str, path: str, sha256: str, facts: Facts) -> None:
    source = {
        "source_id": name,
        "path": path,
        "license": facts.license,
        "sha256": sha256,
        "facts": facts.dump(),
    }
    corpus.insert("store.sources", [source], key=("source_id",), replace=True)


def _write_subjects(corpus: Corpus, name: str, facts: Facts, seeds: Iterable[Seed]) -> None:
    if facts.subject is None:
        return
    found = ((seed.seed_id, facts.find_subject(seed.row)) for seed in seeds)
    add_subjects(corpus, name, ((seed, person) for seed, person in found if person))
