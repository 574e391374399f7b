"""Snapshots: which samples there were, and what was known of each, under one root.

Leaves are `SAMPLE_ID:RECORD_HASH` in the order of their ids, so that two neighbours with
nothing between them show that a sample is not there. Records are made as pages, and a
sample that is as it was keeps the record it has.
"""

import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import NamedTuple
from uuid import uuid4

from synthkd.corpus.evidence import chain, recording
from synthkd.corpus.evidence.canonical import plain
from synthkd.corpus.evidence.chain import Head, append_event, software
from synthkd.corpus.evidence.keys import Keys, read_keys
from synthkd.corpus.evidence.merkle import Tree
from synthkd.corpus.evidence.recording import Facts, Recorded
from synthkd.corpus.evidence.signing import SigningKey
from synthkd.corpus.evidence.statements import CORPUS, ROOT, digest_line, make_statement
from synthkd.corpus.rows import pages
from synthkd.corpus.store import Corpus
from synthkd.errors import ConfigError
from synthkd.records import Json, digest

EVERY = "SELECT sample_id FROM store.samples"
KEPT = """
    SELECT sample_id FROM store.samples s
    WHERE NOT EXISTS (FROM store.verdicts v WHERE v.sample_id = s.sample_id AND NOT v.keep)
"""
_PAGE = 2000  # samples whose texts are in memory at a time


class Snapshot(NamedTuple):
    """A snapshot; `is_new` is false where the same one had been taken before."""

    snapshot_id: str
    root: str
    samples: int
    statement: str
    is_new: bool


def take_snapshot(
    corpus: Corpus,
    purpose: str,
    query: str = KEPT,
    parameters: Sequence[object] = (),
    *,
    key: SigningKey | None = None,
) -> Snapshot:
    """Record the samples whose ids `query` tells, and put a root over them.

    The same samples, as they were, for the same purpose, are the snapshot that is there.

    Raises:
        ConfigError: The query tells no sample.
        CorpusError: The keys of the corpus are damaged, or cannot be written.
    """
    keys = read_keys(corpus.path)
    with _listing(corpus, query, parameters) as ids:
        leaves = [
            (each.sample_id, each.record_hash)
            for page in pages(ids, _PAGE)
            for each in _record(corpus, keys, page)
        ]
        if not leaves:
            raise ConfigError(
                f"there is no sample to take a snapshot of in {corpus.path}; "
                "`synthkd filter` shows what each filter dropped."
            )
        leaves.sort()
        root = Tree([spell_leaf(*leaf) for leaf in leaves]).root.hex()
        snapshot_id = digest([root, purpose])[:16]
        known = corpus.first(
            "SELECT statement FROM store.snapshots WHERE snapshot_id = ?", [snapshot_id]
        )
        if known:
            return Snapshot(snapshot_id, root, len(leaves), known[0], is_new=False)
        claims = {
            "snapshot": snapshot_id,
            "purpose": purpose,
            "selection": " ".join(query.split()),
            "parameters": list(parameters),
            "samples": len(leaves),
            **_describe(corpus),
        }
        with corpus.transaction():
            statement = _write(corpus, claims, leaves, root, key)
    return Snapshot(snapshot_id, root, len(leaves), statement, is_new=True)


def spell_leaf(sample_id: str, record_hash: str) -> bytes:
    """Return a leaf, as it is hashed."""
    return f"{sample_id}:{record_hash}".encode()


def read_leaves(corpus: Corpus, snapshot_id: str) -> list[tuple[str, str]]:
    """Return the leaves of a snapshot, (sample id, record hash), in their order."""
    return corpus.db.execute(
        "SELECT sample_id, record_hash FROM store.snapshot_leaves WHERE snapshot_id = ? "
        "ORDER BY sample_id, record_hash",
        [snapshot_id],
    ).fetchall()


def find_snapshot(corpus: Corpus, name: str) -> tuple[str, str, str]:
    """Return (id, root, statement) of the snapshot whose id or root begins with `name`.

    `last` is the one that was taken last.

    Raises:
        ConfigError: There is none, or several.
    """
    where = "" if name == "last" else "WHERE starts_with(snapshot_id, $1) OR starts_with(root, $1)"
    found = corpus.db.execute(
        f"SELECT snapshot_id, root, statement FROM store.snapshots {where} "
        "ORDER BY taken_at DESC, snapshot_id LIMIT 2",
        [] if name == "last" else [name],
    ).fetchall()
    if len(found) == 1 or (found and name == "last"):
        identity: tuple[str, str, str] = found[0]
        return identity
    if not corpus.first("SELECT 1 FROM store.snapshots LIMIT 1"):
        raise ConfigError(
            f"{corpus.path} holds no snapshot yet; take one: "
            f"synthkd snapshot --corpus {corpus.path}"
        )
    what = "several snapshots begin with" if found else "there is no snapshot"
    raise ConfigError(
        f"{what} {name!r} in {corpus.path}. List them with: "
        f'synthkd sql {corpus.path} "SELECT snapshot_id, purpose, samples, root FROM snapshots"'
    )


@contextmanager
def _listing(corpus: Corpus, query: str, parameters: Sequence[object]) -> Iterator[Iterator[str]]:
    """Keep the ids that a query tells for as long as they are worked on, and give them."""
    name = f"snapped_{uuid4().hex}"
    # As they were written, so that a page of texts stands in few places of the file.
    corpus.db.execute(
        f"CREATE TEMP TABLE {name} AS "
        "SELECT row_number() OVER (ORDER BY s.rowid) AS place, s.sample_id "
        f"FROM store.samples s SEMI JOIN ({query}) USING (sample_id)",
        list(parameters),
    )
    corpus.db.execute(f"CREATE OR REPLACE TEMP VIEW snapped AS SELECT sample_id FROM {name}")

    def read() -> Iterator[str]:
        start = 1
        while rows := corpus.db.execute(
            f"SELECT sample_id FROM {name} WHERE place BETWEEN ? AND ? ORDER BY place",
            [start, start + _PAGE - 1],
        ).fetchall():
            yield from (key for (key,) in rows)
            start += len(rows)

    try:
        yield read()
    finally:
        corpus.db.execute(f"DROP VIEW IF EXISTS snapped; DROP TABLE {name}")


def _record(corpus: Corpus, keys: Keys, sample_ids: Sequence[str]) -> list[Recorded]:
    """Return the records of a page of samples, and write those that are new."""
    versions = recording.read_records(corpus, sample_ids)
    known = {sample_id: records[-1] for sample_id, records in versions.items()}
    records = [
        _renew(facts, keys, known.get(facts.sample_id))
        for facts in recording.read_facts(corpus, sample_ids)
    ]
    # On the disk before anything is under them: a commitment whose key is lost is lost.
    keys.write()
    fresh = [each for each in records if each != known.get(each.sample_id)]
    corpus.insert("store.records", (each._asdict() for each in fresh))
    return records


def _renew(facts: Facts, keys: Keys, last: Recorded | None) -> Recorded:
    """Return the last record of a sample, if all is as it was, or its next one."""
    key = keys.get(facts.source, facts.subjects)
    key_id = key.key_id
    number = 1
    if last:
        body = last.body
        again = recording.make_record(
            facts, key.secret, key_id, salt=last.salt, number=body["version"],
            software=body["software"],
        )  # fmt: skip
        if again == last:
            return last
        number = body["version"] + 1
    return recording.make_record(
        facts, key.secret, key_id, salt=secrets.token_hex(16), number=number, software=software()
    )


def _describe(corpus: Corpus) -> dict[str, Json]:
    """Return the sources and the teachers of what was listed, with how many samples each made.

    A statement travels: what a client's sources are called stays out of it.
    """
    sources = corpus.db.execute(
        """
        SELECT CASE WHEN source_id IN (SELECT name FROM store.profiles WHERE client <> '')
            THEN '(a client''s)' ELSE source_id END AS name, count(*)
        FROM store.samples SEMI JOIN snapped USING (sample_id) GROUP BY name ORDER BY name
        """
    ).fetchall()
    teachers = corpus.db.execute(
        """
        SELECT role, name, host, license, terms, count(DISTINCT sample_id)
        FROM contributions SEMI JOIN snapped USING (sample_id)
        WHERE role NOT IN ('seed', 'prompt', 'few_shot') GROUP BY ALL ORDER BY ALL
        """
    ).fetchall()
    return {
        "sources": [{"name": name, "samples": count} for name, count in sources],
        "made_by": [
            {"role": role, "name": name, "host": host, "license": license_, "terms": terms,
             "samples": count}
            for role, name, host, license_, terms, count in teachers
        ],
    }  # fmt: skip


def _write(
    corpus: Corpus,
    claims: dict[str, Json],
    leaves: Sequence[tuple[str, str]],
    root: str,
    key: SigningKey | None,
) -> str:
    """Write a snapshot and its event; return its statement."""
    head: Head = chain.read_head(corpus)
    before = corpus.first("SELECT root FROM store.snapshots ORDER BY taken_at DESC LIMIT 1")
    taken_at = datetime.now(UTC)
    claims = plain(
        {
            **claims,
            "root": root,
            "previous_root": before[0] if before else "",
            "events": {"seq": head.seq, "hash": head.hash},
            "taken_at": taken_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "software": software(),
        }
    )
    snapshot_id = claims["snapshot"]
    statement = make_statement([(snapshot_id, {ROOT: root})], CORPUS, claims, key)
    corpus.insert(
        "store.snapshots",
        [
            {
                "snapshot_id": snapshot_id,
                "purpose": claims["purpose"],
                "samples": len(leaves),
                "root": root,
                "previous_root": claims["previous_root"],
                "statement": statement,
                "taken_at": taken_at,
            }
        ],
    )
    for page in pages(leaves, 100_000):
        corpus.insert(
            "store.snapshot_leaves",
            (
                {"snapshot_id": snapshot_id, "sample_id": sample, "record_hash": record}
                for sample, record in page
            ),
        )
    told = {"root": root, "samples": len(leaves), "purpose": claims["purpose"],
            "statement": digest_line(statement)}  # fmt: skip
    append_event(corpus, "snapshot", snapshot_id, told)
    return statement
