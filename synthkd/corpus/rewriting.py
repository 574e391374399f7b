"""A corpus file is written anew without what was erased, and takes the place of the old one.

    CORPUS             the old one, held until it has another name
    CORPUS.erasing     the new one while it is written; without a marker it is of no worth
    CORPUS.erasing.json  the marker: the new one is whole, and what is left to be done
    CORPUS.erased      the old one afterwards, until it is overwritten

DuckDB keeps the bytes of deleted rows in the file, and of dropped blocks too: only a file
that never had them is without them. Whoever opens a corpus next finishes what a killed
process began; before there is a marker nothing has happened, after it everything will.
"""

import json
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import duckdb

from synthkd.corpus.connection import NAME, SHAPE
from synthkd.corpus.evidence.keys import destroy_key
from synthkd.errors import CorpusError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

# Whatever else a marker names, synthkd has not written it.
_PASSING = re.compile(r"[^/\\]+\.(tmp|status\.json)")
_DRAFT = re.compile(r"[^/\\]+\.erasing-report\.(json|md)")
_REPORT = re.compile(r"erasure-[0-9a-f]+\.(json|md)")
_CHUNK = 1 << 20  # bytes overwritten at a time
_SPARE = 16 << 20  # bytes that stay free when a corpus was written anew


@dataclass(frozen=True, slots=True)
class Leftovers:
    """What is to be done once the new file is in place.

    `keys` are (source, subject or None) whose keys are destroyed, `wipe` the names of files
    and folders beside the corpus that go, `publish` names of drafts and what they are to be.
    They are names and no paths: who puts a marker beside a corpus reaches nothing else.
    """

    keys: Sequence[tuple[str, str | None]] = ()
    wipe: Sequence[str] = ()
    publish: Mapping[str, str] = field(default_factory=dict)


def fresh_path(path: Path) -> Path:
    """Return where the new file is written."""
    return _beside(path, ".erasing")


def marker_path(path: Path) -> Path:
    """Return where it is said that the new file is whole."""
    return _beside(path, ".erasing.json")


def require_room(path: Path) -> None:
    """Refuse to begin where the new file will not fit beside the old one.

    Raises:
        CorpusError: There is too little room.
    """
    size = path.stat().st_size
    free = shutil.disk_usage(path.resolve().parent).free
    if free < size + _SPARE:
        raise CorpusError(
            f"to erase, {path} is written anew beside itself, which takes up to {size:,} bytes; "
            f"{free:,} are free. Nothing was changed; make room and run again."
        )


def write_fresh(
    path: Path, db: duckdb.DuckDBPyConnection, choose: Callable[[str, str, Sequence[str]], str]
) -> Path:
    """Write a new file of the shape of the old one, with what `choose` selects of each table.

    `choose` is given schema, table and columns, and returns a query.

    Raises:
        CorpusError: The disk is full or gone.
    """
    discard(path)
    fresh = fresh_path(path)
    where = str(fresh).replace("'", "''")
    try:
        db.execute(f"ATTACH '{where}' AS fresh ({SHAPE})")
        try:
            db.execute(f"COPY FROM DATABASE {NAME} TO fresh (SCHEMA)")
            for schema, table, columns in list_tables(db):
                target = f'fresh."{schema}"."{table}"'
                db.execute(f"INSERT INTO {target} {choose(schema, table, columns)}")
        finally:
            db.execute("DETACH fresh")
    except (duckdb.Error, OSError) as error:
        discard(path)
        raise CorpusError(
            f"{fresh} cannot be written: {error}\nNothing was erased, and {path} is as it was; "
            "make room and run again."
        ) from error
    return fresh


def list_tables(db: duckdb.DuckDBPyConnection) -> list[tuple[str, str, list[str]]]:
    """Return (schema, table, columns) of every table of the corpus, the user's own too."""
    rows: list[tuple[str, str, list[str]]] = db.execute(
        """
        SELECT schema_name, table_name, list(column_name ORDER BY column_index)
        FROM duckdb_columns() SEMI JOIN (
            FROM duckdb_tables() WHERE database_name = current_database()
        ) USING (database_name, schema_name, table_name) GROUP BY ALL ORDER BY ALL
        """
    ).fetchall()
    return rows


def put_in_place(path: Path, leftovers: Leftovers, release: Callable[[], None]) -> None:
    """Make the new file the corpus, do what is left, and overwrite the old one.

    The old one has to be held until `release` is called. A process that is killed in here
    has its work finished by whoever opens the corpus next.
    """
    fresh = fresh_path(path)
    shutil.copymode(path, fresh)
    _sync(fresh)
    marker = marker_path(path)
    partial = _beside(path, ".erasing.partial")
    text = json.dumps(
        {"keys": leftovers.keys, "wipe": leftovers.wipe, "publish": leftovers.publish}
    )
    with partial.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
        _claim(file.fileno(), path)
        partial.replace(marker)
        _sync(path.resolve().parent)
        _finish(path, leftovers, release)


def finish(path: Path) -> bool:
    """Finish what a killed process began; return whether there was anything to finish.

    Raises:
        CorpusError: Another process is at it.
    """
    marker = marker_path(path)
    try:
        file = marker.open("r+", encoding="utf-8")
    except OSError as error:
        if not os.path.exists(marker):  # noqa: PTH110 - false for whatever reason it is not seen
            return False
        raise CorpusError(
            f"an erasure from {path} was interrupted and has to be finished first, and {marker} "
            f"cannot be opened ({error.strerror}). See to its rights."
        ) from error
    with file:
        _claim(file.fileno(), path)
        if not marker.exists() or not os.path.samestat(marker.stat(), os.fstat(file.fileno())):
            return False  # somebody was quicker
        _finish(path, _read(path, file.read()), lambda: None)
    return True


def discard(path: Path) -> None:
    """Remove what a killed process wrote before it could be of any use. Hold the corpus.

    Raises:
        CorpusError: It cannot be removed.
    """
    if marker_path(path).exists():
        return
    for left in _list_beside(path, ".erasing"):
        try:
            shutil.rmtree(left) if left.is_dir() else left.unlink(missing_ok=True)
        except OSError as error:
            raise CorpusError(f"{left} cannot be removed ({error.strerror}).") from error


def wipe(path: Path) -> None:
    """Overwrite a file, or every file of a folder, with zeros, and remove it.

    What a file system keeps elsewhere (a copy on write, a snapshot, a flash cell that was
    written to another place) is out of reach.
    """
    if path.is_symlink():
        path.unlink()  # what it leads to is somebody else's
        return
    if path.is_dir():
        for each in path.iterdir():
            wipe(each)
        with suppress(OSError):
            path.rmdir()
        return
    with suppress(FileNotFoundError):
        with path.open("r+b") as file:
            left = os.fstat(file.fileno()).st_size
            while left > 0:
                left -= file.write(bytes(min(left, _CHUNK)))
            file.flush()
            os.fsync(file.fileno())
        path.unlink()


def _finish(path: Path, leftovers: Leftovers, release: Callable[[], None]) -> None:
    """Do what is left to do, of which some may be done."""
    target, old = path.resolve(), _beside(path, ".erased")
    fresh = fresh_path(path)
    if fresh.exists():
        if not old.exists():
            try:
                old.hardlink_to(target)
            except OSError:
                # No such links here: for a moment there is no corpus, and the marker says why.
                target.replace(old)
        fresh.replace(target)
        _sync(target.parent)
    release()
    wipe(old)  # first, for the room that it takes
    for source, subject in leftovers.keys:
        destroy_key(path, source, subject)
    for draft, final in leftovers.publish.items():
        with suppress(FileNotFoundError):
            target.with_name(draft).replace(target.with_name(final))
    for name in leftovers.wipe:
        wipe(target.with_name(name))
        wipe(path.with_name(name))
    for left in _list_beside(path, ".erasing"):
        if left != marker_path(path):
            wipe(left)
    _sync(target.parent)
    marker_path(path).unlink()
    _sync(target.parent)


def _read(path: Path, marker: str) -> Leftovers:
    """Return what a marker says is left to do.

    Raises:
        CorpusError: It says something that synthkd does not write.
    """
    try:
        said = json.loads(marker)
        keys = [(str(source), subject) for source, subject in said["keys"]]
        leftovers = Leftovers(keys, list(said["wipe"]), dict(said["publish"]))
        is_ours = all(_PASSING.fullmatch(each) for each in leftovers.wipe) and all(
            _DRAFT.fullmatch(draft) and _REPORT.fullmatch(final)
            for draft, final in leftovers.publish.items()
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        is_ours = False
    if not is_ours:
        raise CorpusError(
            f"{marker_path(path)} says that an erasure was interrupted, and is nothing that "
            "synthkd wrote; nothing was done. To open the corpus as it is, move that file away."
        )
    return leftovers


def _claim(file: int, path: Path) -> None:
    """Be the only one who finishes, until `file` is closed."""
    if fcntl is None:
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise CorpusError(
            f"another process erases from {path} at this moment; wait for it to end."
        ) from error


def _beside(path: Path, suffix: str) -> Path:
    # Of a link, the file it leads to is replaced.
    target = path.resolve()
    return target.with_name(target.name + suffix)


def _list_beside(path: Path, suffix: str) -> Iterator[Path]:
    """Yield what is beside the corpus under its name and `suffix`."""
    target = path.resolve()
    begin = target.name + suffix
    if target.parent.is_dir():
        yield from [each for each in target.parent.iterdir() if each.name.startswith(begin)]


def _sync(path: Path) -> None:
    file = os.open(path, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)
