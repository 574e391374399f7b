"""The engine against a server that judges how its client takes failures.

SYNTHKD_LLMOCK_SERVER     root URL of an llmock
"""

import json
import os
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from synthkd.corpus.plans import Ask, make_plan
from synthkd.corpus.store import open_corpus
from synthkd.records import Message
from synthkd.teachers.engine import ask_all
from synthkd.teachers.options import TeacherOptions


@pytest.fixture
def llmock() -> str:
    url = os.environ.get("SYNTHKD_LLMOCK_SERVER", "").rstrip("/")
    if not url:
        pytest.skip("SYNTHKD_LLMOCK_SERVER names no running llmock")
    call(f"{url}/_llmock/reset", {})
    return url


def call(url: str, body: Any = None) -> Any:
    request = urllib.request.Request(  # noqa: S310 - a URL that the tester states
        url,
        None if body is None else json.dumps(body).encode(),
        {"content-type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
        return json.loads(answer.read() or b"null")


@pytest.mark.parametrize(
    ("model", "path"), [("openai/m", "v1"), ("anthropic/claude-x", "anthropic")]
)
def test_a_server_that_judges_its_clients_finds_no_fault(
    llmock: str, model: str, path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "k")
    faults = [
        {"type": "fail", "status": 429, "retry_after": 1},
        {"type": "fail", "status": 503},
        {"type": "reply", "text": "yes"},
        {"type": "fail", "status": 429, "retry_after": 1},
    ]
    call(f"{llmock}/_llmock/scenario", {"behaviors": faults})
    options = TeacherOptions(model=model, base_url=f"{llmock}/{path}", concurrency=1)
    teacher = options.connect()
    requests = [options.request(teacher, (Message("user", f"say {n}"),)) for n in range(4)]

    with open_corpus(tmp_path / "corpus.duckdb") as corpus:
        plan = make_plan(corpus, "judged", map(Ask, requests))
        asked = ask_all(plan, [teacher], options, run_id="run")

    verdict = call(f"{llmock}/_llmock/verdict")
    assert (asked.answered, asked.failures) == (4, {})
    assert (verdict["passed"], verdict["findings"]) == (True, [])
    assert verdict["attempts"] == 7
