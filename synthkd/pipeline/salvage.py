"""Salvage: what is done about answers that were cut, refused, or are not of the declared form.

By default nothing: the answer is kept and marked, and no call is made that nobody
asked for. Every attempt to save an answer is a request of its own, billed and kept.
"""

from collections.abc import Sequence
from typing import ClassVar, Literal

from pydantic import BaseModel, Field

from synthkd.corpus.slots import Reply, Slot
from synthkd.filters import RefusalFilter
from synthkd.outputs import JsonOutput, Output
from synthkd.pipeline.stages import REFUSALS, Asker, Case, Stage, Wanted, mark
from synthkd.records import LENGTH, Message, Sample
from synthkd.teachers.budget import longest_completion
from synthkd.teachers.options import TeacherOptions

_CONTINUE = "Your answer was cut off. Go on exactly where it ends; repeat nothing of it."
_OVERLAP = 12  # characters of an end that are no coincidence when the rest begins with them
_REPEATS = 400  # characters at most that a teacher repeats when it goes on
_VARIANT = 1_000_000  # between the sample index of an answer and that of one asked for again
_REFUSAL = RefusalFilter()


class Salvage(BaseModel, frozen=True, extra="forbid"):
    """What is done about answers that are not as they should be."""

    truncated: Literal["keep", "continue", "larger"] = Field(
        default="keep",
        description="An answer cut at its token limit: ask for the rest, or with a larger one.",
    )
    refused: TeacherOptions | None = Field(
        default=None,
        description="Who is asked what the teacher refuses, in words too, as the filter `refusal` "
        "reads them; else the refusal is kept.",
    )
    malformed: Literal["keep", "repair", "ask"] = Field(
        default="keep",
        description="An answer not of the prompt's output form: mend its JSON without a call, or "
        "do that and then ask again.",
    )
    continue_calls: int = Field(
        default=3, ge=1, description="How often the rest of one answer is asked for, at most."
    )
    larger_factor: float = Field(
        default=4.0, gt=1, description="How many times the token limit, when asking with a larger."
    )

    def stages(self) -> list[Stage]:
        """Return the stages that ask, in their order, without the one for refusals."""
        stages: list[Stage] = []
        if self.truncated == "larger":
            stages.append(Larger(self.larger_factor))
        elif self.truncated == "continue":
            stages += [Continue() for _ in range(self.continue_calls)]
        return stages


class OtherTeacher(Stage):
    """Ask another teacher what the first one refused."""

    kind: ClassVar[str] = "other_teacher"

    def __init__(self, voice: int, outputs: Sequence[Output]) -> None:
        """Take the other teacher's number, and the form of the answers of each part."""
        self._voice = voice
        self._outputs = outputs

    def ask(self, case: Case, asker: Asker) -> Wanted | None:
        """Ask the same, under the other's parameters."""
        if not self._declines(case.slot, case.text, case.slot.finish_reason):
            return None
        asked = case.request
        schema = case.material.prompt.schema if asker.options.structured_output else None
        request = asker.options.request(asker.teacher, asked.messages, asked.sample_index, schema)
        return Wanted(request, case.slot.finish_reason if case.is_refused else "refusal")

    def take(self, slot: Slot, reply: Reply) -> Slot | str:
        """Let its answer stand, unless it refuses too."""
        if not reply.text.strip() or self._declines(slot, reply.text, reply.finish_reason):
            return "refused_too"
        salvaged = mark(slot, "other_teacher")
        return slot._replace(voice=self._voice, request_key=reply.request_key, salvaged=salvaged)

    def _declines(self, slot: Slot, text: str, finish_reason: str) -> bool:
        """Return whether the filter `refusal` would drop a sample that says `text`."""
        answer = self._outputs[slot.part].read(text).answer
        sample = Sample(
            "", slot.source_id, slot.seed_id, (), text, answer, finish_reason=finish_reason
        )
        return not _REFUSAL.judge(sample).keep


class Larger(Stage):
    """Ask again what was cut, with a larger token limit."""

    kind: ClassVar[str] = "larger"

    def __init__(self, factor: float) -> None:
        """Take how many times the limit."""
        self._factor = factor

    def ask(self, case: Case, asker: Asker) -> Wanted | None:
        """Ask the same, but for the limit; an answer without one cannot have more."""
        if case.slot.finish_reason != LENGTH:
            return None
        asked = asker.options.request(
            asker.teacher, case.request.messages, case.request.sample_index, case.request.schema
        )
        limit = longest_completion(asked)
        if limit is None:
            return None
        names = ("max_completion_tokens", "max_tokens", "max_output_tokens")
        name = next(name for name in names if name in asked.parameters)
        parameters = {**asker.options.parameters, name: round(limit * self._factor)}
        options = asker.options.model_copy(update={"parameters": parameters})
        request = options.request(asker.teacher, asked.messages, asked.sample_index, asked.schema)
        return Wanted(request, LENGTH)

    def take(self, slot: Slot, reply: Reply) -> Slot | str:
        """Let its answer stand, be it cut again: it is longer."""
        if reply.finish_reason in REFUSALS or not reply.text.strip():
            return "refused" if reply.text.strip() else "empty"
        return slot._replace(request_key=reply.request_key, salvaged=mark(slot, self.kind))


class Continue(Stage):
    """Ask for the rest of an answer that was cut.

    The answer until now is the assistant's turn, and a user's turn asks to go on: an
    assistant's turn as the last one is refused by some servers.
    """

    kind: ClassVar[str] = "continue"

    def ask(self, case: Case, asker: Asker) -> Wanted | None:
        """Ask for the rest; a schema would make the teacher begin anew, so it is left out."""
        if case.slot.finish_reason != LENGTH or not case.text.strip():
            return None
        turns = (Message("assistant", case.text), Message("user", _CONTINUE))
        asked = case.request
        messages = (*asked.messages, *turns)
        return Wanted(asker.options.request(asker.teacher, messages, asked.sample_index), LENGTH)

    def take(self, slot: Slot, reply: Reply) -> Slot | str:
        """Join the texts; the answer ends as the rest ends."""
        if reply.finish_reason in REFUSALS or not reply.text.strip():
            return "refused" if reply.text.strip() else "empty"
        return slot._replace(
            request_key=reply.request_key,
            completion=join(slot.text or "", reply.text),
            salvaged=mark(slot, "continued"),
        )


class Again(Stage):
    """Ask once more where an answer was not of the declared form."""

    kind: ClassVar[str] = "again"

    def ask(self, case: Case, asker: Asker) -> Wanted | None:
        """Ask the same as another sample; a cut answer and a refusal are other matters."""
        output = case.material.prompt.output
        is_other_matter = case.is_refused or case.slot.finish_reason == LENGTH
        if is_other_matter or not case.text.strip() or output.read(case.text).is_split:
            return None
        asked = case.request
        schema = case.material.prompt.schema if asker.options.structured_output else None
        index = asked.sample_index + _VARIANT
        request = asker.options.request(asker.teacher, asked.messages, index, schema)
        return Wanted(request, "malformed")

    def take(self, slot: Slot, reply: Reply) -> Slot | str:
        """Let the new answer stand; whether it is of the form is looked at by `mend`."""
        if reply.finish_reason in REFUSALS or not reply.text.strip():
            return "refused" if reply.text.strip() else "empty"
        salvaged = mark(slot, "asked_again")
        return slot._replace(request_key=reply.request_key, completion=None, salvaged=salvaged)


def mend(slot: Slot, output: Output) -> Slot | None:
    """Return `slot` with its JSON repaired, or None if it needs none or cannot be."""
    text = slot.text
    if text is None or slot.finish_reason in REFUSALS or not isinstance(output, JsonOutput):
        return None
    if not text.strip() or output.read(text).is_split:
        return None
    repaired = repair(text)
    if repaired is None or not output.read(repaired).is_split:
        return None
    return slot._replace(completion=repaired, salvaged=mark(slot, "repaired"))


def repair(text: str) -> str | None:
    """Return the JSON object that `text` was meant to be, or None if it holds no beginning of one.

    >>> repair("Here you are: {'intent': 'refund', }")
    '{"intent": "refund"}'

    Fences, text around it, quotes, commas and a missing end are mended; what a missing end
    held is lost, so a cut answer stays marked as cut.
    """
    start = text.find("{")
    if start < 0:
        return None
    from json_repair import repair_json

    repaired = repair_json(text[start:], ensure_ascii=False)
    return repaired if isinstance(repaired, str) and repaired.startswith("{") else None


def join(text: str, rest: str) -> str:
    """Return `text` and `rest` as one, without what the rest repeats of the text's end.

    >>> join("It is a truth universally acknow", "universally acknowledged, that")
    'It is a truth universally acknowledged, that'
    """
    for length in range(min(len(text), len(rest), _REPEATS), _OVERLAP - 1, -1):
        if text.endswith(rest[:length]):
            return text + rest[length:]
    return text + rest
