"""What can be told of the work on a corpus from outside the process that does it.

A corpus is locked by the process that writes it, so while one does, the standing that
it writes beside the corpus is told. Once nobody writes, the corpus itself is asked.
"""

import re
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Literal

import duckdb

from synthkd.cli.wording import (
    describe,
    spell_dollars,
    spell_reason,
    spell_reasons,
    spell_seconds,
)
from synthkd.corpus.store import Corpus, read_corpus
from synthkd.errors import CorpusError
from synthkd.records import Json
from synthkd.teachers.standing import Standing, name_failure, read_standing, standing_path

_PAUSE = 1.0  # seconds between two looks
_LATE = 10.0  # seconds of silence that are worth a word

State = Literal["running", "done", "stopped", "killed", "idle", "never_run"]

# The last word on each request that was ever tried.
_TRIES = """
    SELECT request_key, bool_or(error = '') AS is_answered,
        arg_max(status, started_at) AS status, arg_max(error, started_at) AS error
    FROM attempts GROUP BY request_key
"""


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
    """What a corpus says of its requests. `spent_usd` leaves out `unpriced` answers.

    It is None where no price is known. Whoever failed may be asked again by the next run.
    """

    requests: int
    answered: int
    pending: int
    failed: Mapping[str, int]
    spent_usd: float | None
    unpriced: int
    batches: tuple[Waiting, ...]
    last_run: Run | None


@dataclass(frozen=True, slots=True)
class Overview:
    """All there is to tell of a corpus at one moment.

    `state` is that of the last step that told its standing: `killed` where it went
    without a word, `idle` where none ever told any. `held_by` is the number of the process
    that holds the corpus; then it cannot be `asked`.
    """

    corpus: Path
    state: State
    standing: Standing | None = None
    held_by: int | None = None
    asked: Asked | None = None

    def facts(self) -> dict[str, Json]:
        """Return everything by name, ready for JSON but for times and paths."""
        return {
            "corpus": self.corpus,
            "state": self.state,
            "held_by": self.held_by,
            "standing": self.standing and {**self.standing.facts(), "done": self.standing.done},
            "asked": self.asked and asdict(self.asked),
        }


def look(corpus: Path, *, may_be_absent: bool = False) -> Overview:
    """Return what can be told of `corpus` now.

    Raises:
        CorpusError: It is no corpus, or is not there and should be.
    """
    standing = read_standing(standing_path(corpus))
    if may_be_absent and not corpus.exists():
        return Overview(corpus, "never_run")
    if standing and standing.state == "running" and standing.is_alive():
        return Overview(corpus, "running", standing, held_by=standing.pid)
    state: State = "idle" if standing is None else standing.state
    overview = Overview(corpus, "killed" if state == "running" else state, standing)
    try:
        with read_corpus(corpus) as opened:
            return replace(overview, asked=_ask(opened))
    except CorpusError as error:
        held = re.search(r"is in use by process (\d+)", str(error))
        if not held:
            raise
        return replace(overview, held_by=int(held[1]))


def follow(corpus: Path, watch: Callable[[str], Callable[[Standing], None]]) -> Iterator[Overview]:
    """Tell `watch(step)` how the work on `corpus` stands, until it ends; yield what is new."""
    show, last = None, ""
    while standing := read_standing(standing_path(corpus)):
        is_running = standing.state == "running" and standing.is_alive()
        if not is_running and show is None:
            return
        if standing.at != last or not is_running:
            show, last = show or watch(standing.step), standing.at
            gone = replace(standing, state="stopped")
            show(gone if standing.state == "running" and not is_running else standing)
        if not is_running:
            return
        yield Overview(corpus, "running", standing, held_by=standing.pid)
        time.sleep(_PAUSE)


def spell(overview: Overview) -> Iterator[str]:
    """Yield what is told of a corpus as lines to read."""
    yield f"{overview.corpus}: {_spell_state(overview)}"
    if overview.standing and overview.state in {"running", "killed", "stopped"}:
        yield from (f"  {line}" for line in describe(overview.standing))
    if overview.asked is None:
        return
    asked = overview.asked
    yield (
        f"requests: {asked.requests:,}, answered {asked.answered:,}, pending {asked.pending:,}, "
        f"failed {spell_reasons(asked.failed)}"
    )
    unpriced = f", and {asked.unpriced:,} answers whose price is unknown" if asked.unpriced else ""
    yield f"spent: {spell_dollars(asked.spent_usd)}{unpriced}"
    for some in asked.batches:
        yield f"batches: {some.batches:,} {some.status}, {some.requests:,} requests wait for them"
    if asked.last_run:
        yield _spell_run(asked.last_run)


def _ask(corpus: Corpus) -> Asked:
    ((requests, answered, pending),) = corpus.db.execute(
        "SELECT count(*), count(*) FILTER (is_answered), count(*) FILTER (is_answered IS NULL) "
        f"FROM store.requests LEFT JOIN ({_TRIES}) USING (request_key)"
    ).fetchall()
    failed: Counter[str] = Counter()
    for status, error, count in corpus.db.execute(
        f"SELECT status, error, count(*) FROM ({_TRIES}) WHERE NOT is_answered GROUP BY ALL"
    ).fetchall():
        failed[name_failure(status, error)] += count
    ((spent, unpriced),) = corpus.db.execute(
        "SELECT sum(cost_usd), count(*) FILTER (cost_usd IS NULL AND usage IS NOT NULL) "
        "FROM attempts"
    ).fetchall()
    run = corpus.first(
        "SELECT run_id, command, started_at, finished_at FROM store.runs "
        "ORDER BY started_at DESC LIMIT 1"
    )
    return Asked(
        requests=requests,
        answered=answered,
        pending=pending,
        failed=dict(failed),
        spent_usd=None if spent is None and unpriced else spent or 0.0,
        unpriced=unpriced,
        batches=_ask_batches(corpus),
        last_run=Run(*run) if run else None,
    )


def _ask_batches(corpus: Corpus) -> tuple[Waiting, ...]:
    try:
        rows = corpus.db.execute(
            "SELECT status, count(*), sum(requests) FROM store.batches "
            "WHERE status IN ('intent', 'submitted') GROUP BY status ORDER BY status"
        ).fetchall()
    except duckdb.CatalogException:
        return ()  # a corpus without that table has no batches
    return tuple(Waiting(status, count, int(requests)) for status, count, requests in rows)


def _spell_state(overview: Overview) -> str:
    """Return in a sentence what goes on."""
    standing = overview.standing
    if standing is None or overview.held_by not in {None, standing.pid}:
        return _spell_holder(overview)
    ago, ran = spell_seconds(standing.silence()), spell_seconds(standing.seconds)
    if overview.state == "running":
        late = f", silent for {ago}" if standing.silence() > _LATE else ""
        return f"{standing.step} runs, for {ran} (process {standing.pid}{late})"
    if overview.held_by:
        return (
            f"{standing.step} is {overview.state}; process {overview.held_by} goes on from there."
        )
    if overview.state == "killed":
        return f"{standing.step} ended {ago} ago without saying so (killed?); run it again."
    why = f": {spell_reason(standing)}" if standing.reason else "."
    return f"nothing runs; {standing.step} was {overview.state} {ago} ago{why}"


def _spell_holder(overview: Overview) -> str:
    """Return who holds a corpus that says no more."""
    if overview.state == "never_run":
        return "there is no corpus yet; `synthkd run` makes it."
    if overview.held_by:
        return f"process {overview.held_by} works on it; ask again when that has ended."
    return "nothing runs."


def _spell_run(run: Run) -> str:
    began = f"{run.started_at:%Y-%m-%d %H:%M:%S} UTC"
    if run.finished_at is None:
        return f"last run: {run.command} {run.run_id}, {began}; it did not come to its end"
    took = spell_seconds((run.finished_at - run.started_at).total_seconds())
    return f"last run: {run.command} {run.run_id}, {began}, took {took}"
