"""Copies of partitions: free, atomic, and each made once: its job's ID decides, as a query's."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from shared.clients import bigquery_client
from shared.warehouse import evolution
from shared.warehouse.failures import translated
from shared.warehouse.jobs import Destination, JobSpec, run, settle, wait_for
from shared.warehouse.queries import Query

_TIMEOUT_SECONDS = 30.0


@dataclass(frozen=True)
class Copy:
    """A partition of a table that replaces the same partition of another."""

    work_id: str
    """Letters, digits, `_` and `-`, at most 1,000."""
    source: str
    """`project.dataset.table`."""
    destination: str
    """`project.dataset.table`; it exists, with the columns and partitions of `source`."""
    partition: str
    """`YYYYMMDD`, or `YYYYMM` of a table that is partitioned by month."""
    is_empty: bool = False
    """Whether the partition has no rows in `source`."""
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def job_prefix(self) -> str:
        """The job's ID without the number of its try."""
        return f"{self.work_id}--{self.partition}"


def copy_partition(wanted: Copy, deadline: datetime) -> None:
    """Replace the partition of the destination in one atomic update, once for its `work_id`.

    Raises:
        WarehouseBusyError: not done by `deadline`, or not now; call again.
        WarehouseError: BigQuery refused; the partition is as it was.
    """
    if wanted.is_empty:
        run(_emptying(wanted), deadline)
        return
    settle(
        wanted.job_prefix,
        lambda job_id: _begin(wanted, job_id),
        lambda job: wait_for(job, deadline),
    )


def _begin(wanted: Copy, job_id: str) -> Any:
    from google.api_core.exceptions import Conflict
    from google.cloud.bigquery import DEFAULT_RETRY, CopyJobConfig

    config = CopyJobConfig(
        write_disposition="WRITE_TRUNCATE",
        create_disposition="CREATE_NEVER",
        labels=dict(wanted.labels),
    )
    with translated(Conflict):
        return bigquery_client().copy_table(
            f"{wanted.source}${wanted.partition}",
            f"{wanted.destination}${wanted.partition}",
            job_id=job_id,
            job_config=config,
            retry=DEFAULT_RETRY.with_timeout(_TIMEOUT_SECONDS),
            timeout=_TIMEOUT_SECONDS,
        )


def _emptying(wanted: Copy) -> JobSpec:
    """A query without rows; that a partition which was never written can be copied is not said."""
    return JobSpec(
        work_id=wanted.job_prefix,
        query=Query(sql=f"SELECT * FROM `{wanted.source}` WHERE FALSE"),  # noqa: S608 - checked names
        destination=Destination(wanted.destination, wanted.partition, "WRITE_TRUNCATE_DATA"),
        labels=wanted.labels,
    )


def create_like(table: str, model: str, expires: datetime | None = None) -> None:
    """Create `table` with the columns, partitions and clusters of `model`, or add what it lacks.

    Args:
        table: `project.dataset.table`.
        model: likewise; it exists.
        expires: when BigQuery drops the new table.

    Raises:
        ResultDriftError: a column of `table` is of another type; nothing was changed.
        WarehouseBusyError: not now.
        WarehouseError: there is no `model`, or BigQuery refused.
    """
    from google.cloud.bigquery import DEFAULT_RETRY, Table

    retry, timeout = DEFAULT_RETRY.with_timeout(_TIMEOUT_SECONDS), _TIMEOUT_SECONDS
    client = bigquery_client()
    with translated():
        found = client.get_table(model, retry=retry, timeout=timeout)
        made = Table(table, schema=found.schema)
        made.time_partitioning = found.time_partitioning
        made.clustering_fields = found.clustering_fields
        made.description = found.description
        made.expires = expires
        client.create_table(made, exists_ok=True, retry=retry, timeout=timeout)
    evolution.add_columns(table, [column.to_api_repr() for column in found.schema])
