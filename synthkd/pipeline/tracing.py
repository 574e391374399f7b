"""Tracing: everything that made a sample, and everything it made."""

import json
from typing import Any

from synthkd.corpus.store import Corpus
from synthkd.errors import ConfigError


def trace(corpus: Corpus, sample_id: str) -> dict[str, Any]:
    """Return where the sample came from and where it went, as plain values.

    `sample_id` may be the beginning of one, if only one begins so.

    Raises:
        ConfigError: There is no such sample, or there are several.
    """
    key = _find(corpus, sample_id)
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
        "rights": _rows(corpus, "SELECT * FROM rights WHERE sample_id = ?", key),
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
    }


def _find(corpus: Corpus, sample_id: str) -> str:
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
    for name in ("messages", "parameters", "fields"):
        if isinstance(row.get(name), str):
            row[name] = json.loads(row[name])
    return row
