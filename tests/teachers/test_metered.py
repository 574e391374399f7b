"""The loopback teacher that limits does what the benchmarks rely on."""

import json
import subprocess
import sys
import urllib.error
import urllib.request
from typing import Any

from tests.teachers.metered import Metered, Options


def ask(url: str, prompt: str = "hello") -> tuple[int, dict[str, str], Any]:
    """Return the status, the headers and the body of one answer."""
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": prompt}]}).encode()
    request = urllib.request.Request(f"{url}/v1/chat/completions", data=body)  # noqa: S310  # our own
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:  # noqa: S310  # our own
            return answer.status, dict(answer.headers), json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, dict(error.headers), json.loads(error.read())


def test_it_answers_and_counts_by_prompt() -> None:
    with Metered(Options(latency=0, tokens=3)) as server:
        status, _, body = ask(server.url, 'a "quoted"\nprompt')
        ask(server.url, "other")
        ask(server.url, "other")

        stats = json.loads(urllib.request.urlopen(f"{server.url}/stats").read())  # noqa: S310  # our own

    assert status == 200
    assert body["choices"][0]["message"]["content"] == "word word word"
    assert body["usage"]["completion_tokens"] == 3
    assert stats["answered"] == {'a "quoted"\nprompt': 1, "other": 2} == stats["asked"]


def test_it_refuses_what_is_over_the_limit_and_says_so() -> None:
    options = Options(
        latency=0, requests_per_minute=60, burst=2, full=True, headers=True, retry_after=True
    )
    with Metered(options) as server:
        answers = [ask(server.url) for _ in range(3)]

        stats = server.stats()

    assert [status for status, _, _ in answers] == [200, 200, 429]
    assert answers[0][1]["x-ratelimit-limit-requests"] == "60"
    assert answers[2][1]["retry-after"] == "1"
    assert stats["refused"] == 1


def test_a_large_answer_has_logprobs() -> None:
    with Metered(Options(latency=0, logprobs=20)) as server:
        _, _, body = ask(server.url)

    content = body["choices"][0]["logprobs"]["content"]
    assert len(content) == 150
    assert {len(entry["top_logprobs"]) for entry in content} == {20}


def test_it_runs_as_a_process_of_its_own() -> None:
    command = [sys.executable, "-m", "tests.teachers.metered", "--broken", "1", "--latency", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        url = process.stdout.readline().strip()
        status, _, _ = ask(url)
        process.terminate()

    assert status == 500
