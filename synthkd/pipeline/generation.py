"""Generation: every seed is asked once, and every answer becomes a sample.

    seeds, prompt, sample index ─► plan ─► engine ─► completions ─► samples

Reading completions into samples costs nothing and is done anew each time, so that
an edited output part of a prompt shows at once. Rows go through a page at a time.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from synthkd.corpus.plans import Answered, Ask, Plan, make_plan
from synthkd.corpus.rows import pages
from synthkd.corpus.samples import (
    add_profile,
    add_samples,
    add_seeds,
    add_to_selection,
    sample_id,
    select,
)
from synthkd.corpus.store import Corpus
from synthkd.errors import BudgetError, TeacherError
from synthkd.pipeline.asking import ask_plan
from synthkd.prompts import Prompt
from synthkd.records import Contribution, Seed
from synthkd.rights.licenses import read_license
from synthkd.rights.terms import resolve_terms
from synthkd.teachers.base import Teacher
from synthkd.teachers.options import TeacherOptions
from synthkd.teachers.engine import Watch

NO_LICENSE = "NOASSERTION"  # SPDX for: nobody said
_PAGE = 1000  # seeds written at a time


@dataclass(frozen=True, slots=True)
class Material:
    """Seeds of one source and the prompt they fill; `license` is the source's."""

    source: str
    path: str
    license: str
    sha256: str
    seeds: Collection[Seed]
    prompt: Prompt


@dataclass
class Generated:
    """What came of a generation. Its samples are the corpus's selection.

    `fingerprint` tells other samples apart; `without` are the seeds that have none, with
    the reason; `ignored` counts answers by what the teacher did not heed.
    """

    samples: int = 0
    already: int = 0
    asked: int = 0
    without: dict[str, str] = field(default_factory=dict)
    ignored: Counter[str] = field(default_factory=Counter)
    fingerprint: str = ""

    def tell_ignored(self, name: str, say: Callable[[str], None]) -> None:
        """Say what the teacher `name` was asked for and ignored without saying so."""
        for what, count in sorted(self.ignored.items()):
            say(f"note: {name} ignores {_IGNORED[what].format(count=count)}")


_IGNORED = {
    "logprobs": "`logprobs`: {count} answers came without the log-probabilities that were asked "
    "for. Students can learn them by sft, not by kd.",
    "n": "`n`: it gives one completion a call, so each was asked for on its own.",
    "schema": "the schema: {count} answers are not as it says. A json_schema filter drops them.",
    "top_logprobs": "part of `logprobs`: {count} answers have fewer alternatives than were asked "
    "for.",
}


def generate(
    corpus: Corpus,
    materials: Sequence[Material],
    options: TeacherOptions,
    *,
    name: str,
    run_id: str,
    ask: bool = True,
    ledger: Path | None = None,
    watcher: Watch = lambda _standing: None,
) -> Generated:
    """Ask for every seed of `materials` what was not asked yet, and read all answers.

    `name` is what the corpus calls the teacher, wherever its folder was found; `ledger` is
    a file of answers that other corpora share. With `ask` false only the answers that are there are read. The samples are then selected.

    Raises:
        BudgetError: The budget is spent.
        ConfigError: A row does not fill its prompt.
        TeacherError: The teacher cannot be reached.
    """
    teachers = options.connect_all()
    generated = Generated()
    contribution = describe_teacher(name, teachers[0].host, options)
    with corpus.frugal():
        write_sources(corpus, materials)
        plan = make_plan(corpus, "generate", _plan(corpus, materials, teachers[0], options))
        failures: dict[str, str] = {}
        try:
            if ask:
                asked = ask_plan(
                    plan, teachers, options, run_id=run_id, ledger=ledger, watcher=watcher
                )
                failures, generated.ignored = asked.failures, asked.ignored
                generated.already, generated.asked = asked.already, asked.answered
        except (BudgetError, TeacherError, KeyboardInterrupt):
            # What was answered becomes samples, also when something stopped the rest.
            read_answers(plan, materials, contribution, generated, run_id=run_id)
            raise
        read_answers(plan, materials, contribution, generated, run_id=run_id, failures=failures)
    return generated


def read_answers(
    plan: Plan,
    materials: Sequence[Material],
    teacher: Contribution,
    generated: Generated,
    *,
    run_id: str,
    failures: dict[str, str] | None = None,
) -> None:
    """Make a sample of each answered ask of `plan`, and select it.

    `failures` are reasons by request key; where they are given, seeds without a sample
    are noted in `generated`.
    """
    corpus = plan.corpus
    select(corpus, ())
    profiles = [add_profile(corpus, [*_describe(m), teacher]) for m in materials]
    fingerprint = hashlib.sha256()
    for page in plan.answers():
        rows = []
        for answered in page:
            if answered.text is not None and answered.text.strip():
                row = _read(materials[answered.part].prompt, answered, answered.text)
                row |= {"teacher": teacher.name, "profile_id": profiles[answered.part]}
                rows.append({**row, "run_id": run_id})
            elif failures is not None:
                why = "it was not answered" if answered.text is None else "the answer was empty"
                generated.without[answered.seed_id] = failures.get(answered.request_key, why)
        add_samples(corpus, rows)
        ids = [row["sample_id"] for row in rows]
        add_to_selection(corpus, ids)
        fingerprint.update("".join(ids).encode())
        generated.samples += len(ids)
    generated.fingerprint = fingerprint.hexdigest()


def describe_teacher(name: str, host: str, options: TeacherOptions | None = None) -> Contribution:
    """Return what the teacher `name` (PROVIDER/MODEL), served by `host`, brings: its terms.

    They are `unknown` where nobody read them; a local model's card may declare its license.
    """
    is_local = options is not None and options.provider in {"local", "vllm"}
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
    corpus: Corpus, materials: Iterable[Material], teacher: Teacher, options: TeacherOptions
) -> Iterator[Ask]:
    """Yield what is asked for each seed, a request per sample, and write the seeds down."""
    for part, material in enumerate(materials):
        for page in pages(material.seeds, _PAGE):
            add_seeds(corpus, page)
            schema = material.prompt.schema if options.structured_output else None
            for seed in page:
                messages = material.prompt.render(seed.row)
                for index in range(options.samples):
                    yield Ask(
                        request=options.request(teacher, messages, index, schema),
                        host=teacher.host,
                        source_id=seed.source_id,
                        seed_id=seed.seed_id,
                        seed_version=seed.version,
                        reference=material.prompt.reference(seed.row),
                        part=part,
                    )


def write_sources(corpus: Corpus, materials: Iterable[Material]) -> None:
    """Write down where samples will come from: sources and prompts."""
    for material in materials:
        source = {
            "source_id": material.source,
            "path": material.path,
            "license": material.license,
            "sha256": material.sha256,
        }
        corpus.insert("store.sources", [source], key=("source_id",), replace=True)
        prompt = {
            "prompt_version": material.prompt.version,
            "name": material.prompt.name,
            "license": material.prompt.front_matter.license,
            "text": material.prompt.text,
        }
        corpus.insert("store.prompts", [prompt], key=("prompt_version",))


def _read(prompt: Prompt, answered: Answered, text: str) -> dict[str, Any]:
    parts = prompt.output.read(text)
    return {
        "sample_id": sample_id(answered.source_id, answered.seed_id, answered.request_key),
        "source_id": answered.source_id,
        "seed_id": answered.seed_id,
        "seed_version": answered.seed_version,
        "request_key": answered.request_key,
        "prompt_version": prompt.version,
        "answer": parts.answer,
        "rationale": parts.rationale or answered.thinking,
        "reference": answered.reference,
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
