import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from synthkd.errors import ConfigError
from synthkd.filters import (
    AnswerMatchFilter,
    AnyFilter,
    Filter,
    JsonSchemaFilter,
    LengthFilter,
    PatternFilter,
    RefusalFilter,
    parse_filter,
)


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("refusal", RefusalFilter()),
        (" length : max_words=300 , min_words = 2 ", LengthFilter(max_words=300, min_words=2)),
        ("length:", LengthFilter()),
        ('length:{"max_words": 300}', LengthFilter(max_words=300)),
        (
            "answer_match:mode=numeric,tolerance=0.01",
            AnswerMatchFilter(mode="numeric", tolerance=0.01),
        ),
        ("answer_match:tolerance=1e-4", AnswerMatchFilter(tolerance=1e-4)),
        ("answer_match:decimal_mark=,,mode=auto", AnswerMatchFilter(decimal_mark=",")),
        (r"pattern:must_match=^\d{1,3}:[a-z]+$", PatternFilter(must_match=r"^\d{1,3}:[a-z]+$")),
        ("pattern:must_match='42'", PatternFilter(must_match="42")),
        ("pattern:must_match='a,part=b'", PatternFilter(must_match="a,part=b")),
        (r'pattern:must_match="a\tb",part=answer', PatternFilter(must_match="a\tb", part="answer")),
        (r'pattern:must_match="\d"', PatternFilter(must_match=r"\d")),
        ("pattern:must_match=no", PatternFilter(must_match="no")),
        ("refusal:name=polite", RefusalFilter(name="polite")),
        ('json_schema:schema={"type":"array"}', JsonSchemaFilter(schema={"type": "array"})),
    ],
)
def test_a_filter_is_written_in_one_word(text: str, rule: Filter) -> None:
    assert parse_filter(text) == rule


@pytest.mark.parametrize(
    ("text", "mistakes"),
    [
        pytest.param("lenght:max_words=3", ["did you mean 'length'?"], id="kind"),
        pytest.param("", ["no kind ''", "Kinds: answer_match"], id="nothing"),
        pytest.param(
            "length:max_word=3,min_words=-1",
            ["no option 'max_word'; did you mean 'max_words'?", "min_words is -1"],
            id="two-options",
        ),
        pytest.param("length:300", ["'300' is no option; write OPTION=VALUE"], id="no-name"),
        pytest.param("length:max_words=1,max_words=2", ["written twice"], id="twice"),
        pytest.param("length:max_words=many", ["max_words is 'many'"], id="no-number"),
        pytest.param('length:{"max_words": }', ["are not JSON"], id="bad-json"),
        pytest.param("length:min_words=9,max_words=2", ["no completion would be kept"], id="pair"),
        pytest.param("pattern:must_match=(", ["must_match: '(' is no regular"], id="regex"),
        pytest.param("json_schema", ["schema is missing; write schema=VALUE"], id="missing"),
        pytest.param(
            "answer_match:mode=fuzzy", ["mode is 'fuzzy'", "'exact', 'normalized'"], id="choice"
        ),
        pytest.param("refusal:kind=length", ["kind is 'length'"], id="kind-as-an-option"),
    ],
)
def test_every_mistake_in_a_written_filter_is_named(text: str, mistakes: list[str]) -> None:
    with pytest.raises(ConfigError) as error:
        parse_filter(text)

    for mistake in mistakes:
        assert mistake in str(error.value)


@given(st.text())
def test_any_text_is_a_filter_or_a_mistake(text: str) -> None:
    for written in (text, f"length:{text}", f"length:name={text}"):
        with suppress(ConfigError):
            assert isinstance(parse_filter(written), Filter)


@pytest.mark.parametrize(
    "options",
    [{"kind": "length", "max_words": 3}, {"kind": "json_schema", "schema": {"type": "object"}}],
)
def test_a_pipeline_entry_and_a_written_filter_are_one(options: dict[str, Any]) -> None:
    rest = {name: value for name, value in options.items() if name != "kind"}

    from_entry: Filter = TypeAdapter(AnyFilter).validate_python(options)

    assert parse_filter(f"{options['kind']}:{json.dumps(rest)}") == from_entry
    assert (
        TypeAdapter(AnyFilter).validate_python(from_entry.model_dump(by_alias=True)) == from_entry
    )
