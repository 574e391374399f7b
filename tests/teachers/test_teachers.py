import subprocess
import sys

import pytest

from synthkd.records import Completion
from synthkd.teachers import MalformedAnswerError, parse, plain
from tests.teachers.loopback import Reply, chat, message

HEAVY = ("aiohttp", "openai", "anthropic", "httpx2", "torch", "transformers", "duckdb")


@pytest.mark.parametrize(
    ("provider", "body"),
    [
        ("openai", Reply.of(chat()).body),
        ("anthropic", Reply.of(message()).body),
        ("local", plain.dump(Completion("yes", "stop"))),
        ("scripted", plain.dump(Completion("yes", "stop"))),
        ("imported", plain.dump(Completion("yes", "stop"))),
    ],
)
def test_the_provider_picks_the_parser_of_its_answers(provider: str, body: bytes) -> None:
    assert parse(provider, body).text == "yes"


@pytest.mark.parametrize("provider", ["openai", "anthropic", "local"])
def test_an_answer_of_another_provider_is_told(provider: str) -> None:
    with pytest.raises(MalformedAnswerError):
        parse(provider, b'{"answer": "yes"}')


@pytest.mark.parametrize(
    "code",
    [
        "import synthkd.teachers",
        "from synthkd.teachers import parse; parse('anthropic', b'{\"content\": []}')",
        f"from synthkd.teachers import parse; parse('openai', {Reply.of(chat()).body!r})",
    ],
)
def test_reading_answers_loads_no_sdk(code: str) -> None:
    script = f"import sys; {code}; print(*[m for m in {HEAVY!r} if m in sys.modules])"

    loaded = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )

    assert loaded.stdout.strip() == ""
