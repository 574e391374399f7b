"""How the models did: the newest evaluation of a corpus, as a table of plain values."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from synthkd.corpus.store import Corpus
from synthkd.reports.facts import Row, query

_LEADING = "exact_match"  # the metric that says what a student kept of its teacher


@dataclass(frozen=True, slots=True)
class Standing:
    """One model in the newest evaluation. `scores` are its rows of `read_scores` by metric.

    `kept_share`, `n` and `invalid` are those of the leading metric: exact match, or
    the first one where that was not asked for.
    """

    model: str
    role: str
    parameters: int | None
    tokens_per_second: float | None
    kept_share: float | None
    n: int
    invalid: int
    scores: Mapping[str, Row]


def read_scores(corpus: Corpus) -> list[Row]:
    """Return the newest evaluation, a row per model and metric; an empty list if there is none.

    A row has `model`, `role` (teacher, student, baseline), `metric`, `value` with its
    95 % interval from `low` to `high`, `n` rows of which `invalid` had no readable
    answer, `parameters`, `tokens_per_second`, and `kept_share`: its value over the
    teacher's. None where something is not known. The teacher comes first, then
    students, then baselines, each in the order they were measured.
    """
    rows = query(
        corpus,
        """
        SELECT model, role, metric, value, low, high, n, invalid, parameters, tokens_per_second,
            value / nullif(max(value) FILTER (role = 'teacher') OVER (PARTITION BY metric), 0)
                AS kept_share
        FROM store.evaluations
        WHERE evaluation_id =
            (SELECT evaluation_id FROM store.evaluations ORDER BY created_at DESC LIMIT 1)
        ORDER BY list_position(['teacher', 'student', 'baseline'], role), place, rowid
        """,
    )
    return [{name: _known(value) for name, value in row.items()} for row in rows]


def rank(scores: Sequence[Row]) -> tuple[list[Standing], list[str], str]:
    """Return the models of `read_scores`, the metrics they have, and the leading one of these."""
    metrics = list(dict.fromkeys(row["metric"] for row in scores))
    leading = _LEADING if _LEADING in metrics else next(iter(metrics), "")
    standings = []
    for model, role in dict.fromkeys((row["model"], row["role"]) for row in scores):
        own = {row["metric"]: row for row in scores if row["model"] == model}
        first = own.get(leading) or next(iter(own.values()))
        standings.append(
            Standing(
                model=model,
                role=role,
                parameters=first["parameters"],
                tokens_per_second=first["tokens_per_second"],
                kept_share=own[leading]["kept_share"] if leading in own else None,
                n=first["n"],
                invalid=first["invalid"],
                scores=own,
            )
        )
    return standings, metrics, leading


def _known(value: object) -> object:
    """Return `value`, or None for a number that is none: JSON has no NaN."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
