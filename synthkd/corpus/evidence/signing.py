"""Signatures: Ed25519 with a key of the user's, where there is one.

The private key is a PEM file that `SYNTHKD_SIGNING_KEY` or `--key` names; it is read when a
statement is made, and never stored. Make a pair with OpenSSL:

    openssl genpkey -algorithm ed25519 -out signing.pem
    openssl pkey -in signing.pem -pubout -out signing.pub.pem
"""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from synthkd.errors import ConfigError, MissingExtraError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

VARIABLE = "SYNTHKD_SIGNING_KEY"


class PublicKey(NamedTuple):
    """A public key, as its 32 bytes."""

    raw: bytes

    @property
    def key_id(self) -> str:
        """What signatures name it by: the SHA-256 of its bytes."""
        return hashlib.sha256(self.raw).hexdigest()

    def is_signature(self, signature: bytes, data: bytes) -> bool:
        """Return whether `signature` is what the holder of the private key made of `data`.

        Raises:
            MissingExtraError: `cryptography` is not installed.
        """
        from cryptography.exceptions import InvalidSignature

        try:
            _load_public(self.raw).verify(signature, data)
        except InvalidSignature:
            return False
        return True


class SigningKey(NamedTuple):
    """A private key: what it signs with, and the public key that goes with it."""

    sign: Callable[[bytes], bytes]
    public: PublicKey


def read_signing_key(path: Path | None = None) -> SigningKey | None:
    """Return the key at `path`, or else at the path in `SYNTHKD_SIGNING_KEY`; None without one.

    Raises:
        ConfigError: There is no Ed25519 key in the file.
        MissingExtraError: `cryptography` is not installed.
    """
    named = path or os.environ.get(VARIABLE)
    if not named:
        return None
    _require_cryptography("signing")
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(Path(named).read_bytes(), password=None)
    except OSError as error:
        raise ConfigError(f"{named} cannot be read: {error.strerror}; nothing is signed.") from None
    except TypeError:
        raise ConfigError(
            f"{named} is protected by a password, and synthkd asks for none; nothing is signed. "
            f"Write the key without one, where only you read it: openssl pkey -in {named} -out "
            "PLAIN.pem"
        ) from None
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ConfigError(_explain(named, "private", error)) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigError(_explain(named, "private", type(key).__name__))
    return SigningKey(key.sign, PublicKey(key.public_key().public_bytes_raw()))


def read_public_key(path: Path) -> PublicKey:
    """Return the public key in a PEM file.

    Raises:
        ConfigError: There is no Ed25519 key in the file.
        MissingExtraError: `cryptography` is not installed.
    """
    _require_cryptography("checking a signature")
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        key = load_pem_public_key(path.read_bytes())
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}.") from None
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ConfigError(_explain(path, "public", error)) from error
    if not isinstance(key, Ed25519PublicKey):
        raise ConfigError(_explain(path, "public", type(key).__name__))
    return PublicKey(key.public_bytes_raw())


def can_check() -> bool:
    """Return whether signatures can be checked here."""
    from importlib.util import find_spec

    return find_spec("cryptography") is not None


def _require_cryptography(doing: str) -> None:
    if not can_check():
        raise MissingExtraError(doing, extra="sign")


def _load_public(raw: bytes) -> "Ed25519PublicKey":
    _require_cryptography("checking a signature")
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    return Ed25519PublicKey.from_public_bytes(raw)


def _explain(path: Path | str, which: str, found: object) -> str:
    how = {
        "private": "openssl genpkey -algorithm ed25519 -out KEY.pem",
        "public": "openssl pkey -in KEY.pem -pubout -out PUBLIC.pem",
    }[which]
    return (
        f"{path} is no Ed25519 {which} key in PEM without a password ({found}). "
        f"Make one with: {how}"
    )
