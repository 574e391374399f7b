"""Slots: where each sample to be stands, while one stage of asking follows another.

    plan ─► slots ─► links of stage 1 ─► slots ─► links of stage 2 ─► slots ─► samples

A slot holds one answer; a link is a request that was made because of it. Both live in
temporary tables and are read a page at a time, so the number of rows is no matter.
What they say is worked out anew in each run from the answers that are there.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from synthkd.corpus.origins import read_rows
from synthkd.corpus.plans import Plan
from synthkd.corpus.store import Corpus
from synthkd.records import Json

_PAGE = 2048  # slots read at a time

_STATE = (
    "slot, part, voice, source_id, seed_id, seed_version, reference, asked_key, request_key, "
    "completion, salvaged"
)


class Slot(NamedTuple):
    """A sample to be: whose seed it is, who answered it, and the answer it has by now.

    `asked_key` is the first request, `request_key` the one whose answer it holds;
    `completion` is its text where that is not the answer as it came.
    """

    slot: int
    part: int
    voice: int
    source_id: str
    seed_id: str
    seed_version: str
    reference: str | None
    asked_key: str
    request_key: str
    completion: str | None = None
    salvaged: str | None = None
    said: str | None = None
    thinking: str | None = None
    finish_reason: str = ""

    @property
    def text(self) -> str | None:
        """What it says by now; None where it was not answered."""
        return self.said if self.completion is None else self.completion

    @property
    def seed(self) -> tuple[str, str, str]:
        """What tells its seed apart."""
        return self.source_id, self.seed_id, self.seed_version


class Link(NamedTuple):
    """A request made for a slot at a step: what for, why, and what became of its answer."""

    slot: int
    step: int
    kind: str
    voice: int
    request_key: str
    reason: str
    outcome: str = ""


class Reply(NamedTuple):
    """The answer to a link."""

    request_key: str
    text: str
    finish_reason: str


class Slots:
    """The slots of one run and their links."""

    def __init__(self, corpus: Corpus) -> None:
        """Begin with none."""
        self.corpus = corpus
        self.size = 0
        corpus.db.execute(
            """
            CREATE OR REPLACE TEMP TABLE slots (
                slot BIGINT, part INTEGER, voice INTEGER, source_id TEXT, seed_id TEXT,
                seed_version TEXT, reference TEXT, asked_key TEXT, request_key TEXT,
                completion TEXT, salvaged TEXT
            );
            CREATE OR REPLACE TEMP TABLE links (
                slot BIGINT, step INTEGER, kind TEXT, voice INTEGER, request_key TEXT,
                reason TEXT, outcome TEXT
            )
            """
        )

    def add(self, plan: Plan, voice: int) -> None:
        """Add a slot for each ask of `plan`, which `voice` answers."""
        self.corpus.db.execute(
            f"""
            INSERT INTO slots
            SELECT {self.size} + position, part, {voice}, source_id, seed_id, seed_version,
                reference, request_key, request_key, NULL, NULL
            FROM {plan.table}
            """
        )
        self.size += plan.size

    def pages(self, voice: int | None = None) -> Iterator[list[Slot]]:
        """Yield the slots in order, or those of one voice."""
        of_voice = "" if voice is None else f"AND voice = {voice}"
        for start in range(0, self.size, _PAGE):
            page = self._read(f"slot >= {start} AND slot < {start + _PAGE} {of_voice}")
            if page:
                yield page

    def links(self, slots: Sequence[Slot]) -> Mapping[int, list[Link]]:
        """Return the links of each of `slots`, in the order they were made."""
        rows = self.corpus.db.execute(
            "SELECT slot, step, kind, voice, request_key, reason, outcome FROM links "
            "WHERE slot IN (SELECT unnest(?::BIGINT[])) ORDER BY slot, step",
            [[slot.slot for slot in slots]],
        ).fetchall()
        found = defaultdict(list)
        for row in rows:
            found[row[0]].append(Link(*row))
        return found

    def linked(self, step: int) -> Iterator[list[tuple[Slot, Link, Reply | None]]]:
        """Yield each slot that has a link of `step`, with the link and its answer."""
        for start in range(0, self.size, _PAGE):
            within = f"slot >= {start} AND slot < {start + _PAGE}"
            page = self._read(f"{within} AND slot IN (SELECT slot FROM links WHERE step = {step})")
            if page:
                links = self.links(page)
                now = [
                    next(link for link in links[slot.slot] if link.step == step) for slot in page
                ]
                replies = self.replies(link.request_key for link in now)
                yield [
                    (slot, link, replies.get(link.request_key))
                    for slot, link in zip(page, now, strict=True)
                ]

    def replies(self, keys: Iterable[str]) -> Mapping[str, Reply]:
        """Return the answers to the requests `keys`, as far as there are any."""
        rows = self.corpus.db.execute(
            "SELECT request_key, text, finish_reason FROM store.completions "
            "WHERE request_key IN (SELECT unnest(?::VARCHAR[]))",
            [list(keys)],
        ).fetchall()
        return {row[0]: Reply(*row) for row in rows}

    def seeds(self, slots: Sequence[Slot]) -> Mapping[tuple[str, str, str], Mapping[str, Json]]:
        """Return the rows of the seeds of `slots`, by what tells each apart."""
        return read_rows(self.corpus, (slot.seed for slot in slots))

    def failed(self, keys: Sequence[str]) -> set[str]:
        """Return those of `keys` that were asked in vain; a wrong key or address says nothing."""
        rows = self.corpus.db.execute(
            "SELECT DISTINCT request_key FROM store.attempts WHERE error <> '' "
            "AND coalesce(status, 0) NOT IN (401, 402, 403, 404) "
            "AND request_key IN (SELECT unnest(?::VARCHAR[])) "
            "AND request_key NOT IN (SELECT request_key FROM store.completions)",
            [list(keys)],
        ).fetchall()
        return {key for (key,) in rows}

    def put(self, slots: Iterable[Slot]) -> None:
        """Write down what `slots` hold by now."""
        names = _STATE.split(", ")
        rows = ({name: getattr(slot, name) for name in names} for slot in slots)
        self.corpus.insert("slots", rows, key=("slot",), replace=True)

    def link(self, links: Iterable[Link]) -> None:
        """Write down links, in place of what stood at their step."""
        rows = (link._asdict() for link in links)
        self.corpus.insert("links", rows, key=("slot", "step"), replace=True)

    def _read(self, where: str) -> list[Slot]:
        rows = self.corpus.db.execute(
            f"SELECT {_STATE} FROM slots WHERE {where} ORDER BY slot"
        ).fetchall()
        key = _STATE.split(", ").index("request_key")
        said = self.corpus.db.execute(
            "SELECT request_key, text, thinking, finish_reason FROM store.completions "
            "WHERE request_key IN (SELECT unnest(?::VARCHAR[]))",
            [[row[key] for row in rows]],
        ).fetchall()
        by_key = {row[0]: row[1:] for row in said}
        return [Slot(*row, *by_key.get(row[key], (None, None, ""))) for row in rows]
