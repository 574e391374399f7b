"""What a corpus says of itself, as plain values: nothing here is text for people yet.

Where a run has selected its samples, the facts about samples are about these; what
was asked and paid for is told of the whole corpus.
"""

import json
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from synthkd.corpus.samples import select
from synthkd.corpus.store import Corpus

Row = dict[str, Any]

_FREE = frozenset({"local", "scripted"})  # providers that send no bill


def query(corpus: Corpus, sql: str, values: Sequence[object] = ()) -> list[Row]:
    """Return what `sql` finds, each row by the names of its columns."""
    cursor = corpus.db.execute(sql, list(values))
    names = [column[0] for column in cursor.description or ()]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


@contextmanager
def selected(corpus: Corpus) -> Iterator[None]:
    """Have a selection: the one of the run, or else every sample for as long as this lasts."""
    found = "SELECT 1 FROM duckdb_tables() WHERE temporary AND table_name = 'selection'"
    if corpus.first(found):
        yield
        return
    select(corpus, None)
    try:
        yield
    finally:
        corpus.db.execute("DROP TABLE temp.selection")


def count_samples(corpus: Corpus) -> tuple[int, int]:
    """Return how many samples are selected, and how many of them no filter drops."""
    row = corpus.db.execute(
        "SELECT count(*), count(*) FILTER (sample_id IN (SELECT sample_id FROM kept)) "
        "FROM selection"
    ).fetchone()
    return (row[0], row[1]) if row else (0, 0)


def read_costs(corpus: Corpus) -> list[Row]:
    """Return what each model was asked and cost, evaluation included.

    `seconds` is the time in which at least one request was under way. `cost_usd` is
    the sum of what is known and None where nothing is; `unpriced` answers are not in
    it. `is_free` says that the model ran here, without anyone to send a bill.
    """
    rows = query(
        corpus,
        """
        WITH tries AS (
            SELECT provider, model, host, epoch(started_at) AS began,
                epoch(started_at) + latency_ms / 1000 AS ended
            FROM attempts
        ), stretches AS (
            SELECT *, sum(is_new) OVER (PARTITION BY provider, model, host ORDER BY began, ended
                ROWS UNBOUNDED PRECEDING) AS stretch
            FROM (SELECT *, CASE WHEN began <= max(ended) OVER (
                PARTITION BY provider, model, host ORDER BY began, ended
                ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) THEN 0 ELSE 1 END AS is_new
                FROM tries)
        ), times AS (
            SELECT provider, model, host, sum(lasted) AS seconds
            FROM (SELECT provider, model, host, max(ended) - min(began) AS lasted
                FROM stretches GROUP BY provider, model, host, stretch)
            GROUP BY ALL
        ), tallies AS (
            SELECT provider, model, host, count(*) AS attempts,
                count(*) FILTER (error <> '') AS errors, count(usage) AS answers,
                sum(usage.prompt_tokens) AS prompt_tokens,
                sum(usage.completion_tokens) AS completion_tokens,
                sum(cost_usd) AS cost_usd,
                count(*) FILTER (usage IS NOT NULL AND cost_usd IS NULL) AS unpriced
            FROM attempts GROUP BY ALL
        )
        FROM tallies JOIN times USING (provider, model, host)
        SELECT *
        ORDER BY attempts DESC, model
        """,
    )
    return [{**row, "is_free": row["provider"] in _FREE} for row in rows]


def read_rights(corpus: Corpus) -> dict[str, list[Row]]:
    """Return how many selected samples have each verdict, reason and obligation."""
    with_rights = "FROM selection LEFT JOIN rights USING (sample_id)"
    return {
        "verdicts": query(
            corpus,
            f"SELECT coalesce(verdict, 'not_recorded') AS token, count(*) AS samples {with_rights} "
            "GROUP BY ALL ORDER BY samples DESC, token",
        ),
        **{
            plural: query(
                corpus,
                f"SELECT token, count(*) AS samples FROM (SELECT unnest({plural}) AS token "
                f"{with_rights}) GROUP BY ALL ORDER BY samples DESC, token",
            )
            for plural in ("reasons", "obligations")
        },
    }


def draw_samples(corpus: Corpus, count: int) -> list[Row]:
    """Return `count` selected samples, always the same ones, with what the filters said.

    `dropped_by` and `reason` are of the first filter that drops a sample, else None.
    """
    return query(
        corpus,
        """
        SELECT s.sample_id, s.source_id, s.seed_id, s.teacher, s.prompt, s.completion,
            s.rationale, s.answer, s.reference, s.is_split, s.finish_reason,
            v.filter AS dropped_by, v.reason
        FROM samples s
        LEFT JOIN (
            FROM store.verdicts WHERE NOT keep
            QUALIFY row_number() OVER (PARTITION BY sample_id ORDER BY step) = 1
        ) v USING (sample_id)
        WHERE s.sample_id IN (
            SELECT sample_id FROM selection ORDER BY md5(sample_id), sample_id LIMIT ?
        )
        ORDER BY md5(s.sample_id), s.sample_id
        """,
        [count],
    )


def read_students(corpus: Corpus) -> list[Row]:
    """Return the newest student of each name, its options and gold rows (None: samples) parsed.

    Its `curve` has the points of its learning curve: `step`, and whatever was
    measured there and is a number.
    """
    students = query(
        corpus,
        """
        SELECT student_id, name, method, base, options, parameters, tokens, seconds, coverage,
            samples
        FROM students
        QUALIFY row_number() OVER (PARTITION BY name ORDER BY created_at DESC) = 1
        ORDER BY created_at
        """,
    )
    for student in students:
        student["options"] = json.loads(student["options"])
        student["gold"] = student["options"].get("gold")
        points = query(
            corpus,
            "SELECT step, measures FROM store.learning WHERE student_id = ? ORDER BY step",
            [student["student_id"]],
        )
        student["curve"] = [
            {"step": point["step"], **_numbers(json.loads(point["measures"]))} for point in points
        ]
    return students


def read_provenance(corpus: Corpus, runs: int) -> dict[str, list[Row]]:
    """Return the prompts and sources of the selected samples, and the last `runs` runs."""
    moment = "strftime({} AT TIME ZONE 'UTC', '%Y-%m-%d %H:%M:%S')"
    return {
        "prompts": query(
            corpus,
            """
            SELECT name, prompt_version, license, count(*) AS samples
            FROM store.samples JOIN selection USING (sample_id)
            JOIN store.prompts USING (prompt_version)
            GROUP BY ALL ORDER BY samples DESC, name
            """,
        ),
        "sources": query(
            corpus,
            """
            SELECT source_id, path, license, sha256, count(*) AS samples
            FROM store.samples JOIN selection USING (sample_id)
            JOIN store.sources USING (source_id)
            GROUP BY ALL ORDER BY samples DESC, source_id
            """,
        ),
        "runs": query(
            corpus,
            f"""
            SELECT run_id, command, {moment.format("started_at")} AS began,
                {moment.format("finished_at")} AS ended, count(*) OVER () AS total
            FROM store.runs ORDER BY started_at DESC LIMIT ?
            """,
            [runs],
        ),
        "evaluations": query(
            corpus,
            f"""
            SELECT evaluation_id, held_out_sha256, {moment.format("created_at")} AS at
            FROM store.evaluations ORDER BY created_at DESC LIMIT 1
            """,
        ),
    }


def _numbers(measures: Row) -> dict[str, float]:
    return {
        name: value
        for name, value in measures.items()
        if isinstance(value, int | float) and math.isfinite(value)
    }
