"""What a table holds: its rows in pages, their number and size, and partitions removed."""

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

import duckdb
import pyarrow as pa

from infra.local.bigquery.catalog import Catalog, Table
from infra.local.bigquery.errors import ApiError
from infra.local.bigquery.sql.bytes_estimate import size_sql
from infra.local.bigquery.sql.partitions import decorator_condition
from infra.local.bigquery.sql.typesystem import field_type, quoted


class Contents:
    """Reads and sizes of physical tables; safe to use from any thread."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._storage = catalog.storage
        self._lock = threading.Lock()
        self._sizes: dict[tuple[str, str | None], tuple[int, tuple[int, int]]] = {}

    def size(self, table: Table, partition: str | None = None) -> tuple[int, int]:
        """Rows and bytes of a table or of one partition; counted once per version of it.

        Raises:
            ApiError: 400 for a partition that the table cannot have.
        """
        condition = _where(table, partition)
        if not self._catalog.has_rows_table(table):
            return 0, 0
        key = (table.physical, partition)
        version = self._storage.version(table.physical)
        with self._lock:
            known = self._sizes.get(key)
        if known is not None and known[0] == version:
            return known[1]
        measured = self._measure(table, condition)
        with self._lock:
            self._sizes[key] = (version, measured)
        return measured

    def _measure(self, table: Table, condition: str) -> tuple[int, int]:
        parts = ["count(*)", *(_size(field) for field in table.schema)]
        query = f"SELECT {', '.join(parts)} FROM {table.physical}{condition}"  # noqa: S608
        with self._reading(table) as cursor:
            row = cursor.execute(query).fetchall()[0]
        values = [int(value or 0) for value in row]
        return values[0], sum(values[1:])

    def rows(
        self,
        table: Table,
        partition: str | None,
        columns: list[dict[str, Any]],
        *,
        start: int,
        limit: int,
    ) -> pa.Table:
        """Rows [start, start + limit) in the order of their insertion, only `columns`."""
        self._catalog.ensure_physical(table)
        names = ", ".join(quoted(column["name"]) for column in columns) or "1"
        query = (
            f"SELECT {names} FROM {table.physical}{_where(table, partition)}"  # noqa: S608
            f" LIMIT {limit} OFFSET {start}"
        )
        with self._reading(table) as cursor:
            return cursor.sql(query).to_arrow_table()

    @contextlib.contextmanager
    def _reading(self, table: Table) -> Iterator[duckdb.DuckDBPyConnection]:
        """A cursor; a table that is dropped meanwhile is not found.

        Raises:
            ApiError: 404 notFound; 503 backendError when it has been replaced, to be retried.
        """
        try:
            with self._storage.cursor() as cursor:
                yield cursor
        except (duckdb.CatalogException, duckdb.BinderException) as error:
            self._catalog.table(table.ref)
            raise ApiError.backend_error(f"Table {table.ref} was replaced meanwhile") from error

    def delete_partition(self, table: Table, partition: str) -> None:
        """Remove the rows of one partition."""
        self._catalog.ensure_physical(table)
        with self._storage.transaction([table.physical]) as transaction:
            transaction.cursor.execute(
                f"DELETE FROM {table.physical}{_where(table, partition)}"  # noqa: S608
            )


def _where(table: Table, partition: str | None) -> str:
    if partition is None:
        return ""
    return f" WHERE {decorator_condition(table, partition, table.physical)}"


def _size(field: dict[str, Any]) -> str:
    return f"sum({size_sql(quoted(field['name']), field_type(field))})"
