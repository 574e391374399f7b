"""Models side by side, on the same rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from synthkd.evaluation.comparison import (
    Interval,
    bootstrap,
    paired_difference,
    retained_share,
)
from synthkd.evaluation.metrics import METRICS, Metric
from synthkd.evaluation.options import EvaluationOptions

AGREEMENT = "agreement"

Answers = Sequence[str | None]


@dataclass(frozen=True, slots=True)
class Score:
    """How one model does by one metric over `n` rows.

    `invalid` of them had no readable answer and count 0. `difference` (its mean less
    the teacher's) and `retained` (its mean over the teacher's) are paired by row; they
    are None for the teacher, for agreement, and where there is no teacher to compare with.
    """

    model: str
    metric: str
    interval: Interval
    n: int
    invalid: int
    difference: Interval | None = None
    retained: Interval | None = None

    @property
    def invalid_share(self) -> float:
        """The share of rows without a readable answer."""
        return self.invalid / self.n


def evaluate(
    references: Answers,
    predictions: Mapping[str, Answers],
    options: EvaluationOptions,
    teacher: str | None = None,
) -> list[Score]:
    """Return the scores of every model of `predictions` by every metric of `options`.

    All are in the order of the rows; a prediction that is None is invalid, and scores 0.
    Rows without a reference are left out, as are, for agreement, those the `teacher`
    gave no readable answer to. A metric that has no row left has no score.

    Raises:
        ValueError: A model has not as many predictions as there are rows, or `teacher` has none.
    """
    for model, answers in predictions.items():
        if len(answers) != len(references):
            raise ValueError(
                f"{model} has {len(answers)} predictions for {len(references)} rows; "
                "they cannot be told to their rows"
            )
    if teacher is not None and teacher not in predictions:
        raise ValueError(f"the teacher {teacher!r} has no predictions to compare with")
    scores = []
    for metric in options.metrics:
        wanted = _pick_wanted(metric, references, predictions, teacher)
        rows = [(place, answer) for place, answer in enumerate(wanted) if answer is not None]
        if rows:
            scores += _compare(metric, rows, predictions, options, teacher)
    return scores


def _pick_wanted(
    metric: str, references: Answers, predictions: Mapping[str, Answers], teacher: str | None
) -> Answers:
    """Return what a prediction is compared with, row by row."""
    if metric != AGREEMENT:
        return references
    return predictions[teacher] if teacher is not None else ()


def _compare(
    metric: str,
    rows: Sequence[tuple[int, str]],
    predictions: Mapping[str, Answers],
    options: EvaluationOptions,
    teacher: str | None,
) -> list[Score]:
    """Return the score of each model by `metric`, over `rows` of (place, wanted answer)."""
    judge = METRICS[metric]
    values = {
        model: np.array([_rate(judge, answers[place], wanted) for place, wanted in rows])
        for model, answers in predictions.items()
    }
    drawn = options.seed, options.resamples
    scores = []
    for model, own in values.items():
        is_compared = model != teacher and metric != AGREEMENT
        whole = values[teacher] if teacher is not None and is_compared else None
        score = Score(
            model=model,
            metric=metric,
            interval=bootstrap(own, *drawn),
            n=len(rows),
            invalid=sum(predictions[model][place] is None for place, _ in rows),
        )
        if whole is not None:
            score = replace(score, difference=paired_difference(own, whole, *drawn))
        if whole is not None and whole.any():
            score = replace(score, retained=retained_share(own, whole, *drawn))
        scores.append(score)
    return scores


def _rate(judge: Metric, prediction: str | None, wanted: str) -> float:
    return 0.0 if prediction is None else judge(prediction, wanted)
