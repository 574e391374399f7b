"""Statements: what is claimed of a snapshot, a student or an export, in in-toto's form.

    Statement v1 ─► DSSE envelope ─► one sealed line (its own SHA-256 within)

Each is a line of a bundle, as in-toto defines it: `*.intoto.jsonl`. Without a key of the
user's the envelope holds no signature, and then the line is found damaged but not forged.
"""

import base64
import binascii
import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from synthkd.corpus.evidence import signing
from synthkd.corpus.evidence.canonical import canonical_bytes, seal, unseal
from synthkd.corpus.evidence.signing import PublicKey, SigningKey
from synthkd.records import Json

CORPUS = "urn:synthkd:predicate:corpus:v1"
DISTILLATION = "urn:synthkd:predicate:distillation:v1"
EXPORT = "urn:synthkd:predicate:export:v1"

ROOT = "rfc6962Sha256"  # the algorithm of a snapshot's digest

_STATEMENT = "https://in-toto.io/Statement/v1"
_PAYLOAD = "application/vnd.in-toto+json"

Subject = tuple[str, Mapping[str, str]]  # a name, and digests by their algorithms


class Opened(NamedTuple):
    """A statement, and who signed it: the id of a key, or "". `is_known`: the key was asked for.

    `is_checked` is false where a signature could not be checked for want of a library.
    """

    statement: dict[str, Json]
    signed_by: str = ""
    is_checked: bool = True
    is_known: bool = False

    @property
    def kind(self) -> str:
        """The type of its predicate."""
        return str(self.statement["predicateType"])

    @property
    def predicate(self) -> dict[str, Json]:
        """What it claims."""
        predicate: dict[str, Json] = self.statement["predicate"]
        return predicate

    @property
    def root(self) -> str:
        """The root of the snapshot that it is a statement of.

        Raises:
            ValueError: It is of none, or tells two.
        """
        try:
            said = self.predicate
            root = self.subjects[said["snapshot"]][ROOT]
            if self.kind != CORPUS or root != said["root"]:
                raise ValueError("it is no statement of one snapshot")
        except (KeyError, TypeError) as error:
            raise ValueError(f"it is no statement of a snapshot ({error!r})") from error
        return root

    @property
    def subjects(self) -> dict[str, Mapping[str, str]]:
        """What it is about: digests by name."""
        return {each["name"]: each["digest"] for each in self.statement["subject"]}


def make_statement(
    subjects: Sequence[Subject],
    kind: str,
    predicate: Mapping[str, Json],
    key: SigningKey | None = None,
) -> str:
    """Return a statement of the `kind` in an envelope, as a line; signed, if there is a `key`."""
    payload = canonical_bytes(
        {
            "_type": _STATEMENT,
            "subject": [{"name": name, "digest": dict(digest)} for name, digest in subjects],
            "predicateType": kind,
            "predicate": dict(predicate),
        }
    )
    signatures: list[Json] = []
    if key:
        signature = {
            "keyid": key.public.key_id,
            "sig": _encode(key.sign(_frame(payload))),
            # Not part of DSSE: with it, damage to a signature is found by anybody.
            "public": _encode(key.public.raw),
        }
        signatures.append(signature)
    return seal({"payload": _encode(payload), "payloadType": _PAYLOAD, "signatures": signatures})


def open_statement(line: str | bytes, public: PublicKey | None = None) -> Opened:
    """Return the statement in a line, after checking all that can be checked of it.

    Raises:
        ValueError: It is damaged, a signature on it is wrong, or none is by `public`.
    """
    envelope = unseal(line)
    try:
        payload = _decode(envelope["payload"])
        statement = json.loads(payload)
        signatures = [
            (PublicKey(_decode(each["public"])), _decode(each["sig"]), each["keyid"])
            for each in envelope["signatures"]
        ]
        is_ours = envelope["payloadType"] == _PAYLOAD and statement["_type"] == _STATEMENT
        Opened(statement).subjects, Opened(statement).predicate, Opened(statement).kind
    except (KeyError, TypeError, binascii.Error, RecursionError) as error:
        raise ValueError(f"it is no statement of in-toto's ({error!r})") from error
    if not is_ours:
        raise ValueError("it is no statement of in-toto's")
    return _check_signatures(Opened(statement), _frame(payload), signatures, public)


def digest_line(line: str) -> str:
    """Return what names a line elsewhere: its SHA-256."""
    return hashlib.sha256(line.encode()).hexdigest()


def _check_signatures(
    opened: Opened,
    framed: bytes,
    signatures: Sequence[tuple[PublicKey, bytes, str]],
    public: PublicKey | None,
) -> Opened:
    if public and not any(public == key for key, _, _ in signatures):
        by = ", ".join(key_id[:16] for *_, key_id in signatures) or "nobody"
        raise ValueError(f"it is signed by {by}, and not by the key {public.key_id[:16]}")
    if signatures and not signing.can_check():
        return opened._replace(signed_by=signatures[0][2], is_checked=False)
    for key, signature, key_id in signatures:
        if key.key_id != key_id or not key.is_signature(signature, framed):
            raise ValueError(f"its signature by {key_id[:16]} is wrong")
    by = public.key_id if public else signatures[0][2] if signatures else ""
    return opened._replace(signed_by=by, is_known=public is not None)


def _frame(payload: bytes) -> bytes:
    """Return what is signed: DSSE's pre-authentication encoding."""
    kind = _PAYLOAD.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def _encode(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _decode(text: str) -> bytes:
    return base64.b64decode(text, validate=True)
