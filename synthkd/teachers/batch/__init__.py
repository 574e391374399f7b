"""Batch mode: requests handed to a provider now, answered within a day, at a share of the price."""

from synthkd.teachers.batch.base import BatchService, Limits
from synthkd.teachers.batch.download import Keep, Returned
from synthkd.teachers.batch.jobs import Collected, collect, submit_all

__all__ = [
    "BatchService",
    "Collected",
    "Keep",
    "Limits",
    "Returned",
    "collect",
    "submit_all",
]
