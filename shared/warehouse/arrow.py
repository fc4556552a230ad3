"""Columns of tables as Arrow and Parquet have them, and columns that a source has gained."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from shared.errors import Permanent
from shared.warehouse.schemas import Column, ColumnType

if TYPE_CHECKING:
    import pyarrow as pa

PARQUET_TYPES = frozenset(
    {
        "BIGNUMERIC", "BOOLEAN", "BYTES", "DATE", "DATETIME", "FLOAT", "INTEGER", "NUMERIC",
        "RECORD", "STRING", "TIME", "TIMESTAMP",
    }
)  # fmt: skip
"""Types of columns that a Parquet file can fill."""


class ChangedColumnError(Permanent):
    """The source delivers a column in a type that the table's column cannot take."""

    code = "source-column-changed"

    def __init__(self, column: str, *, before: str, after: str) -> None:
        self.column = column
        self.before = before
        self.after = after
        super().__init__(
            f"Column {column} of the source is {after} now, the table has {before}; nothing was"
            " written. Let the source deliver the old type, or load into a new table."
        )


def arrow_schema(columns: Iterable[Column]) -> "pa.Schema":
    """The Arrow schema of rows of a table with these columns, as a Parquet load job takes them."""
    import pyarrow as pa

    return pa.schema([(column.name, arrow_type(column)) for column in columns])


def arrow_type(column: Column) -> "pa.DataType":
    """The Arrow type of a column.

    Raises:
        Permanent: Parquet has no such type.
    """
    import pyarrow as pa

    single = (
        pa.struct([(inner.name, arrow_type(inner)) for inner in column.fields])
        if column.type == "RECORD"
        else _scalar_type(column.type)
    )
    return pa.list_(single) if column.mode == "REPEATED" else single


def _scalar_type(kind: ColumnType) -> "pa.DataType":
    import pyarrow as pa

    known: dict[str, Any] = {
        "STRING": pa.string(),
        "INTEGER": pa.int64(),
        "FLOAT": pa.float64(),
        "NUMERIC": pa.decimal128(38, 9),
        "BIGNUMERIC": pa.decimal256(76, 38),
        "BOOLEAN": pa.bool_(),
        "TIMESTAMP": pa.timestamp("us", "UTC"),
        "DATE": pa.date32(),
        "DATETIME": pa.timestamp("us"),
        "TIME": pa.time64("us"),
        "BYTES": pa.binary(),
    }
    if kind not in known:
        raise Permanent(f"Parquet carries no {kind}: give the column another type.")
    return known[kind]


def column_of(name: str, kind: "pa.DataType", description: str) -> Column:
    """The nullable column that holds a new column of a source.

    Raises:
        ChangedColumnError: BigQuery has no type for it.
        pydantic.ValidationError: the name cannot be that of a column.
    """
    import pyarrow as pa

    if pa.types.is_map(kind):
        pair = (
            column_of("key", kind.key_type, "Key."),
            column_of("value", kind.item_type, "Value."),
        )
        return Column(
            name=name, type="RECORD", mode="REPEATED", description=description, fields=pair
        )
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        single = column_of(name, kind.value_type, description)
        return single.model_copy(update={"mode": "REPEATED"})
    if pa.types.is_struct(kind):
        inner = tuple(column_of(field.name, field.type, "Part of it.") for field in kind)
        return Column(
            name=name, type="RECORD", mode="NULLABLE", description=description, fields=inner
        )
    return Column(
        name=name, type=_column_type(name, kind), mode="NULLABLE", description=description
    )


def _column_type(name: str, kind: "pa.DataType") -> ColumnType:
    import pyarrow as pa

    if pa.types.is_dictionary(kind):
        return _column_type(name, kind.value_type)
    if pa.types.is_decimal(kind):
        fits = kind.scale <= 9 and kind.precision - kind.scale <= 29
        return "NUMERIC" if fits else "BIGNUMERIC"
    if pa.types.is_timestamp(kind):
        return "TIMESTAMP"  # providers leave the zone of their UTC times out
    tests: tuple[tuple[Callable[[Any], bool], ColumnType], ...] = (
        (is_text, "STRING"),
        (pa.types.is_null, "STRING"),
        (pa.types.is_boolean, "BOOLEAN"),
        (pa.types.is_integer, "INTEGER"),
        (pa.types.is_floating, "FLOAT"),
        (pa.types.is_date, "DATE"),
        (pa.types.is_time, "TIME"),
        (is_bytes, "BYTES"),
    )
    for test, found in tests:
        if test(kind):
            return found
    raise ChangedColumnError(name, before="no column", after=str(kind))


def is_text(kind: "pa.DataType") -> bool:
    """Whether values are texts."""
    import pyarrow as pa

    return bool(
        pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    )


def is_bytes(kind: "pa.DataType") -> bool:
    """Whether values are bytes."""
    import pyarrow as pa

    return bool(
        pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
        or pa.types.is_fixed_size_binary(kind)
    )
