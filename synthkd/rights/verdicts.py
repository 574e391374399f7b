"""What is said of a sample's rights: how severe, with which duties, and why.

Severities form a lattice: what has several parts is as severe as its worst part,
and owes what any of them asks for. Adding a part can only make it more severe.
"""

from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property
from typing import Literal, Self


class Severity(IntEnum):
    """How much stands against a use; `str` gives the word that is written and read."""

    ALLOW = 0
    ALLOW_WITH_OBLIGATIONS = 1
    REVIEW = 2
    DENY = 3

    def __str__(self) -> str:
        return self.name.lower()

    @classmethod
    def of(cls, word: str) -> Self:
        """Return the severity that `word` names.

        Raises:
            KeyError: It names none.
        """
        return cls[word.upper()]

    @property
    def told(self) -> str:
        """What a person is told: this tool finds rules that object, and allows nothing itself."""
        return {
            Severity.ALLOW: "no rule objects",
            Severity.ALLOW_WITH_OBLIGATIONS: "no rule objects, with duties",
            Severity.REVIEW: "needs a person",
            Severity.DENY: "a rule objects",
        }[self]


# How a fact came to be known, from the surest to the least sure.
Grade = Literal["measured", "recorded", "attested", "declared", "inferred"]


@dataclass(frozen=True, slots=True, order=True)
class Obligation:
    """Something that whoever hands on a sample or a student owes: `NAME_PREFIX`, `Llama`.

    `source` is what asks for it: the id of an entry of terms, or a license.
    """

    kind: str
    value: str = ""
    source: str = ""

    def __str__(self) -> str:
        return f"{self.kind}:{self.value}" if self.value else self.kind


@dataclass(frozen=True, slots=True)
class Reason:
    """One thing that stands against a use.

    `code` is what is counted and waived: `NO_COMPETE:openai(selection)`. `rule` names the
    rule of the policy, or the entry of terms, that says so; `clause` is where it stands
    there, in force since `effective`, in a copy of `captured` (ISO dates, or empty).
    `verification` is how much of that was read (`read`, `excerpt`, `secondary`, `unread`,
    or empty for what is no terms). `contributor` is what it is about, by `role`, and `reach`
    how much of it is in the sample. A reason that a person waived says by whom, and
    weighs nothing.
    """

    code: str
    severity: Severity
    because: str
    rule: str
    role: str = ""
    reach: str = ""
    contributor: str = ""
    clause: str = ""
    effective: str = ""
    captured: str = ""
    url: str = ""
    verification: str = ""
    grade: Grade = "declared"
    waived_by: str = ""

    @property
    def weight(self) -> Severity:
        """How severe it is after what was waived."""
        return Severity.ALLOW if self.waived_by else self.severity


@dataclass(frozen=True)
class Judgement:
    """What a policy says of one set of contributions, for one use.

    `choices` are the licenses that were chosen where an expression offered several.
    """

    reasons: tuple[Reason, ...] = ()
    obligations: tuple[Obligation, ...] = ()
    choices: tuple[str, ...] = ()

    @cached_property
    def verdict(self) -> Severity:
        """The worst of all reasons; with none, what is owed decides."""
        owed = Severity.ALLOW_WITH_OBLIGATIONS if self.obligations else Severity.ALLOW
        return max([owed, *(reason.weight for reason in self.reasons)])

    @property
    def codes(self) -> tuple[str, ...]:
        """The codes of what still stands against it, each once, in order."""
        return tuple(sorted({r.code for r in self.reasons if not r.waived_by}))
