"""Writing a day of a table: replaced whole, in one atomic update, or appended to."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Literal

from shared.clients import bigquery_client
from shared.warehouse.failures import translated
from shared.warehouse.jobs import Destination, FinishedJob, JobSpec, cancel, run
from shared.warehouse.queries import Query

_TIMEOUT_SECONDS = 30.0


@dataclass(frozen=True)
class Target:
    """A table to write."""

    project: str
    dataset: str
    table: str

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
    maximum_bytes_billed: int
    labels: Mapping[str, str]


def write_day(
    target: Target,
    day: date,
    work: Work,
    deadline: datetime,
    mode: Literal["replace_partition", "append"] = "replace_partition",
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
        partition=day.strftime("%Y%m%d"),
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
