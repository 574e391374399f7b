"""Runs and the steps they finished: what is done is known by what it was done to."""

import uuid
from datetime import UTC, datetime

from synthkd.corpus.evidence.chain import EventType, append_event
from synthkd.corpus.rows import to_json
from synthkd.corpus.store import Corpus
from synthkd.records import Json, digest


def start_run(corpus: Corpus, command: str, options: Json) -> str:
    """Write down that a run began, with its options (they hold no secrets); return its id."""
    run_id = uuid.uuid4().hex[:12]
    row = {
        "run_id": run_id,
        "command": command,
        "options": to_json(options),
        "started_at": datetime.now(UTC),
    }
    with corpus.transaction():
        corpus.insert("store.runs", [row])
        kind: EventType = "import" if command == "import" else "run"
        payload = {"command": command, "options_sha256": digest(row["options"])}
        append_event(corpus, kind, run_id, payload)
    return run_id


def finish_run(corpus: Corpus, run_id: str) -> None:
    """Write down that a run came to its end."""
    corpus.db.execute("UPDATE store.runs SET finished_at = now() WHERE run_id = ?", [run_id])


def is_done(corpus: Corpus, step: str, fingerprint: str) -> bool:
    """Return whether `step` was last finished on what `fingerprint` stands for."""
    row = corpus.first("SELECT fingerprint FROM store.steps WHERE step = ?", [step])
    return row is not None and row[0] == fingerprint


def mark_done(corpus: Corpus, step: str, fingerprint: str) -> None:
    """Write down that `step` was finished on what `fingerprint` stands for."""
    row = {"step": step, "fingerprint": fingerprint, "finished_at": datetime.now(UTC)}
    corpus.insert("store.steps", [row], key=("step",), replace=True)
