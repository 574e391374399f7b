"""Statements are in-toto's, in an envelope of DSSE, and only what was signed is believed."""

import base64
import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization as pem
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from google.protobuf import json_format
from hypothesis import given
from hypothesis import strategies as st
from in_toto_attestation.v1 import statement_pb2
from in_toto_attestation.v1.statement import Statement

from synthkd.corpus.evidence import signing
from synthkd.corpus.evidence.canonical import seal
from synthkd.corpus.evidence.signing import (
    VARIABLE,
    PublicKey,
    SigningKey,
    read_public_key,
    read_signing_key,
)
from synthkd.corpus.evidence.statements import CORPUS, make_statement, open_statement
from synthkd.errors import ConfigError, MissingExtraError

PREDICATE = {"samples": 3, "purpose": "naïve", "sources": [{"name": "tickets"}]}


def make_key(seed: int = 1) -> SigningKey:
    private = ed25519.Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32)
    return SigningKey(private.sign, PublicKey(private.public_key().public_bytes_raw()))


def make(key: SigningKey | None = None) -> str:
    return make_statement([("weights.bin", {"sha256": "00" * 32})], CORPUS, PREDICATE, key)


def write_pair(folder: Path, private: object) -> tuple[Path, Path]:
    secret, public = folder / "key.pem", folder / "key.pub.pem"
    secret.write_bytes(
        private.private_bytes(pem.Encoding.PEM, pem.PrivateFormat.PKCS8, pem.NoEncryption())
    )
    public.write_bytes(
        private.public_key().public_bytes(pem.Encoding.PEM, pem.PublicFormat.SubjectPublicKeyInfo)
    )
    return secret, public


def test_a_statement_is_one_of_in_totos() -> None:
    envelope = json.loads(make(make_key()))
    read = json_format.Parse(base64.b64decode(envelope["payload"]), statement_pb2.Statement())

    Statement.copy_from_pb(read).validate()
    assert envelope["payloadType"] == "application/vnd.in-toto+json"
    assert read.predicate_type == CORPUS


def test_a_signature_is_over_what_dsse_says() -> None:
    envelope = json.loads(make(make_key()))
    payload = base64.b64decode(envelope["payload"])
    signed = b"DSSEv1 28 application/vnd.in-toto+json %d %b" % (len(payload), payload)
    public = ed25519.Ed25519PrivateKey.from_private_bytes(b"\1" * 32).public_key()

    public.verify(base64.b64decode(envelope["signatures"][0]["sig"]), signed)


def test_who_signed_is_told_and_whether_that_was_asked_for() -> None:
    key = make_key()

    opened = open_statement(make(key), key.public)

    assert (opened.signed_by, opened.is_checked, opened.is_known) == (key.public.key_id, True, True)
    assert open_statement(make(key)).is_known is False
    assert open_statement(make()).signed_by == ""
    assert opened.predicate == PREDICATE


@pytest.mark.parametrize("key", [make_key(2), None], ids=["another", "nobody"])
def test_another_signature_than_the_one_asked_for_is_refused(key: SigningKey | None) -> None:
    with pytest.raises(ValueError, match=r"it is signed by .*, and not by the key"):
        open_statement(make(key), make_key().public)


def test_a_statement_that_was_rewritten_is_not_what_was_signed() -> None:
    ours, other = json.loads(make(make_key())), json.loads(make(None).replace("1", "1"))
    payload = base64.b64decode(ours["payload"]).replace(b'"samples":3', b'"samples":4')
    del ours["sha256"], other["sha256"]
    forged = seal({**ours, "payload": base64.b64encode(payload).decode()})

    with pytest.raises(ValueError, match=r"its signature by .* is wrong"):
        open_statement(forged)


@given(st.data())
def test_a_flipped_byte_is_found(data: st.DataObject) -> None:
    line = make(data.draw(st.sampled_from([None, make_key()]))).encode()
    at = data.draw(st.integers(0, len(line) - 1))
    flipped = line[:at] + bytes([line[at] ^ data.draw(st.integers(1, 255))]) + line[at + 1 :]

    with pytest.raises(ValueError, match="it "):
        open_statement(flipped)


@pytest.mark.parametrize("value", [{}, {"payload": "!"}, {"payload": "", "signatures": []}])
def test_what_is_sealed_and_no_statement_is_told(value: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"no statement|no JSON|Expecting"):
        open_statement(seal(value))


def test_a_key_is_read_from_the_file_that_a_variable_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret, public = write_pair(tmp_path, ed25519.Ed25519PrivateKey.generate())
    monkeypatch.delenv(VARIABLE, raising=False)
    assert read_signing_key() is None
    monkeypatch.setenv(VARIABLE, str(secret))

    assert open_statement(make(read_signing_key()), read_public_key(public)).is_known


def test_a_key_behind_a_password_is_told_to_be_one(tmp_path: Path) -> None:
    key = ed25519.Ed25519PrivateKey.generate()
    path = tmp_path / "signing.pem"
    path.write_bytes(
        key.private_bytes(
            pem.Encoding.PEM,
            pem.PrivateFormat.PKCS8,
            pem.BestAvailableEncryption(b"secret"),
        )
    )

    with pytest.raises(ConfigError, match=r"is protected by a password.*openssl pkey -in"):
        read_signing_key(path)


def test_another_kind_of_key_is_refused(tmp_path: Path) -> None:
    secret, public = write_pair(tmp_path, ec.generate_private_key(ec.SECP256R1()))

    with pytest.raises(ConfigError, match="no Ed25519 private key"):
        read_signing_key(secret)
    with pytest.raises(ConfigError, match="no Ed25519 public key"):
        read_public_key(public)
    with pytest.raises(ConfigError, match="no Ed25519 public key"):
        read_public_key(secret)
    with pytest.raises(ConfigError, match="cannot be read"):
        read_signing_key(tmp_path / "gone.pem")


def test_without_the_library_a_signature_is_told_and_not_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = make(make_key())
    monkeypatch.setattr(signing, "can_check", lambda: False)

    opened = open_statement(line)

    assert (opened.signed_by, opened.is_checked) == (make_key().public.key_id, False)
    with pytest.raises(MissingExtraError, match=r"synthkd\[sign\]"):
        read_signing_key(tmp_path / "key.pem")
