"""How far a student is below its teacher, and how sure that is."""

from synthkd.evaluation.comparison import Interval, bootstrap, paired_difference, retained_share
from synthkd.evaluation.metrics import METRICS, exact_match, normalize, numeric_match, token_f1
from synthkd.evaluation.options import EvaluationOptions, HeldOut
from synthkd.evaluation.scores import Score, evaluate

__all__ = [
    "METRICS",
    "EvaluationOptions",
    "HeldOut",
    "Interval",
    "Score",
    "bootstrap",
    "evaluate",
    "exact_match",
    "normalize",
    "numeric_match",
    "paired_difference",
    "retained_share",
    "token_f1",
]
