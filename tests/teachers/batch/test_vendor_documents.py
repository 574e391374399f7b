"""What batches send, held against the vendors' own OpenAPI documents, where they lie beside."""

from functools import partial
from typing import Any

import pytest

from synthkd.corpus.store import Corpus
from synthkd.records import Message, Request
from tests.teachers.batch.emulator import Emulator
from tests.teachers.batch.making import connect, gather, read_answers, submit
from tests.teachers.test_request_bodies import Document

SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}


def ask(**fields: Any) -> Request:
    conversation = (Message("system", "Be brief."), Message("user", "Grüß Gott?"))
    return Request(conversation, "http://teacher", "m", **fields)


@pytest.mark.parametrize(
    ("api", "path", "parameters"),
    [
        ("chat", "/chat/completions", {"temperature": 0.7, "logprobs": 20, "seed": 1}),
        ("responses", "/responses", {"temperature": 0.7, "max_output_tokens": 400}),
    ],
)
def test_openai_takes_a_batch_and_its_lines(
    corpus: Corpus, emulator: Emulator, api: str, path: str, parameters: Any
) -> None:
    requests = [ask(parameters=parameters), ask(parameters=parameters, schema=SCHEMA)]

    submit(corpus, partial(connect, "openai", emulator.url, api=api), requests)

    (body,) = emulator.bodies
    batch = Document("openai-small.json", "/batches")
    line = Document("openai-small.json", path)
    assert batch.find_errors(body) == []
    assert batch.find_unknown(body) == set()
    for _, asked in emulator.batches[0].asked:
        assert line.find_errors(asked) == []
        assert line.find_unknown(asked) == set()


def test_anthropic_takes_a_batch_and_its_lines(corpus: Corpus, emulator: Emulator) -> None:
    requests = [ask(), ask(parameters={"max_tokens": 5, "stop_sequences": ["\n\n"]})]

    submit(corpus, partial(connect, "anthropic", emulator.url), requests)

    (body,) = emulator.bodies
    batch = Document("anthropic-small.json", "/v1/messages/batches")
    assert batch.find_errors(body) == []
    assert batch.find_unknown(body) == set()


@pytest.mark.parametrize(
    ("name", "path", "right", "wrong"),
    [
        (
            "openai-small.json",
            "/batches",
            {
                "input_file_id": "f",
                "endpoint": "/v1/chat/completions",
                "completion_window": "24h",
                "metadata": {"synthkd_batch": "b"},
            },
            [{"endpoint": "/chat"}, {"completion_window": "1h"}, {"metadata": {"a": 1}}],
        ),
        (
            "anthropic-small.json",
            "/v1/messages/batches",
            {
                "requests": [
                    {
                        "custom_id": "a-1",
                        "params": {
                            "model": "m",
                            "max_tokens": 1,
                            "messages": [{"role": "user", "content": "?"}],
                        },
                    }
                ]
            },
            [{"requests": [{"custom_id": "a b", "params": {}}]}, {"requests": [{}]}],
        ),
    ],
)
def test_the_documents_do_refuse_what_is_wrong(
    name: str, path: str, right: Any, wrong: Any
) -> None:
    document = Document(name, path)

    assert document.find_errors(right) == []
    for change in wrong:
        assert document.find_errors(right | change) != []


def test_responses_are_answered_in_batches_too(corpus: Corpus, emulator: Emulator) -> None:
    connected = partial(connect, "openai", emulator.url, api="responses")
    request = ask(parameters={"max_output_tokens": 400})
    submit(corpus, connected, [request])

    collected = gather(corpus, connected)

    assert collected.answered == 1
    assert read_answers(corpus)[request.key].text == "answer to Grüß Gott?\u2028"
    assert emulator.bodies[0]["endpoint"] == "/v1/responses"
