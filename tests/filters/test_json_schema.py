import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from synthkd.filters import JsonSchemaFilter
from tests.filters.samples import make_sample

INTENT = {
    "type": "object",
    "properties": {"intent": {"enum": ["refund", "where"]}, "sure": {"type": "number"}},
    "required": ["intent"],
    "additionalProperties": False,
}


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        pytest.param('{"intent": "refund"}', "", id="right"),
        pytest.param(' {"intent":"where","sure":0.5}\n', "", id="white-space-around"),
        pytest.param('{"intent": "rant"}', "schema_mismatch", id="wrong-value"),
        pytest.param('{"intent": "refund", "x": 1}', "schema_mismatch", id="unknown-key"),
        pytest.param("[]", "schema_mismatch", id="wrong-type"),
        pytest.param('```json\n{"intent": "refund"}\n```', "not_json", id="fenced"),
        pytest.param("refund", "not_json", id="a-word"),
        pytest.param('{"intent": "refund",}', "not_json", id="trailing-comma"),
        pytest.param('{"intent": "refund", "sure": NaN}', "not_json", id="nan"),
        pytest.param('{"intent": "\\ud800"}', "not_json", id="half-a-surrogate"),
        pytest.param("[" * 100_000, "not_json", id="bottomless"),
        pytest.param("9" * 10_000, "not_json", id="endless-number"),
        pytest.param("", "not_json", id="nothing"),
    ],
)
def test_an_answer_must_be_json_of_the_schema(answer: str, reason: str) -> None:
    verdict = JsonSchemaFilter(schema=INTENT).judge(make_sample("so: " + answer, answer=answer))

    assert (verdict.keep, verdict.reason) == (not reason, reason)


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists, max_leaves=5))
def test_every_json_value_satisfies_the_schema_true(value: Any) -> None:
    assert JsonSchemaFilter(schema=True).judge(make_sample(json.dumps(value))).keep


def test_a_schema_file_becomes_the_option(tmp_path: Path) -> None:
    file = tmp_path / "intent.json"
    file.write_text(json.dumps(INTENT), encoding="utf-8")

    rule = JsonSchemaFilter(schema=str(file))

    assert rule == JsonSchemaFilter(schema=INTENT)
    assert rule.model_dump(by_alias=True)["schema"] == INTENT


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        pytest.param({"type": "strin"}, r"schema\['type'\] cannot be used", id="unknown-type"),
        pytest.param({"pattern": "("}, r"schema\['pattern'\]", id="bad-pattern"),
        pytest.param({"$ref": "#/$defs/x"}, "does not exist", id="dangling-reference"),
        pytest.param({"$ref": "https://example.com/x"}, "copy it into", id="remote-reference"),
        pytest.param({"$ref": "file:///etc/passwd"}, "copy it into", id="file-reference"),
        pytest.param("no/such/file.json", "cannot be read: No such file", id="missing-file"),
        pytest.param(3, "schema", id="a-number"),
    ],
)
def test_a_schema_that_cannot_be_used_is_refused_at_once(schema: Any, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        JsonSchemaFilter(schema=schema)


def test_a_schema_file_must_be_json(tmp_path: Path) -> None:
    file = tmp_path / "intent.json"
    file.write_text("type: object", encoding="utf-8")

    with pytest.raises(ValidationError, match="is not JSON"):
        JsonSchemaFilter(schema=str(file))
