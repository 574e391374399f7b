"""Training: what turns kept samples into a student.

The options are light. `train` of a student opens the door to torch and TRL, which
need `pip install 'synthkd[train]'`; nothing outside this package imports what is
behind it.
"""

from synthkd.training.methods import AnyStudent, KdStudent, SftStudent
from synthkd.training.student import (
    FromScratch,
    Gold,
    Lora,
    NewBase,
    Optimizer,
    Student,
    open_door,
)
from synthkd.training.values import LogEntry, Progress, TrainingResult, TrainingRow

__all__ = [
    "AnyStudent",
    "FromScratch",
    "Gold",
    "KdStudent",
    "LogEntry",
    "Lora",
    "NewBase",
    "Optimizer",
    "Progress",
    "SftStudent",
    "Student",
    "TrainingResult",
    "TrainingRow",
    "open_door",
]
