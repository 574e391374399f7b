"""What a corpus says of its requests: answered, waited for, pending, and what they cost."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from synthkd.cli.wording import spell_reasons, spell_seconds
from synthkd.corpus.batches import WAITING
from synthkd.corpus.store import Corpus
from synthkd.teachers.amounts import spell_count, spell_dollars
from synthkd.teachers.standing import name_failure

# Each request once: whether its answer was read, has come, or is waited for; else its last try.
_REQUESTS = f"""
    SELECT c.request_key IS NOT NULL AS is_read, coalesce(t.has_come, false) AS has_come,
        w.request_key IS NOT NULL AS is_waiting, t.status, t.error
    FROM store.requests
    LEFT JOIN (SELECT request_key FROM store.completions) c USING (request_key)
    LEFT JOIN (SELECT DISTINCT request_key FROM ({WAITING})) w USING (request_key)
    LEFT JOIN (
        SELECT request_key, bool_or(error = '') AS has_come,
            arg_max(status, started_at) AS status, arg_max(error, started_at) AS error
        FROM store.attempts GROUP BY request_key
    ) t USING (request_key)
"""
_COUNTS = f"""
    SELECT count(*), count(*) FILTER (is_read), count(*) FILTER (NOT is_read AND has_come),
        count(*) FILTER (NOT is_read AND NOT has_come AND is_waiting)
    FROM ({_REQUESTS})
"""
_FAILED = f"""
    SELECT status, error, count(*) FROM ({_REQUESTS})
    WHERE error <> '' AND NOT (is_read OR has_come OR is_waiting) GROUP BY ALL
"""
# What was borrowed, another corpus paid for; where tokens are free, nobody need count them.
_COSTS = """
    SELECT sum(cost_usd), count(*) FILTER (cost_usd IS NULL) FROM (
        SELECT coalesce(c.cost_usd, CASE WHEN (a.price->>'$.prompt')::DOUBLE = 0
            AND (a.price->>'$.completion')::DOUBLE = 0 THEN 0 END) AS cost_usd
        FROM store.completions c JOIN store.attempts a USING (attempt_id)
        WHERE attempt_id NOT IN (SELECT attempt_id FROM store.borrowed)
    )
"""
_LAST_ASKED = "SELECT max(finished_at) FROM store.runs WHERE command IN ('generate', 'run')"


@dataclass(frozen=True, slots=True)
class Waiting:
    """Batches of one status that wait for their answers."""

    status: str
    batches: int
    requests: int


@dataclass(frozen=True, slots=True)
class Run:
    """A run, as the corpus remembers it; times are UTC, and the end None where it came to none."""

    run_id: str
    command: str
    started_at: datetime
    finished_at: datetime | None


@dataclass(frozen=True, slots=True)
class Asked:
    """What a corpus says of its requests.

    Each is `answered`, in a batch (`waiting`), or `pending`: the next run asks it. Of the
    pending, `failed` counts those whose last attempt failed, by reason; of the answered,
    `unread` those that an interrupted run left, which the next one reads. `spent_usd`
    leaves out `unpriced` and `unread` answers, and what another corpus paid for; it is
    None where nothing else is left. `is_ledger`: its answers are for other corpora.
    """

    requests: int
    answered: int
    waiting: int
    pending: int
    failed: Mapping[str, int]
    unread: int
    spent_usd: float | None
    unpriced: int
    is_ledger: bool
    batches: tuple[Waiting, ...]
    last_run: Run | None

    def spell(self) -> Iterator[str]:
        """Yield all of it as lines to read."""
        if self.is_ledger:
            yield (
                f"a ledger of {spell_count(self.answered, 'answer')} that corpora share; each "
                "tells itself what it spent"
            )
            return
        yield _spell_requests(self)
        yield f"spent: {_spell_spent(self)}"
        for some in self.batches:
            requests = spell_count(some.requests, "request waits", "requests wait")
            yield f"batches: {some.batches:,} {some.status}, {requests} in them"
        if self.last_run:
            yield _spell_run(self.last_run)


def ask(corpus: Corpus) -> Asked:
    """Return what `corpus` says of its requests."""
    ((requests, read, unread, waiting),) = corpus.db.execute(_COUNTS).fetchall()
    failed: Counter[str] = Counter()
    for status, error, count in corpus.db.execute(_FAILED).fetchall():
        failed[name_failure(status, error)] += count
    ((spent, unpriced),) = corpus.db.execute(_COSTS).fetchall()
    run = corpus.first(
        "SELECT run_id, command, started_at, finished_at FROM store.runs "
        "ORDER BY started_at DESC LIMIT 1"
    )
    return Asked(
        requests=requests,
        answered=read + unread,
        waiting=waiting,
        pending=requests - read - unread - waiting,
        failed=dict(failed),
        unread=unread,
        spent_usd=None if spent is None and (unpriced or unread) else spent or 0.0,
        unpriced=unpriced,
        is_ledger=run is None and not read and unread > 0,
        batches=_ask_batches(corpus),
        last_run=Run(*run) if run else None,
    )


def _ask_batches(corpus: Corpus) -> tuple[Waiting, ...]:
    rows = corpus.db.execute(
        "SELECT status, count(*), sum(requests) FROM store.batches "
        "WHERE status IN ('intent', 'submitted') GROUP BY status ORDER BY status"
    ).fetchall()
    return tuple(Waiting(status, count, int(requests)) for status, count, requests in rows)


def find_last_end(corpus: Corpus) -> float | None:
    """Return when a run that asks last came to its end, as seconds since 1970."""
    finished = corpus.first(_LAST_ASKED)
    return finished[0].replace(tzinfo=UTC).timestamp() if finished and finished[0] else None


def _spell_requests(asked: Asked) -> str:
    unread = f" ({asked.unread:,} of them not read yet; run again)" if asked.unread else ""
    waiting = f", in batches {asked.waiting:,}" if asked.waiting else ""
    failed = f", of them failed last time {spell_reasons(asked.failed)}" if asked.failed else ""
    return (
        f"requests: {asked.requests:,}, answered {asked.answered:,}{unread}{waiting}, "
        f"pending {asked.pending:,}{failed}"
    )


def _spell_spent(asked: Asked) -> str:
    """Return what was spent, and what of it is not known."""
    told = [spell_dollars(asked.spent_usd)]
    if asked.unpriced:
        told.append(f"{spell_count(asked.unpriced, 'answer')} whose price is unknown")
    if asked.unread:
        told.append(f"{spell_count(asked.unread, 'answer')} not read yet")
    return ", and ".join(told)


def _spell_run(run: Run) -> str:
    began = f"{run.started_at:%Y-%m-%d %H:%M:%S} UTC"
    if run.finished_at is None:
        return f"last run: {run.command} {run.run_id}, {began}; it did not come to its end"
    took = spell_seconds((run.finished_at - run.started_at).total_seconds())
    return f"last run: {run.command} {run.run_id}, {began}, took {took}"
