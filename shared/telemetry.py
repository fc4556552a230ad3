"""Logs in Cloud Logging's JSON form and the trace that runs through every hop.

Fields come from `log_context`, so that a line names its tenant, run and step without every call
repeating them. Values are JSON strings: nothing that a request sends can break a line in two.
Format: Cloud Logging, "Structured logging" (severity, message, logging.googleapis.com/trace).
"""

import json
import logging
import re
import secrets
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

from shared.settings import settings

_context: ContextVar[Mapping[str, Any]] = ContextVar(
    "log_context",
    default=MappingProxyType({}),
)
_trace: ContextVar[str | None] = ContextVar("traceparent", default=None)
_TRACEPARENT = re.compile(r"^00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})$")

logger = logging.getLogger("convergence")


class JsonFormatter(logging.Formatter):
    """One JSON object a line, with the context's fields and the `extra` of the call."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as Cloud Logging reads it."""
        entry: dict[str, Any] = {
            "severity": record.levelname,
            "message": record.getMessage(),
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "logger": record.name,
            **_context.get(),
            **getattr(record, "fields", {}),
        }
        trace = _TRACEPARENT.match(_trace.get() or "")
        if trace:
            project = settings().GCP_PROJECT_ID
            entry["logging.googleapis.com/trace"] = f"projects/{project}/traces/{trace[1]}"
            entry["logging.googleapis.com/spanId"] = trace[2]
        if record.exc_info:
            entry["stack_trace"] = self.formatException(record.exc_info)
        return json.dumps(entry, default=str, ensure_ascii=False)


def configure_logging() -> None:
    """Send the product's log to standard output. Called once, when a function's module loads."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonFormatter())
    logger.handlers[:] = [handler]
    logger.setLevel(settings().LOG_LEVEL)
    logger.propagate = False


@contextmanager
def log_context(**fields: Any) -> Iterator[None]:
    """Add `fields` to every line logged inside."""
    token = _context.set({**_context.get(), **fields})
    try:
        yield
    finally:
        _context.reset(token)


def log(severity: int, message: str, **fields: Any) -> None:
    """One line with `fields` beside its message; never put a secret into either."""
    logger.log(severity, message, extra={"fields": fields})


@contextmanager
def trace(traceparent: str | None) -> Iterator[str]:
    """Continue the caller's trace, or begin one; yields the value to hand on.

    Format: W3C Trace Context, section 3.2. A malformed value begins a new trace.
    """
    match = _TRACEPARENT.match(traceparent or "")
    trace_id = match[1] if match and set(match[1]) != {"0"} else secrets.token_hex(16)
    current = f"00-{trace_id}-{secrets.token_hex(8)}-01"
    token = _trace.set(current)
    try:
        yield current
    finally:
        _trace.reset(token)


def current_traceparent() -> str | None:
    """The running trace, for the attributes of a message."""
    return _trace.get()
