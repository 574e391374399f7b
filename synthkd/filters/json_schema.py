"""Drop answers that are not the JSON they should be."""

import json
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NoReturn

from pydantic import Field, field_validator

from synthkd.filters.base import Filter
from synthkd.records import KEEP, Sample, Verdict, drop

if TYPE_CHECKING:
    from jsonschema_rs import Validator


class JsonSchemaFilter(Filter):
    """Keep answers that are JSON and satisfy `schema`, given as it is or as the path of a file.

    The whole answer must be JSON: a fenced block or a word before it is `not_json`,
    since the student would learn to write those too. A file is read once, and its
    content becomes the option: the filter is another one when the file changes.
    """

    kind: Literal["json_schema"] = "json_schema"
    json_schema: dict[str, Any] | bool = Field(
        alias="schema", description="A JSON Schema, or the path of a file that holds one."
    )

    @field_validator("json_schema", mode="before")
    @classmethod
    def _read_file(cls, schema: object) -> object:
        if not isinstance(schema, str | Path):
            return schema
        try:
            return json.loads(Path(schema).read_text(encoding="utf-8"))
        except OSError as error:
            reason = error.strerror or error
            raise ValueError(f"the schema file {str(schema)!r} cannot be read: {reason}") from None
        except (ValueError, RecursionError) as error:
            raise ValueError(f"the schema file {str(schema)!r} is not JSON: {error}") from None

    @field_validator("json_schema")
    @classmethod
    def _check_schema(cls, schema: dict[str, Any] | bool) -> dict[str, Any] | bool:  # noqa: FBT001
        _compile(schema)
        return schema

    @cached_property
    def _validator(self) -> "Validator":
        return _compile(self.json_schema)

    def judge(self, sample: Sample) -> Verdict:
        """Read strictly: NaN, and a surrogate without its other half, are not JSON."""
        try:
            answer = json.loads(sample.answer, parse_constant=_refuse_constant)
            matches = self._validator.is_valid(answer)
        except (ValueError, RecursionError):
            return drop("not_json")
        return KEEP if matches else drop("schema_mismatch")


def _compile(schema: dict[str, Any] | bool) -> "Validator":  # noqa: FBT001  (a schema can be true)
    import jsonschema_rs

    try:
        return jsonschema_rs.validator_for(schema, retriever=_refuse_reference)
    except ValueError as error:
        path = "".join(f"[{key!r}]" for key in getattr(error, "instance_path", []))
        detail = getattr(error, "message", str(error))
        raise ValueError(f"schema{path} cannot be used: {detail}") from None


def _refuse_reference(uri: str) -> NoReturn:
    """Keep a schema from fetching anything: a pipeline must judge the same tomorrow."""
    raise ValueError(f"{uri!r} is outside the schema; copy it into $defs")


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
