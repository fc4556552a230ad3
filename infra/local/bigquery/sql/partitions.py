"""Time partitions: decorators, the partition a row belongs to, `_PARTITIONTIME`."""

import datetime as dt
import re

from infra.local.bigquery.catalog import Table
from infra.local.bigquery.errors import ApiError
from infra.local.bigquery.sql.typesystem import field_type, quoted

PARTITION_COLUMN = "_PARTITIONTIME"
_FORMATS = {4: ("YEAR", "%Y"), 6: ("MONTH", "%Y%m"), 8: ("DAY", "%Y%m%d"), 10: ("HOUR", "%Y%m%d%H")}
_MICROSECONDS = {"HOUR": 3_600_000_000, "DAY": 86_400_000_000}
_ID_FORMAT = {"YEAR": "%Y", "MONTH": "%Y%m", "DAY": "%Y%m%d", "HOUR": "%Y%m%d%H"}


def granularity(table: Table) -> str:
    """HOUR, DAY, MONTH or YEAR."""
    return str((table.time_partitioning or {}).get("type") or "DAY").upper()


def partition_start(table: Table, partition: str) -> dt.datetime:
    """The first moment of the partition that a decorator names.

    Raises:
        ApiError: the table has no partitions, or the decorator does not fit them.
    """
    if table.time_partitioning is None:
        raise ApiError.invalid(
            f"Cannot use a partition decorator on the non-partitioned table {table.ref}"
        )
    unit = granularity(table)
    known = _FORMATS.get(len(partition)) if re.fullmatch(r"\d+", partition) else None
    if known is None or known[0] != unit:
        raise ApiError.invalid(
            f"Invalid partition decorator ${partition}: table {table.ref} is partitioned by {unit}"
        )
    try:
        return dt.datetime.strptime(partition, known[1]).replace(tzinfo=dt.UTC)
    except ValueError as error:
        raise ApiError.invalid(
            f"Invalid date partition specification: {partition} of table {table.ref}"
        ) from error


def partition_end(start: dt.datetime, unit: str) -> dt.datetime:
    """The first moment after a partition."""
    if unit == "HOUR":
        return start + dt.timedelta(hours=1)
    if unit == "DAY":
        return start + dt.timedelta(days=1)
    if unit == "MONTH":
        return (start + dt.timedelta(days=32)).replace(day=1)
    return start.replace(year=start.year + 1)


def partition_column(table: Table) -> str:
    """The physical column that partitions a table, as a DuckDB identifier."""
    return quoted(table.partition_field or PARTITION_COLUMN)


def partition_kind(table: Table) -> str:
    """The GoogleSQL type of the partitioning column."""
    if table.partition_field is None:
        return "TIMESTAMP"
    folded = table.partition_field.casefold()
    return next(field_type(f).kind for f in table.schema if f["name"].casefold() == folded)


def _moment(value: dt.datetime, kind: str) -> str:
    if kind == "DATE":
        return f"DATE '{value:%Y-%m-%d}'"
    if kind == "DATETIME":
        return f"TIMESTAMP '{value:%Y-%m-%d %H:%M:%S}'"
    return f"TIMESTAMPTZ '{value:%Y-%m-%d %H:%M:%S}+00'"


def decorator_condition(table: Table, partition: str, alias: str) -> str:
    """DuckDB text that holds for the rows of the partition `$partition` of `alias`."""
    column = f"{alias}.{partition_column(table)}"
    if partition in {"__NULL__", "__UNPARTITIONED__"}:
        return f"{column} IS NULL"
    start = partition_start(table, partition)
    kind = partition_kind(table)
    end = partition_end(start, granularity(table))
    return f"{column} >= {_moment(start, kind)} AND {column} < {_moment(end, kind)}"


def partition_id(table: Table, alias: str) -> str:
    """DuckDB text of the ID of the partition that a row of `alias` is in."""
    column = f"{alias}.{partition_column(table)}"
    if partition_kind(table) == "TIMESTAMP":
        column = f"timezone('UTC', {column})"
    text = f"strftime({column}, '{_ID_FORMAT[granularity(table)]}')"
    return f"coalesce({text}, '__NULL__')"


def partition_key(table: Table, alias: str) -> str:
    """DuckDB text that tells partitions apart; much quicker than their IDs."""
    column = f"{alias}.{partition_column(table)}"
    unit, is_timestamp = granularity(table), partition_kind(table) == "TIMESTAMP"
    if is_timestamp and unit in _MICROSECONDS:
        return f"epoch_us({column}) // {_MICROSECONDS[unit]}"
    if is_timestamp:
        column = f"timezone('UTC', {column})"
    return f"date_trunc('{unit}', {column})"


def ingestion_partition(table: Table) -> str:
    """DuckDB text of `_PARTITIONTIME` for rows written now."""
    return f"date_trunc('{granularity(table).lower()}', now())"
