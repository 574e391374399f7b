"""Samples in the corpus: written from completions, judged, and read back in one order.

A run works on a *selection* of samples: those of its own seeds, prompt and
teacher. What else the corpus holds is left alone.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from synthkd.corpus.ledger import read_messages
from synthkd.corpus.positions import Positions
from synthkd.corpus.rows import as_column, pages, to_json, writable
from synthkd.corpus.store import Corpus
from synthkd.corpus.tokens import read_logprobs
from synthkd.records import (
    Contribution,
    Sample,
    Seed,
    TokenLogprobs,
    Verdict,
    canonical_json,
    digest,
)

_PAGE = 1000  # samples read or written at a time

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
    corpus: Corpus, *, only_kept: bool = False, with_logprobs: bool = False
) -> Iterator[tuple[Sample, TokenLogprobs | None]]:
    """Yield the selected samples by source, seed and sample index, a page in memory at a time."""
    kept = "AND sample_id IN (SELECT sample_id FROM kept)" if only_kept else ""
    cursor = corpus.cursor()
    # A cursor does not see the temporary tables of its connection, so the ids travel.
    ids = corpus.db.execute("SELECT sample_id FROM selection").fetchall()
    cursor.register("chosen", {"sample_id": as_column(key for (key,) in ids)})
    cursor.execute(
        f"""
        SELECT sample_id, source_id, seed_id, messages, completion, answer, rationale,
            reference, is_split, finish_reason, judge_score, request_key, is_rewritten
        FROM samples JOIN chosen USING (sample_id)
        JOIN (SELECT sample_id, completion IS NOT NULL AS is_rewritten FROM store.samples)
            USING (sample_id)
        JOIN (SELECT request_key, sample_index FROM store.requests) USING (request_key)
        WHERE true {kept}
        ORDER BY source_id, seed_id, sample_index, sample_id
        """
    )
    while page := cursor.fetchmany(_PAGE):
        # Those of an answer say nothing of a text that was joined or mended.
        keys = [row[-2] for row in page if not row[-1]] if with_logprobs else []
        logprobs = dict(read_logprobs(corpus, keys))
        for key, source, seed, messages, completion, answer, *rest in page:
            rationale, reference, is_split, finish_reason, judge_score, request_key, _ = rest
            given = None if rest[-1] else logprobs.get(request_key)
            sample = Sample(
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
                token_logprobs=_sampled(given) if given else None,
                judge_score=judge_score,
            )
            yield sample, given
    cursor.close()


def replace_verdicts(corpus: Corpus, verdicts: Iterable[tuple[str, str, int, Verdict]]) -> None:
    """Put `verdicts` (sample id, filter, step, verdict) in place of the selection's old ones."""
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
