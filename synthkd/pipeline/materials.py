"""Materials: the rows that prompts are made from, the prompt they fill, and the terms of both."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from synthkd.corpus.store import Corpus
from synthkd.errors import ConfigError
from synthkd.pipeline.few_shot import Examples
from synthkd.prompts import Prompt
from synthkd.records import Contribution, Message, Seed
from synthkd.rights.licenses import read_license
from synthkd.rights.terms import resolve_terms
from synthkd.teachers.options import TeacherOptions

NO_LICENSE = "NOASSERTION"  # SPDX for: nobody said


@dataclass(frozen=True, slots=True)
class Material:
    """Seeds of one source and the prompt they fill; `license` is the source's.

    `examples` are for the teacher alone: its students see the prompt without them.
    """

    source: str
    path: str
    license: str
    sha256: str
    seeds: Collection[Seed]
    prompt: Prompt
    examples: Examples | None = None

    def ask(self, seed: Seed) -> tuple[Message, ...]:
        """Return what a teacher is shown for `seed`.

        Raises:
            ConfigError: The row does not fill the prompt.
        """
        bare = render(self.prompt, seed, self.path)
        if self.examples is None:
            return bare
        return self.prompt.render(seed.row, self.examples.turns(seed.seed_id, bare))

    def describe(self) -> list[Contribution]:
        """Return what its rows, its prompt and its examples bring to a sample."""
        made_from = [
            Contribution("seed", "content", self.source, self.license, terms_of(self.license)),
            describe_prompt(self.prompt),
        ]
        if self.examples is not None:
            name, license_ = self.examples.name, self.examples.license
            made_from.append(
                Contribution("few_shot", "transform", name, license_, terms_of(license_))
            )
        return made_from


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

    They are `unknown` where nobody read them; a local model's card may declare its license.
    """
    is_local = options is not None and options.provider in {"local", "vllm"}
    stated = _read_card(Path(options.model_name)) if options and is_local else None
    terms = resolve_terms(name.partition("/")[2], host, stated=stated)
    return Contribution("teacher", "content", name, terms.license, terms.name, host)


def terms_of(license_: str) -> str:
    """Return the terms of an SPDX expression: itself, unless it says that nobody knows."""
    return "unknown" if license_ == NO_LICENSE else license_


def write_sources(
    corpus: Corpus, materials: Iterable[Material], prompts: Sequence[Prompt] = ()
) -> None:
    """Write down where samples will come from: sources, their prompts, and more `prompts`."""
    seen = list(prompts)
    for material in materials:
        source = {
            "source_id": material.source,
            "path": material.path,
            "license": material.license,
            "sha256": material.sha256,
        }
        corpus.insert("store.sources", [source], key=("source_id",), replace=True)
        seen.append(material.prompt)
    for prompt in seen:
        row = {
            "prompt_version": prompt.version,
            "name": prompt.name,
            "license": prompt.front_matter.license,
            "text": prompt.text,
        }
        corpus.insert("store.prompts", [row], key=("prompt_version",))


def _read_card(folder: Path) -> str | None:
    """Return the license that the card of a model's folder declares, if it declares one."""
    try:
        card = (folder / "README.md").read_text(encoding="utf-8")
        front_matter = YAML(typ="safe", pure=True).load(card.split("---\n")[1])
        return read_license(str(front_matter["license"]))
    except (OSError, ValueError, IndexError, KeyError, TypeError, YAMLError):
        return None
