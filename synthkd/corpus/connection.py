"""A connection to a corpus file, and in our words why there is none."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb

from synthkd.corpus import functions
from synthkd.errors import CorpusError

NAME = "corpus"  # of the file, among what else may be attached
# While a table is written, its last group of rows and a block of every column are in memory.
_GROUPS = "ROW_GROUP_SIZE 2048"
SHAPE = f"{_GROUPS}, BLOCK_SIZE 16384"


def connect(path: Path, *, read_only: bool) -> duckdb.DuckDBPyConnection:
    """Return a connection whose default database is the file at `path`.

    Raises:
        CorpusError: It is held by another process, or no DuckDB file.
    """
    db = duckdb.connect(config={"temp_directory": f"{path}.tmp", "default_block_size": "16384"})
    how = "READ_ONLY" if read_only else SHAPE if not path.exists() else _GROUPS
    where = str(path).replace("'", "''")
    try:
        db.execute(f"ATTACH '{where}' AS {NAME} ({how}); USE {NAME}")
    except duckdb.Error as error:
        db.close()
        raise CorpusError(explain_opening(path, str(error))) from error
    # A query that takes long would draw a bar among what the user asked for.
    db.execute("SET enable_progress_bar = false")
    # Every value of a page decides its column's type, not the first thousand.
    db.execute("SET TimeZone = 'UTC'; SET pandas_analyze_sample = 1000000")
    functions.register(db)
    return db


def explain_opening(path: Path, message: str) -> str:
    """Return in our words why DuckDB did not open `path`."""
    held = re.search(r"held in (.+?)\s*\(PID (\d+)\)", message)
    if held:
        return (
            f"{path} is in use by process {held[2]} ({held[1]}); nothing was changed. "
            "A corpus is written by one process at a time: wait for it to end, or stop it."
        )
    if "not a valid DuckDB database file" in message:
        return (
            f"{path} is no corpus: it is not a DuckDB file. Nothing was changed; "
            "name another path, or move that file away."
        )
    return f"{path} cannot be opened: {message} Nothing was changed."


@contextmanager
def explaining(path: Path) -> Iterator[None]:
    """Say in our words that the disk is full or gone."""
    try:
        yield
    except (duckdb.IOException, duckdb.TransactionException, duckdb.FatalException) as error:
        raise CorpusError(
            f"{path} cannot be written: {error}\nAnswers that are not in it yet stand in its "
            "journal, and are taken in at the next start; make room and run again."
        ) from error
