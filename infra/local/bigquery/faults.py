"""Faults on request and call counters: the control surface `/_local/...` of tests."""

import threading
import time
from collections import Counter, defaultdict
from dataclasses import asdict, dataclass, field
from typing import Any

from infra.local.bigquery.errors import ApiError


@dataclass
class Fault:
    """What the next `times` calls of `method` meet, or all of them for some `seconds`.

    Attributes:
        method: an API method such as "tabledata.insertAll", or "*" for every one of them.
            "jobs.run" is what a job meets when it starts to run, "dml.run" what a mutating
            statement meets while it holds its table (only where limits are enforced): it is
            delayed, and with a status it fails.
        times: how many calls are left; does not count with `seconds`.
        seconds: how long it holds from now on.
        job: only of the job with this ID; for "jobs.run" and "dml.run".
        status: HTTP status to answer; 0 delays the call only.
        delay_seconds: waited before anything else.
        after: answer the error once the call has done its work, as when an answer is lost.
    """

    method: str
    times: int = 1
    seconds: float = 0.0
    job: str = ""
    status: int = 0
    reason: str = "backendError"
    message: str = "Error encountered during execution. Try again."
    delay_seconds: float = 0.0
    after: bool = False
    _ends: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        if self.seconds:
            self._ends = time.monotonic() + self.seconds

    def meets(self, method: str, job: str) -> bool:
        """Whether a call meets it."""
        every = self.method == "*" and "." in method and not method.endswith(".run")
        return (every or self.method == method) and (not self.job or self.job == job)

    def spend(self) -> None:
        """Count a call that has met it."""
        if not self.seconds:
            self.times -= 1

    def to_json(self) -> dict[str, Any]:
        """Its fields, as they were given."""
        return {key: value for key, value in asdict(self).items() if not key.startswith("_")}

    @property
    def over(self) -> bool:
        """Whether no call meets it any more."""
        return time.monotonic() >= self._ends if self.seconds else self.times <= 0

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
            "seconds": float,
            "job": str,
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

    def report(self) -> list[dict[str, Any]]:
        """Those that still wait for calls."""
        with self._lock:
            return [fault.to_json() for fault in self._waiting if not fault.over]

    def clear(self) -> None:
        """Forget all of them."""
        with self._lock:
            self._waiting.clear()

    def take(self, method: str, job: str = "") -> Fault | None:
        """The fault that this call of `method` meets, counted down; None normally."""
        if not self._waiting:
            return None
        with self._lock:
            self._waiting = [fault for fault in self._waiting if not fault.over]
            for fault in self._waiting:
                if fault.meets(method, job):
                    fault.spend()
                    return fault
        return None


class Calls:
    """Calls by API method and by user since the start, and mutating DML statements by table."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._methods: Counter[str] = Counter()
        self._users: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self._statements: Counter[str] = Counter()

    def count(self, method: str, user: str = "") -> None:
        """One more call of an API method by a user, as `request_rates.user_of` names it."""
        with self._lock:
            self._methods[method] += 1
            self._users[user][method] += 1

    def count_statement(self, table: str) -> None:
        """One more UPDATE, DELETE or MERGE against a table named "project.dataset.table"."""
        with self._lock:
            self._statements[table] += 1

    def clear(self) -> None:
        """Start again at zero."""
        with self._lock:
            self._methods.clear()
            self._users.clear()
            self._statements.clear()

    def report(self) -> dict[str, Any]:
        """Calls by method, and `dml`: statements by table."""
        with self._lock:
            return {**dict(sorted(self._methods.items())), "dml": dict(self._statements)}

    def by_user(self) -> dict[str, dict[str, int]]:
        """Calls by method, of each user."""
        with self._lock:
            return {user: dict(sorted(self._users[user].items())) for user in sorted(self._users)}
