"""Judging: a model scores each answer, and what it says is data.

A judge's text never takes the place of an answer. Its score is kept beside the sample,
where the filter `judged` reads it; a judgement that cannot be understood drops nothing.
"""

import re
from typing import ClassVar, NamedTuple, Self

from pydantic import BaseModel, Field, model_validator

from synthkd.answers import read_whole_number
from synthkd.corpus.slots import Reply, Slot
from synthkd.pipeline.stages import SHOWN, Asker, Case, Stage, Wanted
from synthkd.prompts import Prompt
from synthkd.teachers.options import TeacherOptions

JUDGE_SHOWN = (*SHOWN, "reference")

_OUT_OF = re.compile(r"\s*(-?\d+(?:\.\d+)?)\s*/\s*\d+(?:\.\d+)?\s*\.?\s*")


class Judge(BaseModel, frozen=True, extra="forbid"):
    """Who scores answers, and what becomes of those with a low score."""

    prompt: str = Field(
        description="The prompt file that asks for a score of `completion`; its output parts say "
        "where in the judgement the score stands."
    )
    teacher: TeacherOptions | None = Field(
        default=None, description="Who judges; else the first teacher."
    )
    keep_from: float | None = Field(
        default=None, description="Drop samples with a lower score; those without one are kept."
    )
    scale: tuple[float, float] = Field(
        default=(1.0, 10.0), description="The lowest and the highest score; others are not valid."
    )

    @model_validator(mode="after")
    def _be_on_the_scale(self) -> Self:
        low, high = self.scale
        if not low < high:
            raise ValueError(f"scale is [{low:g}, {high:g}]; write the lowest score first")
        if self.keep_from is not None and not low <= self.keep_from <= high:
            raise ValueError(
                f"keep_from is {self.keep_from:g}, which is not on the scale from {low:g} to "
                f"{high:g}; state the scale of your judge as `scale: [LOWEST, HIGHEST]`"
            )
        return self


class Score(NamedTuple):
    """What a judgement comes to; `reason` says why there is no number, if there is none."""

    number: float | None
    reason: str = ""
    rationale: str | None = None


class Judging(NamedTuple):
    """A judge with its prompt read."""

    options: Judge
    prompt: Prompt

    def read(self, judgement: str) -> Score:
        """Return the score in `judgement`: a number on the scale, or why there is none."""
        parts = self.prompt.output.read(judgement)
        if not parts.is_split:
            return Score(None, "unparsable")
        out_of = _OUT_OF.fullmatch(parts.answer)
        number = read_whole_number(out_of[1] if out_of else parts.answer)
        if number is None or number.is_percent:
            return Score(None, "unparsable", parts.rationale)
        low, high = self.options.scale
        value = float(number.value)
        if not low <= value <= high:
            return Score(None, "off_the_scale", parts.rationale)
        return Score(value, "", parts.rationale)


class Judgment(Stage):
    """Ask for a score."""

    kind: ClassVar[str] = "judge"
    is_verdict: ClassVar[bool] = True

    def __init__(self, prompt: Prompt) -> None:
        """Take the prompt that asks it."""
        self._prompt = prompt

    def ask(self, case: Case, asker: Asker) -> Wanted | None:
        """Ask once about every answer; the judge may see the right one."""
        if not case.text.strip():
            return None
        schema = self._prompt.schema if asker.options.structured_output else None
        messages = case.fill(self._prompt)
        return Wanted(asker.options.request(asker.teacher, messages, schema=schema))

    def take(self, slot: Slot, reply: Reply) -> Slot | str:
        """Leave the answer as it is, whatever the judge says."""
        return slot if reply.text.strip() else "empty"
