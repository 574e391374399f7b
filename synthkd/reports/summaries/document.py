"""A summary as one document: its fields, what could not be filled, and what it does not show."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import date
from importlib.metadata import version
from typing import NamedTuple

from synthkd.records import Json
from synthkd.reports.markdown import render
from synthkd.reports.scope import Scope
from synthkd.reports.summaries import california, eu, eu_form
from synthkd.reports.summaries.answers import Answers, write_questions
from synthkd.reports.summaries.fields import Filled, Section, Sheet, fill
from synthkd.reports.summaries.known import Known
from synthkd.reports.writing import shorten
from synthkd.rights.entries import Table

NOT_SHOWN = (
    "This document tells what was recorded and what a person answered. It does not establish "
    "that any right was respected, that nothing else was used, or that what was declared is true."
)
_THRESHOLD = 1 / 3  # of the operations that the base took, from which a modifier counts as provider


class Form(NamedTuple):
    """A kind of summary: its sections, and what fills them from what is known."""

    title: str
    basis: str
    sections: tuple[Section, ...]
    fill: Callable[[Known, Answers, date], Sheet]
    has_compute: bool


FORMS = {
    "eu": Form(eu_form.TITLE, eu_form.BASIS, eu_form.SECTIONS, eu.fill_eu, has_compute=True),
    "ab2013": Form(
        california.TITLE,
        california.BASIS,
        california.SECTIONS,
        lambda known, answers, on: california.fill_california(known),  # noqa: ARG005 - one shape
        has_compute=False,
    ),
}


@dataclass(frozen=True, slots=True)
class Compute:
    """How much the training took, in floating-point operations: an indicator, no finding.

    6 operations for each parameter and token read (Kaplan et al. 2020, arXiv:2001.08361).
    `base_flop` is what the base took, where a person says; `share` is of a third of that.
    """

    parameters: int
    tokens: int
    flop: float
    base_flop: float | None
    share: float | None


@dataclass(frozen=True)
class Summary:
    """A filled form; `strangers` are models that were answered for, and took no part."""

    form: str
    about: str
    by: str
    on: date
    filled: list[tuple[Section, list[Filled]]]
    compute: Compute | None
    strangers: tuple[str, ...] = ()

    @property
    def unfilled(self) -> list[tuple[str, str]]:
        """Each field that is not filled, or not wholly, and why."""
        found = []
        for _, fields in self.filled:
            for each in fields:
                heading = each.question.heading
                if each.state == "to be provided":
                    why = "; ".join([f"{heading}: to be provided", *each.notes])
                    found.append((each.question.id, why))
                elif each.notes and each.state == "filled":
                    found.append((each.question.id, f"{heading}: {'; '.join(each.notes)}"))
        found += [
            ("models", f"the answers tell of {name}, which took no part in these samples")
            for name in self.strangers
        ]
        return found

    def as_json(self) -> dict[str, Json]:
        """Return it as plain values."""
        return {
            "schema": f"synthkd/summary-{self.form}/1",
            "about": self.about,
            "by": self.by,
            "written": self.on.isoformat(),
            "fields": [each.as_json(section) for section, fields in self.filled for each in fields],
            "unfilled": [{"id": name, "why": why} for name, why in self.unfilled],
            "compute": asdict(self.compute) if self.compute else None,
            "not_shown": NOT_SHOWN,
        }

    def as_markdown(self) -> str:
        """Return it as a document to read."""
        form = FORMS[self.form]
        return render(
            "summary.md.j2",
            summary=self,
            title=form.title,
            basis=form.basis,
            not_shown=NOT_SHOWN,
            version=version("synthkd"),
        )

    @property
    def questions(self) -> str:
        """An answers file to start from."""
        return write_questions(self.filled)


def summarize(form: str, scope: Scope, answers: Answers, *, table: Table, on: date) -> Summary:
    """Return the summary of kind `form` (a key of FORMS) of the samples in `scope`."""
    kind = FORMS[form]
    sheet = kind.fill(Known(scope, table), answers, on)
    filled = fill(kind.sections, sheet, answers.given)
    compute = _compute(scope, answers) if kind.has_compute else None
    known = {name for row in scope.made_from for name in (row["name"], shorten(row["name"]))}
    strangers = tuple(name for name in answers.models if name not in known)
    return Summary(form, scope.title, answers.by, on, filled, compute, strangers)


def _compute(scope: Scope, answers: Answers) -> Compute | None:
    if scope.student is None:
        return None
    parameters, tokens = scope.student["parameters"], scope.student["tokens"]
    flop = 6.0 * parameters * tokens
    base = answers.base.operations if answers.base else None
    return Compute(parameters, tokens, flop, base, flop / (base * _THRESHOLD) if base else None)
