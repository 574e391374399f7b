"""What is sent, held against the vendors' own OpenAPI documents.

The documents are not ours to ship: these tests run where they lie beside the project.
"""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from synthkd.records import Message
from synthkd.teachers import TeacherOptions
from tests.teachers.asking import ask
from tests.teachers.loopback import Loopback

SPECS = Path(__file__).resolve().parents[3] / "shared" / "servers" / "specs"
CONVERSATION = [
    Message("system", "Be brief."),
    Message("user", "Grüß Gott?"),
    Message("assistant", "Ja."),
    Message("user", "Why?"),
]


class Document:
    """An OpenAPI document, and what its POST of one path takes."""

    def __init__(self, name: str, path: str) -> None:
        """Read the document, or skip the test."""
        file = SPECS / name
        if not file.exists():
            pytest.skip(f"the vendor's OpenAPI document is not at {file}")
        contents = json.loads(file.read_text(encoding="utf-8"))
        self._registry: Registry[Any] = Registry().with_resource(
            "urn:document", Resource(contents=contents, specification=DRAFT202012)
        )
        escaped = path.replace("/", "~1")
        self._start = (
            f"urn:document#/paths/{escaped}/post/requestBody/content/application~1json/schema"
        )

    def find_errors(self, body: Any) -> list[str]:
        """Return what the document says against `body`."""
        schema = {"$ref": self._start}
        checker = jsonschema.Draft202012Validator(schema, registry=self._registry)
        return [error.message for error in checker.iter_errors(body)]

    def find_unknown(self, body: Any) -> set[str]:
        """Return the fields of `body` that the document does not name."""
        return set(body) - self._names(self._start)

    def _names(self, reference: str) -> set[str]:
        found = self._registry.resolver().lookup(reference)
        schema, names = found.contents, set(found.contents.get("properties", {}))
        if "$ref" in schema:
            names |= self._names("urn:document" + schema["$ref"])
        for index, _ in enumerate(schema.get("allOf", [])):
            names |= self._names(f"{reference}/allOf/{index}")
        return names


def sent(loopback: Loopback, **given: Any) -> Any:
    ask(TeacherOptions(**given), CONVERSATION)
    return loopback.requests[-1].body


@pytest.mark.parametrize(
    ("parameters", "logprobs"),
    [
        pytest.param({}, 0, id="plain"),
        pytest.param({}, 20, id="logprobs"),
        pytest.param(
            {
                "temperature": 0.7,
                "top_p": 0.9,
                "max_completion_tokens": 400,
                "seed": 1,
                "stop": ["\n\n"],
                "reasoning_effort": "low",
            },
            5,
            id="parameters",
        ),
    ],
)
def test_openai_takes_what_is_sent(
    loopback: Loopback, parameters: dict[str, Any], logprobs: int
) -> None:
    document = Document("openai-small.json", "/chat/completions")

    body = sent(
        loopback,
        model="openai/m",
        base_url=f"{loopback.url}/v1",
        parameters=parameters,
        logprobs=logprobs,
    )

    assert document.find_errors(body) == []
    assert document.find_unknown(body) == set()


@pytest.mark.parametrize(
    ("parameters", "logprobs"),
    [
        pytest.param({}, 0, id="plain"),
        pytest.param(
            {
                "temperature": 0.7,
                "max_tokens": 400,
                "reasoning": {"effort": "low", "summary": "auto"},
                "text": {"verbosity": "low"},
            },
            20,
            id="parameters",
        ),
    ],
)
def test_openai_takes_what_is_sent_by_the_responses_api(
    loopback: Loopback, parameters: dict[str, Any], logprobs: int
) -> None:
    document = Document("openai-small.json", "/responses")

    body = sent(
        loopback,
        model="openai/m",
        api="responses",
        base_url=f"{loopback.url}/v1",
        parameters=parameters,
        logprobs=logprobs,
    )

    assert document.find_errors(body) == []
    assert document.find_unknown(body) == set()


@pytest.mark.parametrize(
    "parameters",
    [
        pytest.param({}, id="plain"),
        pytest.param({"max_tokens": 5, "stop_sequences": ["\n\n"]}, id="parameters"),
        pytest.param(
            {"anthropic_version": "2023-06-01", "temperature": 0.3, "top_k": 5}, id="sampling"
        ),
    ],
)
def test_anthropic_takes_what_is_sent(loopback: Loopback, parameters: dict[str, Any]) -> None:
    document = Document("anthropic-small.json", "/v1/messages")

    body = sent(loopback, model="anthropic/m", base_url=loopback.url, parameters=parameters)

    assert document.find_errors(body) == []
    assert document.find_unknown(body) == set()


@pytest.mark.parametrize(
    ("name", "path", "wrong"),
    [
        ("openai-small.json", "/chat/completions", {"top_logprobs": 50}),
        ("openai-small.json", "/chat/completions", {"messages": []}),
        ("openai-small.json", "/responses", {"top_logprobs": 50}),
        ("openai-small.json", "/responses", {"input": [{"role": "bot", "content": "?"}]}),
        ("anthropic-small.json", "/v1/messages", {"max_tokens": 0}),
        ("anthropic-small.json", "/v1/messages", {"messages": [{"role": "system"}]}),
    ],
)
def test_the_documents_do_refuse_what_is_wrong(name: str, path: str, wrong: Any) -> None:
    right: dict[str, Any] = {"model": "m"}
    if path == "/responses":
        right["input"] = "?"
    else:
        right |= {"max_tokens": 1, "messages": [{"role": "user", "content": "?"}]}

    assert Document(name, path).find_errors(right) == []
    assert Document(name, path).find_errors(right | wrong) != []
    assert Document(name, path).find_unknown(right | {"top_p_": 1}) == {"top_p_"}
