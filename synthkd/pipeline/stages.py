"""A stage: what is asked about answers that are there, and what its replies change.

    case (a slot and what is known of it) ──ask──► request ──teacher──► reply ──take──► slot

A stage decides about one case at a time and keeps nothing, so that every run decides
alike; who asks, how many at once and at what price is the graph's business.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from synthkd.corpus.slots import Reply, Slot
from synthkd.pipeline.materials import Material
from synthkd.prompts import Prompt
from synthkd.records import Json, Message, Request
from synthkd.teachers.base import Teacher
from synthkd.teachers.options import TeacherOptions

REFUSALS = frozenset({"refusal", "content_filter"})  # finish reasons of an answer that declines

# What an answer's prompts may ask for besides the columns of the row.
SHOWN = ("prompt", "conversation", "completion", "answer", "rationale")


class Asker(NamedTuple):
    """A teacher that can be put requests, and the options they are made with."""

    teacher: Teacher
    options: TeacherOptions


@dataclass(frozen=True, slots=True)
class Case:
    """A slot, its row, the request it began with, and the reply to the stage before, if any."""

    slot: Slot
    material: Material
    row: Mapping[str, Json]
    request: Request
    before: Reply | None = None

    @property
    def text(self) -> str:
        """What the slot says by now."""
        return self.slot.text or ""

    @property
    def is_refused(self) -> bool:
        """Whether its teacher declined to answer."""
        return self.slot.finish_reason in REFUSALS

    def fill(self, prompt: Prompt, **more: Json) -> tuple[Message, ...]:
        """Return `prompt` filled with the row and its answer."""
        bare = self.material.prompt.render(self.row)
        parts = self.material.prompt.output.read(self.text)
        shown = {
            "prompt": bare[-1].content,
            "conversation": "\n\n".join(f"{turn.role}: {turn.content}" for turn in bare),
            "completion": self.text,
            "answer": parts.answer,
            "rationale": parts.rationale or self.slot.thinking or "",
            "reference": self.slot.reference or "",
        }
        # What an answer is goes before a column of that name, which may hold the right one.
        return prompt.render({**self.row, **shown, **more})


class Wanted(NamedTuple):
    """What a stage wants asked, and why."""

    request: Request
    reason: str = ""


class Stage(ABC):
    """One stage. `kind` is what its links are called.

    Stages that `follow_reply` are shown the reply to the stage before. `is_verdict` says
    that a slot is a sample without its reply too.
    """

    kind: ClassVar[str]
    follow_reply: ClassVar[bool] = False
    is_verdict: ClassVar[bool] = False

    @abstractmethod
    def ask(self, case: Case, asker: Asker) -> Wanted | None:
        """Return what to ask about `case`, or None if there is nothing to."""

    @abstractmethod
    def take(self, slot: Slot, reply: Reply) -> Slot | str:
        """Return `slot` with what `reply` makes of it, or a token that says why it stays."""


def mark(slot: Slot, how: str) -> str:
    """Return how `slot` was salvaged, once it was by `how` as well."""
    before = slot.salvaged.split("+") if slot.salvaged else []
    return "+".join([*before, *([] if how in before else [how])])
