"""A proof is believed without the corpus, and proves nothing else than it says."""

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from synthkd.corpus.evidence.canonical import seal, unseal
from synthkd.corpus.evidence.proving import check_proof, prove_sample, prove_source
from synthkd.corpus.evidence.snapshots import EVERY, take_snapshot
from synthkd.corpus.evidence.statements import CORPUS, ROOT, make_statement, open_statement
from synthkd.corpus.store import open_corpus, read_corpus
from synthkd.errors import ConfigError
from tests.corpus.evidence.making import flip, make_corpus


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = make_corpus(tmp_path_factory.mktemp("proving") / "c.duckdb", 9)
    with open_corpus(path) as corpus:
        take_snapshot(corpus, "the first", EVERY + " WHERE sample_id > '4'")
        take_snapshot(corpus, "kept")
    return path


@pytest.fixture(scope="module")
def proof(path: Path) -> str:
    with read_corpus(path) as corpus:
        return prove_sample(corpus, ids(path)[3], "last")


def write(tmp_path: Path, proof: str) -> Path:
    (tmp_path / "proof.json").write_text(proof + "\n")
    return tmp_path / "proof.json"


def ids(path: Path) -> list[str]:
    with read_corpus(path) as corpus:
        rows = corpus.db.execute("SELECT sample_id FROM store.samples ORDER BY 1").fetchall()
    return [key for (key,) in rows]


def test_every_sample_is_proved_to_be_in_or_not(path: Path, tmp_path: Path) -> None:
    with read_corpus(path) as corpus:
        kept = {key for (key,) in corpus.db.execute("SELECT sample_id FROM kept").fetchall()}
        proofs = {key: prove_sample(corpus, key, "last") for key in ids(path)}

    for key, proof in proofs.items():
        report = check_proof(write(tmp_path, proof))
        word = "is in" if key in kept else "is not in"
        assert report.is_whole
        assert report.notes[0].startswith(f"the sample {key} {word} the snapshot ")


@pytest.mark.parametrize("name", ["", "0", "8", "zzzz"])
def test_a_sample_that_never_was_is_proved_not_to_be_in(
    path: Path, tmp_path: Path, name: str
) -> None:
    with read_corpus(path) as corpus:
        report = check_proof(write(tmp_path, prove_sample(corpus, name, "last")))

    assert report.is_whole
    assert report.notes[0].startswith(f"the sample {name} is not in")


def test_a_source_is_proved_by_all_leaves(path: Path, tmp_path: Path) -> None:
    with read_corpus(path) as corpus:
        report = check_proof(write(tmp_path, prove_source(corpus, "tickets", "last")))
        with pytest.raises(ConfigError, match=r"no sample .* is known to come from 'ticket'"):
            prove_source(corpus, "ticket", "last")

    assert report.is_whole
    assert report.notes[0].startswith("8 samples that came from tickets are in")


def test_a_source_is_proved_not_to_be_in(tmp_path: Path) -> None:
    path = make_corpus(tmp_path / "c.duckdb")
    with open_corpus(path) as corpus:
        corpus.db.execute("UPDATE store.samples SET source_id = 'mail' WHERE seed_id LIKE '%4%'")
        corpus.db.execute("UPDATE store.seeds SET source_id = 'mail' WHERE seed_id LIKE '%4%'")
        take_snapshot(corpus, "kept")
        report = check_proof(write(tmp_path, prove_source(corpus, "mail", "last")))

    assert report.is_whole
    assert report.notes[0].startswith("none of the 1 samples known to come from mail is in")


@given(st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
def test_a_flipped_byte_in_a_proof_is_found(
    proof: str, tmp_path: Path, data: st.DataObject
) -> None:
    file = write(tmp_path, proof)
    at = data.draw(st.integers(0, len(proof) - 1))
    flip(file, at, data.draw(st.integers(1, 127)))

    assert not check_proof(file).is_whole


@pytest.mark.parametrize(
    "forge",
    [
        pytest.param(lambda proof: {**proof, "name": "0" * 16}, id="another-sample"),
        pytest.param(lambda proof: {**proof, "included": "no"}, id="not-in"),
        pytest.param(lambda proof: {**proof, "leaves": []}, id="no-leaf"),
        pytest.param(
            lambda proof: {**proof, "leaves": [{**proof["leaves"][0], "index": 0}]}, id="elsewhere"
        ),
        pytest.param(
            lambda proof: {
                **proof,
                "leaves": [
                    {**each, "record": each["record"].replace("unknown", "MIT")}
                    for each in proof["leaves"]
                ],
            },
            id="another-record",
        ),
        pytest.param(lambda proof: {**proof, "snapshot": "{}"}, id="no-statement"),
        pytest.param(lambda proof: {"schema": "synthkd/proof/1"}, id="nothing"),
    ],
)
def test_a_forged_proof_proves_nothing(path: Path, tmp_path: Path, forge: object) -> None:
    with read_corpus(path) as corpus:
        kept = corpus.first("SELECT max(sample_id) FROM kept")[0]
        proof = unseal(prove_sample(corpus, kept, "last"))

    report = check_proof(write(tmp_path, seal(forge(proof))))

    assert [damage.what.startswith("it proves nothing") for damage in report.damages] == [True]


def test_a_statement_that_tells_two_roots_proves_nothing(path: Path, tmp_path: Path) -> None:
    with read_corpus(path) as corpus:
        proof = unseal(prove_sample(corpus, "0", "last"))
    statement = open_statement(proof["snapshot"])
    said = statement.predicate
    digests = [(said["snapshot"], {ROOT: said["root"]})]
    forged = make_statement(digests, CORPUS, {**said, "root": "0" * 64})

    report = check_proof(write(tmp_path, seal({**proof, "snapshot": forged})))

    assert (report.is_whole, report.roots) == (False, set())


def test_one_that_is_in_cannot_be_shown_not_to_be(path: Path, tmp_path: Path) -> None:
    with read_corpus(path) as corpus:
        kept = [
            key for (key,) in corpus.db.execute("SELECT sample_id FROM kept ORDER BY 1").fetchall()
        ]
        absent = unseal(prove_sample(corpus, kept[2] + "x", "last"))
        leaves = [
            unseal(prove_sample(corpus, key, "last"))["leaves"][0] for key in (kept[1], kept[3])
        ]
        forged = {**absent, "name": kept[2], "leaves": leaves}

    (damage,) = check_proof(write(tmp_path, seal(forged))).damages

    assert "no neighbours" in damage.what


def test_leaves_that_are_not_under_their_root_prove_nothing(tmp_path: Path) -> None:
    path = make_corpus(tmp_path / "c.duckdb")
    with open_corpus(path) as corpus:
        take_snapshot(corpus, "kept")
        corpus.db.execute("DELETE FROM store.snapshot_leaves WHERE sample_id = "
                          "(SELECT min(sample_id) FROM store.snapshot_leaves)")  # fmt: skip
        with pytest.raises(ConfigError, match="are not under its root"):
            prove_sample(corpus, "x", "last")


def test_a_proof_has_no_text_in_it(path: Path) -> None:
    with read_corpus(path) as corpus:
        proofs = prove_source(corpus, "tickets", "last") + prove_sample(
            corpus, ids(path)[0], "last"
        )

    assert "question " not in proofs
    assert "answer " not in proofs
    assert json.loads(proofs[: proofs.index("}{") + 1] if "}{" in proofs else proofs)
