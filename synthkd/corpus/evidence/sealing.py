"""Seals: a statement beside files that tells the SHA-256 of each, so that damage is found.

    FOLDER/synthkd.intoto.jsonl    of a student, or of an export that is a folder
    FILE.intoto.jsonl              of an export that is a file, and of what lies beside it

The first line is about the files; those after it are of the snapshots it names, so that
what was handed over can be checked by itself.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from synthkd.corpus.evidence.report import Damage, Report
from synthkd.corpus.evidence.signing import PublicKey, SigningKey
from synthkd.corpus.evidence.statements import (
    DISTILLATION,
    EXPORT,
    Opened,
    Subject,
    make_statement,
    open_statement,
)
from synthkd.errors import ConfigError
from synthkd.records import Json

IN_FOLDER = "synthkd.intoto.jsonl"
SUFFIX = ".intoto.jsonl"

_KINDS = {DISTILLATION: "student", EXPORT: "export"}

# A folder's own bookkeeping, and a system's: no part of what is sealed.
_PASSED_OVER = frozenset({".DS_Store", "Thumbs.db", "desktop.ini"})


class Sealed(NamedTuple):
    """Where a seal is, which files it is about, and what they are named from."""

    seal: Path
    folder: Path


def find_seal(path: Path) -> Sealed | None:
    """Return the seal of a folder or of a file; None where there is none."""
    if path.is_dir():
        seal = path / IN_FOLDER
        return Sealed(seal, path) if seal.is_file() else None
    if path.name.endswith(SUFFIX):
        return Sealed(path, path.parent)
    beside = path.with_name(path.name + SUFFIX)
    return Sealed(beside, path.parent) if beside.is_file() else None


def seal_files(
    where: Sealed,
    files: Iterable[Path],
    kind: str,
    predicate: Mapping[str, Json],
    *,
    snapshots: Sequence[str] = (),
    key: SigningKey | None = None,
) -> str:
    """Write a seal over `files`, which are below its folder; return its statement.

    Raises:
        ConfigError: It cannot be written.
    """
    try:
        subjects: list[Subject] = [
            (file.relative_to(where.folder).as_posix(), {"sha256": hash_file(file)})
            for file in sorted(files)
        ]
        statement = make_statement(subjects, kind, predicate, key)
        partial = where.seal.with_name(where.seal.name + ".partial")
        partial.write_text(
            "".join(f"{line}\n" for line in (statement, *snapshots)), encoding="utf-8"
        )
        partial.replace(where.seal)
    except UnicodeEncodeError as error:
        raise ConfigError(
            f"a file in {where.folder} has a name that is not UTF-8; nothing can be said of it in "
            "a statement. Rename it."
        ) from error
    except OSError as error:
        raise ConfigError(f"{where.seal} cannot be written: {error.strerror}.") from error
    return statement


def list_files(folder: Path) -> list[Path]:
    """Return the files below `folder` that a seal is about: all but itself."""
    return sorted(
        path
        for path in folder.rglob("*")
        if path.is_file() and path.name not in {*_PASSED_OVER, IN_FOLDER}
    )


def hash_file(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_seal(where: Sealed, public: PublicKey | None = None) -> Report:
    """Return what is found of the files that a seal is about, and of the seal itself."""
    report = Report(str(where.folder if where.seal.name == IN_FOLDER else where.seal), "seal")
    opened = list(_open_lines(where.seal, report, public))
    if not opened or opened[0] is None:
        return report
    statement = opened[0]
    report.kind = _KINDS.get(statement.kind, "seal")
    report.tell_signer(where.seal.name, statement)
    try:
        _check_files(where, statement, report)
        _check_snapshots(where, opened, report)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        what = f"it is no statement that this synthkd writes ({error!r})"
        report.damages.append(Damage(where.seal.name, what))
    return report


def _open_lines(seal: Path, report: Report, public: PublicKey | None) -> Iterator[Opened | None]:
    """Yield the statement of each line; None for one that is damaged, which is told."""
    data = seal.read_bytes()
    if not data.endswith(b"\n"):
        report.damages.append(Damage(seal.name, "it does not end as it was written"))
    for number, line in enumerate(data.removesuffix(b"\n").split(b"\n"), start=1):
        try:
            yield open_statement(line, public)
        except ValueError as error:
            report.damages.append(Damage(f"{seal.name}, line {number}", str(error)))
            yield None


def _check_files(where: Sealed, statement: Opened, report: Report) -> None:
    for name, digest in statement.subjects.items():
        file = where.folder / name
        if not file.resolve().is_relative_to(where.folder.resolve()):
            report.damages.append(Damage(name, "it lies outside of the folder"))
        elif not file.is_file():
            report.damages.append(Damage(name, "it is missing"))
        elif hash_file(file) != digest["sha256"]:
            report.damages.append(Damage(name, "it is not the file that was sealed"))
    report.checked["files"] = len(statement.subjects)
    if where.seal.name == IN_FOLDER:
        for file in list_files(where.folder):
            name = file.relative_to(where.folder).as_posix()
            if name not in statement.subjects:
                report.notes.append(f"{name} is there, and was not when the folder was sealed")


def _check_snapshots(where: Sealed, opened: Sequence[Opened | None], report: Report) -> None:
    """Hold the snapshots that a statement names against the statements that came with it."""
    first, *rest = opened
    roots = {line.predicate["snapshot"]: line.root for line in rest if line}
    for named in first.predicate.get("snapshots", ()) if first else ():
        if roots.get(named["snapshot"]) != named["root"]:
            what = f"the statement of the snapshot {named['snapshot']} is missing, or of another"
            report.damages.append(Damage(where.seal.name, what))
    report.roots.update(roots.values())
    report.checked["snapshots"] = len(roots)
