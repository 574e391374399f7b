"""The methods a student can learn by: one class each, its options the fields."""

from typing import Annotated

from pydantic import Field

from synthkd.training.methods.kd import KdStudent
from synthkd.training.methods.sft import SftStudent

AnyStudent = Annotated[SftStudent | KdStudent, Field(discriminator="method")]

__all__ = ["AnyStudent", "KdStudent", "SftStudent"]
