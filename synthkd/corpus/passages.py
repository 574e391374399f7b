"""Passages of what is to be erased: which they are, where they stand, and where none may.

A link that nobody recorded is found by them: a request that failed, a held-out row, an example
that was shown before examples were written down. What stands in a row that stays, too, is no
sign of anything and is not looked for.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import duckdb
import zstandard

from synthkd.corpus.rewriting import list_tables
from synthkd.corpus.rows import pages
from synthkd.corpus.searching import Passages, find_passage
from synthkd.corpus.store import Corpus
from synthkd.errors import SynthkdError
from synthkd.prompts import parse_prompt

_PAGE = 4096
_BLOBS = 64  # raw answers in memory at a time
_DRAWN = 256  # texts of one kind whose passages are looked for
_ROWS = 2000  # passages of rows that are looked for

_PROMPTS = "SELECT name, text FROM store.prompts"
_SAID = (
    """
    SELECT unnest(from_json(messages, '[{"content":"VARCHAR"}]')).content
    FROM store.requests SEMI JOIN erased_requests USING (request_key)
    """,
    "SELECT text FROM store.completions SEMI JOIN erased_requests USING (request_key)",
    "SELECT thinking FROM store.completions SEMI JOIN erased_requests USING (request_key)",
    "SELECT completion FROM store.samples SEMI JOIN erased_samples USING (sample_id)",
    "SELECT rationale FROM store.samples SEMI JOIN erased_samples USING (sample_id)",
    "SELECT rationale FROM store.judgements SEMI JOIN erased_samples USING (sample_id)",
)
# Where a passage may stand that nobody took from what goes: a phrase, or a quotation.
_ROWS_ELSEWHERE = (
    "SELECT fields FROM store.seeds ANTI JOIN erased_seeds USING (source_id, seed_id)",
    "SELECT text FROM store.prompts",
)
_SAID_ELSEWHERE = """
    SELECT concat_ws(' ', text, thinking) FROM store.completions SEMI JOIN (
        SELECT request_key FROM store.samples
        UNION SELECT asked_key FROM store.samples
        UNION SELECT request_key FROM store.chains
        UNION SELECT request_key FROM store.judgements
    ) USING (request_key) ANTI JOIN erased_requests USING (request_key)
"""
_ELSEWHERE = (
    *_ROWS_ELSEWHERE,
    "SELECT messages FROM store.requests ANTI JOIN erased_requests USING (request_key)",
    """
    SELECT concat_ws(' ', text, thinking) FROM store.completions
    ANTI JOIN erased_requests USING (request_key)
    """,
    """
    SELECT concat_ws(' ', answer, rationale, completion, reference) FROM store.samples
    ANTI JOIN erased_samples USING (sample_id)
    """,
)
_NUMBERS = frozenset(
    {"BOOLEAN", "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT",
     "UINTEGER", "UBIGINT", "UHUGEINT", "FLOAT", "DOUBLE", "DATE", "TIME", "TIMESTAMP",
     "TIMESTAMP WITH TIME ZONE", "INTERVAL", "UUID"}
)  # fmt: skip


Row = tuple[str, str, str]  # source, seed, its fields as JSON


class Leak(NamedTuple):
    """A column in which passages stand that should be gone, and how many rows have any."""

    column: str
    rows: int


def read_rows(corpus: Corpus) -> list[Row]:
    """Return the rows that go."""
    rows: list[Row] = corpus.db.execute(
        "SELECT source_id, seed_id, fields FROM store.seeds "
        "SEMI JOIN erased_seeds USING (source_id, seed_id)"
    ).fetchall()
    return rows


def find_passages(corpus: Corpus, rows: Sequence[Row]) -> tuple[list[str], list[str]]:
    """Return passages of `rows` that no row or prompt that stays has, and the rows without."""
    passages: set[str] = set()
    without = []
    for _, _, fields in rows:
        own = {p for text in _texts(json.loads(fields)) if (p := find_passage(text))}
        passages |= own
        if not own:
            without.append(fields)
    return _leave_common(corpus, sorted(passages), _ROWS_ELSEWHERE), without


def find_said(corpus: Corpus, keys: Sequence[str]) -> list[str]:
    """Return passages of what answers the requests `keys`, that nothing that stays is made of.

    What somebody asked about an answer, and no sample tells of any more, holds one: an older
    critique, or another judge.
    """
    passages: set[str] = set()
    for page in pages(keys, _PAGE):
        rows = corpus.db.execute(
            "SELECT text, thinking FROM store.completions "
            "WHERE request_key IN (SELECT unnest(?::VARCHAR[]))",
            [page],
        ).fetchall()
        passages |= {p for row in rows for text in row if text and (p := find_passage(text))}
    return _leave_common(corpus, sorted(passages), (*_ROWS_ELSEWHERE, _SAID_ELSEWHERE))


def find_holders(corpus: Corpus, passages: Sequence[str]) -> set[str]:
    """Return the requests that hold one of `passages`, of those that stay."""
    if not passages:
        return set()
    search = Passages(passages)
    query = (
        "SELECT request_key, messages FROM store.requests "
        "ANTI JOIN erased_requests USING (request_key)"
    )
    return {key for page in read_texts(corpus, query) for key, _ in search.find_among(page)}


def find_rendered(corpus: Corpus, rows: Sequence[str]) -> set[str]:
    """Return the requests that ask for `rows` whose texts are too short to be looked for."""
    prompts = []
    for name, text in corpus.db.execute(_PROMPTS).fetchall() if rows else ():
        try:
            prompts.append(parse_prompt(text, name))
        except SynthkdError:
            continue  # of an older synthkd
    asked = set()
    for fields in rows:
        for prompt in prompts:
            try:
                asked.add(prompt.render(json.loads(fields))[-1].content)
            except SynthkdError:
                continue  # it is not filled by such rows
    found: set[str] = set()
    for page in pages(asked, _PAGE):
        found.update(
            key
            for (key,) in corpus.db.execute(
                """
                SELECT request_key FROM store.requests
                ANTI JOIN erased_requests USING (request_key)
                ANTI JOIN store.samples USING (request_key)
                WHERE list_last(from_json(messages, '[{"content":"VARCHAR"}]')).content
                    IN (SELECT unnest(?::VARCHAR[]))
                """,
                [page],
            ).fetchall()
        )
    return found


def draw_passages(corpus: Corpus, of_rows: Sequence[str]) -> list[str]:
    """Return passages of what goes that stand in nothing that stays: what is searched for.

    They are some of those `of_rows`, and some of what was said of them.
    """
    drawn = dict.fromkeys(of_rows[:: max(len(of_rows) // _ROWS, 1)])
    for query in _SAID:
        rows = corpus.db.execute(
            f"FROM ({query}) t (text) USING SAMPLE reservoir({_DRAWN} ROWS) REPEATABLE (0)"
        ).fetchall()
        drawn.update((p, None) for (text,) in rows if text and (p := find_passage(text)))
    return _leave_common(corpus, list(drawn), _ELSEWHERE)


def find_leaks(corpus: Corpus, passages: Sequence[str]) -> list[Leak]:
    """Return where `passages` stand in the tables of a corpus, as SQL reads them."""
    search = Passages(passages)
    leaks = []
    for schema, table, _ in list_tables(corpus.db):
        described = corpus.db.execute(f'DESCRIBE "{schema}"."{table}"').fetchall()
        for column, kind, *_ in described:
            if kind not in _NUMBERS:
                rows = sum(
                    len({name for name, _ in search.find_among(page)})
                    for page in _read_column(corpus.db, f'"{schema}"."{table}"', column, kind)
                )
                leaks += [Leak(f"{schema}.{table}.{column}", rows)] if rows else []
    return leaks


def read_texts(corpus: Corpus, query: str) -> Iterator[list[tuple[str, bytes]]]:
    """Yield the rows (name, text) of `query`, as bytes, a page at a time."""
    cursor = corpus.db.execute(query)
    while rows := cursor.fetchmany(_PAGE):
        yield [(name, text.encode()) for name, text in rows]


def _leave_common(corpus: Corpus, passages: Sequence[str], elsewhere: Sequence[str]) -> list[str]:
    """Return those of `passages` that stand in nothing that the queries `elsewhere` tell."""
    search = Passages(passages)
    common = {
        number
        for query in (elsewhere if passages else ())
        for page in read_texts(corpus, f"SELECT '', * FROM ({query})")
        for _, number in search.find_among(page)
    }
    return [text for number, text in enumerate(passages) if number not in common]


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from _texts(each)
    elif isinstance(value, list):
        for each in value:
            yield from _texts(each)


def _read_column(
    db: duckdb.DuckDBPyConnection, table: str, column: str, kind: str
) -> Iterator[list[tuple[str, bytes]]]:
    """Yield the values of a column as bytes, packed answers unpacked, a page at a time."""
    value = f'"{column}"' if kind == "BLOB" else f'CAST("{column}" AS VARCHAR)'
    cursor = db.execute(f'SELECT {value} FROM {table} WHERE "{column}" IS NOT NULL')
    start = 0
    while rows := cursor.fetchmany(_BLOBS if kind == "BLOB" else _PAGE):
        yield [
            (str(start + place), _unpack(each) if kind == "BLOB" else each.encode())
            for place, (each,) in enumerate(rows)
        ]
        start += len(rows)


def _unpack(blob: bytes) -> bytes:
    try:
        return zstandard.ZstdDecompressor().decompress(blob)
    except zstandard.ZstdError:
        return blob  # no frame of ours
