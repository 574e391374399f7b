"""Distilling step-by-step, as a pipeline file tells of it: answers and rationales as two tasks."""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator

from synthkd.errors import ConfigError
from synthkd.records import Message
from synthkd.training.student import Need, Student, open_door
from synthkd.training.values import Progress, TrainingResult, TrainingRow

_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')  # of JSON
_OPENED = re.compile(r"<([^<>/\s]+)>\s*$")


class RationaleStudent(Student):
    """Learns from each sample to answer, and to explain when it is told to.

    What it learns as the answer is the completion without its rationale, so that it writes
    none where nobody asks for one: it answers as fast as a student that never saw them.
    """

    method: Literal["rationale"] = Field(
        description="rationale: learn the answer alone from the prompt, and the rationale from "
        "the prompt with an instruction after it (arXiv:2305.02301). The student answers without "
        "writing its rationale."
    )
    rationale_weight: float = Field(
        default=1.0,
        ge=0,
        allow_inf_nan=False,
        description="What one rationale weighs against one answer, each by the mean of its "
        "tokens, so that a long rationale weighs no more than a short one: lambda in answer + "
        "lambda * rationale (arXiv:2305.02301). The paper's code writes alpha * answer + (1 - "
        "alpha) * rationale: alpha 0.5, which it advises, is 1. 0 learns the answers alone.",
    )
    instruction: str = Field(
        default="Explain why.",
        description="What follows the prompt, in a paragraph of its own, where the rationale is "
        "to be learned.",
    )

    @property
    def needs(self) -> frozenset[Need]:
        """The rationale and the answer, apart."""
        return frozenset({"parts"})

    @field_validator("instruction")
    @classmethod
    def _tell_the_tasks_apart(cls, instruction: str) -> str:
        if not instruction.strip():
            raise ValueError("it is empty, so nothing would tell the two tasks apart; write one")
        return instruction

    def tasks(self, rows: Iterable[TrainingRow]) -> Iterator[TrainingRow]:
        """Yield the answer's task of each row, then its rationale's, if it has a rationale.

        Raises:
            ConfigError: None of the rows has one.
        """
        count, explained = 0, 0
        for row in rows:
            count += 1
            rationale = (row.rationale or "").strip()
            yield replace(row, completion=leave_out(row.completion, rationale), logprobs=None)
            if rationale and self.rationale_weight:
                explained += 1
                yield replace(
                    row,
                    messages=add_instruction(row.messages, self.instruction),
                    completion=rationale,
                    logprobs=None,
                    weight=row.weight * self.rationale_weight,
                )
        if count and not explained and self.rationale_weight:
            raise ConfigError(
                f"{self.name} has nothing to explain: none of its {count} samples has a rationale. "
                "Write method: sft, or have the teacher write one: name it in the prompt file, "
                "e.g. output: {kind: tags, rationale: why, answer: answer}"
            )

    def train(
        self,
        rows: Iterable[TrainingRow],
        folder: Path,
        *,
        checkpoint_folder: Path,
        progress: Progress | None = None,
    ) -> TrainingResult:
        """Train on the two tasks of `rows` and write the student to `folder`, whole or not at all.

        `rows` of the result are tasks: one of each sample, and a second one of those that
        have a rationale. Otherwise as `SftStudent.train`.

        Raises:
            ConfigError: The base cannot be loaded, no row can be trained on, or none has a
                rationale.
            MissingExtraError: TRL is not installed.
        """
        open_door()
        from synthkd.training import rationale

        return rationale.train(self, rows, folder, checkpoint_folder, progress)


def add_instruction(messages: tuple[Message, ...], instruction: str) -> tuple[Message, ...]:
    """Return `messages` with `instruction` as the last paragraph of the last of the user."""
    places = [place for place, message in enumerate(messages) if message.role == "user"]
    at = places[-1] if places else len(messages) - 1
    said = messages[at]._replace(content=f"{messages[at].content}\n\n{instruction}")
    return (*messages[:at], said, *messages[at + 1 :])


def leave_out(completion: str, rationale: str) -> str:
    r"""Return `completion` without `rationale`, and all that marks the answer in its place.

    A tag that held the rationale goes with it; a key of a JSON object stays, with an empty
    text. Where the rationale is not in the completion (what a teacher thought before it),
    nothing is left out.

    >>> leave_out("<why>it says so</why>\n<intent>a</intent>", "it says so")
    '<intent>a</intent>'
    >>> leave_out("It is far.\nAnswer: train", "It is far.")
    'Answer: train'
    >>> leave_out('{"why": "so", "intent": "a"}', "so")
    '{"why": "", "intent": "a"}'
    """
    if not rationale:
        return completion
    if completion.lstrip().startswith(("{", "```")):
        strings = (found for found in _STRING.finditer(completion) if _says(found[0], rationale))
        place = next(strings, None)
        return (
            f'{completion[: place.start()]}""{completion[place.end() :]}' if place else completion
        )
    if rationale not in completion:
        # A rationale that was read line by line has line ends of one kind.
        completion = "\n".join(completion.splitlines())
    before, found, after = completion.partition(rationale)
    if not found:
        return completion
    opened = _OPENED.search(before)
    closed = re.match(rf"\s*</{re.escape(opened[1])}>", after) if opened else None
    if opened and closed:
        before, after = before[: opened.start()], after[closed.end() :]
    gap = before[len(before.rstrip()) :] + after[: -len(after.lstrip()) or None]
    space = "\n" if "\n" in gap else " " if gap else ""
    return (before.rstrip() + space + after.lstrip()).strip() or completion


def _says(string: str, rationale: str) -> bool:
    """Return whether a JSON string is the rationale."""
    try:
        return bool(json.loads(string).strip() == rationale)
    except ValueError:
        return False
