"""Who did what to which tenant: a row of `tenants.audit_log` for every attempt to change something.

An entry is written before its request is answered. Entries of requests that meet in one process
share an insertAll: whoever finds no write under way writes all that wait (group commit), so a burst
costs a few calls, not one a request.
"""

import json
import logging
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from threading import Condition
from typing import Any, Literal

from shared.errors import ConvergenceError
from shared.telemetry import log
from shared.warehouse import rows
from shared.warehouse.rows import Row

TABLE = "tenants.audit_log"
Outcome = Literal["ALLOWED", "DENIED", "FAILED"]
ActorType = Literal["api_key", "admin", "anonymous", "system"]


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One attempt. Nothing in it may be a secret."""

    action: str
    """Verb of the domain, such as `api_key.revoke`."""
    outcome: Outcome
    """ALLOWED: done. DENIED: the caller may not. FAILED: it could not be done as asked."""
    actor_type: ActorType
    actor_id: str | None = None
    tenant_id: str | None = None
    user_id: str | None = None
    resource_type: str | None = None
    resource_id: str | None = None
    reason: str | None = None
    request_id: str | None = None
    trace_id: str | None = None
    source_address: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(eq=False)
class _Batch:
    """Rows that are written by one call."""

    rows: list[Row] = field(default_factory=list)
    is_over: bool = False
    error: Exception | None = None


class _Journal:
    """The batch that gathers rows now, and whether another is being written."""

    def __init__(self) -> None:
        self._changed = Condition()
        self._gathering = _Batch()
        self._is_writing = False

    def append(self, row: Row) -> None:
        """Write `row`, by itself or with others; it is in the table when this returns.

        Raises:
            ConvergenceError: BigQuery did not take it.
        """
        with self._changed:
            batch = self._gathering
            batch.rows.append(row)
            while self._is_writing and not batch.is_over:
                self._changed.wait()
            if not batch.is_over:
                self._gathering = _Batch()
                self._is_writing = True
        if not batch.is_over:
            self._write(batch)
        if batch.error:
            raise batch.error

    def _write(self, batch: _Batch) -> None:
        try:
            rows.append(TABLE, batch.rows)
        except Exception as error:
            batch.error = error
            raise
        finally:
            with self._changed:
                batch.is_over = True
                self._is_writing = False
                self._changed.notify_all()


_journal = _Journal()


def record(entry: Entry) -> None:
    """Append the entry.

    If BigQuery does not take it, the whole entry goes to the log as an error instead: what it tells
    of has happened, and the caller's answer must not deny it.
    """
    audit_id = str(uuid.uuid4())
    values = {**asdict(entry), "audit_id": audit_id, "recorded_at": datetime.now(UTC)}
    values["details"] = dict(entry.details) or None
    try:
        _journal.append(Row(audit_id, values))
    except ConvergenceError as error:
        text = json.dumps(values, default=str)
        log(logging.ERROR, "audit entry not stored", entry=text, error=str(error))
