"""A plan: what a run wants answered, in order, held in the corpus and not in memory.

    seeds ─► asks ─► plan (position, request, seed) ─► pending ─► engine
                              └──── completions ────► answers, in the plan's order

Half a million prompts take as much memory as five thousand: what is asked, what is
still to be asked and what came of it are read a page at a time.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from synthkd.corpus import ledger
from synthkd.corpus.batches import WAITING
from synthkd.corpus.rows import pages
from synthkd.corpus.store import Corpus
from synthkd.records import Request

_PAGE = 2048  # asks written or read at a time: as many as DuckDB reads at once


class Ask(NamedTuple):
    """One thing wanted: the request, whose seed it is for, and what the right answer is.

    `part` says which of the plan's materials it came from.
    """

    request: Request
    host: str = ""
    source_id: str = ""
    seed_id: str = ""
    seed_version: str = ""
    reference: str | None = None
    part: int = 0


class Found(NamedTuple):
    """How many different requests of a plan are answered, wait in a batch, and neither."""

    answered: int
    waiting: int
    pending: int


class Answered(NamedTuple):
    """An ask and the answer the corpus holds for it; `text` is None where there is none.

    `served` is who gave it, as the answer itself says.
    """

    request_key: str
    source_id: str
    seed_id: str
    seed_version: str
    reference: str | None
    part: int
    text: str | None
    thinking: str | None
    served: ledger.Served = ledger.NOT_TOLD

    @property
    def seed(self) -> tuple[str, str, str]:
        """What tells its seed apart."""
        return self.source_id, self.seed_id, self.seed_version


@dataclass(frozen=True, slots=True)
class Plan:
    """The asks of one run. Its tables are temporary: they are gone when the corpus is closed."""

    corpus: Corpus
    table: str
    size: int

    def find_pending(self) -> "Found":
        """Return how many different requests are answered, wait, and are to be asked.

        The last are what `pending` yields, until this is called again.
        """
        db = self.corpus.db
        db.execute(
            f"""
            CREATE OR REPLACE TEMP TABLE {self.table}_pending AS
            SELECT row_number() OVER (ORDER BY position) AS place, request_key
            FROM (SELECT request_key, min(position) AS position FROM {self.table} GROUP BY ALL)
            ANTI JOIN store.completions USING (request_key)
            ANTI JOIN ({WAITING}) USING (request_key)
            """
        )
        (counts,) = db.execute(
            f"""
            SELECT (SELECT count(DISTINCT request_key) FROM {self.table}
                    SEMI JOIN store.completions USING (request_key)),
                (SELECT count(DISTINCT request_key) FROM {self.table}
                    SEMI JOIN ({WAITING}) USING (request_key)
                    ANTI JOIN store.completions USING (request_key)),
                (SELECT count(*) FROM {self.table}_pending)
            """
        ).fetchall()
        return Found(*counts)

    def pending(self, size: int) -> Iterator[list[Request]]:
        """Yield the requests to be asked, in the plan's order, `size` at a time."""
        start = 1
        while True:
            rows = self.corpus.db.execute(
                f"SELECT request_key FROM {self.table}_pending "
                "WHERE place BETWEEN ? AND ? ORDER BY place",
                [start, start + size - 1],
            ).fetchall()
            if not rows:
                return
            yield ledger.read_requests(self.corpus, [key for (key,) in rows])
            start += size

    def answers(self) -> Iterator[list[Answered]]:
        """Yield what came of every ask, in the plan's order, a page at a time."""
        for start in range(0, self.size, _PAGE):
            rows = self.corpus.db.execute(
                f"""
                SELECT request_key, source_id, seed_id, seed_version, reference, part
                FROM {self.table} WHERE position >= ? AND position < ? ORDER BY position
                """,
                [start, start + _PAGE],
            ).fetchall()
            told = ledger.read_answers(self.corpus, [row[0] for row in rows])
            yield [Answered(*row, *told.get(row[0], (None, None))) for row in rows]


def make_plan(corpus: Corpus, name: str, asks: Iterable[Ask]) -> Plan:
    """Write down `asks` and their requests, a page at a time; `name` tells plans apart."""
    table = f"plan_{name}"
    corpus.db.execute(
        f"""
        CREATE OR REPLACE TEMP TABLE {table} (
            position BIGINT, request_key TEXT, source_id TEXT, seed_id TEXT,
            seed_version TEXT, reference TEXT, part INTEGER
        )
        """
    )
    size = 0
    for page in pages(asks, _PAGE):
        ledger.add_requests(corpus, [(ask.request, ask.host) for ask in page])
        corpus.insert(
            table,
            [
                {
                    "position": size + place,
                    "request_key": ask.request.key,
                    "source_id": ask.source_id,
                    "seed_id": ask.seed_id,
                    "seed_version": ask.seed_version,
                    "reference": ask.reference,
                    "part": ask.part,
                }
                for place, ask in enumerate(page)
            ],
        )
        size += len(page)
    return Plan(corpus, table, size)
