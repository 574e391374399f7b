"""Reports: what a corpus has to say, for people and for scripts.

An HTML page about a run, a card beside each student and each export, and the scores
as plain values.
"""

from synthkd.reports.cards import write_dataset_card, write_model_card
from synthkd.reports.page import write_report
from synthkd.reports.scores import read_scores

__all__ = ["read_scores", "write_dataset_card", "write_model_card", "write_report"]
