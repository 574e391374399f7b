"""Tracing: everything that made a sample, and everything it made."""

import json
from typing import Any

from synthkd.corpus.store import Corpus
from synthkd.errors import ConfigError

# What the last checks said of a sample, a row for each use and reason; what is said of all
# samples together (*) is said of it too.
_REASONS = """
    WITH said AS (
        SELECT c.check_id, c.gate, c.use, c.policy, CAST(v.detail -> '$.reasons' AS JSON[]) AS told
        FROM store.checks c JOIN store.check_verdicts v USING (check_id)
        JOIN store.samples s ON s.sample_id = ?
        LEFT JOIN store.scores r ON r.request_key = s.request_key AND s.completion IS NULL
        WHERE (v.profile_id = '*' OR (v.profile_id = s.profile_id
            AND v.scorer_id IS NOT DISTINCT FROM r.profile_id))
        AND c.group_id = (
            SELECT group_id FROM store.checks ORDER BY checked_at DESC, group_id LIMIT 1)
    )
    SELECT DISTINCT use, policy, gate, check_id, r ->> 'code' AS code, r ->> 'severity' AS severity,
        r ->> 'because' AS because, r ->> 'rule' AS rule, r ->> 'contributor' AS contributor,
        r ->> 'clause' AS clause, r ->> 'effective' AS effective, r ->> 'captured' AS captured,
        r ->> 'url' AS url, r ->> 'verification' AS verification, r ->> 'grade' AS grade,
        r ->> 'waived_by' AS waived_by
    FROM (SELECT * EXCLUDE (told), unnest(told) AS r FROM said) ORDER BY check_id, code
"""


def trace(corpus: Corpus, sample_id: str) -> dict[str, Any]:
    """Return where the sample came from and where it went, as plain values.

    `sample_id` may be the beginning of one, if only one begins so.

    Raises:
        ConfigError: There is no such sample, or there are several.
    """
    key = find_sample(corpus, sample_id)
    (sample,) = _rows(corpus, "SELECT * FROM samples WHERE sample_id = ?", key)
    by_request = sample["request_key"]
    return {
        "sample": _plain(sample),
        "seed": _rows(
            corpus,
            "SELECT d.source_id, d.seed_id, d.version, d.fields, s.path, s.license, s.sha256 "
            "FROM store.samples p JOIN store.seeds d ON d.source_id = p.source_id "
            "AND d.seed_id = p.seed_id AND d.version = p.seed_version "
            "JOIN store.sources s ON s.source_id = d.source_id WHERE p.sample_id = ?",
            key,
        ),
        "prompt": _rows(
            corpus,
            "SELECT r.prompt_version, r.name, r.license FROM store.samples p "
            "JOIN store.prompts r USING (prompt_version) WHERE p.sample_id = ?",
            key,
        ),
        "request": _rows(
            corpus,
            "SELECT request_key, endpoint, host, model, parameters, sample_index "
            "FROM store.requests WHERE request_key = ?",
            by_request,
        ),
        "attempts": _rows(
            corpus, "SELECT * FROM attempts WHERE request_key = ? ORDER BY started_at", by_request
        ),
        "chain": _rows(
            corpus,
            "SELECT step, kind, outcome, reason, model, host, finish_reason, cost_usd, request_key "
            "FROM chains WHERE sample_id = ? ORDER BY step",
            key,
        ),
        "judgements": _rows(
            corpus,
            "SELECT judge, score, reason, rationale FROM judgements WHERE sample_id = ?",
            key,
        ),
        "contributions": _rows(
            corpus, "SELECT * FROM contributions WHERE sample_id = ? ORDER BY role", key
        ),
        "shown": _rows(
            corpus,
            "SELECT source_id, seed_id, from_sample_id FROM store.shown WHERE sample_id = ? "
            "ORDER BY ALL",
            key,
        ),
        "overlaps": _rows(
            corpus,
            "SELECT role, name, max_span, containment_ppm FROM store.overlaps "
            "WHERE sample_id = ? ORDER BY ALL",
            key,
        ),
        "rights": _rows(corpus, "SELECT * FROM rights WHERE sample_id = ?", key),
        "reasons": _rows(corpus, _REASONS, key),
        "verdicts": _rows(
            corpus,
            "SELECT filter, keep, reason, score FROM store.verdicts WHERE sample_id = ? "
            "ORDER BY step",
            key,
        ),
        "students": _rows(
            corpus,
            "SELECT s.student_id, s.name, s.method, s.folder, s.weights_sha256 FROM students s "
            "JOIN store.student_samples l USING (student_id) WHERE l.sample_id = ? "
            "ORDER BY s.created_at",
            key,
        ),
        "snapshots": _rows(
            corpus,
            "SELECT s.snapshot_id, s.purpose, s.taken_at, s.root, r.record_hash "
            "FROM store.records r JOIN store.snapshot_leaves USING (record_hash) "
            "JOIN store.snapshots s USING (snapshot_id) WHERE r.sample_id = ? ORDER BY s.taken_at",
            key,
        ),
        "exports": _rows(
            corpus,
            "SELECT DISTINCT e.export_id, e.path, e.format, e.recipient, e.exported_at "
            "FROM store.records r JOIN store.snapshot_leaves l USING (record_hash) "
            "JOIN store.exports e USING (snapshot_id) WHERE r.sample_id = ? ORDER BY e.exported_at",
            key,
        ),
    }


def find_sample(corpus: Corpus, sample_id: str) -> str:
    """Return the id of the one sample whose id is `sample_id`, or begins so.

    Raises:
        ConfigError: There is none, or there are several.
    """
    found = corpus.db.execute(
        "SELECT sample_id FROM store.samples WHERE starts_with(sample_id, ?) LIMIT 2", [sample_id]
    ).fetchall()
    if len(found) == 1:
        return str(found[0][0])
    what = "several samples begin with" if found else "there is no sample"
    raise ConfigError(
        f"{what} {sample_id!r} in {corpus.path}. "
        f'List them with: synthkd sql {corpus.path} "SELECT sample_id, prompt FROM samples"'
    )


def _rows(corpus: Corpus, query: str, key: str) -> list[dict[str, Any]]:
    cursor = corpus.db.execute(query, [key])
    names = [column[0] for column in cursor.description or []]
    return [_plain(dict(zip(names, row, strict=True))) for row in cursor.fetchall()]


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    """Return `row` with its JSON columns read."""
    for name in ("messages", "parameters", "fields", "use"):
        if isinstance(row.get(name), str):
            row[name] = json.loads(row[name])
    return row
