"""What servers say of their limits, and what is made of it."""

import pytest

from synthkd.teachers.limits.headers import Stated, read_limits, read_seconds

NOON = 1_795_348_800.0  # 2026-11-22T12:00:00Z


@pytest.mark.parametrize(
    ("headers", "stated"),
    [
        pytest.param({}, Stated(), id="nothing"),
        pytest.param(
            {
                "x-ratelimit-limit-requests": "3000",
                "x-ratelimit-remaining-requests": "2999",
                "x-ratelimit-reset-requests": "20ms",
                "x-ratelimit-limit-tokens": "150000",
                "x-ratelimit-reset-tokens": "1m0s",
            },
            Stated(3000, 150_000),
            id="openai",
        ),
        pytest.param(
            {
                "anthropic-ratelimit-requests-limit": "50",
                "anthropic-ratelimit-requests-reset": "2026-11-22T12:00:01Z",
                "anthropic-ratelimit-tokens-limit": "40000",
                "anthropic-ratelimit-tokens-reset": "2026-11-22T12:00:59Z",
            },
            Stated(50, 40_000),
            id="anthropic",
        ),
        pytest.param(
            {
                "anthropic-ratelimit-input-tokens-limit": "30000",
                "anthropic-ratelimit-input-tokens-reset": "2026-11-22T12:00:00Z",
                "anthropic-ratelimit-output-tokens-limit": "8000",
            },
            Stated(None, 38_000),
            id="input-and-output-apart",
        ),
        pytest.param({"x-ratelimit-limit-requests": "2"}, Stated(2, None), id="no-reset"),
        pytest.param(
            {"x-ratelimit-limit-requests": "14400", "x-ratelimit-reset-requests": "2m59.56s"},
            Stated(),
            id="a-limit-per-day-is-no-pace",
        ),
        pytest.param(
            {"x-ratelimit-limit-requests": "9", "x-ratelimit-reset-requests": str(int(NOON + 9))},
            Stated(9, None),
            id="a-reset-in-unix-time",
        ),
        pytest.param({"x-ratelimit-limit-requests": "0"}, Stated(), id="none-is-not-stated"),
        pytest.param({"x-ratelimit-limit-requests": "unlimited"}, Stated(), id="no-number"),
    ],
)
def test_limits_per_minute_are_read(headers: dict[str, str], stated: Stated) -> None:
    assert read_limits(headers, wall=NOON) == stated


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("1s", 1), ("120ms", 0.12), ("6m0s", 360), ("1h2m3.5s", 3723.5), ("17", 17), ("", None),
     ("soon", None), ("3 days", None), ("1s?", None), ("2026-11-22T12:00:30+00:00", 30)],
)  # fmt: skip
def test_a_reset_is_a_duration_or_a_date(text: str, seconds: float | None) -> None:
    assert read_seconds(text, NOON) == (None if seconds is None else pytest.approx(seconds))
