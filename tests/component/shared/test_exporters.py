"""Spans and durations leave a real function process for whoever the environment names."""

import os
import signal
import socket
import subprocess
import sys
import threading
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.waiting import wait_until

ROOT = Path(__file__).parents[3]
TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = "00f067aa0ba902b7"
PUSH = {
    "message": {
        "messageId": "1",
        "data": b64encode(b"not a run request").decode(),
        "attributes": {"traceparent": f"00-{TRACE_ID}-{PARENT}-01", "tenant_id": "acme_corp"},
    },
    "subscription": "projects/p/subscriptions/run-requests",
}


class Collector(ThreadingHTTPServer):
    """Keeps what is sent to it over OTLP/HTTP."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.spans: list[Any] = []
        self.metrics: list[Any] = []
        self.services: set[str] = set()
        self.headers: list[dict[str, str]] = []


class _Handler(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        import gzip

        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        self.server.headers.append(dict(self.headers))
        if self.path == "/v1/traces":
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                facts = {one.key: one.value.string_value for one in resource.resource.attributes}
                self.server.services.add(f"{facts['gcp.project_id']}/{facts['service.name']}")
                for scope in resource.scope_spans:
                    self.server.spans += scope.spans
        elif self.path == "/v1/metrics":
            for measured in ExportMetricsServiceRequest.FromString(body).resource_metrics:
                for scope in measured.scope_metrics:
                    self.server.metrics += scope.metrics
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: Any) -> None: ...


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@contextmanager
def dispatcher(log: Path, **environment: str) -> Iterator[str]:
    """The function as a process, told to stop at the end of the block; its URL."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [
                str(Path(sys.executable).with_name("functions-framework")),
                *("--source", "functions/dispatcher/main.py", "--target", "dispatcher"),
                *("--host", "127.0.0.1", "--port", str(port)),
            ],
            cwd=ROOT,
            env={
                "PATH": os.environ["PATH"],
                "PYTHONPATH": str(ROOT),
                "GCP_PROJECT_ID": "convergence-local",
                "K_SERVICE": "dispatcher",
                **environment,
            },
            stdout=output,
            stderr=output,
        )
        try:
            url = f"http://127.0.0.1:{port}/"
            wait_until(lambda: _answers(process, url), message="the function's answer")
            yield url
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=60)


def _answers(process: "subprocess.Popen[bytes]", url: str) -> bool:
    assert process.poll() is None
    with suppress(httpx.TransportError):
        return httpx.get(f"{url}robots.txt", timeout=5).status_code == 404
    return False


def test_a_hop_is_sent_as_a_span_of_its_caller_and_as_a_duration(
    collector: Collector, tmp_path: Path
) -> None:
    endpoint = f"http://127.0.0.1:{collector.server_port}"
    with dispatcher(
        tmp_path / "log",
        OTEL_TRACES_EXPORTER="otlp",
        OTEL_METRICS_EXPORTER="otlp",
        OTEL_EXPORTER_OTLP_ENDPOINT=endpoint,
    ) as url:
        assert httpx.post(url, json=PUSH, timeout=60).status_code == 400
    # Nothing waits for the next batch: a process that is told to stop sends what it has.
    (span,) = collector.spans
    assert (span.trace_id.hex(), span.parent_span_id.hex()) == (TRACE_ID, PARENT)
    assert span.name == "process run-requests"
    assert span.kind == span.SPAN_KIND_CONSUMER
    assert span.status.code == span.status.STATUS_CODE_ERROR
    facts = {one.key: one.value.string_value for one in span.attributes}
    assert facts["tenant_id"] == "acme_corp"
    assert collector.services == {"convergence-local/dispatcher"}
    (metric,) = collector.metrics
    assert metric.name == "convergence.hop.duration"
    (point,) = metric.histogram.data_points
    assert {one.key: one.value.string_value for one in point.attributes} == {
        "hop": "process run-requests",
        "kind": "CONSUMER",
        "outcome": "failed",
    }
    assert not any("Authorization" in headers for headers in collector.headers)
    (line,) = (line for line in (tmp_path / "log").read_text().splitlines() if TRACE_ID in line)
    assert f'"logging.googleapis.com/spanId": "{span.span_id.hex()}"' in line


def test_a_collector_that_is_away_is_nobodys_problem(tmp_path: Path) -> None:
    with dispatcher(
        tmp_path / "log",
        OTEL_TRACES_EXPORTER="otlp",
        OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9",
        OTEL_EXPORTER_OTLP_TIMEOUT="1",
    ) as url:
        assert httpx.post(url, json=PUSH, timeout=60).status_code == 400
        assert httpx.post(url, json=PUSH, timeout=60).status_code == 400


def test_without_an_exporter_nothing_of_opentelemetry_is_imported() -> None:
    code = (
        "import sys; from shared.telemetry import describe_hop, trace\n"
        "with trace(None, 'x'): describe_hop('y')\n"
        "print([name for name in sys.modules if name.startswith('opentelemetry')])"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "GCP_PROJECT_ID": "p"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stdout.strip() == "[]"
