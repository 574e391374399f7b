"""Scores: log-probabilities that an answer came without, told by a scorer afterwards.

    selected samples ─► wanted (answers without) ─► score requests ─► their answers
    token_logprobs  ◄─────────────── adopt ◄──────────────────────────────┘

A score is asked for and answered like anything else, under a key of its own. It is then
adopted: the answer that was scored has the log-probabilities, and `scores` says whose.
What is wanted stands in temporary tables, and is worked out anew by each run.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from synthkd.corpus import ledger
from synthkd.corpus.store import Corpus
from synthkd.records import Message

_PAGE = 256  # answers read at a time

_WITHOUT = "NOT IN (SELECT request_key FROM store.token_logprobs)"
_MENDED = (
    "its text was joined or mended after the teacher gave it, and log-probabilities belong to "
    "an answer as it came"
)


class Wanted(NamedTuple):
    """An answer to be scored; `is_cut`, or else it has ended."""

    request_key: str
    messages: tuple[Message, ...]
    completion: str
    is_cut: bool


class Selected(NamedTuple):
    """How many samples were selected, and how many of them have log-probabilities already."""

    samples: int
    already: int


def want(corpus: Corpus, *, only_kept: bool, source: str | None = None) -> Selected:
    """Select samples, of one source or of all; those without log-probabilities are wanted."""
    kept = "AND sample_id IN (SELECT sample_id FROM kept)" if only_kept else ""
    chosen = f"FROM store.samples WHERE source_id = coalesce(?, source_id) {kept}"
    corpus.db.execute(
        f"""
        CREATE OR REPLACE TEMP TABLE wanted AS
        SELECT sample_id, request_key, completion IS NOT NULL AS is_mended {chosen}
        AND (completion IS NOT NULL OR request_key {_WITHOUT})
        """,
        [source],
    )
    corpus.db.execute(
        """
        CREATE OR REPLACE TEMP TABLE to_score AS
        SELECT row_number() OVER (ORDER BY request_key) AS place, request_key
        FROM (SELECT DISTINCT request_key FROM wanted WHERE NOT is_mended)
        SEMI JOIN store.completions USING (request_key);
        CREATE OR REPLACE TEMP TABLE score_keys (request_key TEXT, score_key TEXT)
        """
    )
    ((samples,),) = corpus.db.execute(f"SELECT count(*) {chosen}", [source]).fetchall()
    ((wanted,),) = corpus.db.execute("SELECT count(*) FROM wanted").fetchall()
    return Selected(samples, samples - wanted)


def read_wanted(corpus: Corpus) -> Iterator[list[Wanted]]:
    """Yield the answers to be scored, each once, a page at a time."""
    start = 1
    while True:
        rows = corpus.db.execute(
            """
            SELECT request_key, text, finish_reason FROM to_score
            JOIN store.completions USING (request_key) WHERE place BETWEEN ? AND ? ORDER BY place
            """,
            [start, start + _PAGE - 1],
        ).fetchall()
        if not rows:
            return
        requests = ledger.read_requests(corpus, [key for key, _, _ in rows])
        yield [
            Wanted(key, request.messages, text, finish_reason == "length")
            for (key, text, finish_reason), request in zip(rows, requests, strict=True)
        ]
        start += _PAGE


def add_score_keys(corpus: Corpus, keys: Iterable[tuple[str, str]]) -> None:
    """Note for wanted answers (request key) by which request (score key) they are scored."""
    corpus.insert(
        "score_keys", ({"request_key": key, "score_key": score_key} for key, score_key in keys)
    )


def adopt(corpus: Corpus, profile_id: str) -> int:
    """Give wanted answers the log-probabilities of their scores; return how many samples got any.

    `profile_id` is that of their scorer.
    """
    with corpus.transaction():
        corpus.db.execute(
            f"""
            CREATE OR REPLACE TEMP TABLE adopted AS
            SELECT k.request_key, k.score_key
            FROM score_keys k SEMI JOIN store.token_logprobs l ON l.request_key = k.score_key
            WHERE k.request_key {_WITHOUT};
            INSERT INTO store.token_logprobs BY NAME
            SELECT l.* REPLACE (a.request_key AS request_key)
            FROM adopted a JOIN store.token_logprobs l ON l.request_key = a.score_key
            """
        )
        corpus.db.execute(
            "INSERT INTO store.scores BY NAME SELECT *, ? AS profile_id FROM adopted", [profile_id]
        )
        ((count,),) = corpus.db.execute(
            "SELECT count(*) FROM wanted SEMI JOIN adopted USING (request_key) WHERE NOT is_mended"
        ).fetchall()
        if count:
            # A filter that looks at log-probabilities would judge otherwise now.
            corpus.db.execute("DELETE FROM store.steps WHERE starts_with(step, 'filter ')")
    return int(count)


def read_unscored(corpus: Corpus, unscored: str) -> Iterator[tuple[str, str | None, str | None]]:
    """Yield (sample id, score key, reason) of the wanted samples that have no log-probabilities.

    A completion whose finish reason is `unscored` has the reason for a text. It is None where
    no answer gives one.
    """
    yield from corpus.db.execute(
        f"""
        SELECT w.sample_id, k.score_key, CASE WHEN w.is_mended THEN ?
            WHEN c.finish_reason = ? THEN c.text END
        FROM wanted w LEFT JOIN score_keys k USING (request_key)
        LEFT JOIN store.completions c ON c.request_key = k.score_key
        WHERE w.is_mended OR w.request_key {_WITHOUT} ORDER BY w.sample_id
        """,
        [_MENDED, unscored],
    ).fetchall()
