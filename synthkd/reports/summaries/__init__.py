"""Summaries: public documents about what a model was trained on, filled from a corpus.

What the corpus knows is filled with its grade; what only a person can say comes from that
person's answers, or stands as not filled. Nothing is guessed.
"""

from synthkd.reports.summaries.answers import Answers, read_answers
from synthkd.reports.summaries.document import FORMS, Summary, summarize

__all__ = ["FORMS", "Answers", "Summary", "read_answers", "summarize"]
