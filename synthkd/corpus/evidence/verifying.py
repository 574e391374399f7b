"""Verifying a corpus: from the bytes of its file up to the texts that records commit to.

    bytes ─► requests and raw answers ─► events ─► records ─► leaves ─► roots ─► statements
                                                      └─► texts, where their keys are there

Nothing is repaired, and nothing is asked of anybody: it works offline. What is in no snapshot
yet is held only by the checksums of the file.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import duckdb

from synthkd.corpus.connection import NAME, connect
from synthkd.corpus.evidence import chain
from synthkd.corpus.evidence.agreement import check_agreement
from synthkd.corpus.evidence.answers import (
    check_answers,
    check_profiles,
    check_prompts,
    check_requests,
    check_rows,
)
from synthkd.corpus.evidence.blocks import BadBlock, is_database, scan
from synthkd.corpus.evidence.merkle import Tree
from synthkd.corpus.evidence.proving import check_proof, is_proof
from synthkd.corpus.evidence.recording import hash_record
from synthkd.corpus.evidence.report import Damage, Report
from synthkd.corpus.evidence.sealing import IN_FOLDER, SUFFIX, check_seal, find_seal
from synthkd.corpus.evidence.signing import PublicKey
from synthkd.corpus.evidence.snapshots import read_leaves, spell_leaf
from synthkd.corpus.evidence.statements import Opened, digest_line, open_statement
from synthkd.corpus.evidence.texts import check_texts
from synthkd.corpus.store import Corpus, read_corpus
from synthkd.errors import ConfigError, CorpusError

_UNSETTLED = {
    ".wal": "what a process left unfinished is in it, and only DuckDB looked at that",
    ".journal": "answers in it were taken in first",
}
_PAGE = 10_000  # rows of events and records that are read at a time


def verify(
    path: Path, *, public: PublicKey | None = None, head: str = "", root: str = ""
) -> Report:
    """Return what is found of a corpus, of what was sealed, or of a proof.

    Every statement must be signed by `public`, if that is given. `head` is an event's hash and
    `root` a snapshot's, both kept elsewhere: what is verified must still hold them.

    Raises:
        ConfigError: It is none of these; or there is a `head`, and it is no corpus.
        CorpusError: It is held by a process that writes, or from a newer synthkd.
    """
    sealed = find_seal(path)
    if path.is_file() and (is_database(path) or path.suffix == ".duckdb"):
        report = verify_corpus(path, public=public, head=head)
    elif head:
        raise ConfigError(f"{path} is no corpus, and has no events: leave --head out.")
    elif sealed:
        report = check_seal(sealed, public)
    elif path.is_file() and is_proof(path):
        report = check_proof(path, public)
    elif path.is_file() and scan(path).is_known:
        report = verify_corpus(path, public=public)
    else:
        raise ConfigError(
            f"{path} is no corpus and no proof, and has no statement beside it ({IN_FOLDER} in a "
            f"folder, FILE{SUFFIX} beside a file), so there is nothing to check it by. "
            "`synthkd train` and `synthkd export` write one."
        )
    if root and root not in report.roots and report.is_whole:
        report.damages.append(Damage(str(path), f"it holds no snapshot of the root {root}"))
    return report


def verify_corpus(path: Path, *, public: PublicKey | None = None, head: str = "") -> Report:
    """Return what is found of the corpus at `path`; options as those of `verify`.

    Raises:
        CorpusError: It is held by a process that writes, or from a newer synthkd.
    """
    report = Report(str(path), "corpus")
    for suffix, what in _UNSETTLED.items():
        beside = path.with_name(path.name + suffix)
        if beside.is_file() and beside.stat().st_size:
            report.notes.append(f"{beside.name} is there: {what}")
    found = scan(path)
    report.checked["bytes"] = found.size
    places = _locate(path, found.bad) if found.bad else {}
    if bad := [each for each in found.bad if not each.is_missing or each.block in places]:
        report.damages += [_tell(each, places) for each in bad]
        report.notes.append("The rest can be checked when the file is whole: restore a copy.")
        return report
    if not found.is_known and not is_database(path):
        report.damages.append(Damage(f"bytes 0 to {found.size}", "it is no DuckDB file any more"))
        return report
    if not found.is_known:
        report.notes.append(
            "The checksums of its blocks are not written in a way that is known here: only what "
            "is read below was checked, by DuckDB."
        )
    try:
        with read_corpus(path) as corpus:
            check_requests(corpus, report)
            check_rows(corpus, report)
            check_answers(corpus, report)
            check_profiles(corpus, report)
            check_prompts(corpus, report)
            _check_events(corpus, report, head)
            check_agreement(corpus, report)
            _check_records(corpus, report)
            _check_snapshots(corpus, report, public)
            check_texts(corpus, report)
    except (CorpusError, duckdb.Error) as error:
        if found.is_known:
            raise
        report.damages.append(Damage(str(path), str(error)))
    return report


def _check_events(corpus: Corpus, report: Report, head: str) -> None:
    rows = _page(corpus, "SELECT seq, event, hash FROM store.events ORDER BY seq")
    for seq, what in chain.check_events(rows):
        report.damages.append(Damage(f"store.events, event {seq}", what))
    last = chain.read_head(corpus)
    report.checked["events"] = last.seq
    report.head = str(last)
    kept = head.rpartition(":")[2]
    if kept and not corpus.first("SELECT 1 FROM store.events WHERE hash = ?", [kept]):
        what = f"no event has the hash {kept}: the chain was rewritten, or cut"
        report.damages.append(Damage("store.events", what))


def _check_records(corpus: Corpus, report: Report) -> None:
    count = 0
    for given, sample_id, record in _page(
        corpus, "SELECT record_hash, sample_id, record FROM store.records"
    ):
        count += 1
        if hash_record(record) != given:
            where = f"store.records, record {given[:16]} of sample {sample_id}"
            report.damages.append(Damage(where, "it is not what its hash says"))
        elif f'"sample_id":"{sample_id}"' not in record:
            where = f"store.records, record {given[:16]}"
            report.damages.append(Damage(where, f"it is not of the sample {sample_id}"))
    report.checked["records"] = count
    for snapshot_id, sample_id, given in corpus.db.execute(
        "SELECT snapshot_id, sample_id, record_hash FROM store.snapshot_leaves l "
        "ANTI JOIN store.records r USING (sample_id, record_hash)"
    ).fetchall():
        where = f"store.snapshot_leaves, sample {sample_id} of snapshot {snapshot_id}"
        report.damages.append(Damage(where, f"there is no record {given[:16]} of it"))


class _Row(NamedTuple):
    """A snapshot as it stands in its table."""

    snapshot_id: str
    purpose: str
    samples: int
    root: str
    previous_root: str
    statement: str


def _check_snapshots(corpus: Corpus, report: Report, public: PublicKey | None) -> None:
    rows = corpus.db.execute(
        f"SELECT {', '.join(_Row._fields)} FROM store.snapshots ORDER BY taken_at, snapshot_id"
    ).fetchall()
    report.checked["snapshots"] = len(rows)
    for row in (_Row(*each) for each in rows):
        where = f"store.snapshots, snapshot {row.snapshot_id}"
        report.roots.add(row.root)
        wrong = [*_check_leaves(corpus, row), *_check_place(corpus, row)]
        try:
            opened = open_statement(row.statement, public)
        except ValueError as error:
            wrong.append(f"its statement: {error}")
        else:
            report.tell_signer(f"snapshot {row.snapshot_id}", opened)
            wrong += _check_statement(corpus, row, opened)
        report.damages += [Damage(where, what) for what in wrong]


def _check_leaves(corpus: Corpus, row: _Row) -> Iterator[str]:
    leaves = read_leaves(corpus, row.snapshot_id)
    root = Tree([spell_leaf(*leaf) for leaf in leaves]).root.hex()
    if len(leaves) != row.samples or root != row.root:
        yield "its leaves are not under its root"


def _check_place(corpus: Corpus, row: _Row) -> Iterator[str]:
    """Check that a snapshot stands in the chain with the statement that it has."""
    told = corpus.db.execute(
        "SELECT event -> 'payload' ->> 'statement' FROM ("
        "SELECT TRY_CAST(event AS JSON) AS event FROM store.events) "
        "WHERE event ->> 'type' = 'snapshot' AND event ->> 'subject' = ?",
        [row.snapshot_id],
    ).fetchall()
    if (digest_line(row.statement),) not in told:
        yield "no event tells of its statement"


def _check_statement(corpus: Corpus, row: _Row, opened: Opened) -> Iterator[str]:
    given = {"snapshot": row.snapshot_id, "purpose": row.purpose, "samples": row.samples,
             "root": row.root, "previous_root": row.previous_root}  # fmt: skip
    try:
        said, root = opened.predicate, opened.root
        head = chain.Head(int(said["events"]["seq"]), said["events"]["hash"])
    except (ValueError, KeyError, TypeError):
        yield "it is not what its statement says"
        return
    if root != row.root or any(said.get(name) != value for name, value in given.items()):
        yield "it is not what its statement says"
    before = corpus.first("SELECT hash FROM store.events WHERE seq = ?", [head.seq])
    if head.seq and before != (head.hash,):
        yield "the events that it was taken after are not there"


def _page(corpus: Corpus, query: str) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of a query, a page in memory at a time."""
    cursor = corpus.cursor()
    try:
        reading = cursor.execute(query)
        while rows := reading.fetchmany(_PAGE):
            yield from rows
    finally:
        cursor.close()


def _tell(bad: BadBlock, places: dict[int, str]) -> Damage:
    what = "header" if bad.block < 0 else f"block {bad.block}"
    if bad.is_missing:
        return Damage(
            what, f"the file ends before it, at byte {bad.end}; it held {places[bad.block]}"
        )
    where = f"{what}, bytes {bad.start} to {bad.end - 1}"
    holds = f"; it holds {places[bad.block]}" if bad.block in places else ""
    return Damage(where, f"its checksum is wrong{holds}")


def _locate(path: Path, bad: list[BadBlock]) -> dict[int, str]:
    """Return what damaged blocks hold, as far as DuckDB can still tell.

    Of a block that is missing nothing is said where DuckDB counts it as free.
    """
    blocks = [each.block for each in bad]
    places: dict[int, str] = {}
    try:
        db = connect(path, read_only=True)
    except CorpusError:
        return {each.block: "what cannot be told any more" for each in bad if each.is_missing}
    try:
        for schema, table in db.execute(
            "SELECT schema_name, table_name FROM duckdb_tables() WHERE database_name = ?", [NAME]
        ).fetchall():
            for column, block, more in db.execute(
                "SELECT DISTINCT column_name, block_id, additional_block_ids "
                f"FROM pragma_storage_info('{schema}.{table}')"
            ).fetchall():
                for each in {block, *more}.intersection(blocks):
                    places[each] = f"{schema}.{table}, column {column}"
        for (block,) in db.execute("SELECT block_id FROM pragma_metadata_info()").fetchall():
            if block in blocks:
                places[block] = "the descriptions of tables"
        missing = [each.block for each in bad if each.is_missing and each.block not in places]
        ((free,),) = db.execute(
            "SELECT free_blocks FROM pragma_database_size() WHERE database_name = ?", [NAME]
        ).fetchall()
        if len(missing) <= free:
            blocks = [block for block in blocks if block not in missing]
    except duckdb.Error:
        pass  # what can be told is told
    finally:
        db.close()
    return dict.fromkeys(blocks, "an index, or nothing that is in use") | places
