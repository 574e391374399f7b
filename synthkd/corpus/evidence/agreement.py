"""Whether what stands in the tables is what the events tell of it.

    checks, snapshots, exports, runs ◄──each by its id──► events

An event is hashed and followed by others; a row is not. So a row that was changed is found by
its event, and an event that was cut off by the row that it was about.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from synthkd.corpus.evidence.report import Damage, Report
from synthkd.corpus.store import Corpus
from synthkd.records import Json, canonical_json, digest

TOLD = ("gate", "use", "use_sha256", "policy", "policy_sha256", "terms_sha256")
ROW = ("profile_id", "scorer_id", "samples", "severity", "verdict", "obligations", "reasons",
       "detail")  # fmt: skip
"""The columns of `store.checks` and `store.check_verdicts` that say what a check said."""

_MISSING = "an event tells of it, and it is not there"
_UNTOLD = "no event tells of it"
_OTHER = "it is not what its event tells"
_EXPORT = ("format", "recipient", "samples", "snapshot", "statement")


def digest_check(told: Mapping[str, Json], rows: Iterable[Mapping[str, Json]]) -> str:
    """Return the SHA-256 of a check as it stands in its tables, in whatever order its rows are."""
    listed = sorted(canonical_json([row[name] for name in ROW]) for row in rows)
    return digest([[told[name] for name in TOLD], listed])


def check_agreement(corpus: Corpus, report: Report) -> None:
    """Hold what was checked, exported and run against the events that tell of it."""
    report.damages += _check_checks(corpus)
    report.damages += _check_exports(corpus)
    report.damages += _check_runs(corpus)
    snapshots = {key for (key,) in _query(corpus, "SELECT snapshot_id FROM store.snapshots")}
    for key in _read_events(corpus, "snapshot").keys() - snapshots:
        report.damages.append(Damage(f"store.snapshots, snapshot {key}", _MISSING))


def _check_checks(corpus: Corpus) -> Iterator[Damage]:
    events = _read_events(corpus, "check")
    names = ", ".join(TOLD)
    checks = {
        row[0]: row[1:] for row in _query(corpus, f"SELECT check_id, {names} FROM store.checks")
    }
    for key, values in checks.items():
        where = f"store.checks, check {key}"
        if key not in events:
            yield Damage(where, _UNTOLD)
            continue
        rows = corpus.db.execute(
            f"SELECT {', '.join(ROW)} FROM store.check_verdicts WHERE check_id = ?", [key]
        ).fetchall()
        now = digest_check(
            dict(zip(TOLD, values, strict=True)), (dict(zip(ROW, row, strict=True)) for row in rows)
        )
        if events[key].get("rows_sha256", now) != now:
            yield Damage(where, _OTHER)
    for key, payload in events.items():
        if key not in checks and "refused" not in payload:
            yield Damage(f"store.checks, check {key}", _MISSING)


def _check_exports(corpus: Corpus) -> Iterator[Damage]:
    events = _read_events(corpus, "export")
    rows = _query(
        corpus,
        "SELECT export_id, format, recipient, samples, snapshot_id, sha256 FROM store.exports",
    )
    exports = {key: dict(zip(_EXPORT, values, strict=True)) for key, *values in rows}
    for key in events.keys() | exports.keys():
        where = f"store.exports, export {key}"
        if key not in events:
            yield Damage(where, _UNTOLD)
        elif key not in exports:
            yield Damage(where, _MISSING)
        elif any(events[key].get(name) != value for name, value in exports[key].items()):
            yield Damage(where, _OTHER)


def _check_runs(corpus: Corpus) -> Iterator[Damage]:
    told = _read_events(corpus, "run").keys() | _read_events(corpus, "import").keys()
    # Runs of before there were events have none.
    since = (
        "SELECT min(CAST(replace(event ->> 'at', 'Z', '') AS TIMESTAMP)) FROM ("
        "SELECT TRY_CAST(event AS JSON) AS event FROM store.events)"
    )
    runs = {key for (key,) in _query(corpus, "SELECT run_id FROM store.runs")}
    ours = {
        key
        for (key,) in _query(corpus, f"SELECT run_id FROM store.runs WHERE started_at >= ({since})")
    }
    for key in sorted(ours - told):
        yield Damage(f"store.runs, run {key}", _UNTOLD)
    for key in sorted(told - runs):
        yield Damage(f"store.runs, run {key}", _MISSING)


def _read_events(corpus: Corpus, kind: str) -> dict[str, dict[str, Any]]:
    """Return what events of a `kind` tell, by what they are about."""
    rows = corpus.db.execute(
        "SELECT event ->> 'subject', TRY_CAST(event -> 'payload' AS VARCHAR) FROM ("
        "SELECT seq, TRY_CAST(event AS JSON) AS event FROM store.events) "
        "WHERE event ->> 'type' = ? ORDER BY seq",
        [kind],
    ).fetchall()
    return {subject: json.loads(payload) for subject, payload in rows}


def _query(corpus: Corpus, query: str) -> list[tuple[Any, ...]]:
    return corpus.db.execute(query).fetchall()
