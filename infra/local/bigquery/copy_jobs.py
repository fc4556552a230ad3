"""Copy jobs: rows of tables or partitions into another table."""

from typing import Any

import pyarrow as pa

from infra.local.bigquery.catalog import Catalog, Table, TableRef
from infra.local.bigquery.contents import Contents
from infra.local.bigquery.errors import ApiError
from infra.local.bigquery.job import Job
from infra.local.bigquery.names import check_labels, check_table_name, split_decorator
from infra.local.bigquery.sql.writes import write_destination
from infra.local.bigquery.table_operations import TableOperations

_ALL_ROWS = 1 << 62


class CopyJobs:
    """Runs copy jobs."""

    def __init__(self, catalog: Catalog, contents: Contents, operations: TableOperations) -> None:
        self._catalog = catalog
        self._contents = contents
        self._operations = operations

    def check(self, job: Job) -> None:
        """Refuse a configuration before the job's ID is used.

        Raises:
            ApiError: 400.
        """
        copy = job.configuration["copy"]
        if (copy.get("operationType") or "COPY") != "COPY":
            raise ApiError.not_implemented(
                "The local BigQuery copies tables only: no snapshots, clones or restores"
            )
        if not _sources(copy):
            raise ApiError.required("configuration.copy.sourceTable")
        check_labels(job.configuration.get("labels"))
        _named(job.project, copy.get("destinationTable") or {})

    def location(self, project: str, configuration: dict[str, Any]) -> str | None:
        """Where the destination's dataset is, None when there is none."""
        reference = configuration["copy"].get("destinationTable") or {}
        owner = reference.get("projectId") or project
        dataset = self._catalog.find_dataset(owner, reference.get("datasetId", ""))
        return None if dataset is None else dataset.location

    def run(self, job: Job) -> None:
        """Read the sources and write the destination.

        Raises:
            ApiError: the error that the job ends with.
        """
        copy = job.configuration["copy"]
        sources = [self._source(job.project, reference) for reference in _sources(copy)]
        first, _ = sources[0]
        for table, _ in sources:
            if [f["type"] for f in table.schema] != [f["type"] for f in first.schema]:
                raise ApiError.invalid(
                    f"Tables {first.ref} and {table.ref} cannot be copied together:"
                    " their schemas differ"
                )
        destination, partition = _named(job.project, copy["destinationTable"])
        self._operations.job_writes("copy", destination, self._catalog.find_table(destination))
        rows = pa.concat_tables(
            self._contents.rows(table, part, table.schema, start=0, limit=_ALL_ROWS)
            for table, part in sources
        )
        outcome = write_destination(
            self._catalog.storage,
            self._catalog,
            destination=destination,
            partition=partition,
            schema=first.schema,
            rows=rows,
            write_disposition=copy.get("writeDisposition") or "WRITE_EMPTY",
            create_disposition=copy.get("createDisposition"),
            schema_update_options=[],
            time_partitioning=first.time_partitioning,
            clustering=first.clustering,
            job_id=job.job_id,
        )
        job.statistics = {
            "copy": {
                "copiedRows": str(outcome.output_rows),
                "copiedLogicalBytes": str(rows.nbytes),
            }
        }

    def _source(self, project: str, reference: dict[str, Any]) -> tuple[Table, str | None]:
        ref, partition = _named(project, reference)
        table = self._catalog.table(ref)
        if table.is_view:
            raise ApiError.invalid(f"Cannot copy view {ref}: copy the tables that it reads")
        return table, partition


def _sources(copy: dict[str, Any]) -> list[dict[str, Any]]:
    return copy.get("sourceTables") or ([copy["sourceTable"]] if copy.get("sourceTable") else [])


def _named(project: str, reference: dict[str, Any]) -> tuple[TableRef, str | None]:
    if not reference.get("datasetId") or not reference.get("tableId"):
        raise ApiError.required("datasetId and tableId of a table reference")
    name, partition = split_decorator(reference["tableId"])
    owner = reference.get("projectId") or project
    return TableRef(owner, reference["datasetId"], check_table_name(name)), partition
