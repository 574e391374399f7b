"""What a student is for: every verdict is relative to one use."""

from datetime import date
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from synthkd.records import Json, digest

Purpose = Literal["research", "internal", "commercial"]
Distribution = Literal["none", "hosted", "weights", "dataset"]


class Use(BaseModel):
    """What samples and the student that learns from them are for."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    purpose: Purpose = Field(description="Why it is made.")
    distribution: Distribution = Field(
        default="none",
        description="Who gets it: nobody, users of a service, takers of the weights, or of the "
        "samples.",
    )
    territory: str | None = Field(
        default=None, description="Where you are established, e.g. EU, UK, US or a country's code."
    )
    task: str | None = Field(
        default=None, description="What it does, e.g. customer-support, classifier or embedder."
    )
    client: str | None = Field(default=None, description="Whom it is made for.")
    name: str | None = Field(default=None, description="What the student will be called.")
    base: str | None = Field(
        default=None, description="The student's base model: a hub id or a folder."
    )
    users: int | None = Field(default=None, ge=0, description="Monthly active users.")
    revenue_usd: int | None = Field(default=None, ge=0, description="Revenue, in USD a year.")
    on: date | None = Field(default=None, description="The day it is judged for; by default today.")

    @property
    def is_offered(self) -> bool:
        """Whether anybody else gets it, or gets to use it."""
        return self.distribution != "none"

    @property
    def is_handed_on(self) -> bool:
        """Whether its weights, or the samples, leave the house."""
        return self.distribution in {"weights", "dataset"}

    def dump(self) -> dict[str, Json]:
        """Return what was stated, as plain values."""
        stated: dict[str, Json] = self.model_dump(mode="json", exclude_none=True)
        return stated

    @property
    def sha(self) -> str:
        """What tells this use from others."""
        return digest(self.dump())

    def __str__(self) -> str:
        return ", ".join(f"{name}={value}" for name, value in self if value is not None)
