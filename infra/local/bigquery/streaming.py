"""Streaming inserts (`tabledata.insertAll`): checks by row, deduplication, the write itself.

Limits: BigQuery quotas, streaming inserts.
"""

import datetime as dt
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any

import duckdb
import pyarrow as pa

from infra.local.bigquery.catalog import PARTITION_COLUMN, Catalog, Table, TableRef, now_ms
from infra.local.bigquery.enforcement import Enforcement
from infra.local.bigquery.errors import ApiError
from infra.local.bigquery.limits import SIZES
from infra.local.bigquery.sql.partitions import granularity, partition_end, partition_start
from infra.local.bigquery.types import arrow_schema, decode_row

MAX_REQUEST_BYTES = int(SIZES["insert_all_request_bytes"].number)
MAX_ROWS = int(SIZES["insert_all_rows"].number)
MAX_INSERT_ID = int(SIZES["insert_id_characters"].number)
DEDUPLICATION_SECONDS = 60.0
_STATEMENTS = 5_000
_FEW_ROWS = 12  # up to here one VALUES statement is quicker than an Arrow table


@dataclass(slots=True)
class _Checked:
    """The rows of one request after their checks.

    Attributes:
        good: (insertId or None, decoded row) in the order of the request.
        errors: entries of `insertErrors`.
        stopped: positions of good rows.
    """

    good: list[tuple[str | None, dict[str, Any]]] = field(default_factory=list)
    errors: list[dict[str, Any]] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)


class Deduplication:
    """The insertIds of the last minute of one table; used under the table's write lock."""

    def __init__(self) -> None:
        self._seen: OrderedDict[str, float] = OrderedDict()

    def is_new(self, insert_id: str | None) -> bool:
        """Whether a row with this ID is to be written."""
        return insert_id is None or insert_id not in self._seen

    def forget_old(self) -> None:
        """Drop what is older than a minute."""
        oldest = time.monotonic() - DEDUPLICATION_SECONDS
        while self._seen:
            insert_id, seen = next(iter(self._seen.items()))
            if seen > oldest:
                return
            del self._seen[insert_id]

    def remember(self, insert_ids: list[str]) -> None:
        """Note the IDs of rows that have been written."""
        now = time.monotonic()
        for insert_id in insert_ids:
            self._seen[insert_id] = now


class Streaming:
    """Writes rows of `insertAll` requests; safe to use from any thread."""

    def __init__(self, catalog: Catalog, enforcement: Enforcement) -> None:
        self._catalog = catalog
        self._enforcement = enforcement
        self._lock = threading.Lock()
        self._seen: dict[str, Deduplication] = {}
        self._statements: dict[tuple[str, int, int], duckdb.Statement] = {}

    def insert(
        self, ref: TableRef, partition: str | None, request: dict[str, Any]
    ) -> list[dict[str, Any]]:
        """The request's `insertErrors`, empty when every row was written or is a known duplicate.

        A bad row keeps all others out (reason "stopped") unless `skipInvalidRows` is set.

        Raises:
            ApiError: 404 without the table; 400 for a request that is refused as a whole.
        """
        while True:
            errors = self._attempt(self._catalog.table(ref), partition, request)
            if errors is not None:
                return errors

    def _attempt(
        self, table: Table, partition: str | None, request: dict[str, Any]
    ) -> list[dict[str, Any]] | None:
        """The errors; None when the table was changed before its lock was ours."""
        self._refuse(table, request)
        checked = _check_rows(table, partition, request)
        if checked.errors and not request.get("skipInvalidRows"):
            stopped = [{"index": index, "errors": [_STOPPED]} for index in checked.positions]
            return sorted(checked.errors + stopped, key=lambda entry: entry["index"])
        if checked.good and not self._write(table, partition, checked.good):
            return None
        return checked.errors

    def _refuse(self, table: Table, request: dict[str, Any]) -> None:
        rows = request.get("rows")
        if table.is_view:
            raise ApiError.invalid("Cannot add rows to a table of type VIEW.")
        self._refuse_new(table)
        if not isinstance(rows, list) or not rows:
            raise ApiError.invalid("No rows present in the request.")
        if len(rows) > MAX_ROWS:
            raise ApiError.invalid(f"too many rows present in the request, limit: {MAX_ROWS}")
        if request.get("templateSuffix"):
            raise ApiError.not_implemented("The local BigQuery has no template tables")
        if not table.schema:
            raise ApiError.invalid("The destination table has no schema.")

    def _refuse_new(self, table: Table) -> None:
        """A table that was created a moment ago is not known yet to those who stream."""
        if not self._enforcement.active:
            return
        age = (now_ms() - table.created) / 1000
        if age < self._enforcement.limits.number("new_table_seconds"):
            raise ApiError.not_found("Table", str(table.ref))

    def _write(
        self,
        table: Table,
        partition: str | None,
        rows: list[tuple[str | None, dict[str, Any]]],
    ) -> bool:
        self._catalog.ensure_physical(table)
        with self._lock:
            seen = self._seen.setdefault(table.physical, Deduplication())
        storage = self._catalog.storage
        with storage.write_lock([table.physical]):
            if self._catalog.find_table(table.ref) is not table:
                return False
            seen.forget_old()
            fresh = _without_duplicates(rows, seen)
            if not fresh:
                return True
            with storage.cursor() as cursor:  # one statement: it commits by itself
                before = self._enforcement.buffers.last_row(cursor, table)
                self._append(cursor, table, [row for _, row in fresh], partition)
                self._enforcement.buffers.streamed(cursor, table, before)
            storage.touch(table.physical)
            seen.remember([insert_id for insert_id, _ in fresh if insert_id is not None])
        return True

    def _append(
        self,
        cursor: duckdb.DuckDBPyConnection,
        table: Table,
        rows: list[dict[str, Any]],
        partition: str | None,
    ) -> None:
        extra = [_partition_time(table, partition)] if table.ingestion_time_partitioned else []
        if len(rows) <= _FEW_ROWS:
            names = [column["name"] for column in table.schema]
            values = [value for row in rows for value in [*(row[name] for name in names), *extra]]
            width = len(names) + len(extra)
            cursor.execute(self._statement(cursor, table, len(rows), width), values)
            return
        batch = pa.Table.from_pylist(rows, schema=arrow_schema(table.schema))
        if extra:
            column = pa.array(extra * len(rows), pa.timestamp("us", "UTC"))
            batch = batch.append_column(PARTITION_COLUMN, column)
        cursor.from_arrow(batch).insert_into(table.physical)

    def _statement(
        self, cursor: duckdb.DuckDBPyConnection, table: Table, rows: int, width: int
    ) -> duckdb.Statement:
        """The parsed INSERT; parsing is a quarter of the cost of inserting one row."""
        key = (table.physical, rows, width)
        statement = self._statements.get(key)
        if statement is None:
            values = ", ".join([f"({', '.join('?' * width)})"] * rows)
            text = f"INSERT INTO {table.physical} VALUES {values}"  # noqa: S608
            statement = cursor.extract_statements(text)[0]
            if len(self._statements) >= _STATEMENTS:
                self._statements.clear()
            self._statements[key] = statement
        return statement


_STOPPED = {"reason": "stopped", "location": "", "debugInfo": "", "message": ""}


def _without_duplicates(
    rows: list[tuple[str | None, dict[str, Any]]], seen: Deduplication
) -> list[tuple[str | None, dict[str, Any]]]:
    fresh = []
    in_request: set[str] = set()
    for insert_id, row in rows:
        if not seen.is_new(insert_id) or insert_id in in_request:
            continue
        if insert_id is not None:
            in_request.add(insert_id)
        fresh.append((insert_id, row))
    return fresh


def _check_rows(table: Table, partition: str | None, request: dict[str, Any]) -> _Checked:
    checked = _Checked()
    span = _span(table, partition)
    ignore_unknown = bool(request.get("ignoreUnknownValues"))
    for index, entry in enumerate(request["rows"]):
        try:
            insert_id = _insert_id(entry)
            row = decode_row(entry.get("json"), table.schema, ignore_unknown=ignore_unknown)
            if span is not None:
                span.check(row)
        except ValueError as error:
            checked.errors.append({"index": index, "errors": [row_error(str(error))]})
        else:
            checked.good.append((insert_id, row))
            checked.positions.append(index)
    return checked


def _insert_id(entry: Any) -> str | None:
    if not isinstance(entry, dict):
        raise ValueError("a row must be a JSON object")  # noqa: TRY004 - a row's error
    insert_id = entry.get("insertId")
    if insert_id is None:
        return None
    if len(str(insert_id)) > MAX_INSERT_ID:
        raise ValueError(f"insertId must be at most {MAX_INSERT_ID} characters long")
    return str(insert_id)


@dataclass(frozen=True, slots=True)
class _Span:
    """The partition of a column-partitioned table that every row must lie in."""

    name: str
    column: str
    start: dt.datetime
    end: dt.datetime

    def check(self, row: dict[str, Any]) -> None:
        """Refuse a row of another partition.

        Raises:
            ValueError: the row's error.
        """
        value = row.get(self.column)
        moment = None
        if isinstance(value, dt.datetime):
            moment = value if value.tzinfo else value.replace(tzinfo=dt.UTC)
        elif isinstance(value, dt.date):
            moment = dt.datetime.combine(value, dt.time(), dt.UTC)
        if moment is None or not self.start <= moment < self.end:
            raise ValueError(
                f"The row's {self.column} {value} lies outside of partition ${self.name}"
            )


def _span(table: Table, partition: str | None) -> _Span | None:
    if partition is None or table.ingestion_time_partitioned:
        return None
    start = partition_start(table, partition)
    column = table.partition_field or PARTITION_COLUMN
    return _Span(partition, column, start, partition_end(start, granularity(table)))


def row_error(message: str) -> dict[str, str]:
    """One entry of a row's `errors`; names the field where the message does."""
    location = ""
    if message.startswith("no such field: "):
        location = message.removeprefix("no such field: ").rstrip(".")
    return {"reason": "invalid", "location": location, "debugInfo": "", "message": message}


def _partition_time(table: Table, partition: str | None) -> dt.datetime:
    """The `_PARTITIONTIME` of rows that are written now."""
    if partition is not None:
        return partition_start(table, partition)
    unit = granularity(table)
    now = dt.datetime.now(dt.UTC).replace(minute=0, second=0, microsecond=0)
    if unit != "HOUR":
        now = now.replace(hour=0)
    if unit in {"MONTH", "YEAR"}:
        now = now.replace(day=1)
    return now.replace(month=1) if unit == "YEAR" else now
