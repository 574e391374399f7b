"""A ledger that several corpora share: what one of them paid for, none pays for again.

    corpus ──lend──► ledger ──borrow──► another corpus

The ledger is a corpus file of its own that holds requests and attempts. It is opened
for a moment before asking and for a moment after, so that many runs can use it.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import duckdb
from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_random

from synthkd.corpus.connection import explain_opening
from synthkd.corpus.plans import Plan
from synthkd.corpus.store import Corpus, open_corpus
from synthkd.errors import CorpusError

_HELD = re.compile("in use by process|Could not set lock")
_PATIENCE = 60  # seconds that another run may hold the ledger

_REQUEST = "request_key, messages, endpoint, host, model, parameters, sample_index, schema, tools"
_ATTEMPT = (
    "attempt_id, request_key, provider, run_id, started_at, latency_ms, batch_size, status, error, "
    "price, choice, shared, response"
)


def borrow(plan: Plan, path: Path) -> int:
    """Take from the ledger at `path` the answers to requests of `plan` that have none.

    They are taken raw, to be read like any attempt that was not read yet. Return how many.

    Raises:
        CorpusError: The ledger cannot be opened: something might be paid for twice.
    """
    # It is made, or found to be one that can be written, before anything is paid for.
    _wait_for(lambda: open_corpus(path).close())
    db = plan.corpus.db
    with _attached(plan.corpus, path, "READ_ONLY"):
        db.execute(
            f"""
            CREATE OR REPLACE TEMP TABLE borrowed AS
            SELECT attempt_id, shared FROM ledger.store.attempts WHERE error = ''
            AND request_key IN (SELECT request_key FROM {plan.table})
            AND request_key NOT IN (SELECT request_key FROM store.completions)
            AND attempt_id NOT IN (SELECT attempt_id FROM store.attempts)
            """
        )
        ((count,),) = db.execute("SELECT count(*) FROM borrowed").fetchall()
        # An answer whose body another attempt holds comes with that attempt.
        db.execute(
            f"""
            CREATE OR REPLACE TEMP TABLE borrowed AS
            SELECT attempt_id FROM borrowed UNION
            SELECT shared FROM borrowed WHERE shared NOT IN (SELECT attempt_id FROM store.attempts)
            AND shared <> '';
            INSERT INTO store.attempts BY NAME SELECT {_ATTEMPT} FROM ledger.store.attempts
            WHERE attempt_id IN (SELECT attempt_id FROM borrowed);
            INSERT INTO store.borrowed SELECT attempt_id FROM borrowed;
            DROP TABLE borrowed
            """
        )
    return int(count)


def lend(corpus: Corpus, path: Path) -> None:
    """Put the answers of `corpus` that the ledger at `path` has not into it, making it if need be.

    Raises:
        CorpusError: The ledger cannot be written; a later run lends what this one could not.
    """
    _wait_for(lambda: open_corpus(path).close())
    with _attached(corpus, path, "READ_WRITE"):
        corpus.db.execute(
            f"""
            CREATE OR REPLACE TEMP TABLE lent AS
            SELECT attempt_id, request_key, shared FROM store.attempts WHERE error = ''
            AND attempt_id NOT IN (SELECT attempt_id FROM store.borrowed)
            AND request_key IN (SELECT request_key FROM store.completions);
            INSERT INTO ledger.store.requests BY NAME SELECT {_REQUEST} FROM store.requests
            WHERE request_key IN (SELECT request_key FROM lent)
            AND request_key NOT IN (SELECT request_key FROM ledger.store.requests);
            INSERT INTO ledger.store.attempts BY NAME SELECT {_ATTEMPT} FROM store.attempts
            WHERE (attempt_id IN (SELECT attempt_id FROM lent)
                OR attempt_id IN (SELECT shared FROM lent))
            AND attempt_id NOT IN (SELECT attempt_id FROM ledger.store.attempts);
            DROP TABLE lent
            """
        )


@contextmanager
def _attached(corpus: Corpus, path: Path, mode: str) -> Iterator[None]:
    """Do all of what follows with the ledger at hand, or, if something is raised, none of it."""
    where = str(path).replace("'", "''")
    try:
        _wait_for(lambda: corpus.db.execute(f"ATTACH '{where}' AS ledger ({mode})"))
    except duckdb.Error as error:
        raise CorpusError(explain_opening(path, str(error))) from error
    try:
        corpus.db.execute("BEGIN")
        yield
        corpus.db.execute("COMMIT")
    except BaseException as error:
        with suppress(duckdb.Error):
            corpus.db.execute("ROLLBACK")
        if not isinstance(error, duckdb.Error):
            raise
        raise CorpusError(
            f"the ledger {path} cannot be used: {error}. Nothing of it was changed; "
            "name another, or leave `ledger` out."
        ) from error
    finally:
        corpus.db.execute("DETACH ledger")


def _wait_for(opening: Callable[[], object]) -> None:
    """Call `opening`, again and again while another process holds the file."""
    Retrying(
        retry=retry_if_exception(
            lambda e: bool(re.search(r"in use by|Could not set lock", str(e)))
        ),
        stop=stop_after_delay(_PATIENCE),
        wait=wait_random(0.05, 0.25),
        reraise=True,
    )(opening)
