"""Parquet as Arrow rows of a table's schema."""

import io
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet

from infra.local.bigquery.errors import ApiError
from infra.local.bigquery.schemas import by_name
from infra.local.bigquery.types import arrow_schema, schema_from_arrow

Field = dict[str, Any]


def open_parquet(content: bytes) -> pa.Table:
    """The file as it is.

    Raises:
        ApiError: 400 invalid when it is no Parquet.
    """
    try:
        return pa.parquet.read_table(io.BytesIO(content))
    except (pa.ArrowException, OSError) as error:
        raise ApiError.invalid(
            f"Error while reading data, error message: Input file is not in Parquet format. {error}"
        ) from error


def parquet_schema(table: pa.Table) -> list[Field]:
    """The schema that the file brings.

    Raises:
        ApiError: 400 invalid for a type that BigQuery does not load.
    """
    try:
        return schema_from_arrow(table.schema)
    except ValueError as error:
        raise ApiError.invalid(f"Error while reading data, error message: {error}") from error


def shape_parquet(table: pa.Table, schema: list[Field], *, ignore_unknown: bool) -> pa.Table:
    """The file's rows with the columns of `schema`, found by name; absent ones are NULL.

    Raises:
        ApiError: 400 invalid for unknown columns, unfit types, NULL in REQUIRED columns.
    """
    present = {name.casefold(): index for index, name in enumerate(table.schema.names)}
    unknown = [name for name in table.schema.names if name.casefold() not in by_name(schema)]
    if unknown and not ignore_unknown:
        raise ApiError.invalid(f"Provided Schema does not match: no such field: {unknown[0]}.")
    target = arrow_schema(schema)
    columns = []
    for field, wanted in zip(schema, target, strict=True):
        index = present.get(field["name"].casefold())
        if index is None:
            columns.append(_absent(field, wanted.type, table.num_rows))
        else:
            columns.append(_column(table.column(index), field, wanted.type))
    return pa.table(columns, schema=target)


def _absent(field: Field, kind: pa.DataType, rows: int) -> pa.Array:
    if field["mode"] == "REQUIRED" and rows:
        raise ApiError.invalid(f"Missing required field: {field['name']}.")
    if field["mode"] == "REPEATED":
        return pa.array([[]] * rows, kind)
    return pa.nulls(rows, kind)


def _column(column: pa.ChunkedArray, field: Field, kind: pa.DataType) -> pa.ChunkedArray:
    try:
        chunks = [shaped(chunk, field, kind) for chunk in column.chunks]
    except (pa.ArrowException, ValueError) as error:
        raise ApiError.invalid(
            "Error while reading data, error message:"
            f" Parquet column '{field['name']}' has type {column.type} which does not match the"
            f" target type {field['type']}: {error}"
        ) from error
    if field["mode"] == "REQUIRED" and column.null_count:
        raise ApiError.invalid(f"Missing required field: {field['name']}.")
    return pa.chunked_array(chunks, kind)


def shaped(array: pa.Array, field: Field, target: pa.DataType) -> pa.Array:
    """A column in its target type; structs by field name, lists without NULL."""
    if array.type == target and field["mode"] != "REPEATED" and field["type"] != "RECORD":
        return array
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if field["mode"] == "REPEATED":
        return _shaped_list(array, field, target)
    if field["type"] == "RECORD":
        return _shaped_record(array, field, target)
    return array.cast(target, safe=not pa.types.is_timestamp(target))


def _shaped_list(array: pa.Array, field: Field, target: pa.DataType) -> pa.Array:
    if pa.types.is_struct(array.type):  # the three-level form without list inference
        array = array.field(0)
    if pa.types.is_struct(array.type.value_type) and not _is_record_list(array.type, field):
        inner = array.flatten()
        array = _relisted(array, inner.field(0))
    single = {**field, "mode": "NULLABLE"}
    values = array.flatten()
    if values.null_count:
        raise ValueError(f"REPEATED field {field['name']} contains NULL")
    return _relisted(array, shaped(values, single, target.value_type)).cast(target)


def _is_record_list(kind: pa.DataType, field: Field) -> bool:
    return field["type"] == "RECORD" and kind.value_type.num_fields > 0


def _relisted(array: pa.Array, values: pa.Array) -> pa.Array:
    """A list array with other values and without NULL lists."""
    lengths = pc.fill_null(pc.list_value_length(array), 0)
    offsets = pa.concat_arrays(
        [pa.array([0], pa.int32()), pc.cumulative_sum(lengths).cast(pa.int32())]
    )
    return pa.ListArray.from_arrays(offsets, values)


def _shaped_record(array: pa.Array, field: Field, target: pa.DataType) -> pa.Array:
    if not pa.types.is_struct(array.type):
        raise ValueError(f"{field['name']} is no record")
    names = {array.type.field(i).name.casefold(): i for i in range(array.type.num_fields)}
    valid = array.is_valid()
    children = []
    for index, child in enumerate(field["fields"]):
        kind = target.field(index).type
        position = names.get(child["name"].casefold())
        if position is None:
            children.append(_absent({**child, "mode": _optional(child)}, kind, len(array)))
            continue
        values = array.field(position)
        if child["mode"] == "REQUIRED" and values.filter(valid).null_count:
            raise ValueError(f"Missing required field: {child['name']}.")
        children.append(shaped(values, child, kind))
    return pa.StructArray.from_arrays(children, fields=list(target), mask=pc.invert(valid))


def _optional(field: Field) -> str:
    return "REPEATED" if field["mode"] == "REPEATED" else "NULLABLE"
