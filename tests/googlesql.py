"""GoogleSQL without a server: statements translated by sqlglot, run by DuckDB in this process.

For tests of what a query means. Whether Google's client gets there is for component tests.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import duckdb
import sqlglot
from sqlglot import exp

from shared.warehouse.schemas import Column, TableSchema, ViewSchema

_TYPES = {
    "STRING": "VARCHAR",
    "JSON": "VARCHAR",
    "INTEGER": "BIGINT",
    "FLOAT": "DOUBLE",
    "NUMERIC": "DECIMAL(38, 9)",
    "BOOLEAN": "BOOLEAN",
    "TIMESTAMP": "TIMESTAMPTZ",
    "DATE": "DATE",
    "BYTES": "BLOB",
}


class Warehouse:
    """Tables and views of one project, in memory."""

    def __init__(self, project: str = "test-project") -> None:
        self.project = project
        self.connection = duckdb.connect()
        self.connection.execute("SET TimeZone = 'UTC'")

    def create(self, dataset: str, relation: TableSchema | ViewSchema) -> None:
        """Create a table or view of the schema files."""
        self.connection.execute(f'CREATE SCHEMA IF NOT EXISTS "{dataset}"')
        if isinstance(relation, ViewSchema):
            text = self._translated(relation.query(project=self.project, dataset=dataset))
            self.connection.execute(f'CREATE VIEW "{dataset}"."{relation.name}" AS {text}')
            return
        columns = ", ".join(f'"{c.name}" {_type(c)}{_constraint(c)}' for c in relation.fields)
        self.connection.execute(f'CREATE TABLE "{dataset}"."{relation.name}" ({columns})')

    def append(self, table: str, row: Mapping[str, Any]) -> None:
        """Append one row to `dataset.table`."""
        names = ", ".join(f'"{name}"' for name in row)
        marks = ", ".join("?" for _ in row)
        statement = f"INSERT INTO {table} ({names}) VALUES ({marks})"
        self.connection.execute(statement, list(row.values()))

    def query(self, sql: str, **parameters: Any) -> list[dict[str, Any]]:
        """The rows of a GoogleSQL query with `@name` parameters."""
        relation = self.connection.sql(self._translated(sql), params=parameters or None)
        rows: list[dict[str, Any]] = relation.to_arrow_table().to_pylist()
        return rows

    def _translated(self, sql: str) -> str:
        tree = sqlglot.parse_one(sql, read="bigquery")
        for table in tree.find_all(exp.Table):
            table.set("catalog", None)
        for kind in tree.find_all(exp.DataType):
            if kind.this is exp.DataType.Type.DECIMAL and not kind.expressions:
                digits = (exp.DataTypeParam(this=exp.Literal.number(n)) for n in (38, 9))
                kind.set("expressions", list(digits))
        return tree.sql("duckdb")


def at(text: str) -> datetime:
    """A UTC time on 15 November 2025, from `HH:MM:SS`."""
    return datetime.fromisoformat(f"2025-11-15T{text}+00:00")


def values(rows: Sequence[Mapping[str, Any]], *names: str) -> list[Any]:
    """One column of the rows, or tuples of several."""
    return [row[names[0]] if len(names) == 1 else tuple(row[n] for n in names) for row in rows]


def _type(column: Column) -> str:
    if column.fields:
        inner = ", ".join(f'"{field.name}" {_type(field)}' for field in column.fields)
        kind = f"STRUCT({inner})"
    else:
        kind = _TYPES[column.type]
    return f"{kind}[]" if column.mode == "REPEATED" else kind


def _constraint(column: Column) -> str:
    return " NOT NULL" if column.mode == "REQUIRED" else ""
