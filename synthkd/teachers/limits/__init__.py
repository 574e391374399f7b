"""Limits of a server: obeyed where they are stated, found out where they are not."""

from synthkd.teachers.limits.controller import Limits, LimitState
from synthkd.teachers.limits.shared import SharedBudget

__all__ = ["LimitState", "Limits", "SharedBudget"]
