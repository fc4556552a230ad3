"""Fetched rows column by column in the form that a table of ours has.

A source's columns are matched by name. What fits without losing anything is converted, amounts by
their shortest decimal text, so that `0.1` is stored and summed as `0.1`. Anything else is a column
whose type has changed: an error before a row is written.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeAlias

from shared.errors import Permanent
from shared.warehouse.arrow import (
    ChangedColumnError,
    arrow_schema,
    arrow_type,
    is_bytes,
    is_text,
)
from shared.warehouse.schemas import Column

if TYPE_CHECKING:
    import pyarrow as pa

Array: TypeAlias = Any
"""A `pyarrow.Array`; pyarrow comes without types."""


class UnfitValueError(Permanent):
    """A value does not fit its column."""

    code = "source-value-unfit"

    def __init__(self, column: str, kind: str, reason: str) -> None:
        self.column = column
        super().__init__(
            f"A value of column {column} is no {kind} ({reason}); nothing was written."
        )


@dataclass(frozen=True)
class Conversion:
    """How the columns of a source become those of a table; made, and checked, before a row is."""

    schema: "pa.Schema"
    _makers: tuple[Callable[[Any], Array], ...]

    def batch(self, rows: "pa.RecordBatch") -> "pa.RecordBatch":
        """Rows of the source as rows of the table; columns that the source lacks are NULL.

        Raises:
            UnfitValueError: a value is not of its column's type; names the column.
        """
        import pyarrow as pa

        return pa.record_batch([make(rows) for make in self._makers], schema=self.schema)


def conversion(source: "pa.Schema", columns: Sequence[Column]) -> Conversion:
    """How rows with the source's schema become rows with `columns`.

    Names are compared without regard to case, as BigQuery does.

    Raises:
        ChangedColumnError: a column's type cannot be taken; the first one is named.
    """
    present = {name.casefold(): index for index, name in enumerate(source.names)}
    makers = []
    for column in columns:
        index = present.get(column.name.casefold())
        if index is None:
            makers.append(_absent(arrow_type(column)))
        else:
            makers.append(_converted(index, column, _caster(source.field(index).type, column)))
    return Conversion(arrow_schema(columns), tuple(makers))


def _absent(kind: "pa.DataType") -> Callable[[Any], Array]:
    return lambda rows: _nulls(kind, rows.num_rows)


@lru_cache(maxsize=16)
def _nulls(kind: "pa.DataType", count: int) -> Array:
    """One array for all columns of a type: a wide table with few of its columns has many."""
    import pyarrow as pa

    return pa.nulls(count, kind)


Cast: TypeAlias = Callable[[Array], Array]


def _converted(index: int, column: Column, cast: Cast) -> Callable[[Any], Array]:
    import pyarrow as pa

    def make(rows: Any) -> Array:
        try:
            return cast(rows.column(index))
        except (pa.ArrowException, ValueError) as error:
            reason = str(error).partition("\n")[0][:200]
            raise UnfitValueError(column.name, column.type, reason) from error

    return make


def _caster(kind: "pa.DataType", column: Column) -> Cast:
    """How an array of `kind` becomes one of the column.

    Raises:
        ChangedColumnError: not without losing something.
    """
    import pyarrow as pa

    target = arrow_type(column)
    if pa.types.is_dictionary(kind):
        inner = _caster(kind.value_type, column)
        return lambda array: inner(array.dictionary_decode())
    if kind == target:
        return lambda array: array
    if pa.types.is_null(kind):
        return lambda array: pa.nulls(len(array), target)
    if column.mode == "REPEATED":
        return _list_caster(kind, column)
    cast = _scalar_caster(kind, column, target)
    if cast is None:
        raise ChangedColumnError(column.name, before=_described(column), after=str(kind))
    return cast


def _scalar_caster(kind: "pa.DataType", column: Column, target: Any) -> Cast | None:
    import pyarrow as pa

    types = pa.types
    if types.is_decimal(target) and types.is_floating(kind):
        return lambda array: array.cast(pa.string()).cast(target)
    if types.is_decimal(target) and types.is_integer(kind):
        return lambda array: array.cast(pa.decimal128(38, 0)).cast(target)
    if types.is_timestamp(kind) and types.is_timestamp(target):
        return lambda array: _in_utc(array).cast(target)
    widens = (
        (types.is_integer(kind) and column.type == "INTEGER")
        or (types.is_floating(kind) and column.type == "FLOAT")
        or (types.is_decimal(kind) and types.is_decimal(target))
        or (types.is_date(kind) and column.type == "DATE")
        or (types.is_time(kind) and column.type == "TIME")
        or (is_text(kind) and column.type == "STRING")
        or (is_bytes(kind) and column.type == "BYTES")
    )
    if widens:
        return lambda array: array.cast(target)
    if types.is_struct(kind) and column.type == "RECORD":
        return _struct_caster(kind, column)
    return None


def _in_utc(array: Array) -> Array:
    """Times of microseconds in UTC: providers leave the zone of their UTC times out."""
    import pyarrow as pa

    fine = array.cast(pa.timestamp("us", array.type.tz))
    return fine if array.type.tz else fine.cast(pa.timestamp("us", "UTC"))


def _list_caster(kind: "pa.DataType", column: Column) -> Cast:
    """Lists, and mappings as lists of `key` and `value`; a list that is NULL becomes empty."""
    import pyarrow as pa
    import pyarrow.compute as pc

    single = column.model_copy(update={"mode": "NULLABLE"})
    pairs = None
    if pa.types.is_map(kind):
        pairs = pa.struct([("key", kind.key_type), ("value", _value_type(kind, column))])
        cast = _caster(pairs, single)
    elif pa.types.is_list(kind) or pa.types.is_large_list(kind):
        cast = _caster(kind.value_type, single)
    else:
        raise ChangedColumnError(column.name, before=_described(column), after=str(kind))

    def relist(array: Array) -> Array:
        filled = array.cast(pa.list_(pairs)) if pairs else array
        lengths = pc.fill_null(pc.list_value_length(filled), 0).cast(pa.int32())
        offsets = pa.concat_arrays([pa.array([0], pa.int32()), pc.cumulative_sum(lengths)])
        return pa.ListArray.from_arrays(offsets, cast(filled.flatten())).cast(arrow_type(column))

    return relist


def _value_type(kind: "pa.DataType", column: Column) -> "pa.DataType":
    """Type of a mapping's values: text where the column has text, as their types differ by key."""
    import pyarrow as pa

    as_text = any(part.name == "value" and part.type == "STRING" for part in column.fields)
    return pa.string() if as_text else kind.item_type


def _struct_caster(kind: "pa.DataType", column: Column) -> Cast:
    import pyarrow as pa
    import pyarrow.compute as pc

    present = {kind.field(i).name.casefold(): i for i in range(kind.num_fields)}
    known = {inner.name.casefold() for inner in column.fields}
    unknown = sorted(present.keys() - known)
    if unknown:
        raise ChangedColumnError(f"{column.name}.{unknown[0]}", before="no column", after=str(kind))
    casts = [
        (index, _caster(kind.field(index).type, inner))
        if (index := present.get(inner.name.casefold())) is not None
        else None
        for inner in column.fields
    ]
    target = arrow_type(column)

    def restructure(array: Array) -> Array:
        children = [
            pa.nulls(len(array), target.field(position).type)
            if found is None
            else found[1](array.field(found[0]))
            for position, found in enumerate(casts)
        ]
        mask = pc.is_null(array) if array.null_count else None
        return pa.StructArray.from_arrays(children, fields=list(target), mask=mask)

    return restructure


def _described(column: Column) -> str:
    return f"ARRAY<{column.type}>" if column.mode == "REPEATED" else column.type
