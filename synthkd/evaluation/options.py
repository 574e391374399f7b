"""What is measured, on which rows, and how surely."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from synthkd.evaluation.comparison import RESAMPLES
from synthkd.rights.licenses import License

MetricName = Literal["exact_match", "token_f1", "numeric_match", "agreement"]


class HeldOut(BaseModel):
    """Rows that no student learned from, with the right answers."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str = Field(description="A .jsonl, .csv or .parquet file.")
    license: License | None = Field(
        default=None, description="SPDX license expression of its rows, e.g. CC0-1.0."
    )
    limit: int | None = Field(
        default=None, ge=1, description="Use only so many rows, spread evenly over the file."
    )


class EvaluationOptions(BaseModel):
    """How students are measured: on held-out rows, beside the teacher and the baselines."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    held_out: HeldOut = Field(description="Rows no student learned from, with the right answers.")
    metrics: tuple[MetricName, ...] = Field(
        default=("exact_match", "token_f1", "agreement"),
        min_length=1,
        description="What is compared; agreement is with the teacher's answer, right or wrong.",
    )
    resamples: int = Field(
        default=RESAMPLES, ge=100, description="Draws of the bootstrap behind each interval."
    )
    seed: int = Field(default=0, ge=0, description="Of the bootstrap's random numbers.")
    max_tokens: int = Field(default=256, ge=1, description="The longest answer, in tokens.")
    batch_size: int = Field(default=64, ge=1, description="Rows that a student answers at a time.")
