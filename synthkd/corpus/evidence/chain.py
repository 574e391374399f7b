"""The chain of events: what was done to a corpus, in an order that cannot be changed unseen.

    hash = SHA-256("synthkd.event.v1" NUL canonical JSON of the event, the hash before it within)

To change, drop or move an event is to change every hash after it. Who rewrites all of them
leaves no trace in the corpus: keep the last hash, the head, where they cannot write.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from typing import Literal, NamedTuple

from synthkd.corpus.evidence.canonical import canonical_bytes, plain, tagged_hash
from synthkd.corpus.store import Corpus
from synthkd.records import Json

EventType = Literal[
    "run", "import", "filter", "check", "waiver", "snapshot", "train", "export", "erase",
    "key_destroyed", "terms",
]  # fmt: skip

_SCHEMA = "synthkd/event/1"
_TAG = "synthkd.event.v1"
_BEFORE_ALL = "0" * 64


class Head(NamedTuple):
    """The last event: its number, counted from 1, and its hash. Of no events: 0, and zeros."""

    seq: int = 0
    hash: str = _BEFORE_ALL

    def __str__(self) -> str:
        return f"{self.seq}:{self.hash}"


@cache
def software() -> str:
    """Return who writes: this program and its version."""
    return f"synthkd/{version('synthkd')}"


def now() -> str:
    """Return the time in UTC, to the second."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def append_event(
    corpus: Corpus,
    kind: EventType,
    subject: str,
    payload: Mapping[str, object] | None = None,
    *,
    actor: str = "",
) -> Head:
    """Write down that something of the `kind` was done to `subject`; return the new head.

    `payload` is hashed and stays for good: no texts, no secrets, nobody's personal data. It is
    made `plain`. In a transaction, the event stands or falls with what else is in it.
    """
    before = read_head(corpus)
    event = plain(
        {
            "schema": _SCHEMA,
            "seq": before.seq + 1,
            "at": now(),
            "type": kind,
            "actor": actor or software(),
            "subject": subject,
            "payload": payload or {},
            "previous": before.hash,
        }
    )
    text = canonical_bytes(event)
    head = Head(before.seq + 1, tagged_hash(_TAG, text))
    row = {"seq": head.seq, "event": text.decode(), "hash": head.hash}
    corpus.insert("store.events", [row])
    return head


def read_head(corpus: Corpus) -> Head:
    """Return the last event's number and hash."""
    row = corpus.first("SELECT seq, hash FROM store.events ORDER BY seq DESC LIMIT 1")
    return Head(*row) if row else Head()


def check_events(rows: Iterable[tuple[int, str, str]]) -> Iterator[tuple[int, str]]:
    """Yield (number, what is wrong) of events that do not follow from those before them.

    `rows` are (seq, event, hash) in the order of their numbers.
    """
    before = Head()
    for seq, text, given in rows:
        if seq != before.seq + 1:
            yield before.seq + 1, f"it is missing: the next one is number {seq}"
        if tagged_hash(_TAG, text.encode()) != given:
            yield seq, "it is not what its hash says"
        elif _find_previous(text) != before.hash and seq == before.seq + 1:
            yield seq, "it does not follow from the one before it"
        before = Head(seq, given)


def _find_previous(text: str) -> Json:
    try:
        return json.loads(text)["previous"]
    except (ValueError, KeyError, TypeError):
        return None
