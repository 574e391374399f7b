"""Generation: every seed is asked once, and every answer becomes a sample.

    seeds, prompt, sample index ─► requests ─► engine ─► completions ─► samples

Reading completions into samples costs nothing and is done anew each time, so that
an edited output part of a prompt shows at once.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from synthkd.corpus import ledger
from synthkd.corpus.rows import pages
from synthkd.corpus.samples import add_samples, add_seeds, sample_id
from synthkd.corpus.store import Corpus
from synthkd.errors import BudgetError, TeacherError
from synthkd.prompts import Prompt
from synthkd.records import Contribution, Request, Seed
from synthkd.rights.licenses import read_license
from synthkd.rights.terms import resolve_terms
from synthkd.teachers.base import Teacher, TeacherOptions
from synthkd.teachers.engine import Progress, ask_all

NO_LICENSE = "NOASSERTION"  # SPDX for: nobody said
_PAGE = 2000  # completions read at a time


@dataclass(frozen=True, slots=True)
class Material:
    """Seeds of one source and the prompt they fill; `license` is the source's."""

    source: str
    path: str
    license: str
    sha256: str
    seeds: Sequence[Seed]
    prompt: Prompt


@dataclass
class Generated:
    """The samples of a generation, and the seeds that have none, with the reason."""

    sample_ids: list[str] = field(default_factory=list)
    already: int = 0
    asked: int = 0
    without: dict[str, str] = field(default_factory=dict)
    without_logprobs: int = 0

    def tell_ignored(self, name: str, say: Callable[[str], None]) -> None:
        """Say what the teacher `name` was asked for and ignored without saying so."""
        if self.without_logprobs:
            say(
                f"note: {self.without_logprobs} answers came without the log-probabilities that "
                f"were asked for; {name} ignores `logprobs`. Students can learn them by sft, "
                "not by kd."
            )


def generate(
    corpus: Corpus,
    materials: Sequence[Material],
    options: TeacherOptions,
    *,
    name: str,
    run_id: str,
    ask: bool = True,
    progress: Progress = lambda _done, _total: None,
) -> Generated:
    """Ask for every seed of `materials` what was not asked yet, and read all answers.

    `name` is what the corpus calls the teacher, wherever its folder was found. With
    `ask` false only the answers that are there are read.

    Raises:
        BudgetError: The budget is spent.
        ConfigError: A row does not fill its prompt.
        TeacherError: The teacher cannot be reached.
    """
    teacher = options.connect()
    plan = [(material, _plan(material, teacher, options)) for material in materials]
    write_down(corpus, materials)
    requests = [request for _, asks in plan for _, request in asks] if ask else []
    generated = Generated()
    terms = describe_teacher(name, teacher.host, options)

    def read() -> None:
        for material, asks in plan:
            read_answers(corpus, material, asks, terms, generated, run_id=run_id)

    try:
        asked = ask_all(corpus, teacher, options, requests, run_id=run_id, progress=progress)
    except (BudgetError, TeacherError, KeyboardInterrupt):
        read()  # what was answered becomes samples, also when something stopped the rest
        raise
    read()
    generated.already, generated.asked = asked.already, asked.answered
    generated.without_logprobs = asked.without_logprobs
    for _, asks in plan:
        for seed, request in asks:
            if request.key in asked.failures:
                generated.without[seed.seed_id] = asked.failures[request.key]
    return generated


def read_answers(
    corpus: Corpus,
    material: Material,
    asks: Sequence[tuple[Seed, Request]],
    teacher: Contribution,
    generated: Generated,
    *,
    run_id: str,
) -> None:
    """Make a sample of each answered request in `asks`; note in `generated` which have none."""
    contributions = [*_describe(material), teacher]
    for page in pages(asks, _PAGE):
        answers = ledger.read_texts(corpus, [request.key for _, request in page])
        rows = []
        for seed, request in page:
            text, thinking = answers.get(request.key, (None, None))
            if text is None or not text.strip():
                why = "it was not answered" if text is None else "the answer was empty"
                generated.without[seed.seed_id] = why
                continue
            row = _read(material.prompt, seed, request, text, thinking)
            rows.append({**row, "teacher": teacher.name, "run_id": run_id})
        add_samples(corpus, rows, contributions)
        generated.sample_ids += [row["sample_id"] for row in rows]


def describe_teacher(name: str, host: str, options: TeacherOptions | None = None) -> Contribution:
    """Return what the teacher `name` (PROVIDER/MODEL), served by `host`, brings: its terms.

    They are `unknown` where nobody read them; a local model's card may declare its license.
    """
    is_local = options is not None and options.provider == "local"
    stated = _read_card(Path(options.model_name)) if options and is_local else None
    terms = resolve_terms(name.partition("/")[2], host, stated=stated)
    return Contribution("teacher", "content", name, terms.license, terms.name, host)


def _read_card(folder: Path) -> str | None:
    """Return the license that the card of a model's folder declares, if it declares one."""
    try:
        card = (folder / "README.md").read_text(encoding="utf-8")
        front_matter = YAML(typ="safe", pure=True).load(card.split("---\n")[1])
        return read_license(str(front_matter["license"]))
    except (OSError, ValueError, IndexError, KeyError, TypeError, YAMLError):
        return None


def _plan(
    material: Material, teacher: Teacher, options: TeacherOptions
) -> list[tuple[Seed, Request]]:
    """Return what is asked for each seed, a request per sample."""
    return [
        (seed, options.request(teacher, messages, index))
        for seed in material.seeds
        for messages in [material.prompt.render(seed.row)]
        for index in range(options.samples)
    ]


def write_down(corpus: Corpus, materials: Sequence[Material]) -> None:
    """Write down where samples will come from: sources, prompts and seeds."""
    for material in materials:
        corpus.insert(
            "store.sources",
            [
                {
                    "source_id": material.source,
                    "path": material.path,
                    "license": material.license,
                    "sha256": material.sha256,
                }
            ],
            replace=True,
        )
        prompt = material.prompt
        corpus.insert(
            "store.prompts",
            [
                {
                    "prompt_version": prompt.version,
                    "name": prompt.name,
                    "license": prompt.front_matter.license,
                    "text": prompt.text,
                }
            ],
        )
        add_seeds(corpus, material.seeds)


def _read(
    prompt: Prompt, seed: Seed, request: Request, text: str, thinking: str | None
) -> dict[str, Any]:
    parts = prompt.output.read(text)
    return {
        "sample_id": sample_id(seed.source_id, seed.seed_id, request.key),
        "source_id": seed.source_id,
        "seed_id": seed.seed_id,
        "seed_version": seed.version,
        "request_key": request.key,
        "prompt_version": prompt.version,
        "answer": parts.answer,
        "rationale": parts.rationale or thinking,
        "reference": prompt.reference(seed.row),
        "is_split": parts.is_split,
    }


def _describe(material: Material) -> list[Contribution]:
    prompt = material.prompt
    license_, shown = material.license, prompt.front_matter.license
    return [
        Contribution("seed", "content", material.source, license_, _terms_of(license_)),
        Contribution("prompt", "transform", prompt.name, shown, shown),
    ]


def _terms_of(license_: str) -> str:
    """Return the terms of an SPDX expression: itself, unless it says that nobody knows."""
    return "unknown" if license_ == NO_LICENSE else license_
