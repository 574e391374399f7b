"""The methods a student can learn by: one class each, its options the fields."""

from collections.abc import Mapping
from typing import Annotated, get_args

from pydantic import Field

from synthkd.training.methods.classifier import ClassifierStudent
from synthkd.training.methods.hidden import HiddenStudent
from synthkd.training.methods.kd import KdStudent
from synthkd.training.methods.on_policy import OnPolicyStudent
from synthkd.training.methods.preference import Pairing, PreferenceStudent
from synthkd.training.methods.rationale import RationaleStudent
from synthkd.training.methods.self_distillation import SelfDistillationStudent
from synthkd.training.methods.sequence_kd import SequenceKdStudent
from synthkd.training.methods.sft import SftStudent
from synthkd.training.student import Student

AnyStudent = Annotated[
    SftStudent
    | ClassifierStudent
    | KdStudent
    | HiddenStudent
    | OnPolicyStudent
    | PreferenceStudent
    | RationaleStudent
    | SelfDistillationStudent
    | SequenceKdStudent,
    Field(discriminator="method"),
]

METHODS: Mapping[str, type[Student]] = {
    get_args(kind.model_fields["method"].annotation)[0]: kind
    for kind in get_args(get_args(AnyStudent)[0])
}

__all__ = [
    "METHODS",
    "AnyStudent",
    "ClassifierStudent",
    "HiddenStudent",
    "KdStudent",
    "OnPolicyStudent",
    "Pairing",
    "PreferenceStudent",
    "RationaleStudent",
    "SelfDistillationStudent",
    "SequenceKdStudent",
    "SftStudent",
]
