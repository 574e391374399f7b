import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from synthkd.outputs import Output, Parts

TAGS = {"kind": "tags", "rationale": "why", "answer": "intent"}
LINE = {"kind": "last_line", "prefix": "Answer:"}
JSON = {"kind": "json", "rationale": "why", "answer": "intent"}
SCHEMA = {"type": "object", "properties": {"intent": {"enum": ["a", "b"]}}}
OPTION = {
    "kind": "pattern",
    "pattern": r"(?s)(?P<rationale>.*)So the answer is \(.\) (?P<answer>[^.\n]+)",
}


def read(declared: dict, completion: str) -> Parts:
    return TypeAdapter(Output).validate_python(declared).read(completion)


@pytest.mark.parametrize(
    ("declared", "completion", "parts"),
    [
        pytest.param({"kind": "text"}, " 42 \n", Parts("42"), id="text"),
        pytest.param(TAGS, "<why>it says so</why>\n<intent> a </intent>", Parts("a", "it says so"), id="tags"),
        pytest.param(TAGS, "<why>1</why><intent>a</intent><intent>b</intent>", Parts("b", "1"), id="last-tag-counts"),
        pytest.param({"kind": "tags", "answer": "intent"}, "x <intent>a</intent>", Parts("a"), id="tags-without-rationale"),
        pytest.param(JSON, '{"why": "so", "intent": "a"}', Parts("a", "so"), id="json"),
        pytest.param(JSON, '```json\n{"why": "so", "intent": ["a"]}\n```', Parts('["a"]', "so"), id="json-in-a-fence"),
        pytest.param(LINE, "because\nof that\nAnswer: 7\n\n", Parts("7", "because\nof that"), id="last-line"),
        pytest.param({"kind": "last_line"}, "first\n\nlast\n", Parts("last", "first"), id="last-line-that-is-not-blank"),
        pytest.param(OPTION, "It is far. So the answer is (b) a train.", Parts("a train", "It is far."), id="pattern"),
        pytest.param({**LINE, "stop": ["\nQ:"]}, "so\nAnswer: 7\nQ: next\nAnswer: 8", Parts("7", "so"), id="run-on-text-is-cut"),
    ],
)  # fmt: skip
def test_a_completion_splits_into_its_declared_parts(
    declared: dict, completion: str, parts: Parts
) -> None:
    assert read(declared, completion) == parts


@pytest.mark.parametrize(
    ("declared", "completion"),
    [
        pytest.param(TAGS, "just a", id="no-tags"),
        pytest.param(TAGS, "<why>x</why><intent>a", id="cut-off"),
        pytest.param(TAGS, "<why></why><intent>a</intent>", id="empty-rationale"),
        pytest.param(TAGS, "</intent><intent>", id="backwards"),
        pytest.param(JSON, '{"why": "so"}', id="json-without-answer"),
        pytest.param(JSON, "[1, 2]", id="json-of-another-kind"),
        pytest.param(JSON, "[" * 100_000, id="json-bomb"),
        pytest.param({**JSON, "schema": SCHEMA}, '{"why": "x", "intent": "c"}', id="json-off-its-schema"),
        pytest.param(LINE, "no such line", id="no-prefix"),
        pytest.param(LINE, "Answer:   ", id="empty-answer"),
        pytest.param({"kind": "last_line"}, " \n ", id="blank"),
        pytest.param(OPTION, "I do not know.", id="no-match"),
    ],
)  # fmt: skip
def test_a_completion_that_does_not_split_is_kept_whole_and_marked(
    declared: dict, completion: str
) -> None:
    assert read(declared, completion) == Parts(completion.strip(), None, is_split=False)


@given(st.text())
@pytest.mark.parametrize("declared", [TAGS, JSON, LINE, OPTION, {"kind": "text"}])
def test_no_completion_is_too_strange_to_read(declared: dict, completion: str) -> None:
    parts = read(declared, completion)

    assert parts.is_split or parts.answer == completion.strip()


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        pytest.param({"kind": "pattern", "pattern": "(x"}, "no regular expression", id="bad-regex"),
        pytest.param({"kind": "pattern", "pattern": "x"}, "no group named answer", id="no-group"),
        pytest.param({**JSON, "schema": {"type": "nonsense"}}, "no JSON Schema", id="bad-schema"),
        pytest.param({"kind": "tag", "answer": "x"}, "'tag'", id="no-such-kind"),
    ],
)
def test_a_declaration_that_cannot_work_is_refused(declared: dict, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        read(declared, "")
