"""Samples in the corpus: written from completions, judged, and read back in one order.

A run works on a *selection* of samples: those of its own seeds, prompt and
teacher. What else the corpus holds is left alone.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from datetime import UTC, datetime
from functools import cache
from typing import Any
from uuid import uuid4

import duckdb

from synthkd.corpus.cutting import cut, find_stops
from synthkd.corpus.ledger import read_messages
from synthkd.corpus.positions import Positions
from synthkd.corpus.rows import pages, to_json, writable
from synthkd.corpus.store import Corpus
from synthkd.corpus.tokens import read_draws, read_logprobs
from synthkd.records import (
    Contribution,
    Sample,
    Seed,
    TokenLogprobs,
    Verdict,
    canonical_json,
    digest,
)

_PAGE = 1000  # samples written at a time
_READ_PAGE = 2000  # samples read at a time: each page looks its keys up in all of the corpus

# Parameters that leave a teacher's distribution as it is, and values at which others do.
_HARMLESS = frozenset(
    {"max_tokens", "max_completion_tokens", "max_output_tokens", "seed", "stop", "logprobs",
     "top_logprobs", "random_targets", "user", "metadata", "store", "service_tier"}
)  # fmt: skip
_HARMLESS_AT = {"top_p": 1, "top_k": 0, "min_p": 0, "frequency_penalty": 0, "presence_penalty": 0,
                "repetition_penalty": 1, "num_beams": 1}  # fmt: skip

# What a sample is read into anew, when its prompt's output parts or its rights change.
_READ_ANEW = (
    "prompt_version", "answer", "rationale", "reference", "is_split", "teacher", "profile_id",
    "asked_key", "messages", "completion", "salvaged",
)  # fmt: skip


def sample_id(source_id: str, seed_id: str, request_key: str) -> str:
    """Return the id of the sample that a seed and an answer make: the same ones, the same id."""
    return digest([source_id, seed_id, request_key])[:16]


def add_seeds(corpus: Corpus, seeds: Iterable[Seed]) -> None:
    """Write down the rows that prompts are made from."""
    corpus.insert(
        "store.seeds",
        (
            {
                "source_id": seed.source_id,
                "seed_id": seed.seed_id,
                "version": seed.version,
                "fields": to_json(dict(seed.row)),
            }
            for seed in seeds
        ),
        key=("source_id", "seed_id", "version"),
    )


def add_profile(corpus: Corpus, contributions: Sequence[Contribution]) -> str:
    """Write down a set of contributions, once, and return the id that samples name it by."""
    rows = [asdict(contribution) for contribution in contributions]
    profile_id = digest(sorted(rows, key=canonical_json))[:32]
    known = corpus.first("SELECT 1 FROM store.profiles WHERE profile_id = ? LIMIT 1", [profile_id])
    if not known:
        corpus.insert("store.profiles", [{"profile_id": profile_id, **row} for row in rows])
    return profile_id


def add_samples(corpus: Corpus, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write samples, which are rows of `store.samples` without the time they came to be.

    Without `messages` and `completion` of its own, a sample has those of its request.
    A sample that is there is read anew: its parts follow the prompt's output parts
    of today; when and in which run it came to be stays.
    """
    for page in pages(rows, _PAGE):
        known = {
            values[0]: values[1:]
            for values in corpus.db.execute(
                f"SELECT sample_id, {', '.join(_READ_ANEW)}, run_id, created_at "
                "FROM store.samples WHERE sample_id IN (SELECT unnest(?::VARCHAR[]))",
                [[row["sample_id"] for row in page]],
            ).fetchall()
        }
        now = datetime.now(UTC)
        fresh, changed = [], []
        for row in page:
            *old, run_id, created_at = known.get(row["sample_id"], (None, None))
            if created_at is None:
                fresh.append({**row, "created_at": now})
            elif old != [writable(row.get(name)) for name in _READ_ANEW]:
                changed.append({**row, "run_id": run_id, "created_at": created_at})
        corpus.insert("store.samples", {row["sample_id"]: row for row in fresh}.values())
        corpus.insert("store.samples", changed, key=("sample_id",), replace=True)


def select(corpus: Corpus, sample_ids: Iterable[str] | None) -> None:
    """Make `sample_ids` (None: all) what `read_samples` and `replace_verdicts` work on."""
    corpus.db.execute("CREATE OR REPLACE TEMP TABLE selection (sample_id TEXT)")
    if sample_ids is None:
        corpus.db.execute("INSERT INTO selection SELECT sample_id FROM store.samples")
    else:
        add_to_selection(corpus, sample_ids)


def add_to_selection(corpus: Corpus, sample_ids: Iterable[str]) -> None:
    """Add `sample_ids` to what was selected."""
    for page in pages(sample_ids, _PAGE):
        corpus.insert("selection", ({"sample_id": key} for key in page), key=("sample_id",))


def read_samples(
    corpus: Corpus,
    *,
    only_kept: bool = False,
    with_logprobs: bool = False,
    with_draws: bool = False,
) -> Iterator[tuple[Sample, TokenLogprobs | None]]:
    """Yield the selected samples by source, seed and sample index, a page in memory at a time.

    Random targets come with the log-probabilities of the same tokens, or not at all. What
    a teacher ran on with beyond a `stop` of its prompt is left out, and what it said of that.
    """
    stops = find_stops(corpus)
    # Only keys are put in order: texts and blobs would have to fit in memory for that.
    order = f"reading_{uuid4().hex}"
    kept = "AND NOT EXISTS (FROM store.verdicts v WHERE v.sample_id = s.sample_id AND NOT v.keep)"
    corpus.db.execute(
        f"""
        CREATE TEMP TABLE {order} AS
        SELECT row_number() OVER (ORDER BY source_id, seed_id, sample_index, sample_id) AS place,
            sample_id, request_key
        FROM store.samples s JOIN store.requests USING (request_key)
        WHERE sample_id IN (SELECT sample_id FROM selection) {kept if only_kept else ""}
        """
    )
    try:
        start = 1
        while page := _read_page(corpus, order, start):
            # Those of an answer say nothing of a text that was joined or mended.
            keys = [key for _, key, _, is_rewritten in page if not is_rewritten]
            logprobs = dict(read_logprobs(corpus, keys)) if with_logprobs else {}
            draws = dict(read_draws(corpus, keys)) if with_draws else {}
            for sample, key, version, is_rewritten in page:
                given = None if is_rewritten else logprobs.get(key)
                if given and key in draws:
                    given = replace(given, draws=draws[key])
                read, given = cut(sample, given, stops.get(version))
                yield replace(read, token_logprobs=_sampled(given)) if given else read, given
            start += len(page)
    finally:
        # In a transaction that failed nothing can be dropped, and nothing is left either.
        with suppress(duckdb.Error):
            corpus.db.execute(f"DROP TABLE {order}")


def _read_page(corpus: Corpus, order: str, start: int) -> list[tuple[Sample, str, str, bool]]:
    """Return samples from place `start` on, with request key, prompt and "was rewritten"."""
    rows = corpus.db.execute(
        f"""
        SELECT sample_id, source_id, seed_id, coalesce(s.messages, r.messages),
            coalesce(s.completion, c.text), s.answer, s.rationale, s.reference, s.is_split,
            c.finish_reason, j.score, r.parameters, request_key, s.prompt_version,
            s.completion IS NOT NULL
        FROM (FROM {order} WHERE place BETWEEN ? AND ?)
        JOIN store.samples s USING (sample_id, request_key)
        JOIN store.requests r USING (request_key)
        JOIN store.completions c USING (request_key)
        LEFT JOIN store.judgements j USING (sample_id)
        ORDER BY place
        """,
        [start, start + _READ_PAGE - 1],
    ).fetchall()
    return [
        (
            Sample(
                sample_id=key,
                source_id=source,
                seed_id=seed,
                messages=read_messages(messages),
                completion=completion,
                answer=answer,
                rationale=rationale,
                reference=reference,
                is_split=is_split,
                finish_reason=finish_reason,
                judge_score=judge_score,
                is_pure=not is_rewritten and is_pure(parameters),
            ),
            request_key,
            version,
            is_rewritten,
        )
        for key, source, seed, messages, completion, answer, rationale, reference, is_split,
            finish_reason, judge_score, parameters, request_key, version, is_rewritten in rows
    ]  # fmt: skip


@cache
def is_pure(parameters: str) -> bool:
    """Return whether an answer asked for with `parameters` is a draw from all the teacher said."""
    asked = {name: value for name, value in json.loads(parameters).items() if value is not None}
    return float(asked.pop("temperature", 0)) == 1 and all(
        name in _HARMLESS or value == _HARMLESS_AT.get(name) for name, value in asked.items()
    )


def replace_verdicts(
    corpus: Corpus,
    verdicts: Iterable[tuple[str, str, int, Verdict]],
    tell: Callable[[], object] = lambda: None,
) -> None:
    """Put `verdicts` (sample id, filter, step, verdict) in place of the selection's old ones.

    `tell` is called once they are there, and stands or falls with them.
    """
    with corpus.transaction():
        # Whoever judged these samples before has to judge them again: its verdicts are gone.
        corpus.db.execute("DELETE FROM store.steps WHERE starts_with(step, 'filter ')")
        corpus.db.execute(
            "DELETE FROM store.verdicts WHERE sample_id IN (SELECT sample_id FROM selection)"
        )
        for page in pages(verdicts, _PAGE):
            corpus.insert(
                "store.verdicts",
                (
                    {
                        "sample_id": key,
                        "filter": label,
                        "step": step,
                        "keep": verdict.keep,
                        "reason": verdict.reason,
                        "score": verdict.score,
                    }
                    for key, label, step, verdict in page
                ),
            )
        tell()


def read_funnel(corpus: Corpus) -> list[tuple[str, int, int, dict[str, int]]]:
    """Return (filter, judged, kept, dropped by reason) of the selection, in the filters' order."""
    rows = corpus.db.execute(
        """
        SELECT step, filter, keep, reason, count(*) FROM store.verdicts
        WHERE sample_id IN (SELECT sample_id FROM selection)
        GROUP BY ALL ORDER BY step, reason
        """
    ).fetchall()
    stages: dict[tuple[int, str], tuple[int, dict[str, int]]] = {}
    for step, label, keep, reason, count in rows:
        kept, reasons = stages.setdefault((step, label), (0, {}))
        if keep:
            stages[step, label] = (kept + count, reasons)
        else:
            reasons[reason] = count
    return [
        (label, kept + sum(reasons.values()), kept, reasons)
        for (_, label), (kept, reasons) in stages.items()
    ]


def _sampled(logprobs: TokenLogprobs) -> tuple[float, ...]:
    positions = Positions.of(logprobs.positions)
    return tuple(positions.logprobs[positions.sampled].tolist())
