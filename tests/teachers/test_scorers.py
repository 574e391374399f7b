"""A scorer is a teacher whose answers tell of what it was given."""

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from synthkd.errors import ConfigError
from synthkd.records import Completion, Message
from synthkd.teachers import MalformedAnswerError, TeacherOptions, parse
from synthkd.teachers.base import Answer, AttemptError
from synthkd.teachers.scored import UNSCORED, read_tokenizer
from synthkd.teachers.scorers import Scorer, connect_scorers
from tests.teachers.loopback import Loopback, Reply, chat
from tests.teachers.scoring_server import PROMPT_TOKENS, score

ASKED = (Message("user", "3 + 4?"),)


def connect(
    loopback: Loopback,
    form: str | None = None,
    tokenizer: Path | None = None,
    **options: object,
) -> Scorer:
    fields = {"model": "openai/m", "base_url": f"{loopback.url}/v1", "logprobs": 2, **options}
    (scorer,) = connect_scorers(TeacherOptions(**fields), form, tokenizer)
    return scorer


def ask(scorer: Scorer, *asked: tuple[str, str]) -> Sequence[Answer]:
    async def ask_and_close() -> list[Answer]:
        try:
            answers: list[Answer] = []
            for prompt, completion in asked:
                request = scorer.request((Message("user", prompt),), completion)
                answers += await scorer.ask([request])
            return answers
        finally:
            await scorer.close()

    return asyncio.run(ask_and_close())


def read(scorer: Scorer, prompt: str, completion: str) -> Completion:
    (answer,) = ask(scorer, (prompt, completion))
    return parse(scorer.provider, answer.body)


@pytest.mark.parametrize("form", ["chat", "completions"])
def test_an_answer_says_what_was_scored_and_what_it_cost(loopback: Loopback, form: str) -> None:
    loopback.answer = score

    scored = read(connect(loopback, form), "3 + 4?", " 7 of course")

    assert scored.text == " 7 of course"
    assert scored.logprobs is not None
    spelled = [scored.logprobs.tokens[p.sampled.token_id] for p in scored.logprobs.positions]
    assert spelled == [b" 7", b" of", b" course"]
    assert (scored.prompt_tokens, scored.completion_tokens) == (PROMPT_TOKENS, 1)


def test_what_the_server_said_is_kept_to_the_byte(loopback: Loopback) -> None:
    loopback.answer = score
    raw = b'{"choices":  [],   "prompt_logprobs": [null, {"7": {"logprob": -1, "decoded_token": "x"}}]}'
    loopback.script(Reply(raw))

    (answer,) = ask(connect(loopback), ("a", "x"))

    assert answer.body.partition(b"\n")[2] == raw


def test_what_cannot_be_scored_is_an_answer_that_says_why(loopback: Loopback) -> None:
    loopback.answer = score

    scored = read(connect(loopback), "3 + 4 =|", "7")

    assert (scored.finish_reason, scored.logprobs) == (UNSCORED, None)
    assert "across the bounds" in scored.text
    assert scored.prompt_tokens == PROMPT_TOKENS


@pytest.mark.parametrize(
    ("form", "unknown"), [("chat", "prompt_logprobs"), ("completions", "echo")]
)
def test_a_server_that_ignores_the_question_is_asked_no_more(
    loopback: Loopback, form: str, unknown: str
) -> None:
    loopback.answer = lambda _: Reply.of(chat("7"))

    with pytest.raises(AttemptError, match=f"may not know {unknown}") as raised:
        ask(connect(loopback, form), ("a", "x"))

    assert raised.value.is_fatal
    assert raised.value.body == json.dumps(chat("7")).encode()


def test_a_server_that_scored_before_may_be_asked_again(loopback: Loopback) -> None:
    loopback.answer = lambda asked: (
        Reply.of(chat("7")) if len(loopback.requests) > 1 else score(asked)
    )
    scorer = connect(loopback)

    scored, ignored = ask(scorer, ("a", "x"), ("a", "y"))

    assert parse(scorer.provider, scored.body).logprobs is not None
    with pytest.raises(MalformedAnswerError, match="may not know"):
        parse(scorer.provider, ignored.body)


@pytest.mark.parametrize("body", [b"", b"{}", b'{"form": "chat"}\n{}', b"3\n{}", b"\xff\n{}"])
def test_an_answer_that_does_not_say_what_was_scored_is_none(body: bytes) -> None:
    with pytest.raises(MalformedAnswerError, match="nothing says what was scored"):
        parse("openai-score", body)


def test_a_score_costs_one_token_more_than_what_is_read(loopback: Loopback) -> None:
    loopback.answer = score
    scorer = connect(loopback, parameters={"max_tokens": 400, "add_special_tokens": False})

    request = scorer.request(ASKED, "7")
    read(scorer, "3 + 4?", "7")

    assert (request.parameters["max_tokens"], scorer.defaults["max_tokens"]) == (1, 1)
    (asked,) = loopback.requests
    assert (asked.body["max_tokens"], asked.body["add_special_tokens"]) == (1, False)


@pytest.mark.parametrize(
    ("options", "form", "message"),
    [
        ({"model": "anthropic/claude"}, None, "tells nothing of a text it is given"),
        ({"model": "openai/gpt-4o"}, None, "of what it writes alone"),
        ({"logprobs": 0}, None, "logprobs is 0"),
        ({"mode": "batch"}, None, "mode is 'batch'"),
        ({"api": "responses"}, None, "api is 'responses'"),
        (
            {"model": "local/somewhere", "base_url": None},
            "chat",
            "a teacher in this process has none",
        ),
    ],
)
def test_who_cannot_score_is_told_before_anything_is_asked(
    options: dict, form: str | None, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-none")
    fields = {"model": "openai/m", "logprobs": 2, **options}
    if fields["model"] == "openai/m":
        fields["base_url"] = "http://127.0.0.1:1/v1"

    with pytest.raises(ConfigError, match=message):
        connect_scorers(TeacherOptions(**fields), form)


def test_with_its_tokenizer_tokens_are_known_by_their_ids(
    loopback: Loopback, tmp_path: Path
) -> None:
    loopback.answer = score
    write_tokenizer(tmp_path, "<|user|>", "3 + 4?", "<|assistant|>", "€", " 7")
    scorer = connect(loopback, tokenizer=tmp_path)

    (answer,) = ask(scorer, ("3 + 4?", "€ 7"))
    known = parse(scorer.provider, answer.body)
    (tmp_path / "tokenizer.json").unlink()
    read_tokenizer.cache_clear()
    gone = parse(scorer.provider, answer.body)

    assert known.logprobs is not None
    assert known.logprobs.vocabulary == answer_vocabulary(answer)
    assert [p.sampled.token_id for p in known.logprobs.positions] == [3, 4]
    assert gone.logprobs is not None
    assert gone.logprobs.vocabulary == ""
    assert len(gone.logprobs.positions) == 2


def test_the_tokenizer_of_another_model_is_told_at_the_first_answer(
    loopback: Loopback, tmp_path: Path
) -> None:
    loopback.answer = score
    write_tokenizer(tmp_path, *"abcde")

    with pytest.raises(AttemptError, match="not the tokenizer of what the server serves"):
        ask(connect(loopback, tokenizer=tmp_path), ("3 + 4?", "€ 7"))


def test_a_tokenizer_that_is_none_is_told_before_anything_is_asked(
    loopback: Loopback, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=r"is no tokenizer.json"):
        connect(loopback, tokenizer=tmp_path)

    assert loopback.requests == []


def write_tokenizer(folder: Path, *tokens: str) -> None:
    vocabulary = {token: index for index, token in enumerate(tokens)}
    text = json.dumps({"model": {"vocab": vocabulary}}, ensure_ascii=False)
    (folder / "tokenizer.json").write_text(text, encoding="utf-8")


def answer_vocabulary(answer: Answer) -> str:
    return json.loads(answer.body.partition(b"\n")[0])["vocabulary"]
