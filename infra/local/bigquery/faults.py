"""Faults on request and call counters: the control surface `/_local/...` of tests."""

import threading
from collections import Counter
from dataclasses import dataclass
from typing import Any

from infra.local.bigquery.errors import ApiError


@dataclass
class Fault:
    """What the next `times` calls of `method` meet.

    Attributes:
        method: an API method such as "tabledata.insertAll", or "jobs.run" for what a job meets
            when it starts to run: it is delayed, and with a status it fails.
        times: how many calls are left.
        status: HTTP status to answer; 0 delays the call only.
        delay_seconds: waited before anything else.
        after: answer the error once the call has done its work, as when an answer is lost.
    """

    method: str
    times: int = 1
    status: int = 0
    reason: str = "backendError"
    message: str = "Error encountered during execution. Try again."
    delay_seconds: float = 0.0
    after: bool = False

    def error(self) -> ApiError | None:
        """The error to answer, None when the fault is a delay only."""
        if not self.status:
            return None
        return ApiError(self.reason, self.message, self.status)


class Faults:
    """The faults that are waiting for calls, first given first taken."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: list[Fault] = []

    def add(self, body: dict[str, Any]) -> None:
        """Take a fault from its JSON.

        Raises:
            ApiError: 400 for an unknown key or a wrong type, naming it.
        """
        known: dict[str, type] = {
            "method": str,
            "times": int,
            "status": int,
            "reason": str,
            "message": str,
            "delay_seconds": float,
            "after": bool,
        }
        for key, value in body.items():
            if key not in known:
                raise ApiError.invalid(f"{key!r} is not a field of a fault: use {sorted(known)}")
            try:
                body[key] = known[key](value)
            except (TypeError, ValueError) as error:
                raise ApiError.invalid(f"field {key!r} of a fault cannot be {value!r}") from error
        if not body.get("method"):
            raise ApiError.invalid("a fault needs 'method', such as 'jobs.insert'")
        with self._lock:
            self._waiting.append(Fault(**body))

    def clear(self) -> None:
        """Forget all of them."""
        with self._lock:
            self._waiting.clear()

    def take(self, method: str) -> Fault | None:
        """The fault that this call of `method` meets, counted down; None normally."""
        if not self._waiting:
            return None
        with self._lock:
            for fault in self._waiting:
                if fault.method == method:
                    fault.times -= 1
                    if fault.times <= 0:
                        self._waiting.remove(fault)
                    return fault
        return None


class Calls:
    """Calls by API method since the start, and mutating DML statements by table."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._methods: Counter[str] = Counter()
        self._statements: Counter[str] = Counter()

    def count(self, method: str) -> None:
        """One more call of an API method."""
        with self._lock:
            self._methods[method] += 1

    def count_statement(self, table: str) -> None:
        """One more UPDATE, DELETE or MERGE against a table named "project.dataset.table"."""
        with self._lock:
            self._statements[table] += 1

    def clear(self) -> None:
        """Start again at zero."""
        with self._lock:
            self._methods.clear()
            self._statements.clear()

    def report(self) -> dict[str, Any]:
        """Calls by method, and `dml`: statements by table."""
        with self._lock:
            return {**dict(sorted(self._methods.items())), "dml": dict(self._statements)}
