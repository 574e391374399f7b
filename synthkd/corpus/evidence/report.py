"""What verifying found: each damage with its place, and what was not looked at."""

from dataclasses import dataclass, field
from typing import NamedTuple

from synthkd.corpus.evidence.statements import Opened
from synthkd.records import Json

LIMITS = (
    "This shows integrity, order, membership and who signed. It does not show that what was "
    "declared is true, nor that nothing else was used."
)


class Damage(NamedTuple):
    """Something that is not as it was written, and where."""

    where: str
    what: str


@dataclass
class Report:
    """What was found of `path`, which is of a `kind`; `checked` counts what was looked at."""

    path: str
    kind: str
    checked: dict[str, int] = field(default_factory=dict)
    damages: list[Damage] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    head: str = ""
    roots: set[str] = field(default_factory=set)
    signers: dict[str, str] = field(default_factory=dict)

    @property
    def is_whole(self) -> bool:
        """Whether no damage was found."""
        return not self.damages

    def tell_signer(self, what: str, statement: Opened) -> None:
        """Note who signed a statement, and what could not be said of it."""
        if not statement.signed_by:
            self.notes.append(f"{what} is not signed: anybody could have written it")
            return
        self.signers[what] = statement.signed_by
        if not statement.is_checked:
            self.notes.append(
                f"{what} is signed, and cannot be checked here: pip install 'synthkd[sign]'"
            )
        elif not statement.is_known:
            self.notes.append(
                f"{what} is signed by {statement.signed_by[:16]}, who may be anybody: name the "
                "key that you expect with --key"
            )

    def facts(self) -> dict[str, Json]:
        """Return all of it as plain values."""
        return {
            "path": self.path,
            "kind": self.kind,
            "whole": self.is_whole,
            "checked": dict(self.checked),
            "damages": [damage._asdict() for damage in self.damages],
            "notes": list(self.notes),
            "signers": dict(self.signers),
            "head": self.head,
            "limits": LIMITS,
        }
