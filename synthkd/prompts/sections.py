"""The sections of a prompt file: where each begins, in which order they may stand, what they show.

Sections are told apart in the file, not in what is rendered, so no seed can open one.
"""

import re
from collections.abc import Collection
from typing import NamedTuple

from jinja2 import StrictUndefined, TemplateSyntaxError, meta
from jinja2.sandbox import ImmutableSandboxedEnvironment

ENVIRONMENT = ImmutableSandboxedEnvironment(undefined=StrictUndefined, autoescape=False)

_HEADING = re.compile(r"^# (system|user|assistant|completion)[ \t]*$", re.MULTILINE)
_ORDER = re.compile(r"(system )?(user assistant )*user( completion)?")
_ORDER_AROUND_TURNS = re.compile(r"(system ?)?(user assistant ?)*(user ?)?(completion)?")


class Section(NamedTuple):
    """A template, whose turn it is, and the line of the file where it begins."""

    role: str
    source: str
    line: int


def split_sections(
    body: str, first_line: int, *, has_turns: bool = False
) -> tuple[list[Section], list[str]]:
    """Return the sections of a prompt file's `body`, and what is wrong with their order.

    With turns, which a row brings, the last user section may be missing.
    """
    headings = list(_HEADING.finditer(body))
    if not headings:
        if not body.strip():
            return [], [] if has_turns else ["it asks nothing"]
        return [Section("user", body, first_line)], []
    mistakes = []
    if body[: headings[0].start()].strip():
        mistakes.append(f"line {first_line}: there is text before the first section")
    ends = [heading.start() for heading in headings[1:]] + [len(body)]
    sections = [
        Section(
            heading[1],
            body[heading.end() : end].strip("\n"),
            first_line + body.count("\n", 0, heading.end()) + 1,
        )
        for heading, end in zip(headings, ends, strict=True)
    ]
    roles = " ".join(section.role for section in sections)
    if not (_ORDER_AROUND_TURNS if has_turns else _ORDER).fullmatch(roles):
        mistakes.append(
            f"its sections are {roles}; they must be: system (if any), user and assistant in turn "
            "(if there are examples), user, completion (if any)"
        )
    return sections, mistakes


def judge_variables(
    sections: Collection[Section], inputs: Collection[str], reference: str | None
) -> list[str]:
    """Return what is wrong with the templates and with what they show the teacher."""
    mistakes = []
    if reference in inputs:
        mistakes.append(
            f"{reference!r} is both an input and the reference; the teacher may not see the right "
            "answer, so drop it from 'inputs'"
        )
    for role, source, line in sections:
        try:
            names = meta.find_undeclared_variables(ENVIRONMENT.parse(source))
        except TemplateSyntaxError as error:
            mistakes.append(f"line {line + error.lineno - 1}: {error.message}")
            continue
        if role == "completion":
            continue
        for name in sorted(names - set(inputs)):
            cure = (
                "it is the reference, which the teacher may not see"
                if name == reference
                else "add it to 'inputs'"
            )
            mistakes.append(f"line {line}: {{{{ {name} }}}} is not among the inputs; {cure}")
    return mistakes
