"""How often tables and datasets are changed: in ten seconds, and in a day (quotas#standard_tables).

DML counts towards the ten seconds without ever being refused for them; it has a rate of its own.
"""

from typing import Any

from infra.local.bigquery.catalog import Table, TableRef
from infra.local.bigquery.errors import ApiError
from infra.local.bigquery.limits import DAY_SECONDS, MORE, Limits, Windows

_UPDATE_SECONDS = 10.0


class TableOperations:
    """Counts by table name, which truncating and recreating a table does not reset."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._updates = Windows(_UPDATE_SECONDS)
        self._statements = Windows(_UPDATE_SECONDS)
        self._days = Windows(DAY_SECONDS)

    def dataset_changes(self, project: str, dataset: str) -> None:
        """A dataset is created or changed.

        Raises:
            ApiError: 403 rateLimitExceeded.
        """
        key = (project, dataset)
        if self._limits.enforced and not self._updates.admit(
            key, self._limits.number("dataset_updates")
        ):
            raise ApiError(
                "rateLimitExceeded",
                "Exceeded rate limits: too many dataset metadata update operations for this"
                f" dataset. {MORE}",
            )

    def table_changes(self, ref: TableRef, time_partitioning: dict[str, Any] | None) -> None:
        """A table's metadata changes, by whatever does it but DML.

        Raises:
            ApiError: 403 rateLimitExceeded.
        """
        if not self._limits.enforced:
            return
        name = "table_updates" if time_partitioning is None else "partitioned_table_updates"
        if not self._updates.admit(ref, self._limits.number(name)):
            raise ApiError(
                "rateLimitExceeded",
                f"Exceeded rate limits: too many table update operations for this table. {MORE}",
                location="table.write",
            )

    def job_writes(self, kind: str, ref: TableRef, table: Table | None) -> None:
        """A load, copy or query job is about to write to a table; `None` when it creates it.

        Raises:
            ApiError: rateLimitExceeded or quotaExceeded, with which the job fails.
        """
        if not self._limits.enforced:
            return
        partitioning = table.time_partitioning if table is not None else None
        self.table_changes(ref, partitioning)
        if kind == "load":
            self._within_day(("load", ref), "load_jobs", _IMPORTS)
        if partitioning is None:
            self._within_day(("write", ref), "table_modifications", _IMPORTS)
        elif partitioning.get("field"):
            self._within_day(("write", ref), "partition_modifications", _COLUMN_PARTITIONS)
        else:
            limit = "ingestion_partition_modifications"
            self._within_day(("write", ref), limit, _INGESTION_PARTITIONS)

    def statement_runs(self, ref: TableRef) -> None:
        """A DML statement is about to change a table.

        Raises:
            ApiError: 403 rateLimitExceeded.
        """
        if not self._limits.enforced:
            return
        if not self._statements.admit(ref, self._limits.number("dml_statements")):
            raise ApiError(
                "rateLimitExceeded",
                "Exceeded rate limits: too many table dml insert operations for this table."
                f" {MORE}",
                location="table.write",
            )
        self._updates.note(ref)

    def _within_day(self, key: tuple[str, TableRef], limit: str, text: str) -> None:
        if not self._days.admit(key, self._limits.number(limit)):
            location = "load_job_per_table.long"
            raise ApiError("quotaExceeded", f"Quota exceeded: {text}. {MORE}", location=location)


_IMPORTS = "Your table exceeded quota for imports or query appends per table"
_COLUMN_PARTITIONS = (
    "Your table exceeded quota for Number of partition modifications to a column partitioned table"
)
_INGESTION_PARTITIONS = (
    "Your table exceeded quota for Number of partition modifications to an ingestion-time"
    " partitioned table"
)
