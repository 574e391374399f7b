"""The corpus: one DuckDB file, held by one process at a time, and its journal.

CORPUS.duckdb            what synthkd knows, and anyone can read with SQL
CORPUS.duckdb.journal    answers that are not in it yet; gone when there are none
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import duckdb

from synthkd.corpus.connection import NAME, connect, explaining
from synthkd.corpus.journal import Journal
from synthkd.corpus.migrations import MIGRATIONS
from synthkd.corpus.rewriting import discard, finish
from synthkd.corpus.rows import Column, as_column, pages
from synthkd.corpus.schema import migrate, read_version
from synthkd.errors import CorpusError
from synthkd.records import Attempt

_PAGE = 256  # attempts taken in at a time: DuckDB is a hundred times faster by hundreds
_ENOUGH = "512MB"  # for DuckDB while a student is trained
_LITTLE = "32MB"  # for DuckDB while a teacher is asked, so that rows do not gather in memory
_MUCH = (
    16 << 20
)  # bytes of new rows, after which they go to the file: until then they are in memory


class Corpus:
    """An open corpus. `db` is its DuckDB connection; `journal` is None when only reading."""

    def __init__(self, path: Path, db: duckdb.DuckDBPyConnection, journal: Journal | None) -> None:
        """Use `open_corpus` instead."""
        self.path = path
        self.db = db
        self._journal = journal
        self._in_transaction = False
        self._is_frugal = False
        self._is_closed = False

    @property
    def journal(self) -> Journal:
        """Where attempts are written before anything reads them."""
        if self._journal is None:
            raise CorpusError(f"{self.path} was opened for reading; nothing can be written to it.")
        return self._journal

    def first(self, query: str, parameters: Sequence[object] = ()) -> tuple[Any, ...] | None:
        """Return the first row of a query, or None.

        DuckDB's own `fetchone` leaves the query open, and the connection unusable.
        """
        rows = self.db.execute(query, list(parameters)).fetchall()
        return rows[0] if rows else None

    def insert(
        self,
        table: str,
        rows: Iterable[Mapping[str, Any]],
        *,
        key: Sequence[str] = (),
        replace: bool = False,
    ) -> None:
        """Add `rows` to `table` at once.

        `key` are the columns that tell its rows apart, where some may be there already:
        those stay, or are replaced. (A big table has no index that would tell.)
        """
        listed = list(rows)
        if key:
            listed = list({tuple(row[name] for name in key): row for row in listed}.values())
        if not listed:
            return
        columns = {name: as_column(row[name] for row in listed) for name in listed[0]}
        with explaining(self.path):
            try:
                self._insert(table, columns, key, replace=replace)
            except duckdb.OutOfMemoryException:
                if self._in_transaction:
                    raise  # all of it has to be done again
                self.make_room()
                self._insert(table, columns, key, replace=replace)
            self.settle()

    def _insert(
        self, table: str, columns: Mapping[str, Column], key: Sequence[str], *, replace: bool
    ) -> None:
        self.db.register("incoming", columns)
        names, source = ", ".join(key), "incoming"
        try:
            if key and replace:
                same = " AND ".join(f"{table}.{name} = incoming.{name}" for name in key)
                self.db.execute(f"DELETE FROM {table} USING incoming WHERE {same}")
            elif key:
                there = f"SELECT {names} FROM {table} SEMI JOIN incoming USING ({names})"
                source = f"incoming ANTI JOIN ({there}) USING ({names})"
            self.db.execute(f"INSERT INTO {table} BY NAME SELECT incoming.* FROM {source}")
        finally:
            with suppress(duckdb.Error):  # in a transaction that failed; what failed is raised
                self.db.unregister("incoming")

    def take_in(self, attempts: Iterable[Attempt], *, again: bool = False) -> None:
        """Add `attempts`; `again` where some may be there already."""
        self.insert(
            "store.attempts",
            (
                {
                    "attempt_id": attempt.attempt_id,
                    "request_key": attempt.request_key,
                    "provider": attempt.provider,
                    "run_id": attempt.run_id,
                    "started_at": attempt.started_at,
                    "latency_ms": attempt.latency_ms,
                    "batch_size": attempt.batch_size,
                    "status": attempt.status,
                    "error": attempt.error,
                    "price": attempt.price,
                    "choice": attempt.choice,
                    "shared": attempt.shared,
                    "response": attempt.frame,
                }
                for attempt in attempts
            ),
            key=("attempt_id",) if again else (),
        )

    def replay(self) -> int:
        """Take in what an interrupted process left in the journal; return how many attempts."""
        if self.journal.is_empty:
            return 0
        count = 0
        for page in pages(self.journal.read(), _PAGE):
            self.take_in(page, again=True)
            count += len(page)
        self.journal.clear()
        return count

    def cursor(self) -> duckdb.DuckDBPyConnection:
        """Return another connection to the file, which can read while this one writes."""
        cursor = self.db.cursor()
        cursor.execute(f"USE {NAME}")
        return cursor

    @contextmanager
    def bounded(self) -> Iterator[None]:
        """Read any number of rows in a bounded share of memory: the rest is for who reads them."""
        self.db.execute(f"SET memory_limit='{_ENOUGH}'")
        try:
            yield
        finally:
            with suppress(duckdb.Error):
                self.db.execute("RESET memory_limit")

    @contextmanager
    def frugal(self) -> Iterator[None]:
        """Work on any number of rows in little memory: what does not fit waits on the disk."""
        self._is_frugal = True
        self.db.execute(f"SET memory_limit='{_LITTLE}'; SET threads=1")
        # A checkpoint that runs out of memory ends the database, so each is made with enough.
        self.db.execute("SET checkpoint_threshold='1TB'")
        try:
            yield
        finally:
            self._is_frugal = False
            with suppress(duckdb.Error):
                self.db.execute("RESET memory_limit; RESET checkpoint_threshold; RESET threads")

    def make_room(self) -> None:
        """Let DuckDB have memory after all: a page was larger than the little it had."""
        self.db.execute("RESET memory_limit")

    def settle(self) -> None:
        """Put what gathered in memory into the file, if that is much."""
        if not self._is_frugal or self._in_transaction or not self._has_gathered():
            return
        with explaining(self.path):
            self.db.execute("RESET memory_limit; CHECKPOINT")
            with suppress(duckdb.OutOfMemoryException):
                self.db.execute(f"SET memory_limit='{_LITTLE}'")

    def _has_gathered(self) -> bool:
        wal = self.path.with_name(self.path.name + ".wal")
        return wal.exists() and wal.stat().st_size > _MUCH

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Do all of what follows, or, if something is raised, none of it."""
        with explaining(self.path):
            self.db.execute("BEGIN")
            self._in_transaction = True
            try:
                yield
                self.db.execute("COMMIT")
            except BaseException:
                with suppress(duckdb.Error):
                    self.db.execute("ROLLBACK")
                raise
            finally:
                self._in_transaction = False

    def close(self) -> None:
        """Close the file, so that another process can open it; once it is closed, do nothing."""
        if self._is_closed:
            return
        self._is_closed = True
        try:
            with explaining(self.path):
                if self._journal is not None:
                    self.db.execute(f"CHECKPOINT {NAME}")
                self.db.close()
        finally:
            if self._journal is not None:
                self._journal.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def open_corpus(path: Path | str, *, create: bool = True) -> Corpus:
    """Open the corpus at `path` to read and write, making it or bringing it up to date.

    Answers that an interrupted process left in the journal are taken in, and an erasure
    that was interrupted is finished.

    Raises:
        CorpusError: It is held by another process, from a newer synthkd, no corpus,
            or it is not there and `create` is false.
    """
    path = Path(path)
    finish(path)
    if create:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CorpusError(
                f"{path} cannot be made: {error.strerror}. Name a folder that can be written."
            ) from error
    else:
        _require(path)
    db = connect(path, read_only=False)
    try:
        discard(path)
        with explaining(path):
            migrate(path, db)
        corpus = Corpus(path, db, Journal(_journal_path(path)))
        corpus.replay()
    except BaseException:
        with suppress(duckdb.Error):
            db.close()
        raise
    return corpus


def read_corpus(path: Path | str) -> Corpus:
    """Open the corpus at `path` to read only; several processes may do so at once.

    Raises:
        CorpusError: It is not there, held by a process that writes, from a newer
            synthkd, or no corpus.
    """
    path = Path(path)
    finish(path)
    _require(path)
    journal = _journal_path(path)
    if journal.exists() and journal.stat().st_size:
        open_corpus(path).close()
    db = connect(path, read_only=True)
    try:
        if read_version(path, db) < len(MIGRATIONS):
            db.close()
            open_corpus(path).close()
            db = connect(path, read_only=True)
    except BaseException:
        db.close()
        raise
    return Corpus(path, db, None)


def _journal_path(path: Path) -> Path:
    return path.with_name(path.name + ".journal")


def _require(path: Path) -> None:
    if not path.is_file():
        raise CorpusError(
            f"there is no corpus at {path}. `synthkd run` and `synthkd generate` make one; "
            "check the path."
        )
