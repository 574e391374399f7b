"""Erasing: the one way out of a corpus, and how it is seen that nothing was left behind.

    closure ─► what stays, in a new file ─► searched, table by table and byte by byte ─► in place

A row is known by what it belongs to: whatever table has a sample, a request or a row of a
source among its columns loses those that go, the user's own tables too. What proves and
counts stays, without a text: records whose salts are forgotten, and who learned what.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import duckdb
import numpy as np

from synthkd.corpus.closure import Closure
from synthkd.corpus.connection import connect
from synthkd.corpus.evidence.chain import append_event
from synthkd.corpus.evidence.keys import read_keys
from synthkd.corpus.evidence.snapshots import take_snapshot
from synthkd.corpus.logprobs import decode
from synthkd.corpus.passages import find_holders
from synthkd.corpus.positions import Positions
from synthkd.corpus.rewriting import write_fresh
from synthkd.corpus.rows import pages, to_json
from synthkd.corpus.store import Corpus
from synthkd.corpus.tokens import STRINGS
from synthkd.corpus.tombstones import bury
from synthkd.errors import CorpusError
from synthkd.records import Json, digest

_PAGE = 4096
_BLOBS = 512  # log-probabilities read at a time

# Which samples there were and who learned them is kept, by ids; none of these has a text.
_STAY = frozenset({"records", "snapshot_leaves", "student_samples"})
_BELONGS = (
    ({"sample_id"}, "erased_samples"),
    ({"source_id", "seed_id"}, "erased_seeds"),
    ({"request_key"}, "erased_requests"),
    ({"attempt_id"}, "erased_attempts"),
)


def name_erasure(corpus: Corpus, closure: Closure) -> str:
    """Return the id of an erasure: it follows from what goes and from what was done before."""
    row = corpus.first("SELECT max(hash) FROM store.events")
    return digest([digest_closure(corpus), closure.wanted.kind, list(row or ())])[:12]


def digest_closure(corpus: Corpus) -> str:
    """Return the SHA-256 over the ids of the samples that go."""
    rows = corpus.db.execute("SELECT sample_id FROM erased_samples ORDER BY 1").fetchall()
    return digest([key for (key,) in rows])


def write_without(
    corpus: Corpus,
    erasure_id: str,
    *,
    source: str | None = None,
    keys: Sequence[tuple[str, str | None]] = (),
    payload: Mapping[str, object] | None = None,
    remember: bool = True,
) -> Path:
    """Write beside the corpus what stays of it, with the event and what is to be remembered.

    `source` is the one that goes as a whole; `keys` are those that will be destroyed. Where
    a snapshot held what goes, one of all that stays is taken. Hold the corpus.

    Raises:
        CorpusError: The disk is full or gone; nothing was changed.
    """
    db = corpus.db
    tokens = _find_unused_tokens(corpus)
    db.execute("CREATE OR REPLACE TEMP TABLE erased_tokens (token_id INTEGER)")
    corpus.insert("erased_tokens", ({"token_id": number} for number in tokens))
    db.execute("CREATE OR REPLACE TEMP TABLE erased_options (run_id TEXT, options JSON)")
    corpus.insert("erased_options", _read_options(corpus, source) if source is not None else ())
    fresh = write_fresh(
        corpus.path, db, lambda schema, table, columns: _choose(schema, table, columns, source)
    )
    row = corpus.first(
        "SELECT 1 FROM store.snapshot_leaves SEMI JOIN erased_samples USING (sample_id) LIMIT 1"
    )
    with opened(fresh, corpus.path) as new:
        if remember:
            bury(new, _read_names(corpus, source), erasure_id)
        if row and new.first("SELECT 1 FROM store.samples LIMIT 1"):
            query = "SELECT sample_id FROM store.samples"
            take_snapshot(new, f"after the erasure {erasure_id}", query)
        held = read_keys(corpus.path)
        gone = [key for source_id, subject in keys for key in held.destroy(source_id, subject)]
        append_event(new, "erase", erasure_id, payload)
        if gone:
            append_event(new, "key_destroyed", erasure_id, {"keys": sorted(gone)})
    return fresh


@contextmanager
def opened(fresh: Path, path: Path) -> Iterator[Corpus]:
    """Open the file that is to take the place of the corpus at `path`."""
    db = connect(fresh, read_only=False)
    try:
        yield Corpus(path, db, None)
        db.execute("CHECKPOINT")
    except duckdb.Error as error:
        raise CorpusError(
            f"{fresh} cannot be written: {error}\nNothing was erased; make room and run again."
        ) from error
    finally:
        db.close()


def choose_requests(corpus: Corpus, keys: Sequence[str], passages: Sequence[str]) -> int:
    """Make the requests `keys`, and those that hold one of `passages`, what goes; return how many.

    For a ledger, which has requests and attempts and no samples.
    """
    corpus.db.execute(
        """
        CREATE OR REPLACE TEMP TABLE erased_seeds (source_id TEXT, seed_id TEXT);
        CREATE OR REPLACE TEMP TABLE erased_samples (sample_id TEXT);
        CREATE OR REPLACE TEMP TABLE erased_requests (request_key TEXT);
        """
    )
    for page in pages(keys, _PAGE):
        corpus.insert("erased_requests", ({"request_key": key} for key in page))
    corpus.insert("erased_requests", ({"request_key": k} for k in find_holders(corpus, passages)))
    corpus.db.execute(
        """
        CREATE OR REPLACE TEMP TABLE erased_attempts AS
        SELECT attempt_id, request_key, shared FROM store.attempts
        SEMI JOIN erased_requests USING (request_key)
        """
    )
    ((count,),) = corpus.db.execute(
        "SELECT (SELECT count(*) FROM store.requests SEMI JOIN erased_requests USING (request_key))"
        " + (SELECT count(*) FROM erased_attempts)"
    ).fetchall()
    return int(count)


def _choose(schema: str, table: str, columns: Sequence[str], source: str | None) -> str:
    """Return the query of what stays of a table."""
    name = f'corpus."{schema}"."{table}"'
    if schema == "store" and table == "records":
        return (
            "SELECT * REPLACE (CASE WHEN sample_id IN (SELECT sample_id FROM erased_samples) "
            f"THEN '' ELSE salt END AS salt) FROM {name}"
        )
    if schema == "store" and table in _STAY:
        return f"FROM {name}"
    query = f"SELECT * {_blank(schema, table, source)} FROM {name}"
    for belonging, gone in _BELONGS:
        if belonging <= set(columns):
            query += f" ANTI JOIN {gone} USING ({', '.join(sorted(belonging))})"
    if schema == "store" and table == "vocabularies":
        query += f" WHERE vocabulary <> '{STRINGS}' OR token_id NOT IN (FROM erased_tokens)"
    if schema == "store" and table == "steps":
        # Filters compared samples with those that go.
        query += " WHERE NOT starts_with(step, 'filter ')"
    return query


def _blank(schema: str, table: str, source: str | None) -> str:
    """Return what stands in place of a column that may hold something of what goes."""
    if schema != "store":
        return ""
    if table == "attempts":
        # One body may answer several requests.
        return (
            "REPLACE (CASE WHEN attempt_id IN (SELECT shared FROM erased_attempts) "
            "THEN ''::BLOB ELSE response END AS response)"
        )
    if table == "batches":
        return (
            "REPLACE (CASE WHEN batch_id IN (SELECT batch_id FROM corpus.store.batch_requests "
            "SEMI JOIN erased_requests USING (request_key)) THEN '' ELSE note END AS note)"
        )
    if table == "runs":
        return (
            "REPLACE (coalesce((SELECT e.options FROM erased_options e "
            "WHERE e.run_id = runs.run_id), options) AS options)"
        )
    if table == "sources" and source is not None:
        quoted = source.replace("'", "''")
        parts = ", ".join(
            f"CASE WHEN source_id = '{quoted}' THEN '{nothing}' ELSE {column} END AS {column}"
            for column, nothing in (("path", ""), ("sha256", ""), ("facts", "{}"))
        )
        return f"REPLACE ({parts})"
    return ""


def _read_options(corpus: Corpus, source: str) -> Iterator[Mapping[str, str]]:
    """Yield the options of runs that say more of `source` than its name, without that."""
    row = corpus.first("SELECT path FROM store.sources WHERE source_id = ?", [source])
    path = row[0] if row else ""
    for run_id, text in corpus.db.execute("SELECT run_id, options FROM store.runs").fetchall():
        options = json.loads(text)
        bare = _forget(options, source, path)
        if bare != options:
            yield {"run_id": run_id, "options": to_json(bare)}


def _forget(value: Json, source: str, path: str) -> Json:
    """Return `value` with nothing of the rows at `path` but what they are called."""
    if isinstance(value, Mapping):
        for name in ("name", "path"):
            if "path" in value and value.get(name) == source:
                return {name: source}
        return {name: _forget(each, source, path) for name, each in value.items()}
    if isinstance(value, list):
        return [_forget(each, source, path) for each in value]
    return "" if path and value == path else value


def _read_names(corpus: Corpus, source: str | None) -> Iterator[tuple[str, str]]:
    """Yield (kind, name) of what is to be remembered as erased."""
    if source is not None:
        yield "source", source
    for source_id, seed in corpus.db.execute("FROM erased_seeds").fetchall():
        yield "seed", f"{source_id}\0{seed}"
    versions = (
        "SELECT DISTINCT version FROM store.seeds SEMI JOIN erased_seeds USING (source_id, seed_id)"
    )
    for (version,) in corpus.db.execute(versions).fetchall():
        yield "row", version
    for (key,) in corpus.db.execute("SELECT request_key FROM erased_requests").fetchall():
        yield "request", key


def _find_unused_tokens(corpus: Corpus) -> list[int]:
    """Return the numbers of strings that only the log-probabilities that go have."""
    of = (
        "FROM store.token_logprobs {} JOIN erased_requests USING (request_key) "
        f"WHERE vocabulary = '{STRINGS}'"
    )
    gone = np.zeros(0, dtype=np.int64)
    for ids in _read_ids(corpus, of.format("SEMI")):
        gone = np.union1d(gone, ids)
    if gone.size:
        for ids in _read_ids(corpus, of.format("ANTI")):
            gone = np.setdiff1d(gone, ids)
            if not gone.size:
                break
    return [int(number) for number in gone]


def _read_ids(corpus: Corpus, query: str) -> Iterator["np.ndarray[tuple[int], np.dtype[np.int64]]"]:
    cursor = corpus.db.execute(f"SELECT blob {query}")
    while rows := cursor.fetchmany(_BLOBS):
        yield np.unique(np.concatenate([Positions.of(decode(blob)).ids for (blob,) in rows]))
