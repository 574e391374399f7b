import asyncio
import json
import math
from typing import Any

import pytest

from synthkd.records import Message, Request
from synthkd.teachers import MalformedAnswerError, TeacherOptions
from synthkd.teachers.openai import OpenAITeacher
from synthkd.teachers.scoring import (
    Form,
    UnscoredError,
    parse_score,
    score_one,
    score_request,
    write_score,
)
from tests.teachers.loopback import Loopback, Reply, chat

QUESTION = (Message("user", "3 + 4?"),)
IDS = {
    1: b"<|user|>",
    2: b"3 + 4?",
    3: b"<|assistant|>",
    4: b" 7",
    5: b".",
    6: b"\xe2",
    7: b"\x82\xac",
}


def scoring(completion: str = " 7.", form: Form = "chat", **parameters: Any) -> Request:
    options = TeacherOptions(model="openai/m", base_url="http://127.0.0.1:1/v1")
    teacher = OpenAITeacher.connect(options)
    return score_request(
        teacher, QUESTION, completion, logprobs=2, form=form, parameters=parameters
    )


def read(*tokens: tuple[int, str, float], **fields: Any) -> bytes:
    """Return vLLM's answer that read `tokens`, each with the same rival."""
    told: list[Any] = [None]
    for token_id, text, logprob in tokens[1:]:
        told.append(
            {
                str(token_id): {"logprob": logprob, "rank": 2, "decoded_token": text},
                "9": {"logprob": -0.5, "rank": 1, "decoded_token": "?"},
            }
        )
    answer = {**chat(""), "prompt_logprobs": told, **fields}
    return json.dumps(answer | {"prompt_token_ids": [token[0] for token in tokens]}).encode()


PROMPT = ((1, "<|user|>", 0.0), (2, "3 + 4?", -9.0), (3, "<|assistant|>", -0.1))


def test_a_completion_is_asked_about_as_the_last_message(loopback: Loopback) -> None:
    options = TeacherOptions(model="openai/m", base_url=f"{loopback.url}/v1")
    teacher = OpenAITeacher.connect(options)
    kwargs = {"enable_thinking": False}
    request = score_request(
        teacher, QUESTION, "7.", logprobs=5, parameters={"chat_template_kwargs": kwargs}
    )
    loopback.script(Reply(b'{"choices": [],  "x": 1}'))

    async def score() -> bytes:
        try:
            return (await score_one(teacher, request)).body
        finally:
            await teacher.close()

    assert asyncio.run(score()) == b'{"choices": [],  "x": 1}'
    (asked,) = loopback.requests
    assert asked.path == "/v1/chat/completions"
    assert asked.body == {
        "model": "m",
        "messages": [
            {"role": "user", "content": "3 + 4?"},
            {"role": "assistant", "content": "7."},
        ],
        "add_generation_prompt": False,
        "continue_final_message": True,
        "prompt_logprobs": 5,
        "return_token_ids": True,
        "max_tokens": 1,
        "temperature": 0,
        "chat_template_kwargs": kwargs,
    }


def test_a_plain_text_is_asked_about_by_its_echo() -> None:
    path, body = write_score(scoring(form="completions"))

    assert path == "/completions"
    assert body == {
        "model": "m",
        "prompt": "3 + 4? 7.",
        "echo": True,
        "logprobs": 2,
        "max_tokens": 1,
        "temperature": 0,
    }


def test_scoring_is_another_request_than_asking() -> None:
    options = TeacherOptions(model="openai/m", base_url="http://127.0.0.1:1/v1", logprobs=2)
    said = (*QUESTION, Message("assistant", " 7."))

    assert scoring().key != options.request(options.connect(), said).key
    assert scoring().key != scoring(form="completions").key


def test_only_the_completion_is_scored() -> None:
    body = read(*PROMPT, (4, " 7", -1.0), (5, ".", -2.0))

    scored = parse_score(body, scoring())

    assert [position.sampled.logprob for position in scored.positions] == [-1.0, -2.0]
    assert [scored.tokens[p.sampled.token_id] for p in scored.positions] == [b" 7", b"."]
    assert [position.rank for position in scored.positions] == [1, 1]
    assert scored.positions[0].tail == pytest.approx(1 - math.exp(-1.0) - math.exp(-0.5))


def test_with_a_vocabulary_ids_are_those_of_the_tokenizer() -> None:
    body = read(*PROMPT, (6, "", -1.0), (7, "€", -2.0))

    scored = parse_score(body, scoring("€"), ("fingerprint", IDS))

    assert scored.vocabulary == "fingerprint"
    assert [position.sampled.token_id for position in scored.positions] == [6, 7]
    assert [[a.token_id for a in position.top] for position in scored.positions] == [[9, 6], [9, 7]]


def test_half_characters_without_a_name_belong_to_their_character() -> None:
    scored = parse_score(read(*PROMPT, (6, "", -1.0), (7, "€", -2.0)), scoring("€"))

    assert [position.sampled.logprob for position in scored.positions] == [-1.0, -2.0]


def test_a_server_that_tells_no_ids_names_the_token_first() -> None:
    answer = json.loads(read(*PROMPT, (4, " 7.", -1.0)))
    del answer["prompt_token_ids"]

    scored = parse_score(json.dumps(answer).encode(), scoring())

    assert [position.sampled.logprob for position in scored.positions] == [-1.0]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        pytest.param(
            read(*PROMPT[:2], (8, "<|assistant|> ", -1.0), (5, "7.", -1.0)),
            "across the bounds",
            id="joined-with-the-prompt",
        ),
        pytest.param(
            read(*PROMPT, (4, "7", -1.0), (5, ".", -2.0)),
            "another text",
            id="trimmed-by-a-template",
        ),
        pytest.param(read(*PROMPT[:1]), "another text", id="nothing-of-it"),
        pytest.param(json.dumps(chat("7.")).encode(), "prompt_logprobs", id="ignored"),
        pytest.param(read((4, " 7.", -1.0)), "another text", id="nothing-before-it"),
    ],
)
def test_what_cannot_be_scored_is_told_with_its_reason(body: bytes, reason: str) -> None:
    with pytest.raises(UnscoredError, match=reason):
        parse_score(body, scoring())


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b'{"prompt_logprobs": 3}',
        b'{"prompt_logprobs": [null, {"4": {}}]}',
        b'{"prompt_logprobs": [null, {"x": {"logprob": 0, "decoded_token": "7"}}]}',
        read(*PROMPT, (4, " 7.", math.nan)),
    ],
)
def test_what_is_no_answer_is_told(body: bytes) -> None:
    with pytest.raises(MalformedAnswerError, match="not a scored text"):
        parse_score(body, scoring())


def echo(*tokens: tuple[str, float | None], top: Any = ...) -> bytes:
    names, logprobs = [token for token, _ in tokens], [logprob for _, logprob in tokens]
    given = [None if nats is None else {"?": -0.5} for nats in logprobs] if top is ... else top
    answer = chat()
    answer["choices"][0] = {
        "text": "".join(names),
        "logprobs": {"tokens": names, "token_logprobs": logprobs, "top_logprobs": given},
    }
    return json.dumps(answer).encode()


ECHOED = (("3 +", None), (" 4?", -3.0), (" 7", -1.0), (".", -2.0))


@pytest.mark.parametrize(
    "tokens",
    [
        pytest.param(ECHOED, id="the-text-alone"),
        pytest.param((("<s>", None), ("3 + 4?", -9.0), *ECHOED[2:]), id="after-a-begin"),
        pytest.param((*ECHOED, (" Good", -0.1)), id="before-what-was-generated"),
    ],
)
def test_an_echo_is_scored(tokens: Any) -> None:
    scored = parse_score(echo(*tokens), scoring(form="completions"), ("fingerprint", IDS))

    assert scored.vocabulary == ""
    assert [position.sampled.logprob for position in scored.positions] == [-1.0, -2.0]
    assert all(len(position.top) == 2 for position in scored.positions)


def test_an_echo_without_alternatives_has_the_tokens_themselves() -> None:
    scored = parse_score(echo(*ECHOED, top=None), scoring(form="completions"))

    assert [len(position.top) for position in scored.positions] == [1, 1]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        pytest.param(echo(("3 + 4? ", None), ("7.", -1.0)), "across the bounds", id="joined"),
        pytest.param(echo(*ECHOED[:2], (" 7.!", -1.0)), "across the bounds", id="joined-after"),
        pytest.param(echo((" Good", -0.1), (" day", -0.1)), "another text", id="not-echoed"),
        pytest.param(json.dumps(chat("7.")).encode(), "may not know echo", id="ignored"),
    ],
)
def test_an_echo_that_scores_nothing_is_told_with_its_reason(body: bytes, reason: str) -> None:
    with pytest.raises(UnscoredError, match=reason):
        parse_score(body, scoring(form="completions"))


def test_a_text_that_begins_with_the_completion_has_no_score_for_its_first_token() -> None:
    teacher = OpenAITeacher.connect(TeacherOptions(model="openai/m", base_url="http://h/v1"))
    request = score_request(teacher, (), " 7.", logprobs=2, form="completions")

    with pytest.raises(UnscoredError, match="before the first token"):
        parse_score(echo((" 7", None), (".", -1.0)), request)
