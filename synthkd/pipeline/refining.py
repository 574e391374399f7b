"""Refining: an answer is criticised and written anew before it becomes a sample.

    draft ─► critique ─► revision ─► (critique ─► revision ...)

Self-Refine (Madaan et al. 2023, https://arxiv.org/abs/2303.17651). The draft, the
critique and the revision are requests of their own, so that an edited prompt asks its
own stage again and those after it. A revision that is refused, cut or empty, or that is
not of the declared form where the draft was, never takes the place of the draft.
"""

from typing import ClassVar, NamedTuple

from pydantic import BaseModel, Field

from synthkd.corpus.slots import Reply, Slot
from synthkd.pipeline.stages import REFUSALS, SHOWN, Asker, Case, Stage, Wanted
from synthkd.prompts import Prompt
from synthkd.records import LENGTH
from synthkd.teachers.options import TeacherOptions

CRITIQUE_SHOWN = SHOWN
REVISE_SHOWN = (*SHOWN, "critique")


class Refine(BaseModel, frozen=True, extra="forbid"):
    """How answers are written anew."""

    critique: str | None = Field(
        default=None,
        description="The prompt file that asks what is wrong with `completion`; without one, "
        "answers are revised straight away.",
    )
    revise: str = Field(
        description="The prompt file that asks for `completion` anew, given `critique`."
    )
    rounds: int = Field(default=1, ge=1, description="How often each answer is refined.")
    content_with: str | None = Field(
        default=None,
        min_length=1,
        description="A critique that holds these words has nothing to revise: no call is made.",
    )
    teacher: TeacherOptions | None = Field(
        default=None, description="Who criticises and revises; else whoever gave the answer."
    )


class Refining(NamedTuple):
    """Refining with its prompts read."""

    options: Refine
    critique: Prompt | None
    revise: Prompt

    def stages(self) -> list[Stage]:
        """Return its stages, in their order."""
        stages: list[Stage] = []
        for _ in range(self.options.rounds):
            if self.critique is not None:
                stages.append(Critique(self.critique))
            has_critique = self.critique is not None
            stages.append(
                Revision(self.revise, self.options.content_with, has_critique=has_critique)
            )
        return stages


class Critique(Stage):
    """Ask what is wrong with an answer."""

    kind: ClassVar[str] = "critique"

    def __init__(self, prompt: Prompt) -> None:
        """Take the prompt that asks it."""
        self._prompt = prompt

    def ask(self, case: Case, asker: Asker) -> Wanted | None:
        """Ask about what is an answer, whole or cut."""
        if case.is_refused or not case.text.strip():
            return None
        # Nobody learns a critique, so its log-probabilities are of no use.
        options = asker.options.model_copy(update={"logprobs": 0})
        messages = case.fill(self._prompt)
        return Wanted(options.request(asker.teacher, messages, case.request.sample_index))

    def take(self, slot: Slot, reply: Reply) -> Slot | str:
        """Leave the answer as it is; the next stage reads the critique."""
        return slot if reply.text.strip() and reply.finish_reason not in REFUSALS else "refused"


class Revision(Stage):
    """Ask for an answer anew."""

    kind: ClassVar[str] = "revision"

    def __init__(self, prompt: Prompt, content_with: str | None, *, has_critique: bool) -> None:
        """Take the prompt that asks it, and the words of a critique without any complaint."""
        self._prompt = prompt
        self._content_with = content_with
        self.follow_reply = has_critique  # type: ignore[misc]

    def ask(self, case: Case, asker: Asker) -> Wanted | None:
        """Ask, if there is a critique with something to say, or none is wanted."""
        critique = case.before.text if case.before else ""
        if case.is_refused or not case.text.strip():
            return None
        if self.follow_reply:
            is_of_use = (
                critique.strip() and case.before and case.before.finish_reason not in REFUSALS
            )
            is_content = self._content_with is not None and self._content_with in critique
            if not is_of_use or is_content:
                return None
        messages = case.fill(self._prompt, critique=critique)
        return Wanted(asker.options.request(asker.teacher, messages, case.request.sample_index))

    def take(self, slot: Slot, reply: Reply) -> Slot | str:
        """Let the revision stand; its own output parts say where in the reply it is."""
        if reply.finish_reason in {*REFUSALS, LENGTH}:
            return "truncated" if reply.finish_reason == LENGTH else "refused"
        parts = self._prompt.output.read(reply.text)
        if not parts.is_split or not parts.answer.strip():
            return "unsplit" if parts.answer.strip() else "empty"
        own = None if parts.answer == reply.text else parts.answer
        return slot._replace(request_key=reply.request_key, completion=own)
