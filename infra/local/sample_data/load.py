"""Loads the sample export as Google does: every day of arrival into its own partition.

Uses Google's client only, so it works against the local BigQuery and against Google's.
"""

import io
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from infra.local.sample_data.generate import Shape, rows
from infra.local.sample_data.schema import COLUMNS, DETAILED_COLUMNS, Column

if TYPE_CHECKING:
    from google.cloud.bigquery import Client, Table

DATASET = "billing_export"
TABLE = "gcp_billing_export_v1"
DETAILED_TABLE = "gcp_billing_export_resource_v1"
_VERSION = 2
"""Counts up when the generator draws other rows than before for one shape."""
_TIMEOUT_SECONDS = 30.0
_PARALLEL_LOADS = 4


@dataclass(frozen=True)
class Loaded:
    """What `write` did."""

    table: str
    rows: int
    partitions: int
    """0 when everything was there already."""


def write(
    client: "Client",
    dataset: str = DATASET,
    *,
    shape: Shape | None = None,
    detailed: bool = False,
    force: bool = False,
    on_partition: Callable[[date, int], None] | None = None,
) -> Loaded:
    """Create `dataset`.gcp_billing_export_v1 and load the export of `shape` into it.

    The detailed export goes into `dataset`.gcp_billing_export_resource_v1.

    A table that holds this very export already is left as it is, unless `force`; one that holds
    another, or only a part, is replaced.

    Args:
        client: Google's client; its project holds the dataset.
        dataset: name of the dataset; created where missing.
        shape: what to generate; 200,000 rows over 35 days by default.
        detailed: the export that says of each row what was used.
        force: load again even if it is there.
        on_partition: called with day and row count after each loaded partition, on any thread.
    """
    shape = shape or Shape()
    path = f"{client.project}.{dataset}.{DETAILED_TABLE if detailed else TABLE}"
    if not force and _holds(client, path, shape):
        return Loaded(path, shape.rows, 0)
    columns = DETAILED_COLUMNS if detailed else COLUMNS
    table = _empty_table(client, dataset, path, shape, columns)
    with ThreadPoolExecutor(_PARALLEL_LOADS) as pool:
        loads = [
            pool.submit(_load, client, table, day, partition, on_partition)
            for day, partition in rows(shape, detailed=detailed)
        ]
        loaded = [load.result() for load in loads]
    return Loaded(path, sum(loaded), len(loaded))


def _mark(shape: Shape) -> str:
    return (
        f"Sample of a Cloud Billing usage export: rows={shape.rows} days={shape.days}"
        f" end={shape.end} seed={shape.seed} version={_VERSION}"
    )


def _holds(client: "Client", path: str, shape: Shape) -> bool:
    from google.api_core.exceptions import NotFound

    try:
        table = client.get_table(path, **_limits())
    except NotFound:
        return False
    return table.description == _mark(shape) and table.num_rows == shape.rows


def _empty_table(
    client: "Client", dataset: str, path: str, shape: Shape, columns: Iterable[Column]
) -> "Table":
    from google.cloud import bigquery

    client.create_dataset(dataset, exists_ok=True, **_limits())
    client.delete_table(path, not_found_ok=True, **_limits())
    table = bigquery.Table(path, schema=[column.bigquery_field() for column in columns])
    table.time_partitioning = bigquery.TimePartitioning(type_="DAY")
    table.description = _mark(shape)
    return client.create_table(table, **_limits())


def _limits() -> dict[str, Any]:
    """Timeouts of a call; the client's own would try for ten minutes to reach a stopped server."""
    from google.cloud.bigquery import DEFAULT_RETRY

    return {"timeout": _TIMEOUT_SECONDS, "retry": DEFAULT_RETRY.with_timeout(_TIMEOUT_SECONDS)}


def _load(
    client: "Client",
    table: "Table",
    day: date,
    partition: pa.Table,
    on_partition: Callable[[date, int], None] | None,
) -> int:
    from google.cloud import bigquery

    parquet = bigquery.ParquetOptions()  # type: ignore[no-untyped-call]
    parquet.enable_list_inference = True
    config = bigquery.LoadJobConfig(
        source_format=bigquery.SourceFormat.PARQUET,
        write_disposition=bigquery.WriteDisposition.WRITE_TRUNCATE,
        schema=table.schema,
        time_partitioning=table.time_partitioning,
    )
    config.parquet_options = parquet
    content = parquet_bytes(partition)
    job = client.load_table_from_file(
        io.BytesIO(content),
        f"{table.project}.{table.dataset_id}.{table.table_id}${day:%Y%m%d}",
        size=len(content),
        job_config=config,
        timeout=_TIMEOUT_SECONDS,
    )
    job.result(**_limits())
    if on_partition:
        on_partition(day, partition.num_rows)
    return partition.num_rows


def parquet_bytes(partition: pa.Table) -> bytes:
    """One partition as a Parquet file."""
    buffer = io.BytesIO()
    pq.write_table(partition, buffer, compression="snappy")
    return buffer.getvalue()
