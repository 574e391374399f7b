"""Samples in the corpus: written from completions, judged, and read back in one order.

A run works on a *selection* of samples: those of its own seeds, prompt and
teacher. What else the corpus holds is left alone.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from synthkd.corpus.ledger import read_logprobs, read_messages
from synthkd.corpus.rows import pages, to_json
from synthkd.corpus.store import Corpus
from synthkd.records import Contribution, Sample, Seed, TokenLogprobs, Verdict, digest

_PAGE = 1000  # samples read or written at a time


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
    )


def add_samples(
    corpus: Corpus, rows: Sequence[Mapping[str, Any]], contributions: Sequence[Contribution]
) -> None:
    """Write samples (rows of `store.samples`) that all came from `contributions`.

    A sample that is there is read anew: its parts follow the prompt's output parts
    of today; when and in which run it came to be stays.
    """
    for page in pages(rows, _PAGE):
        ids = [row["sample_id"] for row in page]
        born = {
            key: (run_id, at)
            for key, run_id, at in corpus.db.execute(
                "SELECT sample_id, run_id, created_at FROM store.samples "
                "WHERE sample_id IN (SELECT unnest(?::VARCHAR[]))",
                [ids],
            ).fetchall()
        }
        now = datetime.now(UTC)
        fresh = []
        for row in page:
            run_id, created_at = born.get(row["sample_id"], (row["run_id"], now))
            fresh.append({**row, "run_id": run_id, "created_at": created_at})
        corpus.insert("store.samples", fresh, replace=True)
        corpus.insert(
            "store.contributions",
            (
                {
                    "sample_id": key,
                    "role": contribution.role,
                    "reach": contribution.reach,
                    "name": contribution.name,
                    "host": contribution.host,
                    "license": contribution.license,
                    "terms": contribution.terms,
                }
                for key in ids
                for contribution in contributions
            ),
            replace=True,
        )


def select(corpus: Corpus, sample_ids: Iterable[str] | None) -> None:
    """Make `sample_ids` (None: all) what `read_samples` and `replace_verdicts` work on."""
    corpus.db.execute("CREATE OR REPLACE TEMP TABLE selection (sample_id TEXT PRIMARY KEY)")
    if sample_ids is None:
        corpus.db.execute("INSERT INTO selection SELECT sample_id FROM store.samples")
    else:
        corpus.insert("selection", ({"sample_id": key} for key in sample_ids))


def read_samples(
    corpus: Corpus, *, only_kept: bool = False, with_logprobs: bool = False
) -> Iterator[tuple[Sample, TokenLogprobs | None]]:
    """Yield the selected samples by source, seed and sample index, a page in memory at a time."""
    kept = "AND sample_id IN (SELECT sample_id FROM kept)" if only_kept else ""
    cursor = corpus.db.cursor()
    # A cursor does not see the temporary tables of its connection, so the ids travel.
    ids = corpus.db.execute("SELECT sample_id FROM selection").fetchall()
    cursor.register("chosen", pa.table({"sample_id": [key for (key,) in ids]}))
    cursor.execute(
        f"""
        SELECT sample_id, source_id, seed_id, messages, completion, answer, rationale,
            reference, is_split, finish_reason, request_key
        FROM samples JOIN chosen USING (sample_id)
        JOIN (SELECT request_key, sample_index FROM store.requests) USING (request_key)
        WHERE true {kept}
        ORDER BY source_id, seed_id, sample_index, sample_id
        """
    )
    while page := cursor.fetchmany(_PAGE):
        keys = [row[-1] for row in page] if with_logprobs else []
        logprobs = dict(read_logprobs(corpus, keys))
        for key, source, seed, messages, completion, answer, *rest in page:
            rationale, reference, is_split, finish_reason, request_key = rest
            given = logprobs.get(request_key)
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
    return tuple(position.sampled.logprob for position in logprobs.positions)
