"""The published limits of BigQuery: their numbers, and whether they hold.

Sizes hold always. Rates, queues and delays hold where `--limits`, the topology's
`enforce_bigquery_limits` or `POST /_local/limits {"enforced": true}` says so: they are for tests
and benchmarks, in which one caller stands for a thousand.

Sources are pages of https://cloud.google.com/bigquery, "docs/" left out.
"""

import threading
import time
from collections import deque
from collections.abc import Hashable
from dataclasses import asdict, dataclass
from typing import Any

from infra.local.bigquery.errors import ApiError

MORE = "For more information, see https://cloud.google.com/bigquery/docs/troubleshoot-quotas"
DAY_SECONDS = 24 * 3600.0


@dataclass(frozen=True, slots=True)
class Limit:
    """One number, and where it is published."""

    number: float
    unit: str
    source: str


SIZES: dict[str, Limit] = {
    "insert_all_request_bytes": Limit(
        10 * 1024 * 1024, "bytes", "quotas#streaming_inserts; a row may be as large"
    ),
    "insert_all_rows": Limit(50_000, "rows a request", "quotas#streaming_inserts"),
    "insert_id_characters": Limit(128, "characters", "quotas#streaming_inserts"),
    "job_request_bytes": Limit(10 * 1024 * 1024, "bytes of JSON", "quotas#query_jobs"),
    "query_characters": Limit(1024 * 1024, "characters", "quotas#query_jobs"),
    "query_parameters": Limit(10_000, "parameters", "quotas#query_jobs"),
}
"""What always holds."""

RATES: dict[str, Limit] = {
    # requests; "requests:" and a method is a number of its own
    "requests": Limit(100, "a second, user and method", "quotas#api_request_quotas"),
    "requests:jobs.get": Limit(1_000, "a second and user", "quotas#api_request_quotas"),
    "requests:projects.list": Limit(10, "a second and user", "quotas#api_request_quotas"),
    "requests:tables.insert": Limit(10, "a second and user", "quotas#api_request_quotas"),
    "requests:tabledata.list": Limit(1_000, "a second and user", "quotas#api_request_quotas"),
    "concurrent_requests": Limit(300, "of a user", "quotas#api_request_quotas"),
    "queued_jobs": Limit(1_000, "of a project", "quotas#queued_interactive_queries"),
    # tables and datasets
    "dataset_updates": Limit(5, "in 10 s of a dataset", "quotas#dataset_limits"),
    "table_updates": Limit(5, "in 10 s of a table", "quotas#standard_tables"),
    "partitioned_table_updates": Limit(50, "in 10 s of a table", "quotas#partitioned_tables"),
    "table_modifications": Limit(1_500, "a day and table", "quotas#standard_tables"),
    "load_jobs": Limit(1_500, "a day and table", "quotas#load_jobs"),
    "partition_modifications": Limit(
        30_000, "a day and column-partitioned table", "quotas#partitioned_tables"
    ),
    "ingestion_partition_modifications": Limit(
        11_000, "a day and ingestion-time partitioned table", "quotas#partitioned_tables"
    ),
    # DML
    "dml_statements": Limit(
        25, "in 10 s of a table", "quotas#data-manipulation-language-statements"
    ),
    "mutating_dml_running": Limit(2, "of a table", "data-manipulation-language"),
    "mutating_dml_queued": Limit(20, "of a table", "data-manipulation-language"),
    "mutating_dml_reruns": Limit(3, "after conflicts", "data-manipulation-language"),
    "insert_dml_free": Limit(1_500, "a day and table", "data-manipulation-language"),
    "insert_dml_running": Limit(10, "of a table after those", "data-manipulation-language"),
    "insert_dml_queued": Limit(100, "of a table after those", "data-manipulation-language"),
    # streaming
    "new_table_seconds": Limit(
        5, "s without streaming", "error-messages#streaming, which gives no number"
    ),
    "streaming_buffer_seconds": Limit(1_800, "s without mutating DML", "write-api-rest"),
}
"""What holds where limits are enforced."""


class Limits:
    """Whether rates and delays hold, and every number; safe to use from any thread."""

    def __init__(self, *, enforced: bool = False) -> None:
        self.enforced = enforced
        self._numbers = {name: limit.number for name, limit in RATES.items()}

    def number(self, name: str) -> float:
        """The rate of that name."""
        return self._numbers[name]

    def configure(self, body: dict[str, Any]) -> None:
        """Switch (`enforced`) and change numbers, as a test asks for; {} restores the numbers.

        Raises:
            ApiError: 400 for an unknown name or no number.
        """
        numbers = {name: limit.number for name, limit in RATES.items()}
        changes = {key: value for key, value in body.items() if key != "enforced"}
        for name, number in changes.items():
            if name not in RATES:
                raise ApiError.invalid(f"{name!r} is no limit that can be set: use {list(RATES)}")
            if isinstance(number, bool) or not isinstance(number, int | float):
                raise ApiError.invalid(f"limit {name!r} cannot be {number!r}: write a number")
            numbers[name] = number
        self._numbers = numbers
        self.enforced = bool(body.get("enforced", self.enforced))

    def report(self) -> dict[str, Any]:
        """The switch, and every limit with its number, unit and source."""
        shown = {
            name: {**asdict(limit), "number": self._numbers.get(name, limit.number)}
            for name, limit in (SIZES | RATES).items()
        }
        return {"enforced": self.enforced, "limits": shown}


class Windows:
    """How often something happened lately, by key; safe to use from any thread."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._lock = threading.Lock()
        self._moments: dict[Hashable, deque[float]] = {}

    def admit(self, key: Hashable, most: float) -> bool:
        """Count one more, unless there were `most` in the window already."""
        with self._lock:
            moments = self._current(key)
            if len(moments) >= most:
                return False
            moments.append(time.monotonic())
            return True

    def note(self, key: Hashable) -> None:
        """Count one more, whatever the limit."""
        with self._lock:
            self._current(key).append(time.monotonic())

    def _current(self, key: Hashable) -> deque[float]:
        moments = self._moments.setdefault(key, deque())
        oldest = time.monotonic() - self._seconds
        while moments and moments[0] <= oldest:
            moments.popleft()
        return moments
