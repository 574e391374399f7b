from typing import Any

import pytest

from synthkd.records import Alternative, Completion, Message, Position, Request, TokenLogprobs
from synthkd.teachers.ignored import find_ignored

SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}


def request(schema: Any = None, **parameters: Any) -> Request:
    return Request((Message("user", "?"),), "http://x/v1", "m", parameters, schema)


FEW = TokenLogprobs("", (Position((Alternative(0, -0.1),), 0, 0.1),))


@pytest.mark.parametrize(
    ("asked", "completion", "ignored"),
    [
        pytest.param(request(), Completion("a", "stop"), (), id="nothing-asked"),
        pytest.param(request(logprobs=5), Completion("a", "stop"), ("logprobs",), id="no-logprobs"),
        pytest.param(request(logprobs=5), Completion("", "stop"), (), id="no-token"),
        pytest.param(request(logprobs=5), Completion("No.", "refusal"), (), id="not-sampled"),
        pytest.param(
            request(logprobs=5), Completion("a", "stop", logprobs=FEW), (), id="few-are-probable"
        ),
        pytest.param(request(SCHEMA), Completion('{"a": 1}', "stop"), (), id="of-the-schema"),
        pytest.param(request(SCHEMA), Completion('{"a": "1"}', "stop"), ("schema",), id="another"),
        pytest.param(request(SCHEMA), Completion("Sure!", "stop"), ("schema",), id="prose"),
        pytest.param(request(SCHEMA), Completion('{"a": NaN}', "stop"), ("schema",), id="nan"),
        pytest.param(request(SCHEMA), Completion("[" * 99_999, "stop"), ("schema",), id="deep"),
        pytest.param(request(SCHEMA), Completion('{"a"', "length"), (), id="cut"),
        pytest.param(request({"type": 7}), Completion("{}", "stop"), (), id="no-schema-to-us"),
        pytest.param(
            request({"$ref": "https://example.com/s"}), Completion("{}", "stop"), (), id="elsewhere"
        ),
        pytest.param(
            request(max_tokens=5), Completion("a", "stop", completion_tokens=5), (), id="in-limit"
        ),
        pytest.param(
            request(max_completion_tokens=5),
            Completion("a", "stop", completion_tokens=6),
            ("max_completion_tokens",),
            id="over-the-limit",
        ),
        pytest.param(
            request(SCHEMA, logprobs=2), Completion("a", "stop"), ("logprobs", "schema"), id="both"
        ),
    ],
)
def test_what_a_server_did_without_is_named(
    asked: Request, completion: Completion, ignored: tuple[str, ...]
) -> None:
    assert find_ignored(asked, completion) == ignored


@pytest.mark.parametrize(("choices", "ignored"), [(1, ("n",)), (2, ("n",)), (3, ())])
def test_fewer_choices_than_asked_for_are_named(choices: int, ignored: tuple[str, ...]) -> None:
    assert find_ignored(request(), Completion("a", "stop"), choices, 3) == ignored


def test_a_limit_is_of_one_choice_and_usage_may_be_of_all() -> None:
    completion = Completion("a", "stop", completion_tokens=9)

    assert find_ignored(request(max_tokens=5), completion, 3, 3) == ()
