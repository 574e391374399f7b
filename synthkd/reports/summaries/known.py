"""What a corpus knows of the data behind a scope, as figures and lines: counted by the corpus.

Sources are grouped by their kind; those of clients are counted and never named.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

from synthkd.reports.credits import Credit, read_credits
from synthkd.reports.facts import Row, query
from synthkd.reports.scope import Scope
from synthkd.reports.writing import shorten
from synthkd.rights.entries import Table
from synthkd.rights.verdicts import Grade

_SOURCES = frozenset({"seed", "few_shot"})
GENERATING = frozenset({"teacher", "critic", "rewriter", "translator"})
SELECTING = frozenset({"judge", "scorer", "embedder", "reviewer"})
_GRADES: tuple[Grade, ...] = ("measured", "recorded", "attested", "declared", "inferred")


@dataclass(frozen=True)
class Known:
    """What is known of the samples in `scope`; `table` tells which models somebody read about."""

    scope: Scope
    table: Table

    @cached_property
    def sources(self) -> dict[str, list[Row]]:
        """Where rows came from, by kind; "" for those of which nobody said."""
        found: defaultdict[str, list[Row]] = defaultdict(list)
        for row in self.scope.made_from:
            if row["role"] in _SOURCES:
                found[row["kind"]].append(row)
        return dict(found)

    @property
    def rows(self) -> list[Row]:
        """Where rows came from, of whatever kind."""
        return [row for rows in self.sources.values() for row in rows]

    @property
    def all_kinds_known(self) -> bool:
        """Whether there are sources, and somebody said of each what kind it is."""
        return bool(self.sources) and "" not in self.sources

    @cached_property
    def credits(self) -> list[Credit]:
        """Whom they are owed to, clients' sources left out."""
        return read_credits(self.scope)[0]

    def models(self, roles: frozenset[str]) -> list[Row]:
        """Return the models in `roles`, each with when it was asked, where that is known."""
        return [
            {**row, **self._asked.get((row["name"], row["host"]), {})}
            for row in self.scope.made_from
            if row["role"] in roles
        ]

    @cached_property
    def _asked(self) -> Mapping[tuple[str, str], Row]:
        rows = query(
            self.scope.corpus,
            f"""
            WITH mine AS (
                SELECT sample_id, request_key, asked_key FROM store.samples
                WHERE sample_id IN ({self.scope.samples})
            ), used AS (
                SELECT request_key FROM mine
                UNION SELECT asked_key FROM mine
                UNION SELECT request_key FROM store.chains SEMI JOIN mine USING (sample_id)
                UNION SELECT request_key FROM store.judgements SEMI JOIN mine USING (sample_id)
            )
            SELECT a.provider || '/' || r.model AS name, r.host, count(*) AS answers,
                min(a.started_at) AS first, max(a.started_at) AS last,
                list_sort(list(DISTINCT r.endpoint)) AS endpoints
            FROM store.attempts a
            JOIN store.requests r USING (request_key)
            SEMI JOIN used USING (request_key)
            WHERE a.error = '' GROUP BY ALL
            """,
            self.scope.values,
        )
        return {(row["name"], row["host"]): row for row in rows}

    @cached_property
    def sizes(self) -> Row:
        """How many samples, tokens (as servers counted them) and bytes of text there are.

        `uncounted` samples have no number of tokens.
        """
        (row,) = query(
            self.scope.corpus,
            f"""
            SELECT count(*) AS samples,
                coalesce(sum(c.prompt_tokens + c.completion_tokens), 0)::BIGINT AS tokens,
                count(*) FILTER (c.prompt_tokens IS NULL OR c.completion_tokens IS NULL)
                    AS uncounted,
                coalesce(sum(strlen(coalesce(s.completion, c.text))
                    + strlen(CAST(coalesce(s.messages, r.messages) AS VARCHAR))), 0)::BIGINT
                    AS bytes,
                min(s.created_at) AS first, max(s.created_at) AS last
            FROM store.samples s
            JOIN store.requests r USING (request_key)
            JOIN store.completions c USING (request_key)
            WHERE s.sample_id IN ({self.scope.samples})
            """,
            self.scope.values,
        )
        return row

    @property
    def last_acquired(self) -> datetime | None:
        """When the last answer of a model was got."""
        times = [row["last"] for row in self._asked.values()]
        latest: datetime | None = max(times, default=self.sizes["last"])
        return latest

    def tell(self, rows: Sequence[Row]) -> list[str]:
        """Return a line for each source in `rows`; of those of clients, how many there are."""
        credits_ = {each.source: each for each in self.credits}
        named = [row for row in rows if not row["client"] and row["name"] in credits_]
        told = [_tell_source(row, credits_[row["name"]]) for row in named]
        withheld = [row for row in rows if row["client"]]
        if withheld:
            samples = sum(row["samples"] for row in withheld)
            many = len({row["name"] for row in withheld})
            told.append(f"{many} under contracts with clients, not named here: {samples:,} samples")
        return told


def find_grade(rows: Sequence[Row]) -> Grade:
    """Return how surely the facts in `rows` are known: as surely as the least of them."""
    found = [_GRADES.index(row["grade"]) for row in rows if row["grade"] in _GRADES]
    return _GRADES[max(found, default=_GRADES.index("declared"))]


def _tell_source(row: Row, credit: Credit) -> str:
    title = credit.title or shorten(row["name"])
    by = f", by {credit.author}" if credit.author else ""
    at = f", {credit.uri}" if credit.uri else ""
    samples = f", in {row['samples']:,} samples" if row["samples"] else ""
    return f"{title}{by}{at}, under {row['license']}{samples}"
