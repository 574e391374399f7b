"""The name of what a model's folder answers by, without reading gigabytes twice.

A digest that was worked out once is kept in the user's cache folder, under what tells
whether the file is still the same: its path, size, inode and the times of its last
change. Whatever is wrong with what is kept, the file is read again.
"""

import hashlib
import json
import os
import time
from contextlib import suppress
from pathlib import Path

from synthkd.records import Json, digest

_SAYS_WHAT_IT_ANSWERS = (
    "*.safetensors",
    "*.safetensors.index.json",
    "added_tokens.json",
    "chat_template*",
    "config.json",
    "generation_config.json",
    "merges.txt",
    "special_tokens_map.json",
    "tokenizer*",
    "vocab.*",
)
_LARGE = 1 << 24  # bytes from which reading a file takes longer than a moment
_SETTLED = 2_000_000_000  # ns: a change within one tick of a file system's clock leaves no trace


def fingerprint(folder: Path) -> str:
    """Return the name of what a model's folder answers by: weights, config, tokenizer, template.

    Notes, licences and training leftovers beside them do not change it.
    """
    found = {path for pattern in _SAYS_WHAT_IT_ANSWERS for path in folder.glob(pattern)}
    total = hashlib.sha256()
    for path in sorted(found):
        total.update(f"{path.name} {_digest(path)}\n".encode())
    return total.hexdigest()[:32]


def _digest(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal, read or remembered."""
    if path.stat().st_size < _LARGE:
        return _read(path)
    before = _identify(path)
    note = _find_notes() / f"{digest(before['path'])}.json"
    kept = _recall(note, before)
    if kept is not None:
        return kept
    content = _read(path)
    changed = max(before["mtime_ns"], before["ctime_ns"])
    if _identify(path) == before and time.time_ns() - changed > _SETTLED:
        _remember(note, before | {"sha256": content})
    return content


def _read(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _identify(path: Path) -> dict[str, Json]:
    """Return what is not the same of two files, or of one file before and after a change."""
    status = path.stat()
    return {
        "path": str(path.resolve()),
        "size": status.st_size,
        "device": status.st_dev,
        "inode": status.st_ino,
        "mtime_ns": status.st_mtime_ns,
        "ctime_ns": status.st_ctime_ns,
    }


def _recall(note: Path, identity: dict[str, Json]) -> str | None:
    """Return the digest noted for that very file, unless the note is damaged."""
    try:
        kept = json.loads(note.read_text(encoding="utf-8"))
        check, content = kept.pop("check"), kept["sha256"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    is_whole = isinstance(content, str) and check == digest(kept)
    return content if is_whole and kept == identity | {"sha256": content} else None


def _remember(note: Path, kept: dict[str, Json]) -> None:
    """Note a digest; where that cannot be done, it is worked out again next time."""
    draft = note.with_suffix(f".{os.getpid()}")
    with suppress(OSError):
        note.parent.mkdir(parents=True, exist_ok=True)
        draft.write_text(json.dumps(kept | {"check": digest(kept)}), encoding="utf-8")
        draft.replace(note)


def _find_notes() -> Path:
    """Return the folder that notes are kept in."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    # The XDG specification says that a relative path is to be ignored.
    cache = Path(base) if Path(base).is_absolute() else Path("~/.cache").expanduser()
    return cache / "synthkd" / "digests"
