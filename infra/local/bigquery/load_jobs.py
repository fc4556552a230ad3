"""Load jobs: an uploaded file becomes rows of a table."""

import gzip
import zlib
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from infra.local.bigquery.catalog import Catalog, Table, TableRef
from infra.local.bigquery.detection import schema_of_objects
from infra.local.bigquery.errors import ApiError
from infra.local.bigquery.job import Job
from infra.local.bigquery.load_csv import CsvOptions, detect_csv, read_csv
from infra.local.bigquery.load_errors import BadRecords
from infra.local.bigquery.load_json import objects_of, read_json
from infra.local.bigquery.load_parquet import open_parquet, parquet_schema, shape_parquet
from infra.local.bigquery.names import check_labels, check_table_name, split_decorator
from infra.local.bigquery.schemas import by_name, canonical_schema, changed_schema
from infra.local.bigquery.sql.writes import write_destination
from infra.local.bigquery.table_operations import TableOperations

_FORMATS = ("CSV", "NEWLINE_DELIMITED_JSON", "PARQUET")
_SAMPLE_ROWS = 500  # BigQuery, "Using schema auto-detection"
_UPDATES = frozenset({"ALLOW_FIELD_ADDITION", "ALLOW_FIELD_RELAXATION"})
Field = dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Target:
    """Where a load job writes, and what is there."""

    ref: TableRef
    partition: str | None
    table: Table | None
    truncates: bool


class LoadJobs:
    """Runs load jobs."""

    def __init__(self, catalog: Catalog, operations: TableOperations) -> None:
        self._catalog = catalog
        self._operations = operations

    def check(self, job: Job) -> None:
        """Refuse a configuration before the job's ID is used.

        Raises:
            ApiError: 400.
        """
        load = job.configuration["load"]
        if load.get("sourceUris"):
            raise ApiError.not_implemented(
                "The local BigQuery has no Cloud Storage: upload the file instead of sourceUris"
            )
        kind = _format(load)
        if kind not in _FORMATS:
            raise ApiError.not_implemented(
                f"The local BigQuery does not load {kind}: use one of {', '.join(_FORMATS)}"
            )
        unknown = set(load.get("schemaUpdateOptions") or []) - _UPDATES
        if unknown:
            raise ApiError.invalid(f"Invalid value for schemaUpdateOptions: {min(unknown)}")
        check_labels(job.configuration.get("labels"))
        self._target(job.project, load)
        if load.get("schema"):
            canonical_schema(load["schema"].get("fields") or [])

    def location(self, project: str, configuration: dict[str, Any]) -> str | None:
        """Where the destination's dataset is, None when there is none."""
        reference = configuration["load"].get("destinationTable") or {}
        owner = reference.get("projectId") or project
        dataset = self._catalog.find_dataset(owner, reference.get("datasetId", ""))
        return None if dataset is None else dataset.location

    def run(self, job: Job) -> None:
        """Read the upload and write its rows.

        Raises:
            ApiError: the error that the job ends with.
        """
        content, job.upload = job.upload, None
        if content is None:
            raise ApiError.invalid("The load job has no source: upload a file")
        load = job.configuration["load"]
        target = self._target(job.project, load)
        self._catalog.dataset(target.ref.project, target.ref.dataset)
        self._operations.job_writes("load", target.ref, target.table)
        text = _decompressed(content)
        bad = BadRecords(int(load.get("maxBadRecords") or 0), _described(load))
        rows, schema = self._read(text, load, target, bad)
        outcome = write_destination(
            self._catalog.storage,
            self._catalog,
            destination=target.ref,
            partition=target.partition,
            schema=schema,
            rows=rows,
            write_disposition=load.get("writeDisposition") or "WRITE_APPEND",
            create_disposition=load.get("createDisposition"),
            schema_update_options=load.get("schemaUpdateOptions") or [],
            time_partitioning=load.get("timePartitioning"),
            clustering=load.get("clustering"),
            job_id=job.job_id,
        )
        job.statistics = {
            "load": {
                "inputFiles": "1",
                "inputFileBytes": str(len(content)),
                "outputRows": str(outcome.output_rows),
                "outputBytes": str(rows.nbytes),
                "badRecords": str(bad.count),
            }
        }

    def _target(self, project: str, load: dict[str, Any]) -> _Target:
        reference = load.get("destinationTable") or {}
        if not reference.get("datasetId") or not reference.get("tableId"):
            raise ApiError.required("configuration.load.destinationTable")
        name, partition = split_decorator(reference["tableId"])
        owner = reference.get("projectId") or project
        ref = TableRef(owner, reference["datasetId"], check_table_name(name))
        disposition = load.get("writeDisposition") or "WRITE_APPEND"
        return _Target(
            ref=ref,
            partition=partition,
            table=self._catalog.find_table(ref),
            truncates=disposition == "WRITE_TRUNCATE" and partition is None,
        )

    def _read(
        self, content: bytes, load: dict[str, Any], target: _Target, bad: BadRecords
    ) -> tuple[pa.Table, list[Field]]:
        """The rows of the file and their schema."""
        ignore_unknown = bool(load.get("ignoreUnknownValues"))
        if _format(load) == "PARQUET":
            table = open_parquet(content)
            schema = self._schema(load, target, parquet_schema(table))
            return shape_parquet(table, schema, ignore_unknown=ignore_unknown), schema
        if _format(load) == "CSV":
            return self._read_csv(content, load, target, bad)
        detected = None
        if load.get("autodetect"):
            sample = objects_of(content, _SAMPLE_ROWS)
            detected = schema_of_objects(row for row in sample if isinstance(row, dict))
        schema = self._schema(load, target, detected)
        return read_json(content, schema, bad, ignore_unknown=ignore_unknown), schema

    def _read_csv(
        self, content: bytes, load: dict[str, Any], target: _Target, bad: BadRecords
    ) -> tuple[pa.Table, list[Field]]:
        options = CsvOptions.of(load)
        detected = None
        if load.get("autodetect"):
            detected, skip = detect_csv(content, options)
            options = CsvOptions.of({**load, "skipLeadingRows": skip})
        schema = self._schema(load, target, detected)
        return read_csv(content, schema, options, bad), schema

    def _schema(
        self, load: dict[str, Any], target: _Target, detected: list[Field] | None
    ) -> list[Field]:
        """The columns to read: the given schema, else the table's, else the detected one.

        Raises:
            ApiError: 400 invalid when nothing tells, or when new columns are not allowed.
        """
        given = (load.get("schema") or {}).get("fields")
        table = target.table
        if given:
            schema = canonical_schema(given)
            if table is not None and not target.truncates:
                return _for_existing(table, schema, load)
            return schema
        if table is not None and table.schema and not (target.truncates and detected):
            if detected is None:
                return table.schema
            return _widened(table, detected, load)
        if detected:
            return canonical_schema(detected)
        raise ApiError.invalid(f"No schema specified on job or table {target.ref}.")


def _for_existing(table: Table, schema: list[Field], load: dict[str, Any]) -> list[Field]:
    """A given schema for a table that keeps its rows: what it adds must be allowed."""
    known = by_name(table.schema)
    options = set(load.get("schemaUpdateOptions") or [])
    prefix = f"Provided Schema does not match Table {table.ref}."
    if table.schema and "ALLOW_FIELD_ADDITION" not in options:
        for field in schema:
            if field["name"].casefold() not in known:
                raise ApiError.invalid(f"{prefix} Cannot add fields (field: {field['name']})")
    relaxed = [{**field, "mode": _loaded_mode(field, known, options)} for field in schema]
    changed_schema(table.schema, relaxed, str(table.ref), allow_missing=True)
    return relaxed


def _loaded_mode(field: Field, known: dict[str, Field], options: set[str]) -> str:
    """A NULLABLE column may be given for a REQUIRED one only where relaxing is allowed."""
    current = known.get(field["name"].casefold())
    if current is None or current["mode"] != "REQUIRED" or field["mode"] != "NULLABLE":
        return str(field["mode"])
    return "NULLABLE" if "ALLOW_FIELD_RELAXATION" in options else "REQUIRED"


def _widened(table: Table, detected: list[Field], load: dict[str, Any]) -> list[Field]:
    """The table's schema and, where allowed, the detected columns that it lacks."""
    if "ALLOW_FIELD_ADDITION" not in (load.get("schemaUpdateOptions") or []):
        return table.schema
    known = by_name(table.schema)
    added = [field for field in detected if field["name"].casefold() not in known]
    return table.schema + canonical_schema(added)


def _format(load: dict[str, Any]) -> str:
    return str(load.get("sourceFormat") or "CSV").upper()


def _described(load: dict[str, Any]) -> str:
    return "CSV" if _format(load) == "CSV" else "JSON"


def _decompressed(content: bytes) -> bytes:
    if not content.startswith(b"\x1f\x8b"):
        return content
    try:
        return gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise ApiError.invalid(
            f"Error while reading data, error message: the file is not gzip: {error}"
        ) from error
