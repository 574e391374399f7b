"""Whom samples are owed to: title, author, source and license of what went into them.

    a source     its own attribution, or one of each row's where its columns say so
    a prompt     the file

Only what went into the samples of a scope is credited. A client's source is counted and not
named: a credit travels with a student, and a contract does not.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from synthkd.reports.facts import Row
from synthkd.reports.scope import Scope
from synthkd.rights.classes import classify
from synthkd.rights.facts import Attribution

CREDITED = ("seed", "few_shot", "prompt")
_PARTS = tuple(Attribution.model_fields)
_WORD = re.compile(r"[A-Za-z0-9][\w.+:-]*", re.ASCII)
_SCANCODE = "LicenseRef-scancode-"
_PAGE = 1000  # rows read at a time


@dataclass(frozen=True, slots=True)
class Credit:
    """One work that went into `samples` samples, and who is to be named for it.

    `license` is an SPDX expression, `licenses` its ids, each with its address ("" if there is
    none). A part that nobody stated is empty. `rows` says that rows have credits of their own.
    """

    role: str
    source: str
    title: str
    author: str
    uri: str
    license: str
    licenses: Mapping[str, str]
    changes: str
    samples: int
    grade: str
    rows: bool = False

    @property
    def missing(self) -> tuple[str, ...]:
        """What a license that wants credit asks for, and nobody stated."""
        classes = {each for name in self.licenses for each in classify(name)}
        if self.rows or self.role == "prompt" or classes == {"public-domain"}:
            return ()
        parts = {"title": self.title, "author": self.author, "uri": self.uri}
        return tuple(name for name, value in parts.items() if not value)

    def as_json(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {**asdict(self), "missing": list(self.missing)}


def read_credits(scope: Scope) -> tuple[list[Credit], int]:
    """Return whom samples are owed to, and how many sources of clients are left unsaid."""
    made_from = [row for row in scope.made_from if row["role"] in CREDITED]
    told = [row for row in made_from if not row["client"]]
    withheld = {row["name"] for row in made_from if row["client"]}
    return [_credit(row, scope) for row in told], len(withheld)


def read_row_credits(scope: Scope) -> Iterator[Row]:
    """Yield the credits that rows have of their own, by source, each with its samples.

    What a row does not say, its source says. There may be one for each row, so they are read
    a page at a time: ask the corpus nothing else meanwhile.
    """
    facts = {
        name: source["facts"]
        for name, source in scope.sources.items()
        if source["facts"].get("attribution_columns")
    }
    if not facts:
        return
    cursor = scope.corpus.db.execute(
        f"""
        WITH columns AS (SELECT unnest(?::JSON[]) AS named), used AS (
            SELECT sample_id, source_id, seed_id, seed_version AS version FROM store.samples
            WHERE sample_id IN ({scope.samples})
            UNION
            SELECT sample_id, source_id, seed_id, NULL FROM store.shown
            WHERE sample_id IN ({scope.samples})
        )
        SELECT source_id, {", ".join(_find(part) for part in _PARTS)},
            count(DISTINCT u.sample_id) AS samples
        FROM used u
        JOIN columns c ON u.source_id = c.named ->> 'source'
        JOIN store.seeds z USING (source_id, seed_id)
        WHERE u.version IS NULL OR z.version = u.version
        GROUP BY ALL ORDER BY ALL
        """,
        [[_point(source, stated) for source, stated in facts.items()],
         *scope.values, *scope.values],
    )  # fmt: skip
    while page := cursor.fetchmany(_PAGE):
        for source, *values, samples in page:
            said = facts[source].get("attribution") or {}
            own = {
                part: value or said.get(part, "")
                for part, value in zip(_PARTS, values, strict=True)
            }
            yield {"source": source, **own, "samples": samples}


def find_licenses(expression: str) -> dict[str, str]:
    """Return the ids in an SPDX expression, each with the address of its text, or "".

    >>> find_licenses("MIT OR LicenseRef-client-acme")
    {'MIT': 'https://spdx.org/licenses/MIT.html', 'LicenseRef-client-acme': ''}
    """
    found = [word for word in _WORD.findall(expression) if word not in {"AND", "OR", "WITH"}]
    return {word: _find_address(word) for word in dict.fromkeys(found)}


def _find_address(license_id: str) -> str:
    if license_id.startswith(_SCANCODE):
        return f"https://scancode-licensedb.aboutcode.org/{license_id.removeprefix(_SCANCODE)}.html"
    if "LicenseRef-" in license_id or license_id in {"NOASSERTION", "NONE"}:
        return ""
    return f"https://spdx.org/licenses/{license_id}.html"


def _credit(row: Row, scope: Scope) -> Credit:
    facts = scope.sources.get(row["name"], {}).get("facts", {})
    said = facts.get("attribution") or {}
    licenses = find_licenses(row["license"])
    if said.get("license_uri") and len(licenses) == 1:
        licenses = dict.fromkeys(licenses, said["license_uri"])
    return Credit(
        role=row["role"],
        source=row["name"],
        title=said.get("title") or "",
        author=said.get("author") or facts.get("rights_holder") or "",
        uri=said.get("uri") or "",
        license=row["license"],
        licenses=licenses,
        changes=said.get("changes") or "",
        samples=row["samples"],
        grade=row["grade"],
        rows=bool(facts.get("attribution_columns")),
    )


def _find(part: str) -> str:
    """Return SQL for a part of a credit, which stands in a column of a row or inside one."""
    found = ", ".join(f"z.fields ->> (c.named ->> '{part}{way}')" for way in ("", "_inside"))
    return f"coalesce({found}, '') AS {part}"


def _point(source: str, stated: Mapping[str, Any]) -> str:
    """Return where the parts of a row's credit stand in rows of `source`, as JSON pointers."""
    pointers = {"source": source}
    for part, column in stated["attribution_columns"].items():
        escaped = column.replace("~", "~0").replace("/", "~1")
        pointers |= {part: f"/{escaped}", f"{part}_inside": "/" + escaped.replace(".", "/")}
    return json.dumps(pointers)
