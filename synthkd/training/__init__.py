"""Training: what turns kept samples into a student.

The options are light. `train` of a student opens the door to torch and TRL, which
need `pip install 'synthkd[train]'`; nothing outside this package imports what is
behind it.
"""

from synthkd.training.methods import (
    METHODS,
    AnyStudent,
    ClassifierStudent,
    HiddenStudent,
    KdStudent,
    OnPolicyStudent,
    Pairing,
    PreferenceStudent,
    RationaleStudent,
    SelfDistillationStudent,
    SequenceKdStudent,
    SftStudent,
)
from synthkd.training.student import (
    FromScratch,
    Gold,
    Lora,
    Need,
    NewBase,
    Optimizer,
    Student,
    open_door,
)
from synthkd.training.values import (
    LogEntry,
    PreferenceRow,
    Progress,
    TrainingResult,
    TrainingRow,
)

__all__ = [
    "METHODS",
    "AnyStudent",
    "ClassifierStudent",
    "FromScratch",
    "Gold",
    "HiddenStudent",
    "KdStudent",
    "LogEntry",
    "Lora",
    "Need",
    "NewBase",
    "OnPolicyStudent",
    "Optimizer",
    "Pairing",
    "PreferenceRow",
    "PreferenceStudent",
    "Progress",
    "RationaleStudent",
    "SelfDistillationStudent",
    "SequenceKdStudent",
    "SftStudent",
    "Student",
    "TrainingResult",
    "TrainingRow",
    "open_door",
]
