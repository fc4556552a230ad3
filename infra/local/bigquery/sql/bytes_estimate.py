"""How many bytes a query reads, by BigQuery's data sizes of the columns that it needs.

Sizes of a column are measured once per version of a table; from some thousand rows on, the average
width is kept and multiplied by the number of rows. Of a partitioned table only the partitions count
in which a row meets the WHERE conjuncts over the partitioning column.
"""

# ruff: noqa: S608 - SQL is what this package writes: names are quoted, values bound or cast

import contextlib
import threading
from collections import OrderedDict
from collections.abc import Iterable
from typing import Any

import duckdb

from infra.local.bigquery.catalog import Catalog, Table
from infra.local.bigquery.sql.context import Scan, used_values
from infra.local.bigquery.sql.partitions import PARTITION_COLUMN, partition_key
from infra.local.bigquery.sql.typesystem import NULL, SqlType, field_names, field_type, quoted

MEBIBYTE = 1024 * 1024
MINIMUM_BILLED = 10 * MEBIBYTE  # BigQuery pricing: per table that a query references
_EXACT_ROWS = 50_000
_KEPT_WIDTH_ROWS = 2_000  # from here on, widths that were measured hold until the rows double
_WIDTHS = {
    "INT64": 8, "FLOAT64": 8, "NUMERIC": 16, "BIGNUMERIC": 32, "BOOL": 1, "DATE": 8,
    "DATETIME": 8, "TIME": 8, "TIMESTAMP": 8, "INTERVAL": 16,
}  # fmt: skip  # BigQuery, estimate storage and query costs: data size calculation


def size_sql(sql: str, kind: SqlType) -> str:
    """DuckDB text of the bytes of one value."""
    if kind.is_array:
        inner = size_sql("e", kind.item)
        return f"coalesce(list_sum(list_transform({sql}, lambda e: {inner})), 0)"
    if kind.is_struct:
        names = field_names(kind.fields)
        parts = [
            size_sql(f"({sql}).{quoted(name)}", inner)
            for name, (_, inner) in zip(names, kind.fields, strict=True)
        ]
        return f"({' + '.join(parts) or '0'})"
    width = _WIDTHS.get(kind.kind)
    if width is not None:
        return f"CASE WHEN {sql} IS NULL THEN 0 ELSE {width} END"
    if kind.kind == "BYTES":
        return f"coalesce(2 + octet_length({sql}), 0)"
    return f"coalesce(2 + strlen(CAST({sql} AS VARCHAR)), 0)"


def _column_size(table: Table, name: str) -> str:
    path = name.split("\0")
    return size_sql(".".join(quoted(part) for part in path), _leaf(table, path))


def _leaf(table: Table, path: list[str]) -> SqlType:
    """The type of a column, or of the field of a RECORD that a path names."""
    fields = [(column["name"], field_type(column)) for column in table.schema]
    kind = NULL
    for part in path:
        kind = dict(fields).get(part, kind)
        fields = list(kind.fields)
    return kind


def billed_bytes(processed: int, tables: int) -> int:
    """What Google bills on demand: whole MiB, at least 10 MiB for each table, 0 without tables."""
    if not tables:
        return 0
    return max(-(-processed // MEBIBYTE) * MEBIBYTE, MINIMUM_BILLED * tables)


class Sizes:
    """Measured sizes of physical tables; safe to use from any thread."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._storage = catalog.storage
        self._lock = threading.Lock()
        self._rows: dict[str, tuple[int, int]] = {}
        self._columns: dict[tuple[str, str], tuple[int, int, int]] = {}
        self._pruned: OrderedDict[Any, int] = OrderedDict()

    def total(self, scans: Iterable[Scan], values: dict[str, Any]) -> int:
        """Bytes that these readings need; a column of a table counts once.

        Args:
            scans: the readings of base tables.
            values: what the statement's DuckDB parameters are bound to.
        """
        wanted: dict[str, tuple[Table, set[str], int]] = {}
        for scan in scans:
            rows = self._rows_read(scan, values)
            table, columns, most = wanted.get(scan.table.physical, (scan.table, set(), 0))
            wanted[scan.table.physical] = (table, columns | scan.columns, max(most, rows))
        return sum(self._bytes(*entry) for entry in wanted.values())

    def _bytes(self, table: Table, columns: set[str], rows: int) -> int:
        total_rows = self.rows(table)
        if not rows or not total_rows:
            return 0
        columns = columns - {PARTITION_COLUMN}  # pseudo columns are not billed
        whole = [name for name in columns if "\0" not in name or name.split("\0")[0] not in columns]
        self._measure(table, whole, total_rows)
        size = sum(self._known(table, name, total_rows) or 0 for name in whole)
        return size if rows == total_rows else round(size * rows / total_rows)

    def rows(self, table: Table) -> int:
        """Rows of a table."""
        if not self._catalog.has_rows_table(table):
            return 0
        version = self._storage.version(table.physical)
        known = self._rows.get(table.physical)
        if known is not None and known[0] == version:
            return known[1]
        count = self._one(f"SELECT count(*) FROM {table.physical}")
        self._rows[table.physical] = (version, count)
        return count

    def _known(self, table: Table, name: str, rows: int) -> int | None:
        """The size of a column, if it was measured for these rows or for about as many."""
        known = self._columns.get((table.physical, name))
        if known is None:
            return None
        version, counted, size = known
        if version == self._storage.version(table.physical):
            return size
        if counted > _KEPT_WIDTH_ROWS and counted / 2 < rows < counted * 2:
            return round(size * rows / counted)
        return None

    def _measure(self, table: Table, names: list[str], rows: int) -> None:
        """Measure the columns of which no size is known, in one scan; large tables by a sample."""
        missing = [name for name in names if self._known(table, name, rows) is None]
        if not missing:
            return
        version = self._storage.version(table.physical)
        step = max(1, rows // _EXACT_ROWS)
        sums = ", ".join(f"sum({_column_size(table, name)})" for name in missing)
        where = f" WHERE rowid % {step} = 0" if step > 1 else ""
        found = self._fetch(f"SELECT count(*), {sums} FROM {table.physical}{where}")
        if not found:
            return
        seen = int(found[0] or 0)
        for name, size in zip(missing, found[1:], strict=True):
            scaled = round(int(size or 0) * rows / seen) if seen else 0
            self._columns[table.physical, name] = (version, rows, scaled)

    def _rows_read(self, scan: Scan, values: dict[str, Any]) -> int:
        if not self._catalog.has_rows_table(scan.table):
            return 0
        if not scan.pruning:
            return self.rows(scan.table)
        condition = " AND ".join(scan.pruning)
        used = used_values(condition, values)
        version = self._storage.version(scan.table.physical)
        key = (scan.table.physical, version, condition, repr(sorted(used.items())))
        with self._lock:
            if key in self._pruned:
                self._pruned.move_to_end(key)
                return self._pruned[key]
        identity = partition_key(scan.table, scan.alias)
        text = (
            f"SELECT sum(n) FROM (SELECT count(*) AS n, bool_or({condition}) AS hit"
            f" FROM {scan.table.physical} AS {scan.alias} GROUP BY {identity}) WHERE hit"
        )
        count = self._one(text, used)
        with self._lock:
            self._pruned[key] = count
            while len(self._pruned) > 2_000:
                self._pruned.popitem(last=False)
        return count

    def _one(self, text: str, values: dict[str, Any] | None = None) -> int:
        found = self._fetch(text, values)
        return int(found[0] or 0) if found else 0

    def _fetch(self, text: str, values: dict[str, Any] | None = None) -> tuple[Any, ...]:
        """One row; none where the table has just been dropped or a bound value is refused."""
        with self._storage.cursor() as cursor, contextlib.suppress(duckdb.Error):
            row: tuple[Any, ...] = cursor.execute(text, values or None).fetchall()[0]
            return row
        return ()
