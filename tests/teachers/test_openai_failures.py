import socket

import pytest

from synthkd.teachers import TeacherOptions, parse
from synthkd.teachers.base import AttemptError
from tests.teachers.asking import ask
from tests.teachers.loopback import Loopback, Reply, chat

SECRET = "sk-a-key-that-nobody-may-see"  # noqa: S105  opens nothing


@pytest.fixture(autouse=True)
def _no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_ADMIN_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)


def options(loopback: Loopback) -> TeacherOptions:
    return TeacherOptions(model="openai/m", base_url=f"{loopback.url}/v1")


@pytest.mark.parametrize(
    ("reply", "is_retryable", "is_fatal"),
    [
        pytest.param(Reply.fault(408), True, False, id="timeout"),
        pytest.param(Reply.fault(409), True, False, id="conflict"),
        pytest.param(Reply.fault(429, "rate_limit_exceeded"), True, False, id="rate-limit"),
        pytest.param(Reply.fault(500), True, False, id="server-error"),
        pytest.param(Reply.fault(503), True, False, id="overloaded"),
        pytest.param(Reply(b"Bad Gateway", 502), True, False, id="no-json"),
        pytest.param(Reply.fault(400), False, False, id="bad-request"),
        pytest.param(Reply.of({"detail": "no"}, 422), False, False, id="unknown-field"),
        pytest.param(Reply.fault(401), False, True, id="wrong-key"),
        pytest.param(Reply.fault(402), False, True, id="unpaid"),
        pytest.param(Reply.fault(403), False, True, id="not-allowed"),
        pytest.param(Reply.fault(404, "model_not_found"), False, True, id="unknown-model"),
        pytest.param(Reply.fault(429, "insufficient_quota"), False, True, id="no-credit"),
        pytest.param(Reply.fault(429, x_should_retry="false"), False, False, id="told-not-to"),
        pytest.param(Reply.fault(400, x_should_retry="true"), True, False, id="told-to"),
        pytest.param(Reply.of({"error": "gone"}, 404), False, True, id="error-is-a-string"),
    ],
)
def test_a_failure_says_whether_another_try_can_do_better(
    loopback: Loopback, reply: Reply, is_retryable: bool, is_fatal: bool
) -> None:
    loopback.script(reply)

    with pytest.raises(AttemptError) as caught:
        ask(options(loopback))

    assert (caught.value.is_retryable, caught.value.is_fatal) == (is_retryable, is_fatal)
    assert (caught.value.status, caught.value.body) == (reply.status, reply.body)
    assert str(reply.status) in str(caught.value)
    assert len(loopback.requests) == 1  # nothing is tried again here


def test_a_server_says_how_long_to_wait(loopback: Loopback) -> None:
    loopback.script(Reply.fault(429, retry_after="7"))

    with pytest.raises(AttemptError) as caught:
        ask(options(loopback))

    assert caught.value.retry_after == 7


@pytest.mark.parametrize(
    ("reply", "kept"),
    [
        pytest.param(Reply.html(), Reply.html().body, id="html"),
        pytest.param(Reply(b""), b"", id="nothing"),
        pytest.param(Reply(b'{"choices": [{"mess'), b'{"choices": [{"mess', id="cut-by-a-proxy"),
        pytest.param(Reply.fault(200), Reply.fault(200).body, id="error-sent-as-a-success"),
        pytest.param(Reply.cut(), b"", id="connection-lost"),
        pytest.param(Reply.cut(is_chunked=True), b"", id="connection-lost-between-chunks"),
    ],
)
def test_what_is_no_whole_answer_is_asked_for_again(
    loopback: Loopback, reply: Reply, kept: bytes
) -> None:
    loopback.script(reply)

    with pytest.raises(AttemptError) as caught:
        ask(options(loopback))

    assert (caught.value.is_retryable, caught.value.is_fatal) == (True, False)
    assert caught.value.body == kept


def test_a_server_that_is_not_there_may_come_back() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: nobody else gets the port
        nobody = f"http://127.0.0.1:{taken.getsockname()[1]}/v1"

        with pytest.raises(AttemptError, match=nobody) as caught:
            ask(TeacherOptions(model="openai/m", base_url=nobody))

    assert (caught.value.is_retryable, caught.value.is_fatal) == (True, False)


def test_a_server_that_never_answers_is_given_up_on(loopback: Loopback) -> None:
    loopback.script(Reply.hang())
    hurried = options(loopback).model_copy(update={"timeout_s": 0.05})

    with pytest.raises(AttemptError, match=r"Timeout.*0\.05 s") as caught:
        ask(hurried)

    assert caught.value.is_retryable


@pytest.mark.parametrize("status", [200, 308, 401, 500])
def test_a_server_that_repeats_the_key_does_not_get_it_into_messages_or_bodies(
    loopback: Loopback, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    loopback.script(Reply.fault(status, said=f"{'x ' * 145}key {SECRET}"))

    with pytest.raises(AttemptError) as caught:
        ask(options(loopback))

    assert "sk-a" not in str(caught.value)
    assert "***" in caught.value.body.decode()


def test_a_wrong_key_is_told_with_the_variable_to_set(loopback: Loopback) -> None:
    loopback.script(Reply.fault(401, "invalid_api_key", "Incorrect API key"))

    with pytest.raises(AttemptError, match=r"401 invalid_api_key: Incorrect.*OPENAI_API_KEY"):
        ask(options(loopback))


def test_an_answer_that_repeats_the_key_is_stored_without_it(
    loopback: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    loopback.script(Reply.of(chat(f"Your key is {SECRET}.")))

    body = ask(options(loopback))

    assert parse("openai", body).text == "Your key is ***."


def test_a_stand_in_for_a_key_may_be_a_word_of_an_answer(
    loopback: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "EMPTY")
    loopback.script(Reply.of(chat("EMPTY is a word.")))

    assert parse("openai", ask(options(loopback))).text == "EMPTY is a word."
