"""Metrics, read back from OpenTelemetry's own SDK."""

import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from synthkd.teachers import telemetry
from synthkd.teachers.standing import Standing
from synthkd.teachers.telemetry import Telemetry

sdk = pytest.importorskip("opentelemetry.sdk.metrics", reason="opentelemetry-sdk is not installed")


@pytest.fixture
def reader() -> Iterator[Any]:
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader

    reader = InMemoryMetricReader()
    yield reader
    reader.shutdown()


@pytest.fixture
def counted(reader: Any) -> Telemetry:
    provider = sdk.MeterProvider(metric_readers=[reader], shutdown_on_exit=False)
    return Telemetry(provider, "openai", "m", "api.test")


def read(reader: Any) -> dict[str, list[Any]]:
    """Return the points of each metric by its name."""
    (resource,) = reader.get_metrics_data().resource_metrics
    (scope,) = resource.scope_metrics
    return {metric.name: list(metric.data.data_points) for metric in scope.metrics}


def test_attempts_are_counted_by_what_became_of_them(counted: Telemetry, reader: Any) -> None:
    counted.count(latency_ms=250, prompt_tokens=7, completion_tokens=3, cost_usd=0.5)
    counted.count(latency_ms=750, prompt_tokens=9, completion_tokens=None, cost_usd=None)
    counted.count(latency_ms=10, reason="rate_limited")

    points = read(reader)
    assert [p.value for p in points["synthkd.requests"]] == [3]
    assert [p.value for p in points["synthkd.answers"]] == [2]
    assert [(p.value, p.attributes["error.type"]) for p in points["synthkd.failures"]] == [
        (1, "rate_limited")
    ]
    assert [p.value for p in points["synthkd.cost"]] == [0.5]
    tokens = {
        p.attributes["gen_ai.token.type"]: (p.count, p.sum)
        for p in points["gen_ai.client.token.usage"]
    }
    assert tokens == {"input": (2, 16), "output": (1, 3)}
    seconds = {
        p.attributes.get("error.type"): p.sum for p in points["gen_ai.client.operation.duration"]
    }
    assert seconds == {None: 1.0, "rate_limited": pytest.approx(0.01)}


def test_bounds_are_those_of_the_conventions(counted: Telemetry, reader: Any) -> None:
    counted.count(latency_ms=250, prompt_tokens=7)

    points = read(reader)
    (seconds,) = points["gen_ai.client.operation.duration"]
    (tokens,) = points["gen_ai.client.token.usage"]
    assert (seconds.explicit_bounds[0], seconds.explicit_bounds[-1]) == (0.01, 81.92)
    assert (tokens.explicit_bounds[0], tokens.explicit_bounds[-1]) == (1, 67108864)


def test_how_the_engine_stands_is_shown(counted: Telemetry, reader: Any) -> None:
    counted.show(Standing(step="generate", total=9, in_flight=5, window=16))
    counted.show(Standing(step="generate", total=9, in_flight=3, window=8))

    points = read(reader)
    assert [p.value for p in points["synthkd.requests.in_flight"]] == [3]
    assert [p.value for p in points["synthkd.requests.window"]] == [8]


def test_nothing_leaves_but_numbers_names_and_tokens(counted: Telemetry, reader: Any) -> None:
    counted.count(latency_ms=1, reason="refused", prompt_tokens=1, cost_usd=1)
    counted.show(Standing(step="generate", total=1, reason="a word of the teacher's"))

    told = {
        (name, str(value))
        for points in read(reader).values()
        for point in points
        for name, value in point.attributes.items()
    }
    assert told == {
        ("gen_ai.operation.name", "chat"),
        ("gen_ai.provider.name", "openai"),
        ("gen_ai.request.model", "m"),
        ("server.address", "api.test"),
        ("gen_ai.token.type", "input"),
        ("error.type", "refused"),
    }


def run(code: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run `code` in a process of its own, whose environment asks for what `environ` says."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**kept, **environ},
        capture_output=True,
        text=True,
        check=True,
    )


OPEN = (
    "import sys; from synthkd.teachers.telemetry import open_telemetry\n"
    "found = open_telemetry('openai', 'm', 'api.test')\n"
)
TELL = "print(found is not None, 'opentelemetry' in sys.modules)"


@pytest.mark.parametrize(
    "environ",
    [
        pytest.param({}, id="nothing"),
        pytest.param({"OTEL_METRICS_EXPORTER": "none"}, id="none"),
        pytest.param({"OTEL_METRICS_EXPORTER": "console", "OTEL_SDK_DISABLED": "true"}, id="off"),
        pytest.param({"OTEL_TRACES_EXPORTER": "otlp"}, id="only-traces"),
    ],
)
def test_nothing_is_loaded_where_nobody_asks(environ: dict[str, str]) -> None:
    assert run(OPEN + TELL, **environ).stdout.split() == ["False", "False"]


def test_a_stand_in_of_the_api_is_no_provider() -> None:
    code = "from opentelemetry import metrics; metrics.get_meter('x')\n" + OPEN + TELL

    assert run(code).stdout.split() == ["False", "True"]


def test_a_provider_that_the_user_set_is_found() -> None:
    code = (
        "from opentelemetry import metrics; from opentelemetry.sdk.metrics import MeterProvider\n"
        "metrics.set_meter_provider(MeterProvider())\n"
    )

    assert run(code + OPEN + TELL).stdout.split() == ["True", "True"]


def test_an_exporter_that_the_environment_names_gets_metrics_at_exit_and_stdout_stays_data() -> (
    None
):
    code = OPEN + "found.count(latency_ms=5, prompt_tokens=2); print('data')"

    said = run(code, OTEL_METRICS_EXPORTER="console")

    assert said.stdout == "data\n"
    (resource,) = json.loads(said.stderr)["resource_metrics"]
    assert resource["resource"]["attributes"]["service.name"] == "synthkd"
    names = {metric["name"] for metric in resource["scope_metrics"][0]["metrics"]}
    assert {"synthkd.requests", "gen_ai.client.token.usage"} <= names


def test_an_exporter_that_is_not_installed_is_told_and_stops_nothing(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_METRICS_EXPORTER", "pigeon")
    with caplog.at_level(logging.WARNING):
        assert telemetry.open_telemetry("openai", "m", "api.test") is None

    assert "asks for 'pigeon', which is not installed" in caplog.text
    assert "pip install opentelemetry-exporter-pigeon" in caplog.text


@pytest.mark.parametrize(
    ("environ", "wanted"),
    [
        ({}, []),
        ({"OTEL_METRICS_EXPORTER": "otlp, console"}, ["otlp", "console"]),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}, ["otlp"]),
        (
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x", "OTEL_METRICS_EXPORTER": "none"},
            [],
        ),
    ],
)
def test_the_environment_names_exporters(environ: dict[str, str], wanted: list[str]) -> None:
    assert telemetry._read_wanted(environ) == wanted
