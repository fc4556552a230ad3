"""BigQuery's types and what holds each of them in DuckDB, Arrow and a REST schema.

| BigQuery   | DuckDB         | exact                                                              |
|------------|----------------|--------------------------------------------------------------------|
| NUMERIC    | DECIMAL(38,9)  | yes                                                                |
| BIGNUMERIC | DECIMAL(38,18) | up to 20 integer and 18 fractional digits (Google: 38 and 38);     |
|            |                | beyond that an overflow error, more fractional digits are rounded  |
| TIMESTAMP  | TIMESTAMPTZ    | microseconds, UTC                                                  |
| DATETIME   | TIMESTAMP      | microseconds                                                       |
| RECORD     | STRUCT         | yes                                                                |
| REPEATED   | LIST           | yes; a NULL list reads as an empty one                             |
| GEOGRAPHY  | VARCHAR        | as its text, without functions                                     |
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

Field = dict[str, Any]


@dataclass(frozen=True, slots=True)
class SqlType:
    """A GoogleSQL type.

    Attributes:
        kind: INT64, FLOAT64, NUMERIC, BIGNUMERIC, BOOL, STRING, BYTES, DATE, DATETIME, TIME,
            TIMESTAMP, JSON, INTERVAL, GEOGRAPHY, ARRAY, STRUCT, or NULL for a bare NULL.
        element: of an ARRAY.
        fields: of a STRUCT; names may be empty and may repeat.
    """

    kind: str
    element: "SqlType | None" = None
    fields: tuple[tuple[str, "SqlType"], ...] = ()

    def __str__(self) -> str:
        """As GoogleSQL writes it."""
        if self.kind == "ARRAY":
            return f"ARRAY<{self.element}>"
        if self.kind == "STRUCT":
            inner = ", ".join(f"{name} {kind}" if name else str(kind) for name, kind in self.fields)
            return f"STRUCT<{inner}>"
        return "INT64" if self.kind == "NULL" else self.kind

    @property
    def is_array(self) -> bool:
        """Whether it is an ARRAY."""
        return self.kind == "ARRAY"

    @property
    def is_struct(self) -> bool:
        """Whether it is a STRUCT."""
        return self.kind == "STRUCT"

    @property
    def item(self) -> "SqlType":
        """The type of an ARRAY's elements."""
        return self.element or NULL


INT64 = SqlType("INT64")
FLOAT64 = SqlType("FLOAT64")
NUMERIC = SqlType("NUMERIC")
BIGNUMERIC = SqlType("BIGNUMERIC")
BOOL = SqlType("BOOL")
STRING = SqlType("STRING")
BYTES = SqlType("BYTES")
DATE = SqlType("DATE")
DATETIME = SqlType("DATETIME")
TIME = SqlType("TIME")
TIMESTAMP = SqlType("TIMESTAMP")
JSON = SqlType("JSON")
INTERVAL = SqlType("INTERVAL")
GEOGRAPHY = SqlType("GEOGRAPHY")
NULL = SqlType("NULL")

SCALARS = {
    kind.kind: kind
    for kind in (
        INT64, FLOAT64, NUMERIC, BIGNUMERIC, BOOL, STRING, BYTES, DATE, DATETIME, TIME,
        TIMESTAMP, JSON, INTERVAL, GEOGRAPHY,
    )
}  # fmt: skip
ALIASES = {
    "INTEGER": "INT64",
    "FLOAT": "FLOAT64",
    "BOOLEAN": "BOOL",
    "DECIMAL": "NUMERIC",
    "BIGDECIMAL": "BIGNUMERIC",
}
_LEGACY = {"INT64": "INTEGER", "FLOAT64": "FLOAT", "BOOL": "BOOLEAN", "STRUCT": "RECORD"}
_DUCKDB = {
    "INT64": "BIGINT",
    "FLOAT64": "DOUBLE",
    "NUMERIC": "DECIMAL(38,9)",
    "BIGNUMERIC": "DECIMAL(38,18)",
    "BOOL": "BOOLEAN",
    "STRING": "VARCHAR",
    "BYTES": "BLOB",
    "DATE": "DATE",
    "DATETIME": "TIMESTAMP",
    "TIME": "TIME",
    "TIMESTAMP": "TIMESTAMPTZ",
    "JSON": "JSON",
    "INTERVAL": "INTERVAL",
    "GEOGRAPHY": "VARCHAR",
    "NULL": "BIGINT",
}
_ARROW = {
    "INT64": pa.int64(),
    "FLOAT64": pa.float64(),
    "NUMERIC": pa.decimal128(38, 9),
    "BIGNUMERIC": pa.decimal128(38, 18),
    "BOOL": pa.bool_(),
    "STRING": pa.string(),
    "BYTES": pa.binary(),
    "DATE": pa.date32(),
    "DATETIME": pa.timestamp("us"),
    "TIME": pa.time64("us"),
    "TIMESTAMP": pa.timestamp("us", "UTC"),
    "JSON": pa.string(),
    "INTERVAL": pa.month_day_nano_interval(),
    "GEOGRAPHY": pa.string(),
    "NULL": pa.int64(),
}


def array_of(element: SqlType) -> SqlType:
    """ARRAY<element>."""
    return SqlType("ARRAY", element=element)


def struct_of(fields: Iterable[tuple[str, SqlType]]) -> SqlType:
    """STRUCT with these fields."""
    return SqlType("STRUCT", fields=tuple(fields))


def quoted(name: str) -> str:
    """A DuckDB identifier."""
    return '"' + name.replace('"', '""') + '"'


def text_literal(text: str) -> str:
    """A DuckDB string literal; DuckDB has no escapes in them but the doubled quote."""
    if "\0" in text:
        return "(" + " || chr(0) || ".join(text_literal(part) for part in text.split("\0")) + ")"
    return "'" + text.replace("'", "''") + "'"


def field_names(fields: Iterable[tuple[str, SqlType]]) -> list[str]:
    """Names of STRUCT fields as DuckDB and REST know them: never empty, never repeated."""
    names: list[str] = []
    seen: set[str] = set()
    for position, (name, _) in enumerate(fields, 1):
        unique = name or f"_field_{position}"
        while unique.casefold() in seen:
            unique = f"{unique}_{position}"
        seen.add(unique.casefold())
        names.append(unique)
    return names


def duckdb_type(kind: SqlType) -> str:
    """The DuckDB type that holds values of `kind`."""
    if kind.kind == "ARRAY":
        return f"{duckdb_type(kind.item)}[]"
    if kind.kind == "STRUCT":
        names = field_names(kind.fields)
        inner = (
            f"{quoted(n)} {duckdb_type(t)}" for n, (_, t) in zip(names, kind.fields, strict=True)
        )
        return f"STRUCT({', '.join(inner)})"
    return _DUCKDB[kind.kind]


def arrow_type(kind: SqlType) -> pa.DataType:
    """The Arrow type that holds values of `kind`."""
    if kind.kind == "ARRAY":
        return pa.list_(arrow_type(kind.item))
    if kind.kind == "STRUCT":
        names = field_names(kind.fields)
        return pa.struct([(n, arrow_type(t)) for n, (_, t) in zip(names, kind.fields, strict=True)])
    return _ARROW[kind.kind]


def field_type(field: Field) -> SqlType:
    """The type of a REST schema field, REPEATED included."""
    name = str(field["type"]).upper()
    kind = ALIASES.get(name, name)
    if kind in {"RECORD", "STRUCT"}:
        base = struct_of((sub["name"], field_type(sub)) for sub in field.get("fields", []))
    else:
        base = SCALARS[kind]
    return array_of(base) if field.get("mode") == "REPEATED" else base


def type_field(name: str, kind: SqlType) -> Field:
    """The REST schema field (canonical, legacy type names) of a column."""
    field: Field = {"name": name, "type": "", "mode": "NULLABLE"}
    if kind.is_array:
        field["mode"] = "REPEATED"
        kind = kind.item
    if kind.kind == "NULL":
        kind = INT64
    field["type"] = _LEGACY.get(kind.kind, kind.kind)
    if kind.is_struct:
        names = field_names(kind.fields)
        field["fields"] = [type_field(n, t) for n, (_, t) in zip(names, kind.fields, strict=True)]
    return field


def to_duckdb(field: Field) -> str:
    """The DuckDB type of a REST schema field."""
    return duckdb_type(field_type(field))


def arrow_schema(schema: Iterable[Field]) -> pa.Schema:
    """The Arrow schema of rows of a table with this REST schema."""
    return pa.schema([(field["name"], arrow_type(field_type(field))) for field in schema])


def schema_from_arrow(schema: pa.Schema) -> list[Field]:
    """The REST schema that BigQuery detects for an Arrow or Parquet schema.

    Raises:
        ValueError: a type that BigQuery cannot load.
    """
    return [type_field(column.name, from_arrow(column.type)) for column in schema]


def from_arrow(kind: pa.DataType) -> SqlType:
    """The BigQuery type of an Arrow type.

    Raises:
        ValueError: there is none.
    """
    if pa.types.is_struct(kind):
        return struct_of((field.name, from_arrow(field.type)) for field in kind)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return array_of(from_arrow(kind.value_type))
    if pa.types.is_dictionary(kind):
        return from_arrow(kind.value_type)
    if pa.types.is_decimal(kind):
        fits = kind.scale <= 9 and kind.precision - kind.scale <= 29
        return NUMERIC if fits else BIGNUMERIC
    if pa.types.is_timestamp(kind):
        return TIMESTAMP if kind.tz else DATETIME
    for test, result in _ARROW_TESTS:
        if test(kind):
            return result
    raise ValueError(f"no BigQuery type holds the Arrow type {kind}")


_ARROW_TESTS = (
    (pa.types.is_boolean, BOOL),
    (pa.types.is_integer, INT64),
    (pa.types.is_floating, FLOAT64),
    (pa.types.is_string, STRING),
    (pa.types.is_large_string, STRING),
    (pa.types.is_string_view, STRING),
    (pa.types.is_binary, BYTES),
    (pa.types.is_large_binary, BYTES),
    (pa.types.is_fixed_size_binary, BYTES),
    (pa.types.is_date, DATE),
    (pa.types.is_time, TIME),
    (pa.types.is_null, STRING),
)
