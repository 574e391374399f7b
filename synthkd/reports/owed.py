"""What the terms of models ask of whoever offers or hands on a student, entry by entry.

An entry says when it asks; whether that holds for a use, a check says. What nobody has read
asks for nothing here, and is named.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import date
from functools import cached_property

from synthkd.records import Contribution
from synthkd.reports.facts import Row
from synthkd.rights.entries import Entry, Table
from synthkd.rights.matching import MODELS
from synthkd.rights.terms import find_read
from synthkd.rights.verdicts import Obligation

MEANINGS = {
    "NAME_PREFIX": "the student's name has to begin with it",
    "DISPLAY": "has to be shown prominently where the student is",
    "NOTICE_FILE": "a NOTICE file with its text has to go along",
    "PASS_LICENCE": "takers have to get a copy of its agreement",
    "PASS_USE_RESTRICTIONS": "takers have to be bound to its use restrictions",
    "AUP": "its acceptable-use policy applies",
    "MAU_LIMIT": "more monthly users than that need another license from its vendor",
    "REVENUE_LIMIT": "more revenue a year than that changes its terms",
    "NO_HUMAN_CLAIM": "its output may not be passed off as made by a person",
    "ATTRIBUTION": "who made it has to be credited",
    "SHARE_ALIKE": "what is made from it has to be shared under the same license",
    "NONCOMMERCIAL": "it is for no commercial use",
    "RESEARCH_ONLY": "it is for research only",
    "LAWFUL_BASIS": "personal data needs a basis in law, and somebody who answers for it",
    "CLIENT_ONLY": "it stays with the client whose contract it is under",
    "TERMS": "its terms have conditions to read",
}
_MOMENTS = {
    "always": "always",
    "offered": "when anybody else gets the student, or gets to use it",
    "handed_on": "when its weights or samples are handed on",
    "base": "when weights that were made out of these are handed on",
}
_THIS = "for this use"
_CLIENT_ONLY = "CLIENT_ONLY"
_CLIENT = re.compile(r"LicenseRef-client-[A-Za-z0-9.-]+")
_FIELDS = tuple(field.name for field in fields(Contribution))


@dataclass(frozen=True, slots=True)
class Owed:
    """Something that `sources`, entries of terms or licenses, ask for; each has an address, or "".

    `is_asked` by the last check of this use; None where there was none.
    """

    kind: str
    value: str
    sources: Mapping[str, str]
    when: str
    is_asked: bool | None = None

    @property
    def meaning(self) -> str:
        """What it means, in words."""
        return MEANINGS.get(self.kind, "see the clause")


@dataclass(frozen=True)
class Bound:
    """The models that samples were made with, and the terms that came with each.

    `entries` are in the order they were met; `unread` are names of models whose terms nobody
    has read.
    """

    rows: tuple[Row, ...]
    entries: tuple[Entry, ...]
    unread: tuple[str, ...]
    on: date

    @cached_property
    def stale(self) -> tuple[Entry, ...]:
        """The entries whose copies are too old to rely on."""
        return tuple(entry for entry in self.entries if entry.is_stale(self.on))

    def owed(self, asked: Sequence[Obligation] | None) -> list[Owed]:
        """Return what is owed, each once, by kind.

        `asked` is what the last check asks for; None where there was none.
        """
        told = [(each.kind, each.value, each.source) for each in asked or ()]
        found: dict[tuple[str, str, str], dict[str, str]] = {}
        for entry in self.entries:
            for duty in entry.duties:
                key = (duty.kind, duty.value, _MOMENTS[duty.when])
                found.setdefault(key, {})[entry.id] = entry.url
        known = {key[:2] for key in found}
        for kind, value, source in told:
            if (kind, value) not in known:
                shown = "" if kind == _CLIENT_ONLY else withhold(value)
                found.setdefault((kind, shown, _THIS), {})[withhold(source)] = ""
        is_told = {each[:2] for each in told}
        return [
            Owed(
                kind,
                value,
                sources,
                when,
                None if asked is None else when == _THIS or (kind, value) in is_told,
            )
            for (kind, value, when), sources in sorted(found.items())
        ]


def withhold(text: str) -> str:
    """Return `text` without the names of clients: what is written here travels.

    >>> withhold("PASS_LICENCE:LicenseRef-client-acme")
    'PASS_LICENCE:LicenseRef-client'
    """
    return _CLIENT.sub("LicenseRef-client", text)


def find_bound(rows: Iterable[Row], table: Table, on: date) -> Bound:
    """Return which terms came with the models in `rows`, as `Scope.made_from` gives them."""
    models = tuple(row for row in rows if row["role"] in MODELS)
    entries: dict[str, Entry] = {}
    unread: dict[str, None] = {}
    for row in models:
        found, is_all = find_read(as_contribution(row), table)
        if not is_all:
            unread[row["name"]] = None
        for entry in found:
            entries.setdefault(entry.id, entry)
    return Bound(models, tuple(entries.values()), tuple(unread), on)


def as_contribution(row: Row) -> Contribution:
    """Return a row of `Scope.made_from` as the contribution it tells of."""
    return Contribution(**{name: row[name] for name in _FIELDS if name in row})
