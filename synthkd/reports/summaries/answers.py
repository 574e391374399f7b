"""What only a person can answer, as a YAML file.

by: Ada Lovelace, Acme Ltd          # who answers for it
version: "2"
previous: https://acme.example/summary-1
answers:
  1.1.a: Acme Ltd, contact@acme.example
  2.4.a: no
models:
  openai/gpt-x: {summary: https://openai.example/summary, on_market: yes}
base: {parameters: 8000000000, tokens: 15000000000000}
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from synthkd.documents import find_line, parse, read_text, suggest, validate
from synthkd.errors import ConfigError
from synthkd.reports.summaries.fields import NO, YES, Filled, Section

LATER = "to be provided"


def _as_text(value: object) -> object:
    """Take yes and no as the words they are, numbers and dates as written, lists as lines."""
    if isinstance(value, bool):
        return YES if value else NO
    if isinstance(value, list | tuple):
        return "; ".join(str(_as_text(each)) for each in value)
    return value if isinstance(value, str | dict) or value is None else str(value)


Text = Annotated[str, BeforeValidator(_as_text)]


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class AboutModel(_Answer):
    """What a person says of a model that took part."""

    summary: Text = Field(default="", description="Where its own public summary is.")
    description: Text = Field(default="", description="What it was trained on.")
    on_market: Text = Field(default="", description="Whether it is on the market: yes or no.")


class AboutBase(_Answer):
    """How much went into the base: its parameters and training tokens, or the operations."""

    parameters: int | None = Field(default=None, gt=0)
    tokens: int | None = Field(default=None, gt=0)
    flop: float | None = Field(default=None, gt=0)

    @property
    def operations(self) -> float | None:
        """Floating-point operations of its training: as stated, else 6 a parameter and token."""
        if self.flop:
            return self.flop
        return 6.0 * self.parameters * self.tokens if self.parameters and self.tokens else None


class Answers(_Answer):
    """What a person answers; `by` says who."""

    by: Text = Field(default="", description="Who answers for it.")
    version: Text = Field(default="", description="The version of the summary.")
    previous: Text = Field(default="", description="Where the version before is.")
    answers: Mapping[str, Text | None] = Field(
        default_factory=dict, description="Answers, by the ids of fields."
    )
    models: Mapping[str, AboutModel] = Field(
        default_factory=dict, description="Models that took part, by name."
    )
    base: AboutBase | None = Field(default=None, description="How large the base is.")

    @property
    def given(self) -> dict[str, str]:
        """The answers that were given, by field."""
        said = {name: (value or "").strip() for name, value in self.answers.items()}
        return {name: value for name, value in said.items() if value not in {"", LATER}}


def read_answers(path: Path, sections: Sequence[Section]) -> Answers:
    """Return the answers in a file to the fields in `sections`.

    Raises:
        ConfigError: It cannot be read, or an answer is to no field, or is none; every
            mistake is told.
    """
    tree = parse(read_text(path, "answers"), str(path))
    answers = validate(tree, str(path), Answers, "is no file of answers")
    mistakes = [
        f"{path}:{find_line(tree, ('answers', name))}: {mistake}"
        for name, mistake in _find_mistakes(answers, sections)
    ]
    if mistakes:
        raise ConfigError(f"{path}: these answers cannot be taken:", mistakes)
    return answers


def write_questions(filled: Iterable[tuple[Section, list[Filled]]]) -> str:
    """Return an answers file to start from: each field that a person has to answer."""
    lines = ["# Answer what you know; what is left empty stands as to be provided.", 'by: ""']
    lines += ['version: ""', 'previous: ""', "answers:"]
    for section, fields in filled:
        for each in fields:
            question = each.question
            if each.state in {"to be provided", "left out"}:
                words = f" ({YES} or {NO})" if question.is_yes_no else ""
                optional = " (optional)" if question.is_optional else ""
                lines.append(f"  # {section.title}: {question.heading}{words}{optional}")
                lines.append(f'  {question.id}: ""')
    return "\n".join(lines) + "\n"


def _find_mistakes(answers: Answers, sections: Sequence[Section]) -> Iterator[tuple[str, str]]:
    known = {question.id: question for part in sections for question in part.questions}
    for name, value in answers.answers.items():
        if name not in known:
            yield name, f"there is no field {name!r}{suggest(name, [*known])}"
        elif known[name].is_yes_no and value and value.strip() not in {YES, NO, LATER}:
            yield name, f"{name} is {value!r:.60}; it must be yes, no or {LATER!r}"
