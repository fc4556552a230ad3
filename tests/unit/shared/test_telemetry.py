import json
import logging
from typing import Any

import pytest

from shared.telemetry import (
    JsonFormatter,
    configure_logging,
    current_traceparent,
    log,
    log_context,
    logger,
    trace,
)

INCOMING = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def lines(captured: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in captured.readouterr().out.splitlines()]


def test_line_carries_the_fields_of_its_context_and_of_its_call(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure_logging()
    with log_context(tenant_id="acme", step_id="extract"), log_context(step_id="load"):
        log(logging.WARNING, "slow", rows=3)
    log(logging.INFO, "after")

    inside, after = lines(capsys)
    assert inside | {"time": ""} == {
        "severity": "WARNING",
        "message": "slow",
        "time": "",
        "logger": "convergence",
        "tenant_id": "acme",
        "step_id": "load",
        "rows": 3,
    }
    assert "tenant_id" not in after


@pytest.mark.parametrize("hostile", ['a\n{"severity": "ALERT"}', "a\r\nb", "\u2028", '"', "\x00"])
def test_nothing_sent_by_a_caller_breaks_a_line_in_two(
    hostile: str, capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logging()

    log(logging.INFO, hostile, path=hostile)

    text = capsys.readouterr().out
    assert text.count("\n") == 1
    assert json.loads(text)["message"] == json.loads(text)["path"] == hostile


def test_trace_of_the_caller_goes_on_under_a_new_span() -> None:
    with trace(INCOMING) as current:
        assert current_traceparent() == current

    version, trace_id, span_id, flags = current.split("-")
    assert (version, trace_id, flags) == ("00", "4bf92f3577b34da6a3ce929d0e0e4736", "01")
    assert span_id != "00f067aa0ba902b7"


@pytest.mark.parametrize(
    "sent", [None, "", "garbage", INCOMING.upper(), f"00-{'0' * 32}-{'0' * 16}-01", INCOMING + "-x"]
)
def test_missing_or_malformed_trace_begins_a_new_one(sent: str | None) -> None:
    with trace(sent) as first, trace(sent) as second:
        assert first.split("-")[1] != second.split("-")[1]
        assert set(first.split("-")[1]) != {"0"}


def test_trace_is_written_as_cloud_logging_reads_it() -> None:
    record = logging.LogRecord("convergence", logging.INFO, "", 0, "hello", None, None)
    with trace(INCOMING):
        entry = json.loads(JsonFormatter().format(record))

    assert entry["logging.googleapis.com/trace"] == (
        "projects/convergence-unit/traces/4bf92f3577b34da6a3ce929d0e0e4736"
    )
    assert len(entry["logging.googleapis.com/spanId"]) == 16


def test_stack_of_an_unexpected_error_stays_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging()
    try:
        int("boom")
    except ValueError:
        logger.exception("unexpected")

    (entry,) = lines(capsys)
    assert entry["severity"] == "ERROR"
    assert "ValueError: invalid literal" in entry["stack_trace"]
