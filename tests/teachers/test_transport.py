import asyncio
import gzip
import json
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from email.utils import formatdate
from typing import Any

import anthropic
import httpx2
import openai
import pytest

from synthkd.records import Json, Message
from synthkd.teachers import TeacherOptions, transport
from synthkd.teachers.base import Answer, AttemptError
from synthkd.teachers.openai import OpenAITeacher
from tests.teachers.asking import HELLO, ask
from tests.teachers.loopback import Asked, Loopback, Reply

KEY = "sk-a-key-that-nobody-may-see"
CONVERSATION = (
    Message("system", "Sei höflich. \u2028 \x7f \U0001f600 </script>"),
    Message("user", "Grüß Gott?\n\t\"'\\"),
    Message("assistant", "Ja."),
    Message("user", "Why?"),
)
MEANT = (
    "authorization",
    "x-api-key",
    "content-type",
    "accept",
    "accept-encoding",
    "anthropic-version",
)
MEANT += ("openai-organization", "openai-project", "content-length")


@pytest.fixture(autouse=True)
def _one_key(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_ADMIN_KEY", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID", "ANTHROPIC_AUTH_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)


def options(loopback: Loopback, **given: Any) -> TeacherOptions:
    return TeacherOptions(**{"model": "openai/m", "base_url": f"{loopback.url}/v1", **given})


def claude(loopback: Loopback, **given: Any) -> TeacherOptions:
    return TeacherOptions(**{"model": "anthropic/m", "base_url": loopback.url, **given})


def sdk_of(options: TeacherOptions) -> "openai.AsyncOpenAI | anthropic.AsyncAnthropic":
    if options.provider == "openai":
        return openai.AsyncOpenAI(base_url=str(options.base_url), max_retries=0)
    return anthropic.AsyncAnthropic(base_url=str(options.base_url), max_retries=0)


def post_by_sdk(options: TeacherOptions, path: str, body: Json, **headers: str) -> httpx2.Response:
    """Return what the vendor's own client receives for `body`."""

    async def post() -> httpx2.Response:
        async with sdk_of(options) as client:
            return await client.post(
                path, body=body, cast_to=httpx2.Response, options={"headers": headers}
            )

    return asyncio.run(post())


@pytest.mark.parametrize(
    ("connect", "given", "path"),
    [
        pytest.param(options, {}, "/chat/completions", id="chat"),
        pytest.param(
            options,
            {
                "logprobs": 20,
                "parameters": {"temperature": 1e-7, "seed": 3, "stop": ["é"], "x": None},
            },
            "/chat/completions",
            id="chat-with-parameters",
        ),
        pytest.param(
            options,
            {"api": "responses", "logprobs": 5, "parameters": {"max_tokens": 20}},
            "/responses",
            id="responses",
        ),
        pytest.param(claude, {}, "/v1/messages", id="messages"),
        pytest.param(
            claude,
            {"parameters": {"anthropic_version": "2023-06-01", "temperature": 0.30000000000000004}},
            "/v1/messages",
            id="messages-of-an-older-version",
        ),
        pytest.param(claude, {"prompt_caching": "1h"}, "/v1/messages", id="messages-remembered"),
    ],
)
def test_a_request_is_the_sdks_to_the_byte(
    loopback: Loopback,
    connect: Callable[..., TeacherOptions],
    given: dict[str, Any],
    path: str,
) -> None:
    asked_for = connect(loopback, **given)
    version = asked_for.parameters.get("anthropic_version")

    ask(asked_for, CONVERSATION)
    (ours,) = loopback.requests
    post_by_sdk(asked_for, path, ours.body, **({"anthropic-version": version} if version else {}))

    _, theirs = loopback.requests
    assert ours.path == theirs.path
    assert ours.raw == theirs.raw
    assert meant(ours) == meant(theirs)
    assert ours.headers["user-agent"].startswith("synthkd/")


def meant(asked: Asked) -> dict[str, str | None]:
    return {name: asked.headers.get(name) for name in MEANT}


def test_a_request_means_the_same_when_the_sdk_writes_it(loopback: Loopback) -> None:
    parameters = {
        "temperature": 0.7,
        "max_completion_tokens": 9,
        "logprobs": True,
        "top_logprobs": 2,
    }
    messages = [message._asdict() for message in CONVERSATION]

    async def create() -> None:
        async with openai.AsyncOpenAI(base_url=f"{loopback.url}/v1") as client:
            await client.chat.completions.create(model="m", messages=messages, **parameters)  # type: ignore[call-overload]

    asyncio.run(create())
    plain = {"temperature": 0.7, "max_completion_tokens": 9}
    ask(options(loopback, logprobs=2, parameters=plain), CONVERSATION)

    theirs, ours = loopback.requests
    assert ours.body == theirs.body


FAILURES = [
    pytest.param(Reply.fault(status), id=str(status))
    for status in (400, 401, 402, 403, 404, 408, 409, 413, 418, 422, 429, 500, 502, 503, 504, 529)
] + [
    pytest.param(Reply.fault(429, x_should_retry="false"), id="told-not-to"),
    pytest.param(Reply.fault(400, x_should_retry="true"), id="told-to"),
    pytest.param(Reply(b"<html>Bad Gateway</html>", 502), id="html"),
    pytest.param(Reply(b"", 500), id="nothing-said"),
]


@pytest.mark.parametrize("reply", FAILURES)
@pytest.mark.parametrize("connect", [options, claude])
def test_a_failure_means_what_it_means_to_the_sdk(
    loopback: Loopback, connect: Callable[[Loopback], TeacherOptions], reply: Reply
) -> None:
    asked_for = connect(loopback)
    loopback.script(reply, reply)

    with pytest.raises(AttemptError) as ours:
        ask(asked_for)
    with pytest.raises((openai.APIStatusError, anthropic.APIStatusError)) as theirs:
        post_by_sdk(asked_for, "/anything", {})

    answer = theirs.value.response
    assert ours.value.is_retryable == sdk_of(asked_for)._should_retry(answer)
    assert ours.value.status == answer.status_code
    assert ours.value.body == answer.content


@pytest.mark.parametrize(
    "headers",
    [
        {"retry_after": "7"},
        {"retry_after": "0.5"},
        {"retry_after": "100", "retry_after_ms": "1500"},
        {"retry_after": "soon", "retry_after_ms": "soon"},
        {"retry_after": "a date"},
        {},
    ],
)
@pytest.mark.parametrize("connect", [options, claude])
def test_a_wait_is_as_long_as_the_sdk_reads_it(
    loopback: Loopback, connect: Callable[[Loopback], TeacherOptions], headers: dict[str, str]
) -> None:
    asked_for = connect(loopback)
    if headers.get("retry_after") == "a date":
        headers = {"retry_after": formatdate(time.time() + 1000, usegmt=True)}
    loopback.script(*[Reply.fault(429, **headers)] * 2)

    with pytest.raises(AttemptError) as ours:
        ask(asked_for)
    with pytest.raises((openai.APIStatusError, anthropic.APIStatusError)) as theirs:
        post_by_sdk(asked_for, "/anything", {})

    read = sdk_of(asked_for)._parse_retry_after_header(theirs.value.response.headers)
    assert ours.value.retry_after == (read if read is None else pytest.approx(read, rel=0.1))


@pytest.mark.parametrize(
    "reply",
    [
        pytest.param(Reply.cut(), id="cut"),
        pytest.param(Reply.cut(is_chunked=True), id="cut-between-chunks"),
        pytest.param(Reply.cut(0), id="cut-before-the-body"),
        pytest.param(Reply(b"no gzip", 200, {"content-encoding": "gzip"}), id="packed-wrong"),
    ],
)
def test_a_connection_that_is_lost_is_lost_to_the_sdk_too(loopback: Loopback, reply: Reply) -> None:
    loopback.script(reply, reply)

    with pytest.raises(AttemptError, match="gave no whole answer") as ours:
        ask(options(loopback))
    with pytest.raises((openai.APIConnectionError, httpx2.HTTPError)):
        post_by_sdk(options(loopback), "/anything", {})

    assert (ours.value.is_retryable, ours.value.is_fatal) == (True, False)
    assert (ours.value.status, ours.value.body) == (None, b"")


def test_a_key_is_not_carried_to_where_a_server_points(loopback: Loopback) -> None:
    with Loopback() as elsewhere:
        loopback.script(Reply.fault(308, location=f"{elsewhere.url}/v1/chat/completions"))

        with pytest.raises(AttemptError, match=f"base_url.*{elsewhere.url}") as caught:
            ask(options(loopback))

        assert elsewhere.requests == []
    assert (caught.value.is_retryable, caught.value.is_fatal) == (False, True)


def test_a_stream_that_nobody_asked_for_is_not_asked_for_again(loopback: Loopback) -> None:
    begun = b'data: {"choices": [{"delta": {"content": "ye'
    loopback.script(Reply(begun, 200, {"content-type": "text/event-stream"}))

    with pytest.raises(AttemptError, match="a stream") as caught:
        ask(options(loopback))

    assert (caught.value.is_retryable, caught.value.body) == (False, begun)


def each(*questions: Callable[[OpenAITeacher], Awaitable[Any]]) -> Callable[[TeacherOptions], Any]:
    """Return what asks one teacher `questions` in turn, and closes it."""

    async def ask_all(teacher: OpenAITeacher) -> list[Any]:
        try:
            return [await question(teacher) for question in questions]
        finally:
            await teacher.close()

    return lambda options: asyncio.run(ask_all(OpenAITeacher.connect(options)))


def hello(options: TeacherOptions) -> Callable[[OpenAITeacher], Awaitable[Answer]]:
    async def question(teacher: OpenAITeacher) -> Answer:
        (answer,) = await teacher.ask([options.request(teacher, HELLO)])
        return answer

    return question


async def close(teacher: OpenAITeacher) -> None:
    await teacher.close()


def test_one_connection_carries_many_requests(loopback: Loopback) -> None:
    asked_for = options(loopback)

    each(*[hello(asked_for)] * 3)(asked_for)

    assert len({asked.connection for asked in loopback.requests}) == 1


def test_a_teacher_that_was_closed_can_be_asked_again(loopback: Loopback) -> None:
    asked_for = options(loopback)

    each(hello(asked_for), close, close, hello(asked_for))(asked_for)

    assert len({asked.connection for asked in loopback.requests}) == 2


def test_cookies_are_not_kept(loopback: Loopback) -> None:
    asked_for = options(loopback)
    loopback.script(Reply(b'{"choices": []}', 200, {"set-cookie": "a=b"}))

    each(hello(asked_for), hello(asked_for))(asked_for)

    assert "cookie" not in loopback.requests[1].headers


def test_an_answer_says_what_the_server_said_around_it(loopback: Loopback) -> None:
    asked_for = options(loopback)
    told = {"X-RateLimit-Remaining-Requests": "7"}
    loopback.script(Reply(b'{"choices": []}', 200, told), Reply(b"{}", 429, told))

    (answer,) = each(hello(asked_for))(asked_for)
    with pytest.raises(AttemptError) as caught:
        ask(asked_for)

    assert answer.headers["x-ratelimit-remaining-requests"] == "7"
    assert caught.value.headers["x-ratelimit-remaining-requests"] == "7"


def test_a_packed_answer_is_unpacked(loopback: Loopback) -> None:
    body = b'{"choices": []}'
    loopback.script(Reply(gzip.compress(body), 200, {"content-encoding": "gzip"}))

    assert ask(options(loopback)) == body


def test_a_prompt_of_ten_megabytes_arrives_whole(
    loopback: Loopback, recwarn: pytest.WarningsRecorder
) -> None:
    prompt = "é" * 5_000_000

    ask(options(loopback), (Message("user", prompt),))

    assert loopback.requests[0].body["messages"][0]["content"] == prompt
    assert [warning for warning in recwarn if warning.category is ResourceWarning] == []


def test_half_a_character_arrives_as_it_is(loopback: Loopback) -> None:
    ask(options(loopback), (Message("user", "é \ud83d"),))

    assert loopback.requests[0].body["messages"][0]["content"] == "é \ud83d"


def test_an_answer_without_an_end_is_given_up_on(
    loopback: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "LARGEST", 100_000)
    loopback.script(Reply(b"{" + b" " * 1_000_000))

    with pytest.raises(AttemptError, match="sent more than") as caught:
        ask(options(loopback))

    assert not caught.value.is_retryable


@pytest.mark.parametrize(
    ("no_proxy", "path"),
    [
        pytest.param("", "http://teacher.invalid/v1/chat/completions", id="through-it"),
        pytest.param("teacher.invalid", None, id="past-it"),
    ],
)
def test_a_proxy_of_the_environment_is_used(
    loopback: Loopback, monkeypatch: pytest.MonkeyPatch, no_proxy: str, path: str | None
) -> None:
    monkeypatch.setenv("http_proxy", loopback.url.replace("//", "//me:pass@"))
    monkeypatch.setenv("no_proxy", no_proxy)
    asked_for = options(loopback, base_url="http://teacher.invalid/v1", timeout_s=20)

    if path is None:
        with pytest.raises(AttemptError, match="gave no whole answer"):
            ask(asked_for)
        assert loopback.requests == []
    else:
        ask(asked_for)
        (asked,) = loopback.requests
        assert asked.path == path
        assert asked.headers["proxy-authorization"].startswith("Basic ")
        assert asked.headers["authorization"] == f"Bearer {KEY}"


def test_asking_loads_no_sdk(loopback: Loopback) -> None:
    script = (
        "import sys; from tests.teachers.asking import ask;"
        "from synthkd.teachers import TeacherOptions;"
        f"ask(TeacherOptions(model='openai/m', base_url='{loopback.url}/v1'));"
        f"ask(TeacherOptions(model='anthropic/m', base_url='{loopback.url}'));"
        "print(*[m for m in ('openai', 'anthropic', 'httpx2') if m in sys.modules])"
    )

    loaded = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )

    assert loaded.stdout.strip() == ""
    assert len(loopback.requests) == 2


def test_nothing_that_is_no_json_is_sent() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        transport.write_json({"temperature": float("nan")})


@pytest.mark.parametrize(
    "value", [{"a": [1, 2.5e-9, True, None, "\u2028é\x00"]}, {}, {"n": 10**30}]
)
def test_bodies_are_written_as_the_sdks_write_them(value: Mapping[str, Any]) -> None:
    from openai._utils._json import openapi_dumps

    assert transport.write_json(value) == openapi_dumps(value)
    assert json.loads(transport.write_json(value)) == value
