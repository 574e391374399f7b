"""What leaves the corpus: students and exports, each bound by a statement to its samples.

A student's statement tells the digest of every file in its folder, the snapshot of what it
learned, who made that, and what a policy last said of it. An export's tells the same of what
was written. Both are events.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

from synthkd.corpus.evidence.canonical import plain
from synthkd.corpus.evidence.chain import append_event, software
from synthkd.corpus.evidence.sealing import IN_FOLDER, SUFFIX, Sealed, list_files, seal_files
from synthkd.corpus.evidence.signing import SigningKey
from synthkd.corpus.evidence.snapshots import KEPT, take_snapshot
from synthkd.corpus.evidence.statements import (
    DISTILLATION,
    EXPORT,
    digest_line,
    open_statement,
)
from synthkd.corpus.store import Corpus
from synthkd.records import Json, digest

_LEARNED = "SELECT sample_id FROM store.student_samples WHERE student_id = ?"


class _Bound(NamedTuple):
    """A snapshot that something handed on is bound to."""

    snapshot_id: str
    statement: str
    claims: dict[str, Json]


def seal_student(
    corpus: Corpus, student_id: str, folder: Path, *, key: SigningKey | None = None
) -> str:
    """Bind the student in `folder` to what it learned, in a statement there; return that.

    Call it whenever something was written into the folder, last of all. Where a student was
    bound before, its snapshot stays that of its training.

    Raises:
        ConfigError: The statement cannot be written.
        CorpusError: The keys of the corpus are damaged, or cannot be written.
    """
    student = _read_student(corpus, student_id)
    bound = _bind_student(corpus, student, key)
    predicate = plain(
        {
            "student": {name: student[name] for name in ("student_id", "name", "method")},
            "base": _name_base(student["base"]),
            "parameters": student["parameters"],
            "options_sha256": digest(student["options"]),
            "weights_sha256": student["weights_sha256"],
            "trained_at": student["created_at"].strftime("%Y-%m-%dT%H:%M:%SZ"),
            **_tell(corpus, bound, _LEARNED, [student_id]),
            "software": software(),
        }
    )
    where = Sealed(folder / IN_FOLDER, folder)
    before = _read_line(where.seal)
    statement = seal_files(
        where, list_files(folder), DISTILLATION, predicate,
        snapshots=[bound.statement] if bound else [], key=key,
    )  # fmt: skip
    if statement != before:
        payload = {
            "name": student["name"],
            "weights_sha256": student["weights_sha256"],
            "snapshot": bound.snapshot_id if bound else "",
            "statement": digest_line(statement),
        }
        append_event(corpus, "train", student_id, payload)
    return statement


def seal_export(
    corpus: Corpus,
    out: Path,
    form: str,
    *,
    beside: Sequence[Path] = (),
    query: str = KEPT,
    parameters: Sequence[object] = (),
    recipient: str = "",
    key: SigningKey | None = None,
) -> str:
    """Write what an export holds into a statement of it, and the export down; return it.

    `out` is a folder, all of whose files it is about, or a file, to which those in `beside`
    belong. `query` tells the ids of the samples that are in it.

    Raises:
        ConfigError: The statement cannot be written, or `query` tells no sample.
        CorpusError: The keys of the corpus are damaged, or cannot be written.
    """
    taken = take_snapshot(corpus, f"export {form}", query, parameters, key=key)
    bound = _Bound(taken.snapshot_id, taken.statement, _read_claims(taken.statement))
    where = (
        Sealed(out / IN_FOLDER, out)
        if out.is_dir()
        else Sealed(out.with_name(out.name + SUFFIX), out.parent)
    )
    files: Iterable[Path] = list_files(out) if out.is_dir() else [out, *beside]
    now = datetime.now(UTC)
    predicate = plain(
        {
            "format": form,
            "samples": taken.samples,
            "exported_at": now.strftime("%Y-%m-%dT%H:%M:%SZ"),
            **_tell(corpus, bound, query, parameters),
            "software": software(),
        }
    )
    statement = seal_files(where, files, EXPORT, predicate, snapshots=[bound.statement], key=key)
    export_id = uuid4().hex[:16]
    row = {
        "export_id": export_id,
        "path": str(out),
        "format": form,
        "recipient": recipient,
        "samples": taken.samples,
        "sha256": digest_line(statement),
        "snapshot_id": taken.snapshot_id,
        "exported_at": now,
    }
    with corpus.transaction():
        corpus.insert("store.exports", [row])
        append_event(corpus, "export", export_id, {
            "format": form, "recipient": recipient, "samples": taken.samples,
            "snapshot": taken.snapshot_id, "statement": digest_line(statement),
        })  # fmt: skip
    return statement


def _read_student(corpus: Corpus, student_id: str) -> dict[str, Any]:
    names = ("student_id", "name", "method", "base", "options", "parameters", "weights_sha256",
             "created_at")  # fmt: skip
    (row,) = corpus.db.execute(
        f"SELECT {', '.join(names)} FROM store.students WHERE student_id = ?", [student_id]
    ).fetchall()
    return dict(zip(names, row, strict=True))


def _bind_student(
    corpus: Corpus, student: Mapping[str, Any], key: SigningKey | None
) -> _Bound | None:
    """Return the snapshot of what a student learned, taking it the first time; None if nothing."""
    student_id = student["student_id"]
    known = corpus.first(
        "SELECT snapshot_id, statement FROM store.student_snapshots "
        "JOIN store.snapshots USING (snapshot_id) WHERE student_id = ?",
        [student_id],
    )
    if known:
        snapshot_id, statement = known
        return _Bound(snapshot_id, statement, _read_claims(statement))
    if not corpus.first(f"SELECT 1 FROM ({_LEARNED}) LIMIT 1", [student_id]):
        return None
    taken = take_snapshot(corpus, f"train {student['name']}", _LEARNED, [student_id], key=key)
    row = {"student_id": student_id, "snapshot_id": taken.snapshot_id}
    corpus.insert("store.student_snapshots", [row], key=("student_id", "snapshot_id"))
    return _Bound(taken.snapshot_id, taken.statement, _read_claims(taken.statement))


def _tell(
    corpus: Corpus, bound: _Bound | None, query: str, parameters: Sequence[object]
) -> dict[str, Json]:
    """Return what is said of the samples behind something: snapshot, teachers, rights."""
    if not bound:
        return {"snapshots": []}
    verdicts = corpus.db.execute(
        f"SELECT verdict, count(*) FROM rights SEMI JOIN ({query}) USING (sample_id) "
        "GROUP BY verdict ORDER BY verdict",
        list(parameters),
    ).fetchall()
    owed = corpus.db.execute(
        "SELECT DISTINCT unnest(obligations) AS owed FROM rights "
        f"SEMI JOIN ({query}) USING (sample_id) ORDER BY owed",
        list(parameters),
    ).fetchall()
    checks = corpus.db.execute(
        """
        SELECT check_id, gate, use_sha256, policy, policy_sha256, terms_sha256 FROM store.checks
        WHERE group_id = (
            SELECT group_id FROM store.checks ORDER BY checked_at DESC, group_id LIMIT 1
        ) ORDER BY ALL
        """
    ).fetchall()
    names = ("check", "gate", "use_sha256", "policy", "policy_sha256", "terms_sha256")
    return {
        "snapshots": [
            {
                "snapshot": bound.snapshot_id,
                "root": bound.claims["root"],
                "samples": bound.claims["samples"],
            }
        ],
        "sources": bound.claims["sources"],
        "made_by": bound.claims["made_by"],
        "verdicts": dict(verdicts),
        "obligations": [each for (each,) in owed],
        "checks": [dict(zip(names, check, strict=True)) for check in checks],
    }


def _name_base(base: str) -> str:
    """Return what a base is called, without where it is on this machine."""
    path = Path(base)
    return path.name if path.is_absolute() or path.is_dir() else base


def _read_claims(statement: str) -> dict[str, Json]:
    return open_statement(statement).predicate


def _read_line(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").partition("\n")[0]
    except (OSError, UnicodeDecodeError):
        return ""
