"""`snapshot`, `prove` and `verify`, as a user meets them."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519

from synthkd.corpus.evidence.handing import seal_student
from synthkd.corpus.evidence.signing import VARIABLE
from synthkd.corpus.store import open_corpus, read_corpus
from tests.cli.conftest import Said
from tests.corpus.evidence.making import flip, make_corpus
from tests.corpus.evidence.test_handing import add_student
from tests.corpus.evidence.test_statements import write_pair

Synthkd = Callable[..., Said]


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv(VARIABLE, raising=False)
    return make_corpus(tmp_path / "c.duckdb")


def test_a_snapshot_is_taken_once_and_tells_what_to_keep(synthkd: Synthkd, path: Path) -> None:
    first = synthkd("snapshot", "--corpus", path, "--purpose", "handed over")
    again = synthkd("snapshot", "--corpus", path, "--purpose", "handed over", "--json")

    taken = json.loads(again.out)
    assert first.code == again.code == 0
    assert first.out.splitlines() == [
        f"snapshot {taken['snapshot_id']}: 4 samples",
        f"root {taken['root']}",
        f"head {taken['head']}",
    ]
    assert "It is not signed" in first.err
    assert taken["is_new"] is False


def test_a_proof_goes_to_whoever_has_no_corpus(
    synthkd: Synthkd, path: Path, tmp_path: Path
) -> None:
    secret, public = write_pair(tmp_path, ed25519.Ed25519PrivateKey.generate())
    taken = json.loads(synthkd("snapshot", "--corpus", path, "--key", secret, "--json").out)
    with read_corpus(path) as corpus:
        (inside,) = corpus.first("SELECT min(sample_id) FROM kept")
    proof = tmp_path / "proof.json"
    made = synthkd("prove", "--corpus", path, "--sample", inside, "--in", "last", "--out", proof)
    path.unlink()

    told = synthkd("verify", proof, "--key", public, "--root", taken["root"])

    assert made.out == f"{proof}: {inside} is in the snapshot\n"
    assert told.code == 0
    assert f"the sample {inside} is in the snapshot {taken['snapshot_id']}" in told.out
    assert synthkd("verify", proof, "--root", "0" * 64).code == 2
    flip(proof, 300)
    assert synthkd("verify", proof).code == 2


def test_a_source_is_proved_on_standard_output(synthkd: Synthkd, path: Path) -> None:
    synthkd("snapshot", "--corpus", path)
    proof = synthkd("prove", "--corpus", path, "--source", "tickets", "--in", "last")

    assert json.loads(proof.out)["included"] == "yes"
    assert synthkd("prove", "--corpus", path, "--in", "last").code == 2


def test_a_whole_corpus_is_0_and_a_damaged_one_2(synthkd: Synthkd, path: Path) -> None:
    synthkd("snapshot", "--corpus", path)
    whole = synthkd("verify", path)
    flip(path, 40_000)
    damaged = synthkd("verify", path, "--json")

    assert (whole.code, damaged.code) == (0, 2)
    assert "It does not show that what was declared is true" in whole.out
    assert "head 1:" in whole.out
    facts = json.loads(damaged.out)
    assert facts["whole"] is False
    assert "bytes 28672 to 45055" in facts["damages"][0]["where"]


def test_a_student_is_checked_with_the_key_of_who_made_it(
    synthkd: Synthkd, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret, public = write_pair(tmp_path, ed25519.Ed25519PrivateKey.generate())
    monkeypatch.setenv(VARIABLE, str(secret))
    from synthkd.corpus.evidence.signing import read_signing_key

    with open_corpus(path) as corpus:
        add_student(corpus, tmp_path / "student")
        seal_student(corpus, "s1", tmp_path / "student", key=read_signing_key())

    assert synthkd("verify", tmp_path / "student", "--key", public).code == 0
    flip(tmp_path / "student" / "model.safetensors", 7)
    told = synthkd("verify", tmp_path / "student")
    assert told.code == 2
    assert "  model.safetensors: it is not the file that was sealed\n" in told.out


def test_what_has_no_evidence_is_a_sentence(synthkd: Synthkd, tmp_path: Path) -> None:
    told = synthkd("verify", tmp_path)

    assert told.code == 2
    assert "so there is nothing to check it by" in told.err
    assert synthkd("verify", tmp_path / "gone").code == 2
    assert (
        synthkd("prove", "--corpus", tmp_path / "gone", "--sample", "a", "--in", "last").code == 2
    )


@pytest.mark.parametrize("form", ["jsonl", "parquet", "datasets"])
def test_an_export_is_bound_to_the_corpus_and_says_nothing_of_who_gets_it(
    synthkd: Synthkd, path: Path, tmp_path: Path, form: str
) -> None:
    out = tmp_path / "export" / form
    made = synthkd(
        "export", "--corpus", path, "--format", form, "--out", out, "--recipient", "acme"
    )
    whole = synthkd("verify", out)
    with read_corpus(path) as corpus:
        written = corpus.first("SELECT recipient, format, samples FROM exports")
    files = [each for each in out.parent.rglob("*") if each.is_file()]

    assert (made.code, whole.code, written) == (0, 0, ("acme", form, 4))
    assert not any(b"acme" in each.read_bytes() for each in files)
    (data,) = [each for each in files if each.suffix == ".parquet" or each == out]
    flip(data, 9)
    assert synthkd("verify", out).code == 2
    assert synthkd("verify", path).code == 0


def test_the_beginning_of_an_id_is_never_proved_to_be_absent(synthkd: Synthkd, path: Path) -> None:
    synthkd("snapshot", "--corpus", path)
    with read_corpus(path) as corpus:
        (whole,) = corpus.first("SELECT min(sample_id) FROM kept")
    words = ("prove", "--corpus", path, "--in", "last", "--sample")

    begun, none = synthkd(*words, whole[:9]), synthkd(*words, "customer")
    absent = synthkd(*words, "0" * 16)

    assert json.loads(begun.out)["name"] == whole
    assert json.loads(begun.out)["included"] == "yes"
    assert none.code == 2
    assert "no sample begins with 'customer'" in none.err
    assert json.loads(absent.out)["included"] == "no"


def test_a_snapshot_that_was_never_taken_is_told_how_to_take(synthkd: Synthkd, path: Path) -> None:
    told = synthkd("prove", "--corpus", path, "--sample", "0" * 16, "--in", "last")

    assert told.code == 2
    assert f"{path} holds no snapshot yet; take one: synthkd snapshot" in told.err


@pytest.mark.parametrize("option", ["--head", "--root"])
def test_a_hash_that_was_not_copied_whole_accuses_no_corpus(
    synthkd: Synthkd, path: Path, option: str
) -> None:
    told = synthkd("verify", path, option, "18:deada")

    assert (told.code, told.out) == (2, "")
    assert "nothing was checked" in told.err


def test_a_description_is_no_damaged_proof(synthkd: Synthkd, tmp_path: Path) -> None:
    path = tmp_path / "small.cdx.json"
    path.write_text('{\n  "bomFormat": "CycloneDX"\n}\n')

    told = synthkd("verify", path)

    assert told.code == 2
    assert "is no corpus and no proof" in told.err
