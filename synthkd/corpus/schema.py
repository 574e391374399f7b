"""Which shape a corpus file has, and how it gets the one of today."""

from pathlib import Path

import duckdb

from synthkd.corpus.migrations import MIGRATIONS
from synthkd.errors import CorpusError


def read_version(path: Path, db: duckdb.DuckDBPyConnection) -> int:
    """Return how many migrations the file has seen; 0 for a new one."""
    tables = {
        (schema, name)
        for schema, name in db.execute(
            "SELECT schema_name, table_name FROM duckdb_tables() "
            "WHERE NOT internal AND database_name = current_database()"
        ).fetchall()
    }
    if ("store", "migrations") not in tables:
        if tables:
            raise CorpusError(
                f"{path} is a DuckDB file, but no corpus: it holds other tables. "
                "Nothing was changed; name another path."
            )
        return 0
    ((version,),) = db.execute("SELECT max(version) FROM store.migrations").fetchall()
    if version > len(MIGRATIONS):
        raise CorpusError(
            f"{path} was written by a newer synthkd (schema {version}; this one knows "
            f"{len(MIGRATIONS)}). Nothing was changed; upgrade synthkd to open it."
        )
    return int(version)


def migrate(path: Path, db: duckdb.DuckDBPyConnection) -> None:
    """Bring the file up to date, a step at a time; one that is cut off is done anew.

    Raises:
        CorpusError: It is from a newer synthkd, or no corpus.
    """
    version = read_version(path, db)
    for number, step in enumerate(MIGRATIONS[version:], start=version + 1):
        db.execute("BEGIN")
        if number == 1:
            db.execute(
                "CREATE SCHEMA store;"
                "CREATE TABLE store.migrations (version INTEGER PRIMARY KEY, "
                "applied_at TIMESTAMP NOT NULL DEFAULT now())"
            )
        step(db)
        db.execute("INSERT INTO store.migrations (version) VALUES (?)", [number])
        db.execute("COMMIT")
