"""The parts of samples: sources, prompts and models, each with its terms.

A part is counted by its terms, so a source whose rows differ in license is a part for each.
What is under a client's contract keeps what it asks for and loses its name.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from synthkd.records import digest
from synthkd.reports.facts import Row
from synthkd.reports.owed import as_contribution
from synthkd.reports.scope import Scope
from synthkd.reports.writing import make_line, shorten
from synthkd.rights.entries import Entry, Table
from synthkd.rights.facts import Attribution, find_client
from synthkd.rights.licenses import NOASSERTION, read_license
from synthkd.rights.terms import find_read

Kind = Literal["source", "prompt", "model"]

_KINDS: Mapping[str, Kind] = {"seed": "source", "few_shot": "source", "prompt": "prompt"}
_CLIENTS = "LicenseRef-client"
_OWN = re.compile(r"LicenseRef-(?!scancode-)[A-Za-z0-9.-]+")
_ADDRESS = re.compile(r"https?://[!-~]+")


@dataclass(frozen=True)
class Part:
    """Something that went into `samples` samples, in one or several roles.

    `id` names it in every export; `reaches` are by role how much of it is in a sample.
    `declared` and `concluded` are SPDX expressions, or NOASSERTION. `attribution` is what
    somebody stated of it, never an empty text. `entries` are what is known of a model's terms.
    """

    id: str
    kind: Kind
    name: str
    samples: int
    reaches: Mapping[str, str]
    declared: str = NOASSERTION
    concluded: str = NOASSERTION
    terms: str = "unknown"
    host: str = ""
    grade: str = "declared"
    personal_data: str = ""
    attribution: Mapping[str, str] = field(default_factory=dict)
    rights_holder: str = ""
    controller: str = ""
    sha256: str = ""
    entries: tuple[Entry, ...] = ()

    @property
    def license(self) -> str:
        """The license that is known best."""
        return self.declared if self.concluded == NOASSERTION else self.concluded

    @property
    def addresses(self) -> dict[str, str]:
        """Where its terms are, and which and how old they are."""
        return {
            entry.url: f"{entry.id}, as of {entry.as_of or 'no known day'}, {entry.verification}"
            for entry in self.entries
            if _ADDRESS.fullmatch(entry.url)
        }

    @property
    def roles(self) -> str:
        """Its roles, and how much of it each brings, in words."""
        return ", ".join(f"{role} ({reach})" for role, reach in self.reaches.items())

    @property
    def only_chose(self) -> bool:
        """Whether nothing of it is in a sample: it only picked them."""
        return set(self.reaches.values()) == {"selection"}


def identify(kind: str, *values: object) -> str:
    """Return a URN for what `values` tell apart; it holds nothing but a digest of them."""
    return f"urn:synthkd:{kind}:{digest([kind, *values])[:32]}"


def find_private(rows: Iterable[Row]) -> frozenset[str]:
    """Return what is not to be told: clients, and the names of their sources."""
    found = {
        name.strip()
        for row in rows
        if (client := row["client"] or find_client(row["license"]))
        for name in (row["name"], *client.split(","))
    }
    return frozenset(found - {""})


def tell_code(token: str, private: Iterable[str]) -> str:
    """Return a reason or an obligation, `CODE:value`, without a value that tells of a client.

    >>> tell_code("CLIENT_ONLY:acme", {"acme"}), tell_code("NAME_PREFIX:Llama", {"acme"})
    ('CLIENT_ONLY', 'NAME_PREFIX:Llama')
    """
    code, colon, value = token.partition(":")
    if any(name.casefold() in value.casefold() for name in private):
        return code
    return f"{code}{colon}{shorten(value)}"


def read_parts(scope: Scope, table: Table) -> list[Part]:
    """Return what the samples in `scope` were made from; `table` is what terms are looked up in."""
    found: dict[str, Part] = {}
    withheld = 0
    for row in scope.made_from:
        is_client = bool(row["client"] or find_client(row["license"]))
        withheld += is_client
        part = (
            _withhold(row, scope, withheld)
            if is_client
            else _describe(row, scope.sources.get(row["name"], {}), table)
        )
        same = found.get(part.id)
        found[part.id] = _join(same, part) if same else part
    return list(found.values())


def _describe(row: Row, stored: Row, table: Table) -> Part:
    kind = _KINDS.get(row["role"], "model")
    stated = stored.get("facts", {}) if kind == "source" else {}
    declared, concluded = _tell_licenses(row, stated)
    given = stated.get("attribution") or {}
    return Part(
        id=identify(kind, row["name"], row["host"], row["license"], row["terms"]),
        kind=kind,
        name=make_line(shorten(row["name"])),
        declared=declared,
        concluded=concluded,
        terms=row["terms"],
        host=make_line(row["host"]),
        grade=row["grade"],
        personal_data=row["personal_data"],
        samples=row["samples"],
        reaches={row["role"]: row["reach"]},
        attribution={
            name: make_line(given[name]) for name in Attribution.model_fields if given.get(name)
        },
        rights_holder=make_line(stated.get("rights_holder") or ""),
        controller=make_line(stated.get("controller") or ""),
        sha256=stored.get("sha256") or "" if kind == "source" else "",
        entries=find_read(as_contribution(row), table)[0] if kind == "model" else (),
    )


def _withhold(row: Row, scope: Scope, number: int) -> Part:
    """Return a part that does not tell whose it is."""
    license_ = _OWN.sub(_CLIENTS, row["license"])
    return Part(
        id=identify("withheld", scope.title, number),
        kind=_KINDS.get(row["role"], "source"),
        name=f"a client's source ({number})",
        samples=row["samples"],
        reaches={row["role"]: row["reach"]},
        declared=license_,
        terms=license_,
        grade=row["grade"],
        personal_data=row["personal_data"],
    )


def _tell_licenses(row: Row, stated: Mapping[str, Any]) -> tuple[str, str]:
    """Return the license as its source declares it, and as somebody concluded it to be."""
    if row["grade"] != "attested":
        return row["license"], NOASSERTION
    try:
        return read_license(stated.get("license_declared") or ""), row["license"]
    except ValueError:
        return NOASSERTION, row["license"]


def _join(one: Part, other: Part) -> Part:
    return replace(
        one,
        samples=max(one.samples, other.samples),
        reaches={**one.reaches, **other.reaches},
    )


def name_gold(gold: Mapping[str, str]) -> Part:
    """Return the rows that a student learned instead of a teacher's samples."""
    license_ = gold.get("license") or NOASSERTION
    name = (
        "a client's rows" if find_client(license_) else make_line(shorten(gold.get("path") or ""))
    )
    license_ = _OWN.sub(_CLIENTS, license_) if find_client(license_) else license_
    return Part(
        id=identify("source", name, "gold", license_),
        kind="source",
        name=name or "gold rows",
        samples=0,
        reaches={"gold": "content"},
        declared=license_,
        terms=license_,
    )


def name_base(base: str, samples: int) -> Part:
    """Return the base of a student, whose terms nobody recorded."""
    return Part(
        id=identify("model", base, "base"),
        kind="model",
        name=make_line(shorten(base)),
        samples=samples,
        reaches={"base": "content"},
    )
