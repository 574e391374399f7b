"""What a local teacher can be told besides the messages."""

from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)


class Sampling(BaseModel):
    """How tokens are chosen, and when to stop.

    Nothing but these decides: what `generation_config.json` says of temperature or
    top-p is not read. `temperature` 0 takes the most probable token; `seed` matters
    above 0 only, and with it each request draws its own random numbers. `num_beams` above
    1 search for the most probable answer instead, which is one of few short words unless a
    `length_penalty` up to 1, a mean per token, makes long ones as welcome. An answer
    ends before the first of the `stop` strings. `random_targets` tokens are drawn from the
    whole vocabulary at each position, beside the top `logprobs`: a dozen are enough
    (kept as `synthkd.corpus.draws`). `dtype` is what the weights are computed in: by
    default float32 on a CPU; on a GPU as saved, and bfloat16 where that is float32.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    temperature: float = Field(default=0.0, ge=0)
    top_p: float = Field(default=1.0, gt=0, le=1)
    top_k: int | None = Field(default=None, ge=1)
    max_tokens: int = Field(default=256, ge=1)
    stop: tuple[str, ...] = ()
    seed: int = 0
    num_beams: int = Field(default=1, ge=1)
    length_penalty: float = Field(default=0.0, ge=0)
    logprobs: int = Field(default=0, ge=0, le=255)
    random_targets: int = Field(default=0, ge=0, le=255)
    dtype: Literal["auto", "bfloat16", "float16", "float32"] = "auto"

    @field_validator("stop", mode="before")
    @classmethod
    def _one_or_several(cls, stop: object) -> object:
        return (stop,) if isinstance(stop, str) else stop

    @field_validator("stop")
    @classmethod
    def _stop_somewhere(cls, stop: tuple[str, ...]) -> tuple[str, ...]:
        if "" in stop:
            raise ValueError("an empty string would stop every answer before its first token")
        return stop

    @model_validator(mode="after")
    def _search_or_sample(self) -> Self:
        if self.num_beams > 1 and self.temperature:
            raise ValueError(
                "num_beams search for the most probable answer, and a temperature above 0 samples "
                "any; set temperature: 0, or drop num_beams"
            )
        if self.num_beams == 1 and self.length_penalty:
            raise ValueError(
                "length_penalty compares the answers of beams, and there is one; "
                "set num_beams, e.g. 4, or drop it"
            )
        return self

    @model_validator(mode="after")
    def _sample_if_told_how(self) -> Self:
        if not self.temperature and (self.top_p < 1 or self.top_k is not None):
            raise ValueError(
                "top_p and top_k choose among sampled tokens, and at temperature 0 nothing is "
                "sampled; set a temperature, or drop them"
            )
        if self.random_targets and not self.logprobs:
            raise ValueError(
                "random_targets are kept beside log-probabilities; ask for some, e.g. logprobs: 1"
            )
        return self


def find_mistakes(parameters: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with `parameters`, one line each."""
    try:
        Sampling.model_validate(dict(parameters))
    except ValidationError as error:
        return [_tell(mistake) for mistake in error.errors()]
    return []


def _tell(mistake: Mapping[str, Any]) -> str:
    name = ".".join(["parameters", *map(str, mistake["loc"])])
    if mistake["type"] == "extra_forbidden":
        known = ", ".join(Sampling.model_fields)
        return f"{name} is nothing a local teacher knows; it knows {known}"
    message = mistake["msg"].removeprefix("Value error, ")
    return f"{name} is {mistake['input']!r}: {message}" if mistake["loc"] else f"{name}: {message}"
