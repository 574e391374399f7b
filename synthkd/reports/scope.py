"""Which samples a document is about, and what these were made from.

    student   the samples that it learned, its base, and teachers beside it while it learned
    else      the selected samples that no filter drops

What samples were made from is counted by profile, never by sample: a million samples share
some hundreds of profiles.
"""

import json
from dataclasses import dataclass, fields
from functools import cached_property

from synthkd.corpus.checks import MADE
from synthkd.corpus.store import Corpus
from synthkd.errors import ConfigError
from synthkd.records import Contribution
from synthkd.reports.facts import Row, query

SELECTED = "SELECT sample_id FROM selection"
KEPT = (
    "SELECT s.sample_id FROM selection s WHERE NOT EXISTS "
    "(FROM store.verdicts v WHERE v.sample_id = s.sample_id AND NOT v.keep)"
)
_LEARNED = "SELECT sample_id FROM store.student_samples WHERE student_id = ?"
_FACTS = ", ".join(each.name for each in fields(Contribution) if each.name != "span")
_ROLES = (
    "list_position(['base', 'seed', 'few_shot', 'prompt', 'teacher', 'critic', 'rewriter', "
    "'translator', 'judge', 'scorer', 'embedder', 'reviewer'], role)"
)


@dataclass(frozen=True)
class Scope:
    """Samples of a corpus: `samples` is SQL that finds their ids, with `values` to bind.

    `student` is the row of the student that learned them, None where there is none.
    """

    corpus: Corpus
    samples: str
    values: tuple[object, ...] = ()
    student: Row | None = None

    @property
    def title(self) -> str:
        """What the samples are called together."""
        return f"the student {self.student['name']}" if self.student else "the kept samples"

    @cached_property
    def count(self) -> int:
        """How many samples there are, erased ones not among them."""
        found = self.corpus.first(
            f"SELECT count(*) FROM store.samples WHERE sample_id IN ({self.samples})", self.values
        )
        return int(found[0]) if found else 0

    @cached_property
    def made_from(self) -> list[Row]:
        """What they were made from: the facts of a contribution, and `samples` that have it."""
        shared = query(self.corpus, _count_parts(self.samples), self.values)
        if self.student is None:
            return shared
        own = query(
            self.corpus,
            f"SELECT DISTINCT {_FACTS}, 0 AS span FROM store.student_contributions "
            f"JOIN store.profiles USING (profile_id) WHERE student_id = ? ORDER BY {_ROLES}, name",
            [self.student["student_id"]],
        )
        return [*({**row, "samples": self.count} for row in own), *shared]

    @cached_property
    def sources(self) -> dict[str, Row]:
        """The sources of the corpus by name: their SHA-256 and the facts that were stated."""
        rows = query(self.corpus, "SELECT source_id, sha256, facts FROM store.sources")
        return {r["source_id"]: {**r, "facts": json.loads(r["facts"] or "{}")} for r in rows}

    @cached_property
    def snapshots(self) -> list[Row]:
        """The snapshots that the student is bound to, the oldest first: id, samples and root."""
        return query(
            self.corpus,
            "SELECT snapshot_id, samples, root FROM store.snapshots SEMI JOIN "
            "(FROM store.student_snapshots WHERE student_id = ?) USING (snapshot_id) "
            "ORDER BY taken_at, snapshot_id",
            [self.student["student_id"] if self.student else ""],
        )

    @cached_property
    def profiles(self) -> dict[tuple[str, str | None], int]:
        """How many of them have each profile, with that of who scored them, if anybody did."""
        rows = self.corpus.db.execute(
            f"WITH {_CHOSEN.format(self.samples)} FROM chosen", self.values
        ).fetchall()
        return {(profile, scorer): count for profile, scorer, count in rows}


def of_student(corpus: Corpus, name: str) -> Scope:
    """Return what a student learned, by its name (the newest of that name) or its id.

    Raises:
        ConfigError: The corpus knows no such student.
    """
    found = query(
        corpus,
        "SELECT *, strftime(created_at, '%Y-%m-%d') AS trained_on FROM store.students "
        "WHERE name = ? OR student_id = ? ORDER BY created_at DESC LIMIT 1",
        [name, name],
    )
    if not found:
        known = [row[0] for row in corpus.db.execute(
            "SELECT DISTINCT name FROM store.students ORDER BY name"
        ).fetchall()]  # fmt: skip
        raise ConfigError(
            f"{corpus.path} knows no student {name!r}; it knows {', '.join(known) or 'none'}. "
            "Name one of these, or leave the student out for all samples that are kept."
        )
    return Scope(corpus, _LEARNED, (found[0]["student_id"],), found[0])


def of_kept(corpus: Corpus) -> Scope:
    """Return the selected samples that no filter drops."""
    return Scope(corpus, KEPT)


def read_contributions(corpus: Corpus) -> list[Row]:
    """Return what the selected samples were made from, and how many; no filter drops `kept`."""
    kept = {_key(row): row["samples"] for row in Scope(corpus, KEPT).made_from}
    made_from = Scope(corpus, SELECTED).made_from
    return [{**row, "kept": kept.get(_key(row), 0)} for row in made_from]


_CHOSEN = f"""
    chosen AS (
        SELECT s.profile_id, c.profile_id AS scorer_id, count(*) AS samples {MADE}
        WHERE s.sample_id IN ({{}}) GROUP BY ALL
    )"""


def _count_parts(samples: str) -> str:
    return f"""
        WITH {_CHOSEN.format(samples)}, parts AS (
            SELECT profile_id, sum(samples) AS samples FROM (
                SELECT profile_id, samples FROM chosen UNION ALL
                SELECT scorer_id, samples FROM chosen WHERE scorer_id IS NOT NULL
            ) GROUP BY ALL
        ), described AS (
            SELECT profile_id, {_FACTS}, max(span) AS span FROM store.profiles GROUP BY ALL
        )
        SELECT {_FACTS}, max(span) AS span, CAST(sum(samples) AS BIGINT) AS samples
        FROM parts JOIN described USING (profile_id)
        GROUP BY {_FACTS} ORDER BY {_ROLES}, samples DESC, name
        """


def _key(row: Row) -> tuple[object, ...]:
    return tuple(value for name, value in row.items() if name not in {"samples", "span"})
