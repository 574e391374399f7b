"""Batches: what was handed to a provider to be answered within a day.

    intent ─► submitted ─► collected
       └─────► void          the provider never had it, so it was never charged

The intent, with every request it is for, is on the disk before a byte is sent: a process
that dies in between leaves a batch to look for, not one to buy again. Requests of a batch
that is an intent or submitted are waited for, and not asked otherwise.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import Literal

from synthkd.corpus.rows import pages
from synthkd.corpus.store import Corpus

Status = Literal["intent", "submitted", "collected", "void"]

_MANY = 4096  # keys looked up in one statement
_OPEN = "status IN ('intent', 'submitted')"

WAITING = (
    "SELECT r.request_key FROM store.batch_requests r "
    f"SEMI JOIN (FROM store.batches WHERE {_OPEN}) b USING (batch_id)"
)
"""The keys of the requests that are in a batch not yet collected, as a query."""


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch as it was meant, and its `remote_id` once the provider gave it one.

    `endpoint` is the base URL it was sent to; `size` is in bytes; `worst_usd` is the most it
    can cost; `price` is what its tokens are charged at, as JSON. Times are UTC.
    """

    batch_id: str
    provider: str
    endpoint: str
    model: str
    run_id: str
    requests: int
    size: int
    worst_usd: float
    price: str | None
    intent_at: datetime
    status: Status = "intent"
    remote_id: str = ""
    submitted_at: datetime | None = None


def add_intent(corpus: Corpus, batch: Batch, lines: Iterable[tuple[str, str]]) -> None:
    """Write down that `batch` is about to be submitted; on the disk when this returns.

    `lines` are the (custom id, request key) of its lines, in their order.
    """
    row = {field.name: getattr(batch, field.name) for field in fields(batch)}
    rows = (
        {"batch_id": batch.batch_id, "line": number, "custom_id": custom_id, "request_key": key}
        for number, (custom_id, key) in enumerate(lines, start=1)
    )
    with corpus.transaction():
        corpus.insert("store.batches", [row])
        for page in pages(rows, _MANY):
            corpus.insert("store.batch_requests", page)


def mark_submitted(corpus: Corpus, batch_id: str, remote_id: str) -> None:
    """Write down the name that the provider gave the batch."""
    _update(
        corpus,
        batch_id,
        status="submitted",
        remote_id=remote_id,
        submitted_at=datetime.now(UTC),
        note="",
    )


def mark_void(corpus: Corpus, batch_id: str, why: str) -> None:
    """Write down that nothing will come of the batch; its requests may be asked again."""
    _update(corpus, batch_id, status="void", note=why)


def mark_collected(
    corpus: Corpus, batch_id: str, *, answered: int, failed: int, note: str = ""
) -> None:
    """Write down that every answer of the batch is on the disk."""
    _update(
        corpus,
        batch_id,
        status="collected",
        collected_at=datetime.now(UTC),
        answered=answered,
        failed=failed,
        note=note,
    )


def note_standing(
    corpus: Corpus,
    batch_id: str,
    *,
    remote_status: str,
    output_file_id: str,
    error_file_id: str,
    ended_at: datetime | None,
) -> None:
    """Write down what the provider last said of the batch."""
    _update(
        corpus,
        batch_id,
        remote_status=remote_status,
        output_file_id=output_file_id,
        error_file_id=error_file_id,
        ended_at=ended_at,
    )


def note(corpus: Corpus, batch_id: str, said: str) -> None:
    """Write down why the batch is where it is."""
    _update(corpus, batch_id, note=said)


def read_batches(corpus: Corpus, provider: str, endpoint: str, status: Status) -> list[Batch]:
    """Return the batches that were meant for `endpoint` and are at `status`, the oldest first."""
    names = [field.name for field in fields(Batch)]
    rows = corpus.db.execute(
        f"SELECT {', '.join(names)} FROM store.batches "
        "WHERE provider = ? AND endpoint = ? AND status = ? ORDER BY intent_at, batch_id",
        [provider, endpoint, status],
    ).fetchall()
    return [_read(dict(zip(names, row, strict=True))) for row in rows]


def read_remote_ids(corpus: Corpus) -> set[str]:
    """Return the providers' names of every batch that is known to be ours."""
    query = "SELECT remote_id FROM store.batches WHERE remote_id <> ''"
    return {name for (name,) in corpus.db.execute(query).fetchall()}


def read_lines(corpus: Corpus, batch_id: str) -> dict[str, str]:
    """Return the request key of each custom id of the batch, in the order of its lines."""
    rows = corpus.db.execute(
        "SELECT custom_id, request_key FROM store.batch_requests WHERE batch_id = ? ORDER BY line",
        [batch_id],
    ).fetchall()
    return dict(rows)


def read_numbers(corpus: Corpus, batch_id: str) -> dict[str, int]:
    """Return the number of each line in the file that was handed in, by its custom id."""
    rows = corpus.db.execute(
        "SELECT custom_id, line FROM store.batch_requests WHERE batch_id = ?", [batch_id]
    ).fetchall()
    return dict(rows)


def read_kept(corpus: Corpus, batch_id: str) -> set[str]:
    """Return the ids of the attempts that came of the batch and are in the corpus already."""
    rows = corpus.db.execute(
        "SELECT attempt_id FROM store.attempts WHERE starts_with(attempt_id, ?)", [f"{batch_id}-"]
    ).fetchall()
    return {attempt_id for (attempt_id,) in rows}


def waiting(corpus: Corpus, keys: Sequence[str]) -> set[str]:
    """Return those of `keys` that are in a batch not yet collected: they must not be asked."""
    found: set[str] = set()
    for page in pages(keys, _MANY):
        rows = corpus.db.execute(
            f"{WAITING} WHERE r.request_key IN (SELECT unnest(?::VARCHAR[]))", [page]
        ).fetchall()
        found.update(key for (key,) in rows)
    return found


def count_waiting(corpus: Corpus, provider: str, endpoint: str) -> int:
    """Return how many requests are in a batch for `endpoint` not yet collected."""
    row = corpus.first(
        "SELECT coalesce(sum(requests), 0) FROM store.batches "
        f"WHERE provider = ? AND endpoint = ? AND {_OPEN}",
        [provider, endpoint],
    )
    return int(row[0]) if row else 0


def reserved(corpus: Corpus) -> float:
    """Return the most that the batches not yet collected can cost, in US dollars."""
    row = corpus.first(f"SELECT coalesce(sum(worst_usd), 0) FROM store.batches WHERE {_OPEN}")
    return float(row[0]) if row else 0.0


def _update(corpus: Corpus, batch_id: str, **values: object) -> None:
    names = ", ".join(f"{name} = ?" for name in values)
    with corpus.transaction():
        corpus.db.execute(
            f"UPDATE store.batches SET {names} WHERE batch_id = ?", [*values.values(), batch_id]
        )


def _read(row: dict[str, object]) -> Batch:
    for name, value in row.items():
        if isinstance(value, datetime) and value.tzinfo is None:
            row[name] = value.replace(tzinfo=UTC)
    return Batch(**row)  # type: ignore[arg-type]
