"""What a catalog holds: datasets, tables and views, and their names."""

import time
from dataclasses import dataclass, field
from typing import Any

from infra.local.bigquery.types import to_duckdb

PARTITION_COLUMN = "_PARTITIONTIME"


def now_ms() -> int:
    """Milliseconds since 1970, the unit of every time of the REST API."""
    return int(time.time() * 1000)


@dataclass(frozen=True, slots=True)
class TableRef:
    """A table's full name, without decorator."""

    project: str
    dataset: str
    table: str

    def __str__(self) -> str:
        """As BigQuery's messages write it."""
        return f"{self.project}:{self.dataset}.{self.table}"

    @property
    def dotted(self) -> str:
        """As SQL writes it, without quotes."""
        return f"{self.project}.{self.dataset}.{self.table}"

    def to_api(self) -> dict[str, str]:
        """A TableReference of the REST API."""
        return {"projectId": self.project, "datasetId": self.dataset, "tableId": self.table}


@dataclass(frozen=True, slots=True)
class Dataset:
    """A dataset; `body` holds what its REST resource keeps (labels, description, ...)."""

    project: str
    name: str
    location: str
    created: int
    modified: int
    body: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.project}:{self.name}"

    @property
    def default_table_expiration_ms(self) -> int | None:
        """Lifetime of new tables in milliseconds."""
        value = self.body.get("defaultTableExpirationMs")
        return int(value) if value else None


@dataclass(frozen=True, slots=True)
class Table:
    """A table or a view.

    Attributes:
        kind: "TABLE" or "VIEW".
        schema: REST field dicts in canonical form (see schemas.py).
        physical: the DuckDB name of its rows; of views unused.
        expires: milliseconds since 1970, or None.
        body: what else its REST resource keeps (description, friendlyName, labels, ...).
    """

    ref: TableRef
    kind: str
    schema: list[dict[str, Any]]
    physical: str
    created: int
    modified: int
    view_query: str | None = None
    time_partitioning: dict[str, Any] | None = None
    clustering: dict[str, Any] | None = None
    expires: int | None = None
    body: dict[str, Any] = field(default_factory=dict)

    @property
    def is_view(self) -> bool:
        """Whether it is a query under a name."""
        return self.kind == "VIEW"

    @property
    def labels(self) -> dict[str, str]:
        """Labels by key."""
        return self.body.get("labels") or {}

    @property
    def partition_field(self) -> str | None:
        """The column that partitions the table; None without, or by ingestion time."""
        return (self.time_partitioning or {}).get("field")

    @property
    def ingestion_time_partitioned(self) -> bool:
        """Whether rows carry `_PARTITIONTIME` in an extra last column of the physical table."""
        return self.time_partitioning is not None and not self.time_partitioning.get("field")

    @property
    def require_partition_filter(self) -> bool:
        """Whether queries must filter the partitioning column."""
        nested = (self.time_partitioning or {}).get("requirePartitionFilter")
        return bool(self.body.get("requirePartitionFilter") or nested)

    def physical_columns(self) -> list[tuple[str, str]]:
        """Names and DuckDB types of the physical table's columns, in order."""
        columns = [(column["name"], to_duckdb(column)) for column in self.schema]
        if self.ingestion_time_partitioned:
            columns.append((PARTITION_COLUMN, "TIMESTAMPTZ"))
        return columns
