"""A request as one hop of its caller's trace."""

from collections.abc import Sequence

import pytest
from flask.testing import FlaskClient
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from pytest_mock import MockerFixture

from shared.settings import settings

TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
SENT = f"00-{TRACE_ID}-00f067aa0ba902b7-01"


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch, mocker: MockerFixture) -> InMemorySpanExporter:
    """What is exported, as soon as it has ended."""
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "otlp")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    settings.cache_clear()
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    mocker.patch("shared.exporters.tracer", return_value=provider.get_tracer("test"))
    return exporter


def names(spans: Sequence[ReadableSpan]) -> list[str]:
    return [span.name for span in spans]


def test_the_span_is_the_route_and_its_answer_names_it(
    api: FlaskClient, spans: InMemorySpanExporter
) -> None:
    answer = api.get("/health", headers={"traceparent": SENT})

    (span,) = spans.get_finished_spans()
    assert span.name == "GET /health"
    assert span.context
    assert span.parent
    assert answer.headers["traceparent"] == f"00-{TRACE_ID}-{span.context.span_id:016x}-01"
    assert span.parent.span_id == 0x00F067AA0BA902B7
    assert span.attributes == {"http_route": "/health", "http_status": 200}


@pytest.mark.parametrize("method", ["GET", "BREW"])
def test_what_a_caller_makes_up_is_no_name(
    method: str, api: FlaskClient, spans: InMemorySpanExporter
) -> None:
    api.open("/api/v1/made-up", method=method)

    assert names(spans.get_finished_spans()) == ["request"]


def test_a_caller_that_does_not_sample_is_not_sampled(
    api: FlaskClient, spans: InMemorySpanExporter
) -> None:
    answer = api.get("/health", headers={"traceparent": f"{SENT[:-2]}00"})

    assert spans.get_finished_spans() == ()
    assert answer.headers["traceparent"].split("-")[1::2] == [TRACE_ID, "00"]


def test_without_an_exporter_the_trace_goes_on_all_the_same(api: FlaskClient) -> None:
    answer = api.get("/health", headers={"traceparent": SENT})

    version, trace_id, span_id, flags = answer.headers["traceparent"].split("-")
    assert (version, trace_id, flags) == ("00", TRACE_ID, "01")
    assert span_id != "00f067aa0ba902b7"
