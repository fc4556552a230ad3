"""The INSERT statement of a write: columns by name, checks of every row inside the statement."""

# ruff: noqa: S608 - SQL is what this package writes: names are quoted, values bound or cast

import datetime as dt
from dataclasses import dataclass

from infra.local.bigquery.catalog import Table
from infra.local.bigquery.sql.failures import MARK
from infra.local.bigquery.sql.partitions import (
    PARTITION_COLUMN,
    decorator_condition,
    ingestion_partition,
)
from infra.local.bigquery.sql.typesystem import Field, quoted, text_literal, to_duckdb


@dataclass(frozen=True, slots=True)
class Plan:
    """How rows of one schema become rows of a table.

    Attributes:
        schema: of the rows, in order.
        partition: the decorator that every row must belong to, or None.
        moment: the first moment of that partition.
    """

    table: Table
    schema: list[Field]
    partition: str | None = None
    moment: dt.datetime | None = None

    def sql(self, source: str) -> str:
        """INSERT of the rows that the query `source` gives."""
        names = [f"s{index}" for index in range(len(self.schema))]
        positions = {
            name: f"r.s{index}"
            for index, field in enumerate(self.schema)
            for name in (field["name"].casefold(),)
        }
        targets, values = [], []
        for field in self.table.schema:
            value = positions.get(field["name"].casefold())
            targets.append(quoted(field["name"]))
            values.append(
                checked_value(value, field, self._partition_check(field), self._destination)
            )
        if self.table.ingestion_time_partitioned:
            targets.append(quoted(PARTITION_COLUMN))
            values.append(self._ingestion(positions.get(PARTITION_COLUMN.casefold())))
        return (
            f"INSERT INTO {self.table.physical} ({', '.join(targets)})"
            f" SELECT {', '.join(values)} FROM ({source}) AS r({', '.join(names)})"
        )

    @property
    def _destination(self) -> str:
        return f"{self.table.ref}${self.partition}"

    def _ingestion(self, given: str | None) -> str:
        if self.moment is not None:
            return f"TIMESTAMPTZ '{self.moment:%Y-%m-%d %H:%M:%S}+00'"
        if given is not None:
            return given
        return ingestion_partition(self.table)

    def _partition_check(self, field: Field) -> str | None:
        """The condition that a row must meet on this column, if it is the partitioning one."""
        name = self.table.partition_field
        if self.partition is None or name is None:
            return None
        if field["name"].casefold() != name.casefold():
            return None
        return decorator_condition(self.table, self.partition, "r")


def refusal(message: str, kind: str) -> str:
    """A DuckDB expression of type `kind` that fails with `message` when it is evaluated."""
    text = text_literal(MARK + message)
    return f"CAST(CAST(CAST({text} AS BIGINT) AS VARCHAR) AS {kind})"


def checked_value(
    value: str | None, field: Field, condition: str | None = None, destination: str = ""
) -> str:
    """The value of one column: converted, never NULL where REQUIRED, within length and partition.

    Args:
        value: DuckDB text of it, or None where the rows have no such column.
        field: the table's column.
        condition: what must hold on the column called as in the table, of alias `r`.
        destination: the partition that the refusal names when it does not hold.
    """
    kind = to_duckdb(field)
    if field["mode"] == "REPEATED":
        return f"CAST(coalesce({value}, []) AS {kind})" if value else f"CAST([] AS {kind})"
    if value is None:
        if field["mode"] == "REQUIRED":
            return refusal(f"Required field {field['name']} cannot be null", kind)
        return f"CAST(NULL AS {kind})"
    tests: list[tuple[str, str]] = []
    if field["mode"] == "REQUIRED":
        tests.append((f"{value} IS NULL", f"Required field {field['name']} cannot be null"))
    limit = field.get("maxLength")
    if limit is not None:
        length = "len" if field["type"] == "STRING" else "octet_length"
        tests.append(
            (f"{length}({value}) > {int(limit)}",
             f"{field['type']}({limit}) has maximum length {limit} but got a longer value")
        )  # fmt: skip
    result = f"CAST({_rounded(value, field)} AS {kind})"
    if condition is not None:
        bound = condition.replace(f"r.{quoted(field['name'])}", value)
        text = "Some rows belong to different partitions rather than destination partition"
        tests.append((f"NOT coalesce({bound}, false)", f"{text} {destination}"))
    for test, message in reversed(tests):
        result = f"CASE WHEN {test} THEN {refusal(message, kind)} ELSE {result} END"
    return result


def _rounded(value: str, field: Field) -> str:
    precision, scale = field.get("precision"), field.get("scale")
    if field["type"] not in {"NUMERIC", "BIGNUMERIC"} or precision is None:
        return value
    digits = min(int(precision), 38)
    return f"CAST({value} AS DECIMAL({digits},{int(scale or 0)}))"
