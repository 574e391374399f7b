"""How a completion splits into its parts: a rationale and an answer.

A completion that does not split is never lost: it is kept whole, its answer is all
of it, and it is marked, so that a filter can drop it and a person can see why.
"""

import json
import re
from abc import ABC, abstractmethod
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, field_validator


class Parts(NamedTuple):
    """What a completion says, and why it says so."""

    answer: str
    rationale: str | None = None
    is_split: bool = True


class _Output(BaseModel, ABC):
    """One way to read a completion; `stop` cuts off what a teacher ran on with."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    stop: tuple[str, ...] = Field(
        default=(), description="Read only what comes before the first of these texts."
    )

    def read(self, completion: str) -> Parts:
        """Return the parts of `completion`."""
        return self._split(self.cut(completion)) or Parts(completion.strip(), is_split=False)

    def cut(self, completion: str) -> str:
        """Return what of `completion` comes before the first of the `stop` texts."""
        ends = [completion.find(stop) for stop in self.stop if stop in completion]
        return completion[: min(ends)] if ends else completion

    def read_answer(self, completion: str) -> str | None:
        """Return the answer of `completion`, whether or not it says why; None if it has none."""
        unexplained = {"rationale": None} if "rationale" in type(self).model_fields else {}
        parts = self.model_copy(update=unexplained).read(completion)
        return parts.answer if parts.is_split else None

    @abstractmethod
    def _split(self, text: str) -> Parts | None:
        """Return the parts of `text`, or None if it has not got them."""


class TextOutput(_Output):
    """The whole completion is the answer."""

    kind: Literal["text"] = "text"

    def _split(self, text: str) -> Parts | None:
        return Parts(text.strip())


class TagsOutput(_Output):
    """`<why>...</why><intent>...</intent>`: each part stands in a tag of its own."""

    kind: Literal["tags"] = "tags"
    answer: str = Field(description="The tag that holds the answer.")
    rationale: str | None = Field(default=None, description="The tag that holds the rationale.")

    def _split(self, text: str) -> Parts | None:
        answer = _find_tag(text, self.answer)
        rationale = _find_tag(text, self.rationale) if self.rationale else None
        if answer is None or (self.rationale and rationale is None):
            return None
        return Parts(answer, rationale)


class JsonOutput(_Output):
    """The completion is a JSON object (a Markdown fence around it is forgiven)."""

    kind: Literal["json"] = "json"
    answer: str = Field(description="The key that holds the answer.")
    rationale: str | None = Field(default=None, description="The key that holds the rationale.")
    json_schema: dict[str, Any] | None = Field(
        default=None, alias="schema", description="A JSON Schema the object must meet."
    )

    @field_validator("json_schema")
    @classmethod
    def _is_a_schema(cls, schema: dict[str, Any] | None) -> dict[str, Any] | None:
        import jsonschema_rs

        try:
            jsonschema_rs.validator_for(schema if schema is not None else {})
        except ValueError as error:
            raise ValueError(f"it is no JSON Schema: {str(error).splitlines()[0]}") from error
        return schema

    def _split(self, text: str) -> Parts | None:
        fenced = re.fullmatch(r"\s*```(?:json)?\s*\n(.*?)\n?\s*```\s*", text, re.DOTALL)
        try:
            value = json.loads(fenced[1] if fenced else text)
        except (ValueError, RecursionError):
            return None
        if not isinstance(value, dict) or value.get(self.answer) is None:
            return None
        if self.rationale and not isinstance(value.get(self.rationale), str):
            return None
        if self.json_schema is not None:
            import jsonschema_rs

            if not jsonschema_rs.is_valid(self.json_schema, value):
                return None
        answer = value[self.answer]
        said = answer if isinstance(answer, str) else json.dumps(answer, ensure_ascii=False)
        return Parts(said, value[self.rationale] if self.rationale else None)


class LastLineOutput(_Output):
    """The answer is the last line that begins with `prefix`; what comes before it is the rationale.

    Without a prefix it is the last line that is not blank.
    """

    kind: Literal["last_line"] = "last_line"
    prefix: str = Field(default="", description='What the line begins with, e.g. "Answer:".')

    def _split(self, text: str) -> Parts | None:
        lines = text.splitlines()
        for index in range(len(lines) - 1, -1, -1):
            line = lines[index].strip()
            if line and line.startswith(self.prefix):
                answer = line.removeprefix(self.prefix).strip()
                rationale = "\n".join(lines[:index]).strip()
                return Parts(answer, rationale or None) if answer else None
        return None


class PatternOutput(_Output):
    """A regular expression with a group `answer`, and perhaps a group `rationale`."""

    kind: Literal["pattern"] = "pattern"
    pattern: str = Field(description="Python's re, searched for; '.' does not match a line end.")

    @field_validator("pattern")
    @classmethod
    def _has_an_answer(cls, pattern: str) -> str:
        try:
            groups = re.compile(pattern).groupindex
        except re.error as error:
            raise ValueError(f"it is no regular expression: {error}") from error
        if "answer" not in groups:
            raise ValueError("it has no group named answer; write (?P<answer>...)")
        return pattern

    def _split(self, text: str) -> Parts | None:
        found = re.search(self.pattern, text)
        if not found or not (answer := (found["answer"] or "").strip()):
            return None
        groups = found.groupdict()
        return Parts(answer, (groups.get("rationale") or "").strip() or None)


Output = Annotated[
    TextOutput | TagsOutput | JsonOutput | LastLineOutput | PatternOutput,
    Field(discriminator="kind"),
]


def _find_tag(text: str, tag: str) -> str | None:
    """Return what stands in the last `<tag>...</tag>` of `text`, stripped."""
    end = text.rfind(f"</{tag}>")
    start = text.rfind(f"<{tag}>", 0, end) if end >= 0 else -1
    if start < 0:
        return None
    return text[start + len(tag) + 2 : end].strip() or None
