"""What hangs on what is to be erased: everything that holds its text, as far as the corpus knows.

    seeds ─► samples ─► requests (drafts, critiques, revisions, judges, scores) ─► samples ─► ...
      └────────┴──shown as an example──► samples

Two samples of one request hold one text, and go together. Requests that no sample names (one
that failed, a held-out row) are found by the passages they hold. What was only judged or
compared together is told, and stays.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches

from synthkd.corpus.passages import (
    find_holders,
    find_passages,
    find_rendered,
    find_said,
    read_rows,
)
from synthkd.corpus.store import Corpus
from synthkd.errors import ConfigError

# Nodes are texts: a letter for the kind, and what tells them apart within it.
_SEED = "concat_ws(chr(31), 's', {0}.source_id, {0}.seed_id)"
_EDGES = f"""
    CREATE OR REPLACE TEMP TABLE erasing_edges AS
    WITH asked AS (
        SELECT sample_id, request_key FROM store.samples
        UNION SELECT sample_id, asked_key FROM store.samples WHERE asked_key IS NOT NULL
        UNION SELECT sample_id, request_key FROM store.chains
        UNION SELECT sample_id, request_key FROM store.judgements
    )
    SELECT {_SEED.format("x")} AS made_of, 'm' || sample_id AS made FROM store.samples x
    UNION ALL SELECT {_SEED.format("x")}, 'm' || sample_id FROM store.shown x
    UNION ALL SELECT 'm' || from_sample_id, 'm' || sample_id FROM store.shown
        WHERE from_sample_id IS NOT NULL
    UNION ALL SELECT 'm' || (fields ->> '$.sample_id'), {_SEED.format("x")} FROM store.seeds x
        WHERE contains(fields, '"sample_id"') AND fields ->> '$.sample_id' IS NOT NULL
    UNION ALL SELECT 'm' || sample_id, 'r' || request_key FROM asked
    UNION ALL SELECT 'r' || request_key, 'm' || sample_id FROM asked
    UNION ALL SELECT 'r' || request_key, 'r' || score_key FROM store.scores
"""
_REACH = """
    CREATE OR REPLACE TEMP TABLE erasing_reached AS
    WITH RECURSIVE reached (node) AS (
        SELECT node FROM erasing_starts
        UNION SELECT e.made FROM reached r JOIN erasing_edges e ON e.made_of = r.node
    )
    SELECT DISTINCT node FROM reached
"""
_RESULT = f"""
    CREATE OR REPLACE TEMP TABLE erased_seeds AS
    SELECT DISTINCT source_id, seed_id FROM (
        SELECT source_id, seed_id FROM store.seeds UNION
        SELECT source_id, seed_id FROM store.samples UNION
        SELECT source_id, seed_id FROM store.shown UNION
        SELECT source_id, seed_id FROM store.subjects
    ) x SEMI JOIN erasing_reached ON node = {_SEED.format("x")};

    CREATE OR REPLACE TEMP TABLE erased_requests AS
    SELECT DISTINCT request_key FROM (
        SELECT request_key FROM store.requests UNION SELECT request_key FROM store.attempts
    ) SEMI JOIN erasing_reached ON node = 'r' || request_key;

    CREATE OR REPLACE TEMP TABLE erased_attempts AS
    SELECT attempt_id, request_key, shared FROM store.attempts
    SEMI JOIN erased_requests USING (request_key);

    CREATE OR REPLACE TEMP TABLE erased_samples AS
    SELECT x.sample_id, CASE
        WHEN 'm' || x.sample_id IN (FROM erasing_starts) THEN 'named'
        WHEN {_SEED.format("x")} IN (FROM erasing_starts) THEN 'made_from_it'
        WHEN (x.source_id, x.seed_id) IN (SELECT (source_id, seed_id) FROM erased_seeds)
            THEN 'made_from_a_sample'
        WHEN x.sample_id IN (
            SELECT h.sample_id FROM store.shown h
            WHERE {_SEED.format("h")} IN (FROM erasing_reached)
            OR 'm' || h.from_sample_id IN (FROM erasing_reached)) THEN 'shown_as_an_example'
        WHEN x.sample_id IN (
            SELECT sample_id FROM erasing_edges e JOIN store.samples ON e.made = 'm' || sample_id
            WHERE e.made_of IN (FROM erasing_found)) THEN 'holds_a_passage'
        ELSE 'same_request' END AS why
    FROM store.samples x SEMI JOIN erasing_reached ON node = 'm' || x.sample_id
"""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be erased: a source, a subject or one sample, by its name."""

    kind: str
    name: str

    def __str__(self) -> str:
        """Return how people call it."""
        return f"the {self.kind} {self.name!r}"


@dataclass(frozen=True, slots=True)
class Closure:
    """What goes with what was wanted; the rows themselves are in the tables `erased_...`.

    `samples` are counted by why they go. `passages` are of the rows and stand in nothing that
    stays. `short` rows have no text long enough to be looked for.
    """

    wanted: Wanted
    seeds: int
    requests: int
    samples: Mapping[str, int]
    sources: Sequence[str]
    passages: Sequence[str]
    short: int
    selected: Mapping[str, int] = field(default_factory=dict)

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to erase."""
        return not (self.seeds or self.requests or self.samples)


def find_closure(corpus: Corpus, wanted: Wanted) -> Closure:
    """Find what goes with `wanted`.

    Raises:
        ConfigError: The corpus knows nothing of that name.
    """
    starts = _find_starts(corpus, wanted)
    corpus.db.execute("CREATE OR REPLACE TEMP TABLE erasing_starts (node TEXT)")
    corpus.db.execute("CREATE OR REPLACE TEMP TABLE erasing_found (node TEXT)")
    corpus.insert("erasing_starts", ({"node": node} for node in starts))
    corpus.db.execute(_EDGES)
    passages: list[str] = []
    short = 0
    read: set[tuple[str, str]] = set()
    answers: set[str] = set()
    while True:
        corpus.db.execute(_REACH)
        corpus.db.execute(_RESULT)
        rows = [row for row in read_rows(corpus) if (row[0], row[1]) not in read]
        read.update((row[0], row[1]) for row in rows)
        fresh, without = find_passages(corpus, rows)
        fresh += find_said(corpus, _read_fresh(corpus, answers))
        passages += fresh
        short += len(without)
        found = find_holders(corpus, fresh) | find_rendered(corpus, without)
        if not found:
            break
        for table in ("erasing_starts", "erasing_found"):
            corpus.insert(table, ({"node": f"r{key}"} for key in found))
    return _describe(corpus, wanted, passages, short)


def _read_fresh(corpus: Corpus, known: set[str]) -> list[str]:
    """Return the requests that go and are not `known`, which they are from then on."""
    rows = corpus.db.execute("SELECT request_key FROM erased_requests ORDER BY 1").fetchall()
    fresh = [key for (key,) in rows if key not in known]
    known.update(fresh)
    return fresh


def _find_starts(corpus: Corpus, wanted: Wanted) -> list[str]:
    """Return the nodes that `wanted` names."""
    if wanted.kind == "sample":
        rows = corpus.db.execute(
            "SELECT sample_id FROM store.samples WHERE starts_with(sample_id, ?) LIMIT 2",
            [wanted.name],
        ).fetchall()
        if len(rows) != 1:
            what = "several samples begin with" if rows else "there is no sample"
            raise ConfigError(
                f"{what} {wanted.name!r} in {corpus.path}; nothing was erased. List them with: "
                f'synthkd sql {corpus.path} "SELECT sample_id, prompt FROM samples"'
            )
        return [f"m{rows[0][0]}"]
    column, tables = {
        "source": ("source_id", ("sources", "seeds", "samples", "shown")),
        "subject": ("subject", ("subjects",)),
    }[wanted.kind]
    known = " UNION ".join(f"SELECT DISTINCT {column} FROM store.{table}" for table in tables)
    names = [name for (name,) in corpus.db.execute(known).fetchall()]
    if wanted.name not in names:
        raise ConfigError(_explain_unknown(corpus, wanted, names))
    tables = ("seeds", "samples", "shown") if wanted.kind == "source" else tables
    rows_of = " UNION ".join(
        f"SELECT {_SEED.format('x')} FROM store.{table} x WHERE {column} = $1" for table in tables
    )
    return [node for (node,) in corpus.db.execute(rows_of, [wanted.name]).fetchall()]


def _explain_unknown(corpus: Corpus, wanted: Wanted, names: Sequence[str]) -> str:
    near = get_close_matches(wanted.name, names, n=1)
    if near:
        told = f"Did you mean {near[0]!r}?"
    elif wanted.kind == "source":
        told = f"Its sources: {', '.join(sorted(names)) or 'none'}."
    else:
        told = f"It knows {len(names)} subjects; a source names them by its `subject` column."
    return f"{corpus.path} knows no {wanted.kind} {wanted.name!r}; nothing was erased. {told}"


def _describe(corpus: Corpus, wanted: Wanted, passages: Sequence[str], short: int) -> Closure:
    ((seeds, requests),) = corpus.db.execute(
        "SELECT (SELECT count(*) FROM erased_seeds), (SELECT count(*) FROM erased_requests)"
    ).fetchall()
    samples = corpus.db.execute(
        "SELECT why, count(*) FROM erased_samples GROUP BY ALL ORDER BY ALL"
    )
    counted = dict(samples.fetchall())
    sources = corpus.db.execute("SELECT DISTINCT source_id FROM erased_seeds ORDER BY 1").fetchall()
    return Closure(
        wanted, seeds, requests, counted, [name for (name,) in sources], passages, short,
        _count_selected(corpus),
    )  # fmt: skip


def _count_selected(corpus: Corpus) -> dict[str, int]:
    """Return how many samples that stay were chosen or dropped beside one that goes, and how."""
    rows = corpus.db.execute(
        """
        WITH staying AS (FROM store.samples ANTI JOIN erased_samples USING (sample_id)),
        going AS (FROM store.samples SEMI JOIN erased_samples USING (sample_id)),
        said AS (
            SELECT sample_id, coalesce(s.completion, c.text) AS text
            FROM store.samples s JOIN store.completions c USING (request_key)
        ), duplicates AS (
            SELECT s.sample_id FROM staying s
            SEMI JOIN (FROM store.verdicts WHERE contains(reason, 'duplicate')) v USING (sample_id)
            JOIN said USING (sample_id)
            WHERE text IN (SELECT text FROM said SEMI JOIN erased_samples USING (sample_id))
        ), siblings AS (
            SELECT s.sample_id FROM staying s SEMI JOIN going USING (source_id, seed_id)
            SEMI JOIN store.verdicts USING (sample_id)
        )
        SELECT 'dropped_as_its_duplicate', count(*) FROM duplicates
        UNION ALL SELECT 'judged_beside_it', count(*) FROM siblings
        """
    ).fetchall()
    return {how: count for how, count in rows if count}
