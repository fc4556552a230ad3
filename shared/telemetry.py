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
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar, copy_context
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, ParamSpec, TypeVar

from shared import exporters
from shared.exporters import Hop, Kind
from shared.settings import settings

_context: ContextVar[Mapping[str, Any]] = ContextVar(
    "log_context",
    default=MappingProxyType({}),
)
_trace: ContextVar[str | None] = ContextVar("traceparent", default=None)
_hop: ContextVar[Hop | None] = ContextVar("hop", default=None)
_TRACEPARENT = re.compile(r"^00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})$")

_P = ParamSpec("_P")
_T = TypeVar("_T")

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
def trace(traceparent: str | None, name: str = "hop", kind: Kind = "SERVER") -> Iterator[str]:
    """Continue the caller's trace, or begin one; yields the value to hand on.

    Inside is one hop of the trace, a request or a delivery: where the environment names an exporter
    (shared/exporters.py) it is sent as a span. Format: W3C Trace Context, section 3.2. A malformed
    value begins a new trace.
    """
    match = _TRACEPARENT.match(traceparent or "")
    if match and (set(match[1]) == {"0"} or set(match[2]) == {"0"}):
        match = None
    trace_id, flags = (match[1], match[3]) if match else (secrets.token_hex(16), "01")
    current = f"00-{trace_id}-{secrets.token_hex(8)}-{flags}"
    with ExitStack() as stack:
        hop = None
        if exporters.is_exporting():
            hop = Hop(name)
            parent = match[0] if match else ""
            current = stack.enter_context(exporters.exported(hop, kind, parent, current))
        stack.callback(_hop.reset, _hop.set(hop))
        stack.callback(_trace.reset, _trace.set(current))
        yield current


def describe_hop(name: str = "", *, failed: bool = False, **facts: str | int | None) -> None:
    """Say what the running hop is, for its span; facts that are None are left out."""
    hop = _hop.get()
    if hop is None:
        return
    hop.name = name or hop.name
    hop.failed = hop.failed or failed
    hop.facts |= {key: value for key, value in facts.items() if value is not None}


def current_traceparent() -> str | None:
    """The running trace, for the attributes of a message."""
    return _trace.get()


def current_trace_id() -> str | None:
    """The running trace's ID, for labels."""
    match = _TRACEPARENT.match(_trace.get() or "")
    return match[1] if match else None


def carried(work: Callable[_P, _T]) -> Callable[_P, _T]:
    """`work` for other threads, with the trace and the fields of the one that calls this."""
    context = copy_context()

    def run(*args: _P.args, **kwargs: _P.kwargs) -> _T:
        return context.copy().run(work, *args, **kwargs)  # one context runs in one thread at a time

    return run
