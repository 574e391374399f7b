"""Proofs: that a sample, or what came from a source, is in a snapshot or is not.

A proof is one sealed line that holds the snapshot's statement, so it is checked by itself: with
it in hand nobody needs the corpus. Leaves stand in the order of their sample ids, so that two
neighbours with nothing between them prove that a sample is not there, whatever its record.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from synthkd.corpus.evidence.canonical import seal, unseal
from synthkd.corpus.evidence.merkle import Tree, is_included
from synthkd.corpus.evidence.recording import hash_record
from synthkd.corpus.evidence.report import Damage, Report
from synthkd.corpus.evidence.signing import PublicKey
from synthkd.corpus.evidence.snapshots import find_snapshot, read_leaves, spell_leaf
from synthkd.corpus.evidence.statements import Opened, open_statement
from synthkd.corpus.store import Corpus
from synthkd.errors import ConfigError
from synthkd.records import Json

_SCHEMA = "synthkd/proof/1"
_SOURCES = ("seed", "few_shot")  # the roles in which a source has a part

Leaf = tuple[str, str]


def prove_sample(corpus: Corpus, sample_id: str, snapshot: str) -> str:
    """Return the proof that a sample is in a snapshot, or that it is not.

    Raises:
        ConfigError: There is no such snapshot, or its leaves are not under its root.
    """
    leaves, tree, statement = _read_tree(corpus, snapshot)
    places = [at for at, (key, _) in enumerate(leaves) if key == sample_id]
    if places:
        records = _read_records(corpus, [leaves[at] for at in places])
        shown = [
            {**_show(leaves, tree, at), "record": record}
            for at, record in zip(places, records, strict=True)
        ]
    else:
        after = sum(key < sample_id for key, _ in leaves)
        neighbours = [at for at in (after - 1, after) if 0 <= at < len(leaves)]
        shown = [_show(leaves, tree, at) for at in neighbours]
    return seal(
        {
            "schema": _SCHEMA,
            "of": "sample",
            "name": sample_id,
            "included": "yes" if places else "no",
            "leaves": shown,
            "snapshot": statement,
        }
    )


def prove_source(corpus: Corpus, source: str, snapshot: str) -> str:
    """Return the proof of which samples that came from `source` are in a snapshot, or that none is.

    It holds all leaves of the snapshot, and the records of those samples; where none is in it,
    the ids of those that are known to have come from the source.

    Raises:
        ConfigError: There is no such source or snapshot, or its leaves are not under its root.
    """
    known = {
        key
        for (key,) in corpus.db.execute(
            """
            SELECT sample_id FROM store.samples WHERE source_id = $1
            UNION SELECT sample_id FROM contributions WHERE name = $1 AND role IN $2
            UNION SELECT sample_id FROM store.records
            WHERE json_extract_string(record, '$.source') = $1 OR len(list_filter(
                from_json(json_extract(record, '$.contributions'),
                    '[{"role":"VARCHAR","name":"VARCHAR"}]'),
                lambda c: c.name = $1 AND c.role IN $2)) > 0
            """,
            [source, list(_SOURCES)],
        ).fetchall()
    }
    if not known:
        raise ConfigError(
            f"no sample in {corpus.path} is known to come from {source!r}. List sources with: "
            f'synthkd sql {corpus.path} "SELECT DISTINCT source_id FROM samples"'
        )
    leaves, _, statement = _read_tree(corpus, snapshot)
    found = [leaf for leaf in leaves if leaf[0] in known]
    return seal(
        {
            "schema": _SCHEMA,
            "of": "source",
            "name": source,
            "included": "yes" if found else "no",
            "leaves": [spell_leaf(*leaf).decode() for leaf in leaves],
            "samples": [] if found else sorted(known),
            "records": _read_records(corpus, found),
            "snapshot": statement,
        }
    )


def is_proof(path: Path) -> bool:
    """Return whether a file says of itself that it is a proof."""
    with path.open("rb") as file:
        if file.read(2) != b'{"':
            return False  # a sealed line has no space in it, as descriptions in JSON do
        file.seek(max(path.stat().st_size - 4096, 0))
        return b'"synthkd/proof/' in file.read() or path.suffix == ".json"


def check_proof(path: Path, public: PublicKey | None = None) -> Report:
    """Return what is found of a proof: it stands or falls by itself and its statement."""
    report = Report(str(path), "proof")
    try:
        proof = unseal(path.read_bytes().removesuffix(b"\n"))
        statement = open_statement(proof["snapshot"], public)
        said = statement.predicate
        shown = (
            f"{_check(proof, statement)} the snapshot {said['snapshot']} "
            f"({said['purpose'] or 'no purpose stated'}, {said['samples']} samples, "
            f"taken {said['taken_at']}, root {statement.root})"
        )
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        report.damages.append(Damage(path.name, f"it proves nothing: {error}"))
        return report
    report.notes.append(shown)
    report.tell_signer("the snapshot's statement", statement)
    report.checked["leaves"] = len(proof["leaves"])
    report.roots.add(statement.root)
    return report


def _check(proof: dict[str, Any], statement: Opened) -> str:
    """Return what a proof proves.

    Raises:
        ValueError, KeyError, TypeError, IndexError, AttributeError: It proves nothing.
    """
    if proof["schema"] != _SCHEMA:
        raise ValueError("it is no proof that this synthkd knows")
    root = bytes.fromhex(statement.root)
    check = {"sample": _check_sample, "source": _check_source}[proof["of"]]
    return check(proof, statement, root)


def _check_sample(proof: dict[str, Any], statement: Opened, root: bytes) -> str:
    name, size = proof["name"], statement.predicate["samples"]
    leaves = [_check_leaf(each, size, root) for each in proof["leaves"]]
    if proof["included"] == "yes":
        if not leaves or any(key != name for _, key in leaves):
            raise ValueError("a leaf in it is of another sample")
        for each in proof["leaves"]:
            if hash_record(each["record"]) != each["record_hash"]:
                raise ValueError("a record in it is not what its leaf says")
        return f"the sample {name} is in"
    before = [place for place, key in leaves if key < name]
    after = [place for place, key in leaves if key > name]
    last = before[-1] if before else -1
    if last + 1 != (after[0] if after else size) or len(before) + len(after) != len(leaves):
        raise ValueError("its leaves are no neighbours around that sample")
    return f"the sample {name} is not in"


def _check_source(proof: dict[str, Any], statement: Opened, root: bytes) -> str:
    leaves: list[str] = proof["leaves"]
    ids = [leaf.partition(":")[0] for leaf in leaves]
    if len(leaves) != statement.predicate["samples"] or ids != sorted(ids):
        raise ValueError("its leaves are not those of the snapshot")
    if Tree([leaf.encode() for leaf in leaves]).root != root:
        raise ValueError("its leaves are not under the root")
    if proof["included"] == "yes":
        there, records = set(leaves), proof["records"]
        for record in records:
            body = json.loads(record)
            if f"{body['sample_id']}:{hash_record(record)}" not in there:
                raise ValueError("a record in it is not among the leaves")
            if not _is_from(body, proof["name"]):
                raise ValueError("a record in it is of another source")
        if not records:
            raise ValueError("it holds no record")
        return f"{len(records)} samples that came from {proof['name']} are in"
    if not set(ids).isdisjoint(proof["samples"]):
        raise ValueError("a sample that it names is among the leaves")
    return f"none of the {len(proof['samples'])} samples known to come from {proof['name']} is in"


def _is_from(body: dict[str, Any], source: str) -> bool:
    return body["source"] == source or any(
        each["name"] == source and each["role"] in _SOURCES for each in body["contributions"]
    )


def _check_leaf(shown: dict[str, Any], size: int, root: bytes) -> tuple[int, str]:
    """Return (place, sample id) of a leaf whose path leads to the root."""
    path = [bytes.fromhex(each) for each in shown["path"]]
    leaf = spell_leaf(shown["sample_id"], shown["record_hash"])
    if not is_included(leaf, shown["index"], size, path, root):
        raise ValueError(f"the leaf of {shown['sample_id']} is not under the root")
    return shown["index"], shown["sample_id"]


def _read_tree(corpus: Corpus, name: str) -> tuple[list[Leaf], Tree, str]:
    snapshot_id, root, statement = find_snapshot(corpus, name)
    leaves = read_leaves(corpus, snapshot_id)
    tree = Tree([spell_leaf(*leaf) for leaf in leaves])
    if tree.root.hex() != root:
        raise ConfigError(
            f"the leaves of the snapshot {snapshot_id} are not under its root, so nothing can be "
            f"proved. Say what is damaged with: synthkd verify {corpus.path}"
        )
    return leaves, tree, statement


def _show(leaves: Sequence[Leaf], tree: Tree, at: int) -> dict[str, Json]:
    sample_id, record_hash = leaves[at]
    return {
        "index": at,
        "sample_id": sample_id,
        "record_hash": record_hash,
        "path": [each.hex() for each in tree.prove(at)],
    }


def _read_records(corpus: Corpus, leaves: Sequence[Leaf]) -> list[str]:
    """Return the records under `leaves`, in their order."""
    wanted = [record_hash for _, record_hash in leaves]
    found = dict(
        corpus.db.execute(
            "SELECT record_hash, record FROM store.records "
            "WHERE record_hash IN (SELECT unnest(?::VARCHAR[]))",
            [wanted],
        ).fetchall()
    )
    return [found[each] for each in wanted if each in found]
