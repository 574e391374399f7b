"""OpenTelemetry metrics of what a teacher is asked, for those who asked for them.

Nobody else pays: unless a MeterProvider is set, or the environment names an exporter
(OTEL_METRICS_EXPORTER, OTEL_EXPORTER_OTLP_ENDPOINT), nothing is imported and nothing is
counted. Only numbers, reason tokens, the model's name and its host leave: never a
prompt, an answer or a key.

Names are those of the semantic conventions for generative AI where they have one, and
`synthkd.*` where they do not. Conventions:
https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-metrics/
"""

import logging
import os
import sys
from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any

from synthkd.teachers.standing import Standing

if TYPE_CHECKING:
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import MetricReader

logger = logging.getLogger(__name__)

_EXPORTERS = "OTEL_METRICS_EXPORTER"
_ENDPOINTS = ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_GROUP = "opentelemetry_metrics_exporter"
# Bounds that the conventions ask for.
_SECONDS = [0.01 * 2**n for n in range(14)]
_TOKENS = [4.0**n for n in range(14)]


def open_telemetry(provider: str, model: str, host: str) -> "Telemetry | None":
    """Return who counts what the teacher `model` at `host` is asked, or None where nobody wants it.

    Where the environment names an exporter and nothing has set one up, that is done
    here, for metrics alone; an exporter that is not installed is logged, and nothing more.
    """
    meters = _find_provider() or _set_up()
    return Telemetry(meters, provider, model, host) if meters else None


class Telemetry:
    """Counts requests, answers, failures, tokens and dollars, and shows how the engine stands."""

    def __init__(self, meters: "MeterProvider", provider: str, model: str, host: str) -> None:
        """Make the instruments; `open_telemetry` tells whether anybody wants them."""
        meter = meters.get_meter("synthkd")
        self._whose = {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": provider,
            "gen_ai.request.model": model,
            "server.address": host,
        }
        self._seconds = meter.create_histogram(
            "gen_ai.client.operation.duration",
            "s",
            "How long attempts took.",
            explicit_bucket_boundaries_advisory=_SECONDS,
        )
        self._tokens = meter.create_histogram(
            "gen_ai.client.token.usage",
            "{token}",
            "Tokens of answers, by kind.",
            explicit_bucket_boundaries_advisory=_TOKENS,
        )
        self._requests = meter.create_counter(
            "synthkd.requests", "{request}", "Attempts that were sent."
        )
        self._answers = meter.create_counter(
            "synthkd.answers", "{answer}", "Attempts that were answered."
        )
        self._failures = meter.create_counter(
            "synthkd.failures", "{request}", "Attempts that failed, by reason."
        )
        self._dollars = meter.create_counter(
            "synthkd.cost", "{USD}", "US dollars spent, where the price is known."
        )
        self._in_flight = meter.create_gauge(
            "synthkd.requests.in_flight", "{request}", "Requests that are being answered."
        )
        self._window = meter.create_gauge(
            "synthkd.requests.window", "{request}", "Requests that may be in flight together."
        )

    def count(
        self,
        *,
        latency_ms: float,
        reason: str = "",
        prompt_tokens: int | None = None,
        completion_tokens: int | None = None,
        cost_usd: float | None = None,
    ) -> None:
        """Count one attempt that ended; `reason` is the token of its failure, if it failed.

        Cached tokens are prompt tokens and thinking is part of the completion, as in the
        conventions. What is None is unknown, and not counted.
        """
        whose = {**self._whose, "error.type": reason} if reason else self._whose
        self._seconds.record(latency_ms / 1000, whose)
        self._requests.add(1, self._whose)
        if reason:
            self._failures.add(1, whose)
        else:
            self._answers.add(1, whose)
        for kind, number in (("input", prompt_tokens), ("output", completion_tokens)):
            if number is not None:
                self._tokens.record(number, {**self._whose, "gen_ai.token.type": kind})
        if cost_usd is not None:
            self._dollars.add(cost_usd, self._whose)

    def show(self, standing: Standing) -> None:
        """Show how the engine stands now."""
        self._in_flight.set(standing.in_flight, self._whose)
        self._window.set(standing.window, self._whose)


def _find_provider() -> "MeterProvider | None":
    """Return the MeterProvider that somebody set, without loading what nobody loaded."""
    if "opentelemetry.metrics" not in sys.modules:
        return None
    from opentelemetry import metrics

    found = metrics.get_meter_provider()
    # Until one is set, the API answers with a stand-in that its package defines and forgets.
    return None if type(found).__module__.startswith("opentelemetry.metrics") else found


def _set_up() -> "MeterProvider | None":
    """Set up what the environment asks for, if it asks for metrics."""
    names = _read_wanted(os.environ)
    if not names:
        return None
    try:
        from opentelemetry import metrics
        from opentelemetry.sdk.metrics import MeterProvider
        from opentelemetry.sdk.resources import Resource
    except ImportError:
        logger.warning(
            "the environment asks for OpenTelemetry metrics, and its SDK is not installed, so "
            "none are sent; install it with: pip install opentelemetry-sdk"
        )
        return None
    readers = [reader for name in names if (reader := _open_reader(name))]
    if not readers:
        return None
    named = "OTEL_SERVICE_NAME" in os.environ or "service.name=" in os.environ.get(
        "OTEL_RESOURCE_ATTRIBUTES", ""
    )
    resource = Resource.create({} if named else {"service.name": "synthkd"})
    provider = MeterProvider(metric_readers=readers, resource=resource)
    metrics.set_meter_provider(provider)
    return provider


def _read_wanted(environ: Mapping[str, str]) -> list[str]:
    """Return the exporters that the environment names."""
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return []
    implied = "otlp" if any(environ.get(name) for name in _ENDPOINTS) else ""
    named = environ.get(_EXPORTERS, "") or implied
    return [name.strip() for name in named.split(",") if name.strip() not in {"", "none"}]


def _open_reader(name: str) -> "MetricReader | None":
    """Return what collects metrics for the exporter called `name`."""
    from opentelemetry.sdk.metrics.export import MetricReader, PeriodicExportingMetricReader

    found = _find_exporter(name, os.environ)
    if found is None:
        logger.warning(
            "%s asks for %r, which is not installed, so no metrics are sent to it; "
            "pip install opentelemetry-exporter-%s",
            _EXPORTERS,
            name,
            name,
        )
        return None
    try:
        make: Any = found.load()
        if issubclass(make, MetricReader):
            reader: MetricReader = make()
            return reader
        # Standard output is data.
        return PeriodicExportingMetricReader(make(out=sys.stderr) if name == "console" else make())
    except Exception as error:  # noqa: BLE001 - whatever an exporter lacks, the run goes on
        logger.warning("the OpenTelemetry exporter %r cannot be used: %s", name, error)
        return None


def _find_exporter(name: str, environ: Mapping[str, str]) -> EntryPoint | None:
    """Return the installed exporter called `name`; `otlp` means one for each protocol."""
    names = [name]
    if name == "otlp":
        spoken = next((environ[key] for key in _PROTOCOLS if environ.get(key)), "")
        by_protocol = {"grpc": ["otlp_proto_grpc"], "http/protobuf": ["otlp_proto_http"]}
        names = by_protocol.get(spoken, ["otlp_proto_grpc", "otlp_proto_http"])
    found = (point for name in names for point in entry_points(group=_GROUP, name=name))
    return next(found, None)
