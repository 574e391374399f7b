"""The keys of commitments, in a file beside the corpus and never in it.

    CORPUS.keys    one random key for each source, and for each subject known in it

A commitment to a text says nothing without its key, and with it whether a text is the one
that was committed to. So a key that is destroyed leaves a hash that nobody can ask: the
records and trees that hold it stay as they are. Whoever has the corpus but not this file
can check its order and membership, and not its texts.
"""

import hashlib
import hmac
import json
import os
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from synthkd.corpus.evidence.canonical import seal, unseal
from synthkd.errors import CorpusError
from synthkd.records import Json

ALGORITHM = "HMAC-SHA256"
_SCHEMA = "synthkd/keys/1"


def keys_path(corpus: Path) -> Path:
    """Return where the keys of a corpus are."""
    return corpus.with_name(corpus.name + ".keys")


def commit(key: bytes, salt: str, label: str, text: str) -> str:
    """Return what commits to `text` as a `label`, in hexadecimal.

    `salt` is random and of one record: where it is forgotten, the key of the source is no
    longer enough to try texts against that record.
    """
    said = f"{salt}\0{label}\0{text}".encode("utf-8", "surrogatepass")
    return hmac.digest(key, said, "sha256").hex()


@dataclass(frozen=True, slots=True)
class Key:
    """A key of what comes from `source` and is about `subjects`, if any are known."""

    source: str
    subjects: tuple[str, ...]
    secret: bytes
    made_at: str

    @property
    def key_id(self) -> str:
        """What records name it by: it follows from the key, and does not give it away."""
        return "k_" + hashlib.sha256(b"synthkd.key.v1\0" + self.secret).hexdigest()[:20]


class Keys:
    """The keys of one corpus. Change them only while the corpus is held."""

    def __init__(self, path: Path, keys: Iterable[Key]) -> None:
        """Use `read_keys` instead."""
        self.path = path
        self._keys = {(key.source, key.subjects): key for key in keys}
        self._secrets = {key.key_id: key.secret for key in self._keys.values()}
        self._is_changed = False

    def find(self, key_id: str) -> bytes | None:
        """Return a key by its id; None where it was destroyed, or never was here."""
        return self._secrets.get(key_id)

    def get(self, source: str, subjects: tuple[str, ...]) -> Key:
        """Return the key of a source and of the subjects of a row, making it if need be."""
        key = self._keys.get((source, subjects))
        if key is None:
            now = datetime.now(UTC).isoformat(timespec="seconds")
            key = Key(source, subjects, secrets.token_bytes(32), now)
            self._keys[source, subjects] = key
            self._secrets[key.key_id] = key.secret
            self._is_changed = True
        return key

    def destroy(self, source: str, subject: str | None = None) -> list[str]:
        """Forget the keys of `source`, or only those of one `subject` in it; return their ids.

        They are gone for good once `write` returns.
        """
        gone = [
            key
            for key in self._keys.values()
            if key.source == source and (subject is None or subject in key.subjects)
        ]
        for key in gone:
            del self._keys[key.source, key.subjects], self._secrets[key.key_id]
        self._is_changed = self._is_changed or bool(gone)
        return sorted(key.key_id for key in gone)

    def write(self) -> None:
        """Write the keys, whole or not at all, where only their owner reads them.

        Raises:
            CorpusError: They cannot be written.
        """
        if not self._is_changed:
            return
        listed: list[Json] = [
            {
                "id": key.key_id,
                "source": key.source,
                "subjects": list(key.subjects),
                "key": key.secret.hex(),
                "made_at": key.made_at,
            }
            for key in self._keys.values()
        ]
        _replace(self.path, (seal({"schema": _SCHEMA, "keys": listed}) + "\n").encode())
        self._is_changed = False


def read_keys(corpus: Path) -> Keys:
    """Return the keys of a corpus; none where there is no file of them.

    Raises:
        CorpusError: The file is damaged, or cannot be read.
    """
    path = keys_path(corpus)
    try:
        line = path.read_bytes()
    except FileNotFoundError:
        return Keys(path, [])
    except OSError as error:
        raise CorpusError(f"{path} cannot be read: {error.strerror}; see to its rights.") from error
    try:
        value = unseal(line.removesuffix(b"\n"))
        keys = [
            Key(each["source"], tuple(each["subjects"]), bytes.fromhex(each["key"]),
                each["made_at"])
            for each in value["keys"]
        ]  # fmt: skip
    except (ValueError, KeyError, TypeError) as error:
        raise CorpusError(
            f"{path} is damaged ({error}){_locate(line)}; nothing was changed. Restore it from a "
            "copy, or move it away: what was committed to under its keys cannot be checked then."
        ) from error
    return Keys(path, keys)


def destroy_key(corpus: Path, source: str, subject: str | None = None) -> list[str]:
    """Destroy the keys of a source, or only those of one subject in it; return their ids.

    When this returns the file on the disk no longer holds them. Copies of it, and what a disk
    keeps of blocks that were overwritten, are beyond it. Write the event down yourself.

    Raises:
        CorpusError: The file is damaged, or cannot be written.
    """
    keys = read_keys(corpus)
    gone = keys.destroy(source, subject)
    if not gone:
        return []
    with _open(keys.path) as before:
        keys.write()
        # The file that held them has no name any more; its bytes are still on the disk.
        before.write(bytes(os.fstat(before.fileno()).st_size))
        before.flush()
        os.fsync(before.fileno())
    return gone


def _open(path: Path) -> BinaryIO:
    try:
        return path.open("r+b")
    except OSError as error:
        raise CorpusError(
            f"{path} cannot be written ({error.strerror}); the keys there are as they were. "
            "See to its rights."
        ) from error


def _locate(line: bytes) -> str:
    """Return which keys are not what their ids say, if the rest can be read."""
    try:
        listed = json.loads(line)["keys"]
        bad = [
            str(each["id"])
            for each in listed
            if Key("", (), bytes.fromhex(each["key"]), "").key_id != each["id"]
        ]
    except (ValueError, KeyError, TypeError):
        return ""
    return f", at the key {', '.join(bad)}" if bad else ""


def _replace(path: Path, data: bytes) -> None:
    """Put `data` on the disk in place of what is at `path`."""
    partial = path.with_name(path.name + ".partial")
    try:
        try:
            # Made anew: what is there may be readable by others.
            partial.unlink(missing_ok=True)
            with os.fdopen(
                os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb"
            ) as f:
                f.write(data)
                f.flush()
                os.fsync(f.fileno())
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise CorpusError(
            f"{path} cannot be written ({error.strerror}); the keys there are as they were. "
            "See to its rights, or make room."
        ) from error
