"""Spans and durations of hops, sent by OpenTelemetry where the environment names an exporter.

The variables are OpenTelemetry's own ("Environment Variable Specification"); what is not read here,
such as OTEL_TRACES_SAMPLER or OTEL_EXPORTER_OTLP_HEADERS, the SDK reads. Without an exporter the
SDK is not imported: a cold start pays only for what it sends. Sending happens in the background,
and to the end when the process is told to stop; what a killed one had in hand is lost, no more.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from shared.settings import settings

if TYPE_CHECKING:
    from opentelemetry.metrics import Histogram
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.trace import Tracer

Kind = Literal["CONSUMER", "SERVER"]
_INSTRUMENTATION = "convergence"


class Hop:
    """What is known of a hop when it ends. It fails by an exception, or when it says so."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.facts: dict[str, str | int] = {}
        self.failed = False


@contextmanager
def exported(hop: Hop, kind: Kind, parent: str, own: str) -> Iterator[str]:
    """Send a span of what happens inside, and how long it took; yields the span's `traceparent`.

    `parent` is the caller's, or empty; `own` is what holds where only durations are sent. Nothing
    that goes wrong in sending reaches who is inside.
    """
    began = time.monotonic()
    try:
        with _span(hop, kind, parent, own) as current:
            yield current
    finally:
        histogram = durations()
        if histogram is not None:
            outcome = "failed" if hop.failed else "done"
            facts = {"hop": hop.name, "kind": kind, "outcome": outcome}
            histogram.record(time.monotonic() - began, facts)


@contextmanager
def _span(hop: Hop, kind: Kind, parent: str, own: str) -> Iterator[str]:
    sender = tracer()
    if sender is None:
        yield own
        return
    from opentelemetry.trace import SpanKind, StatusCode
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    context = TraceContextTextMapPropagator().extract({"traceparent": parent})
    # An exception's text is for our own log, not for whoever collects spans.
    with sender.start_as_current_span(
        hop.name,
        context=context,
        kind=SpanKind[kind],
        record_exception=False,
        set_status_on_exception=False,
    ) as span:
        ids = span.get_span_context()
        try:
            yield f"00-{ids.trace_id:032x}-{ids.span_id:016x}-{ids.trace_flags:02x}"
        except BaseException:
            hop.failed = True
            raise
        finally:
            span.update_name(hop.name)
            span.set_attributes(hop.facts)
            if hop.failed:
                span.set_status(StatusCode.ERROR)


def is_exporting() -> bool:
    """Whether the environment names an exporter of any kind."""
    here = settings()
    return "otlp" in (here.OTEL_TRACES_EXPORTER, here.OTEL_METRICS_EXPORTER)


@cache
def tracer() -> "Tracer | None":
    """Where spans go; None where the environment names no exporter of traces."""
    if settings().OTEL_TRACES_EXPORTER != "otlp":
        return None
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider(resource=_resource())
    exporter = OTLPSpanExporter(endpoint=_endpoint("traces"), session=_session())
    provider.add_span_processor(BatchSpanProcessor(exporter))
    return provider.get_tracer(_INSTRUMENTATION)


@cache
def durations() -> "Histogram | None":
    """Where durations go; None where the environment names no exporter of metrics."""
    if settings().OTEL_METRICS_EXPORTER != "otlp":
        return None
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader

    exporter = OTLPMetricExporter(endpoint=_endpoint("metrics"), session=_session())
    reader = PeriodicExportingMetricReader(exporter)
    provider = MeterProvider([reader], resource=_resource())
    return provider.get_meter(_INSTRUMENTATION).create_histogram(
        "convergence.hop.duration",
        unit="s",
        description="Requests and deliveries, from end to end.",
    )


def _resource() -> "Resource":
    """Who sends: the service, and the project that Google's endpoint books it to."""
    from opentelemetry.sdk.resources import Resource

    here = settings()
    service = {"service.name": here.K_SERVICE} if here.K_SERVICE else {}
    return Resource.create({"gcp.project_id": here.GCP_PROJECT_ID, **service})


def _endpoint(signal: str) -> str:
    base = settings().require("OTEL_EXPORTER_OTLP_ENDPOINT")
    return f"{base.rstrip('/')}/v1/{signal}"


def _session() -> Any:
    """A session that carries the function's own token to Google, and to nobody else."""
    import requests

    host = urlsplit(settings().require("OTEL_EXPORTER_OTLP_ENDPOINT")).hostname or ""
    if not f".{host}".endswith(".googleapis.com"):
        return requests.Session()
    import google.auth
    from google.auth.transport.requests import AuthorizedSession

    credentials, _ = google.auth.default(scopes=["https://www.googleapis.com/auth/cloud-platform"])
    return AuthorizedSession(credentials)  # type: ignore[no-untyped-call]
