import json
import time
from email.utils import formatdate

import pytest

from synthkd.teachers.server import Server, read_retry_after


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        pytest.param({}, None, id="nothing-said"),
        pytest.param({"retry-after": "7"}, 7, id="seconds"),
        pytest.param({"retry-after": "0"}, 0, id="at-once"),
        pytest.param({"retry-after-ms": "1500", "retry-after": "2"}, 1.5, id="finer-first"),
        pytest.param({"retry-after-ms": "soon", "retry-after": "2"}, 2, id="next-that-makes-sense"),
        pytest.param({"llm_provider-retry-after": "60"}, 60, id="through-a-proxy"),
        pytest.param({"retry-after": formatdate(0, usegmt=True)}, 0, id="date-gone-by"),
        pytest.param({"retry-after": "tomorrow"}, None, id="words"),
        pytest.param({"retry-after": "-3"}, None, id="the-past"),
        pytest.param({"retry-after": "nan"}, None, id="nan"),
        pytest.param({"retry-after": "inf"}, None, id="for-ever"),
    ],
)
def test_the_wait_a_server_asks_for_is_read(headers: dict[str, str], seconds: float | None) -> None:
    assert read_retry_after(headers) == seconds


def test_a_date_to_wait_for_is_read_as_seconds_from_now() -> None:
    header = formatdate(time.time() + 100, usegmt=True)

    assert read_retry_after({"retry-after": header}) == pytest.approx(100, abs=5)


def test_what_a_server_says_cannot_steer_a_terminal() -> None:
    said = json.dumps({"error": {"message": "\x1b[31mred\x1b[0m \x1b]0;title\x07 \u202e end"}})

    error = Server("http://127.0.0.1/v1", "https://api.openai.com/v1", "KEY", "").refuse(
        400, {}, said.encode()
    )

    assert str(error).isprintable()
    assert "red" in str(error)
