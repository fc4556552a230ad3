"""Writing days of a table: each replaced whole, in one atomic update, or appended to."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import partial
from threading import Event
from typing import Any, Literal

from shared.clients import bigquery_client
from shared.errors import ConvergenceError, Retryable
from shared.telemetry import carried
from shared.warehouse.failures import WarehouseBusyError, translated
from shared.warehouse.jobs import Destination, FinishedJob, JobSpec, cancel, run
from shared.warehouse.queries import Query

Mode = Literal["replace_partition", "append"]

_TIMEOUT_SECONDS = 30.0
PARALLEL_DAYS = 8
"""Jobs at a time; a partitioned table takes 50 updates in 10 s (BigQuery quotas)."""


@dataclass(frozen=True)
class Target:
    """A table to write."""

    project: str
    dataset: str
    table: str
    partitioning: Literal["DAY", "MONTH"] = "DAY"
    """How long a partition is; the first of a month stands for it."""

    @property
    def path(self) -> str:
        """`project.dataset.table`."""
        return f"{self.project}.{self.dataset}.{self.table}"

    def create_from(self, schema: Sequence[Mapping[str, Any]]) -> None:
        """Create the table with these columns, partitioned by day; leave an existing one alone.

        Raises:
            WarehouseBusyError: not now.
            WarehouseError: BigQuery refused.
        """
        from google.cloud.bigquery import DEFAULT_RETRY, SchemaField, Table, TimePartitioning

        table = Table(self.path, schema=[SchemaField.from_api_repr(dict(f)) for f in schema])
        table.time_partitioning = TimePartitioning(type_="DAY")
        with translated():
            bigquery_client().create_table(
                table,
                exists_ok=True,
                retry=DEFAULT_RETRY.with_timeout(_TIMEOUT_SECONDS),
                timeout=_TIMEOUT_SECONDS,
            )


@dataclass(frozen=True)
class Work:
    """What fills a day, under which name it runs, and what it may cost."""

    work_id: str
    query: Query
    maximum_bytes_billed: int | None
    labels: Mapping[str, str]


def write_day(
    target: Target,
    day: date,
    work: Work,
    deadline: datetime,
    mode: Mode = "replace_partition",
) -> FinishedJob:
    """Let a query fill the partition of `day`.

    `replace_partition` truncates and writes in one atomic update (BigQuery REST, Job:
    writeDisposition), so a reader sees the old day or the new one, and doing it twice leaves the
    same rows. `append` adds the rows once per `work.work_id`, however often it is called.

    Raises:
        WarehouseBusyError: not done yet, or not now; call again with the same `work`.
        WarehouseError: BigQuery refused; the partition is as it was.
    """
    replaces = mode == "replace_partition"
    destination = Destination(
        table=target.path,
        partition=day.strftime("%Y%m" if target.partitioning == "MONTH" else "%Y%m%d"),
        disposition="WRITE_TRUNCATE_DATA" if replaces else "WRITE_APPEND",
    )
    spec = JobSpec(
        work_id=_work_of_day(work.work_id, day),
        query=work.query,
        destination=destination,
        maximum_bytes_billed=work.maximum_bytes_billed,
        labels=work.labels,
    )
    return run(spec, deadline)


def write_days(
    target: Target, days: Sequence[date], work_of: Callable[[date], Work], deadline: datetime
) -> list[FinishedJob]:
    """Let a query of its own replace each of `days`; several at a time, in their order.

    Every day is a job under the day's own ID, so a second call finds the days that are done and
    goes on with the others. After a refusal no further day is begun; the days that were written
    are whole, and stay.

    Raises:
        WarehouseBusyError: some are not done yet, or not now; call again with the same work.
        WarehouseError: BigQuery refused one; its partition is as it was.
    """
    refused = Event()

    def write(day: date) -> FinishedJob | ConvergenceError:
        if refused.is_set() or datetime.now(UTC) >= deadline:
            return WarehouseBusyError(f"{target.path} of {day} is not begun", "running")
        try:
            return write_day(target, day, work_of(day), deadline)
        except Retryable as error:
            return error
        except ConvergenceError as error:
            refused.set()
            return error

    with ThreadPoolExecutor(min(PARALLEL_DAYS, max(1, len(days)))) as pool:
        outcomes = list(pool.map(carried(write), days))
    failures = [outcome for outcome in outcomes if isinstance(outcome, ConvergenceError)]
    if failures:
        raise min(failures, key=_weight)
    return [outcome for outcome in outcomes if isinstance(outcome, FinishedJob)]


def _weight(failure: ConvergenceError) -> int:
    """What to tell first: what is final, then what has to be waited for, then what just runs."""
    if not isinstance(failure, Retryable):
        return 0
    return 2 if getattr(failure, "reason", None) == "running" else 1


def cancel_days(work_id: str, days: Iterable[date]) -> bool:
    """Stop the jobs by which `write_days` fills `days`; whether there was any to stop.

    Raises:
        WarehouseBusyError: not now.
        WarehouseError: BigQuery refused.
    """
    stop = carried(partial(cancel_day, work_id))
    with ThreadPoolExecutor(PARALLEL_DAYS) as pool:
        return any(list(pool.map(stop, days)))


def cancel_day(work_id: str, day: date) -> bool:
    """Stop the job by which `write_day` fills `day`, or keep it from beginning.

    The partition is as it was, or whole if the job was faster. May be called again.

    Raises:
        WarehouseBusyError: not now.
        WarehouseError: BigQuery refused.
    """
    return cancel(_work_of_day(work_id, day))


def _work_of_day(work_id: str, day: date) -> str:
    return f"{work_id}--{day:%Y%m%d}"
