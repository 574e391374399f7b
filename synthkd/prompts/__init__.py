"""Prompts: one Markdown file each, whose text is its version.

    ---
    license: CC0-1.0
    inputs: [message]                # the columns of a seed that the teacher may see
    reference: intent                # the column with the right answer: never rendered
    output: {kind: tags, rationale: why, answer: intent}
    ---
    # system
    You sort customer messages.
    # user
    {{ message }}
    # completion
    <why>{{ why }}</why><intent>{{ intent }}</intent>

A line `# system`, `# user`, `# assistant` or `# completion` begins a section; a file
without any is one user section. An assistant section makes the user section before
it an example (few-shot). The completion section says how a gold row reads as a
completion; the teacher never sees it. `turns: COLUMN` in the front matter puts the
row's own turns (a conversation until now) before the last user section, which may
then be missing: the conversation ends with the user's turn itself.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from functools import cache, cached_property
from pathlib import Path
from typing import Self, cast, get_args

from jinja2 import Template, TemplateError
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from pydantic_core import ErrorDetails
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError

from synthkd.documents import suggest
from synthkd.errors import ConfigError
from synthkd.outputs import Output, TextOutput
from synthkd.prompts.sections import ENVIRONMENT, judge_variables, split_sections
from synthkd.records import Json, Message, Role
from synthkd.rights.licenses import License

# How messages read for a model whose tokenizer has no chat template of its own.
PLAIN_CHAT_TEMPLATE = (
    "{% for message in messages %}{{ message.role }}:\n{{ message.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant:\n{% endif %}"
)

_FRONT_MATTER = re.compile(r"\A---[ \t]*\n(.*?\n)---[ \t]*\n", re.DOTALL)


class FrontMatter(BaseModel):
    """What a prompt file declares of itself."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    license: License
    inputs: tuple[str, ...]
    reference: str | None = None
    turns: str | None = None
    output: Output = TextOutput()

    @model_validator(mode="after")
    def _show_the_turns(self) -> Self:
        """Count the column with the turns among what the teacher sees."""
        if self.turns and self.turns not in self.inputs:
            object.__setattr__(self, "inputs", (*self.inputs, self.turns))
        return self


class Prompt(BaseModel):
    """A prompt file, read and found right."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    text: str
    front_matter: FrontMatter
    sections: tuple[tuple[str, str], ...]

    @cached_property
    def version(self) -> str:
        """The SHA-256 of the file's text: another text is another prompt."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    @property
    def output(self) -> Output:
        """How a completion splits into rationale and answer."""
        return self.front_matter.output

    @property
    def schema(self) -> Json:
        """The JSON Schema that a completion must meet, if the output has one."""
        return getattr(self.output, "json_schema", None)

    def render(
        self, row: Mapping[str, Json], examples: Sequence[Message] = ()
    ) -> tuple[Message, ...]:
        """Return the messages that the teacher sees for a seed's `row`.

        `examples` stand before the row's own turns, after those of the file.

        Raises:
            ConfigError: The row lacks a declared input, its turns are none, or the
                template fails on it.
        """
        declared = self.front_matter.inputs
        missing = [name for name in declared if name not in row]
        if missing:
            raise ConfigError(
                f"{self.name}: the row has no {', '.join(missing)}, which the prompt asks for; "
                f"it has {', '.join(row) or 'nothing'}. Add the column, or drop it from 'inputs'."
            )
        seen = {name: row[name] for name in declared}
        written = [
            Message(cast("Role", role), self._fill(source, seen))
            for role, source in self.sections
            if role != "completion"
        ]
        has_user = bool(written) and written[-1].role == "user"
        turns = self._read_turns(row, has_user=has_user)
        last = len(written) - has_user
        return (*written[:last], *examples, *turns, *written[last:])

    def _read_turns(self, row: Mapping[str, Json], *, has_user: bool) -> tuple[Message, ...]:
        """Return the row's own turns: user and assistant in turn, whoever the next one is not."""
        column = self.front_matter.turns
        if column is None:
            return ()
        turns = row[column]
        last = "assistant" if has_user else "user"
        roles = (
            [turn["role"] for turn in turns]
            if isinstance(turns, list) and all(map(_is_message, turns))
            else None
        )
        wanted = [("user", "assistant")[n % 2] for n in range(len(roles or ()))]
        if roles is None or roles != wanted or (roles or ["assistant"])[-1] != last:
            raise ConfigError(
                f"{self.name}: {column!r} must hold the turns of a conversation, user and "
                f'assistant in turn, as {{"role", "content"}}, the last one of the {last}; '
                f"this row has {turns!r:.200}"
            )
        return tuple(Message(turn["role"], turn["content"]) for turn in turns)

    def read_gold(self, row: Mapping[str, Json]) -> str:
        """Return the completion that a gold `row` stands for.

        That is the completion section filled with the row, or without one the
        row's reference, or its `completion`.

        Raises:
            ConfigError: The row lacks what that needs.
        """
        for role, source in self.sections:
            if role == "completion":
                return self._fill(source, row)
        column = self.front_matter.reference or "completion"
        if row.get(column) is None:
            raise ConfigError(
                f"{self.name}: a gold row has no {column!r}, so nothing can be learned from it. "
                "Add the column, or a '# completion' section that says how a gold row reads."
            )
        return str(row[column])

    def reference(self, row: Mapping[str, Json]) -> str | None:
        """Return the right answer of a seed's `row`, if it has one."""
        column = self.front_matter.reference
        value = row.get(column) if column else None
        return None if value is None else str(value)

    def _fill(self, source: str, values: Mapping[str, Json]) -> str:
        try:
            return _compile(source).render(values).strip()
        except (TemplateError, TypeError, ValueError, ArithmeticError) as error:
            raise ConfigError(
                f"{self.name}: cannot be filled with the row {dict(values)!r:.200}: {error}"
            ) from error


class _Verbatim(Prompt):
    """Asks what a row says as it stands: its `messages`, or its `prompt`."""

    def render(
        self, row: Mapping[str, Json], examples: Sequence[Message] = ()
    ) -> tuple[Message, ...]:
        """Return the row's own messages, with `examples` after those of the system.

        Raises:
            ConfigError: It has neither `messages` nor `prompt`, or they are not right.
        """
        messages = row.get("messages")
        if messages is None and isinstance(row.get("prompt"), str):
            return (*examples, Message("user", row["prompt"]))
        if not isinstance(messages, list) or not messages or not all(map(_is_message, messages)):
            raise ConfigError(
                f"there is neither a text `prompt` nor `messages` with a role (system, user, "
                f"assistant) and a text content each: {dict(row)!r:.200}. Name a prompt file if "
                "its columns fill one."
            )
        own = [Message(message["role"], message["content"]) for message in messages]
        start = next((n for n, message in enumerate(own) if message.role != "system"), len(own))
        return (*own[:start], *examples, *own[start:])

    def reference(self, row: Mapping[str, Json]) -> str | None:
        """Return the row's `reference`, or its `completion`."""
        value = row.get("reference", row.get("completion"))
        return None if value is None else str(value)


VERBATIM = _Verbatim(
    name="verbatim",
    text="{{ prompt }}",
    front_matter=FrontMatter(license="CC0-1.0", inputs=(), reference="reference"),
    sections=(("user", "{{ prompt }}"),),
)
"""The prompt of rows that are prompts already."""


def read_prompt(path: Path, name: str = "") -> Prompt:
    """Return the prompt in the file `path`, every mistake found at once.

    Raises:
        ConfigError: The file cannot be read, or is no prompt.
    """
    name = name or str(path)
    try:
        text = path.read_text(encoding="utf-8-sig").replace("\r\n", "\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{name} cannot be read as a prompt: {error}") from error
    return parse_prompt(text, name)


def parse_prompt(text: str, name: str) -> Prompt:
    """Return the prompt that `text` is; as `read_prompt`."""
    if text == VERBATIM.text:
        return VERBATIM
    matched = _FRONT_MATTER.match(text)
    if not matched:
        raise ConfigError(
            f"{name} does not begin with front matter; it needs at least\n"
            "  ---\n  license: CC0-1.0\n  inputs: [question]\n  ---"
        )
    front_matter = _read_front_matter(name, matched[1])
    body, first_line = text[matched.end() :], text[: matched.end()].count("\n") + 1
    has_turns = front_matter.turns is not None
    sections, mistakes = split_sections(body, first_line, has_turns=has_turns)
    mistakes += judge_variables(sections, front_matter.inputs, front_matter.reference)
    if mistakes:
        raise ConfigError(f"{name} is no prompt:", mistakes)
    plain = tuple((section.role, section.source) for section in sections)
    return Prompt(name=name, text=text, front_matter=front_matter, sections=plain)


@cache
def _compile(source: str) -> Template:
    return ENVIRONMENT.from_string(source)


def _is_message(message: Json) -> bool:
    return (
        isinstance(message, dict)
        and message.get("role") in get_args(Role)
        and isinstance(message.get("content"), str)
    )


def _read_front_matter(name: str, text: str) -> FrontMatter:
    try:
        values = YAML(typ="safe", pure=True).load(text)
        return FrontMatter.model_validate(values)
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 2 if error.problem_mark else 2
        raise ConfigError(
            f"{name}:{line}: the front matter is not YAML: {error.problem}"
        ) from error
    except ValidationError as error:
        mistakes = [_say(detail) for detail in error.errors()]
        raise ConfigError(f"{name}: the front matter is wrong:", mistakes) from error


def _say(detail: ErrorDetails) -> str:
    """Return what is wrong with an option of the front matter, and what to write instead."""
    loc = detail["loc"]
    if detail["type"] == "extra_forbidden" and len(loc) == 1:
        wrong = str(loc[0])
        return f"there is no option {wrong!r}{suggest(wrong, list(FrontMatter.model_fields))}"
    return f"{'.'.join(map(str, loc)) or 'front matter'}: {detail['msg']}"
