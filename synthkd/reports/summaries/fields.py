"""Fields of a form, and what they are filled with: parts, each with how it came to be known.

known to the corpus    measured, recorded, declared, inferred
answered by a person   attested
neither                to be provided, never guessed
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from synthkd.records import Json
from synthkd.rights.verdicts import Grade

State = Literal["filled", "not applicable", "to be provided", "left out"]
YES, NO = "yes", "no"


@dataclass(frozen=True, slots=True)
class Question:
    """A field as the form has it.

    `is_yes_no` fields take yes, no, or nothing yet. `is_optional` ones may stay empty.
    `unless` names the yes-or-no fields that make this one not applicable if all are no.
    """

    id: str
    heading: str
    is_yes_no: bool = False
    is_optional: bool = False
    unless: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Section:
    """A numbered part of a form, its depth from 1, and its own questions."""

    number: str
    title: str
    questions: tuple[Question, ...] = ()

    @property
    def depth(self) -> int:
        """How deep it is: 1 for `1`, 3 for `2.2.1`."""
        return self.number.count(".") + 1


@dataclass(frozen=True, slots=True)
class Part:
    """Something that is known of a field, and how."""

    text: str
    grade: Grade


@dataclass(frozen=True, slots=True)
class Filled:
    """A field with what is known of it; `notes` say what is missing or does not agree."""

    question: Question
    state: State
    parts: tuple[Part, ...] = ()
    notes: tuple[str, ...] = ()

    def as_json(self, section: Section) -> dict[str, Json]:
        """Return it as plain values."""
        return {
            "id": self.question.id,
            "section": f"{section.number} {section.title}",
            "heading": self.question.heading,
            "state": self.state,
            "parts": [{"text": part.text, "grade": part.grade} for part in self.parts],
            "notes": list(self.notes),
        }


@dataclass
class Sheet:
    """What the corpus knows, by field: parts to show, and notes on what it does not know."""

    parts: dict[str, list[Part]] = field(default_factory=dict)
    notes: dict[str, list[str]] = field(default_factory=dict)

    def put(self, question: str, text: str | Iterable[str], grade: Grade) -> None:
        """Add what is known of a field, a line or several."""
        lines = [text] if isinstance(text, str) else list(text)
        self.parts.setdefault(question, []).extend(Part(line, grade) for line in lines)

    def note(self, question: str, text: str) -> None:
        """Say what is not known of a field."""
        self.notes.setdefault(question, []).append(text)


def fill(
    sections: Iterable[Section], sheet: Sheet, answers: Mapping[str, str]
) -> list[tuple[Section, list[Filled]]]:
    """Return every field of a form with what the corpus knows and a person answered.

    On yes or no the corpus counts, and an answer that says otherwise is noted.
    """
    said: dict[str, str] = {}
    done = []
    for section in sections:
        filled = [_fill(question, sheet, answers, said) for question in section.questions]
        done.append((section, filled))
    return done


def _fill(
    question: Question, sheet: Sheet, answers: Mapping[str, str], said: dict[str, str]
) -> Filled:
    parts = list(sheet.parts.get(question.id, []))
    notes = list(sheet.notes.get(question.id, []))
    answer = answers.get(question.id, "").strip()
    if question.is_yes_no and answer:
        known = parts[0].text if parts else ""
        if not parts:
            parts = [Part(answer, "attested")]
        elif known != answer:
            notes.append(f"the answers say {answer}, and the corpus says {known}")
    elif answer:
        parts.append(Part(answer, "attested"))
    if question.is_yes_no and parts:
        said[question.id] = parts[0].text
    if not parts and question.unless and all(said.get(each) == NO for each in question.unless):
        return Filled(question, "not applicable")
    if parts:
        return Filled(question, "filled", tuple(parts), tuple(notes))
    return Filled(
        question, "left out" if question.is_optional else "to be provided", (), tuple(notes)
    )
