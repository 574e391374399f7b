"""The pipeline: one file, read as one value, and what running it does."""

from synthkd.pipeline.model import Pipeline, Project, read_project
from synthkd.pipeline.preparation import Work, prepare
from synthkd.pipeline.run import Listener, Outcome, run

__all__ = ["Listener", "Outcome", "Pipeline", "Project", "Work", "prepare", "read_project", "run"]
