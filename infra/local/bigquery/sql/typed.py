"""Translated expressions: DuckDB text together with its GoogleSQL type."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from infra.local.bigquery.sql.typesystem import NULL, STRING, SqlType, duckdb_type, text_literal


@dataclass(slots=True)
class Typed:
    """A translated expression.

    Attributes:
        sql: DuckDB text that can stand anywhere in an expression.
        kind: its GoogleSQL type.
        literal: the value of a literal (str, int, Decimal for floating point), else None.
        coercion: "literal" or "parameter" where BigQuery coerces more freely, else "".
        parts: the items of an array or struct constructor.
        name: the column name that BigQuery derives, or None.
        undeclared: the name of a query parameter of which no type is known yet.
    """

    sql: str
    kind: SqlType
    literal: Any = None
    coercion: str = ""
    parts: "list[Typed] | None" = None
    name: str | None = None
    undeclared: str | None = None


def null(kind: SqlType = NULL) -> Typed:
    """A NULL of a type."""
    return Typed(f"CAST(NULL AS {duckdb_type(kind)})", kind)


def string(text: str) -> Typed:
    """A STRING literal."""
    return Typed(text_literal(text), STRING, literal=text, coercion="literal")


def number(value: int | Decimal, kind: SqlType) -> Typed:
    """A number literal of `kind`."""
    text = format(value, "f") if isinstance(value, Decimal) and kind.kind != "FLOAT64" else value
    return Typed(f"CAST('{text}' AS {duckdb_type(kind)})", kind, literal=value, coercion="literal")
