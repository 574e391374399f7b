"""A teacher that answers from a script: for tests, for docs, and for dry runs."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from synthkd.errors import ConfigError
from synthkd.records import Completion, Json, Request, digest
from synthkd.teachers import plain
from synthkd.teachers.base import NOTHING_SAID, Answer, AttemptError
from synthkd.teachers.options import TeacherOptions

_SHOWN = 80  # characters of a prompt that are enough to know it by


@dataclass(frozen=True, slots=True)
class ScriptedTeacher:
    """A teacher that knows some prompts by heart, and gives each the same answer every time.

    A prompt is known by the content of its last user message. Parameters change
    nothing, not even the sample index.
    """

    provider: ClassVar[str] = "scripted"
    batch_size: ClassVar[int] = 1
    defaults: ClassVar[Mapping[str, Json]] = NOTHING_SAID
    limit_name: ClassVar[str] = ""

    answers: Mapping[str, str]
    model: str = "script"
    host: str = "scripted"
    endpoint: str = field(init=False)

    def __post_init__(self) -> None:
        """Name it by its lines: a script that was edited is another teacher."""
        object.__setattr__(self, "endpoint", f"scripted:{digest(dict(self.answers))}")

    @classmethod
    def connect(cls, options: TeacherOptions) -> "ScriptedTeacher":
        """Return the teacher that a JSONL file of {"prompt", "completion"} makes.

        Raises:
            ConfigError: There is no such file, or a line of it is wrong.
        """
        if options.logprobs:
            raise ConfigError(
                f"logprobs is {options.logprobs}, and a scripted teacher has none to give; drop it."
            )
        answers = _read(Path(options.model_name))
        return cls(answers, options.model_name, options.host or "scripted")

    async def ask(self, requests: Sequence[Request]) -> Sequence[Answer]:
        """Return the answers the script has.

        Raises:
            AttemptError: It has none for a prompt.
        """
        return [Answer(self._answer(request)) for request in requests]

    def vocabulary(self) -> None:
        """Know nothing of it: tokens come as text, if they come."""

    async def close(self) -> None:
        """There is nothing to give back."""

    def _answer(self, request: Request) -> bytes:
        asked = [message.content for message in request.messages if message.role == "user"]
        prompt = asked[-1] if asked else ""
        if prompt not in self.answers:
            shown = prompt if len(prompt) <= _SHOWN else prompt[:_SHOWN] + "..."
            raise AttemptError(f"the script {self.model!r} has no line for the prompt {shown!r}")
        return plain.dump(Completion(self.answers[prompt], finish_reason="stop"))


def _read(path: Path) -> dict[str, str]:
    try:
        # Not splitlines(): JSON may hold line separators that are not line breaks.
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"the scripted teacher's file {str(path)!r} cannot be read: {error}; "
            'it must be a JSONL file of {"prompt", "completion"}, named as scripted/FILE.jsonl.'
        ) from None
    answers: dict[str, str] = {}
    mistakes = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            prompt, completion = _read_line(line)
        except ValueError as error:
            mistakes.append(f"{path}:{number}: {error}")
            continue
        if answers.setdefault(prompt, completion) != completion:
            mistakes.append(f"{path}:{number}: its prompt had another completion before; keep one")
    if mistakes:
        raise ConfigError(f"the scripted teacher's file {str(path)!r} is wrong:", mistakes)
    return answers


def _read_line(line: str) -> tuple[str, str]:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON ({error.msg}, column {error.colno})") from None
    match row:
        case {"prompt": str(prompt), "completion": str(completion)}:
            return prompt, completion
    raise ValueError('not an object with the strings "prompt" and "completion"')
