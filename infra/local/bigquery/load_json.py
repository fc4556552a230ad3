"""Newline-delimited JSON as Arrow rows of a table's schema.

Most files are read by Arrow's C++ reader. Whatever it does not take as BigQuery would (text for a
number, other time formats, JSON columns, a bad row) is read again row by row, which also knows
BigQuery's words for what is wrong.
"""

import base64
import binascii
import io
import json
from collections.abc import Iterable, Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json

from infra.local.bigquery.load_errors import BadRecords
from infra.local.bigquery.types import arrow_schema, decode_row

_BLOCK_BYTES = 64 * 1024 * 1024
_READ_AS_TEXT = frozenset({"TIMESTAMP", "DATE", "DATETIME", "TIME", "BYTES"})
_NOT_BY_ARROW = frozenset({"JSON", "INTERVAL", "BIGNUMERIC"})
Field = dict[str, Any]


class _NotByArrowError(Exception):
    """The file needs the slower reader."""


def objects_of(content: bytes, limit: int | None = None) -> Iterator[Any]:
    """The parsed lines; a line that is no JSON comes as a ValueError object."""
    number = 0
    for line in io.BytesIO(content):
        if not line.strip():
            continue
        if limit is not None and number >= limit:
            return
        number += 1
        try:
            yield json.loads(line)
        except ValueError as error:
            yield error


def read_json(
    content: bytes, schema: list[Field], bad: BadRecords, *, ignore_unknown: bool
) -> pa.Table:
    """The rows of the file, columns as in `schema`.

    Raises:
        ApiError: more bad rows than `bad` allows.
    """
    if not ignore_unknown:
        try:
            return _read_by_arrow(content, schema)
        except (_NotByArrowError, pa.ArrowException, OSError):
            pass
    return _read_by_row(content, schema, bad, ignore_unknown=ignore_unknown)


def _read_by_row(
    content: bytes, schema: list[Field], bad: BadRecords, *, ignore_unknown: bool
) -> pa.Table:
    rows = []
    for parsed in objects_of(content):
        bad.rows_read += 1
        try:
            if isinstance(parsed, ValueError):
                raise parsed
            rows.append(decode_row(parsed, schema, ignore_unknown=ignore_unknown))
        except ValueError as error:
            bad.add(f"JSON parsing error in row {bad.rows_read}: {error}")
    return pa.Table.from_pylist(rows, schema=arrow_schema(schema))


def _read_by_arrow(content: bytes, schema: list[Field]) -> pa.Table:
    if not content.strip():
        return arrow_schema(schema).empty_table()
    target = arrow_schema(schema)
    _refuse_types(schema)
    reading = pa.schema(
        pa.field(column.name, _reading_type(field, column.type))
        for column, field in zip(target, schema, strict=True)
    )
    table = pa.json.read_json(
        io.BytesIO(content),
        read_options=pa.json.ReadOptions(block_size=max(_BLOCK_BYTES, len(content) // 8)),
        parse_options=pa.json.ParseOptions(
            explicit_schema=reading, unexpected_field_behavior="error"
        ),
    )
    columns = [
        pa.chunked_array(
            [_converted(chunk, field, column.type) for chunk in table.column(column.name).chunks],
            column.type,
        )
        for column, field in zip(target, schema, strict=True)
    ]
    return pa.table(columns, schema=target)


def _refuse_types(schema: Iterable[Field]) -> None:
    for field in schema:
        if field["type"] in _NOT_BY_ARROW or field.get("maxLength"):
            raise _NotByArrowError
        _refuse_types(field.get("fields", ()))


def _reading_type(field: Field, target: pa.DataType) -> pa.DataType:
    """The type to read a column as: times and bytes are converted from text afterwards."""
    if field["mode"] == "REPEATED":
        return pa.list_(_reading_type({**field, "mode": "NULLABLE"}, target.value_type))
    if field["type"] == "RECORD":
        return pa.struct(
            [
                pa.field(child["name"], _reading_type(child, target.field(index).type))
                for index, child in enumerate(field["fields"])
            ]
        )
    return pa.string() if field["type"] in _READ_AS_TEXT else target


def _converted(array: pa.Array, field: Field, target: pa.DataType) -> pa.Array:
    """What was read, in the column's type; REPEATED without NULLs."""
    if field["mode"] == "REQUIRED" and array.null_count:
        raise _NotByArrowError
    if field["mode"] == "REPEATED":
        return _converted_list(array, field, target)
    if field["type"] == "RECORD":
        children = [
            _converted_child(array, index, child, target.field(index).type)
            for index, child in enumerate(field["fields"])
        ]
        return pa.StructArray.from_arrays(children, fields=list(target), mask=array.is_null())
    if field["type"] in _READ_AS_TEXT:
        return _from_text(array, field["type"], target)
    return array


def _converted_child(
    array: pa.StructArray, index: int, child: Field, target: pa.DataType
) -> pa.Array:
    values = array.field(index)
    if child["mode"] == "REQUIRED" and values.filter(array.is_valid()).null_count:
        raise _NotByArrowError
    return _converted(values, {**child, "mode": _unless_required(child["mode"])}, target)


def _unless_required(mode: str) -> str:
    return "NULLABLE" if mode == "REQUIRED" else mode


def _converted_list(array: pa.ListArray, field: Field, target: pa.DataType) -> pa.Array:
    lengths = pc.fill_null(pc.list_value_length(array), 0)
    values = array.flatten()
    if values.null_count:
        raise _NotByArrowError
    offsets = pa.concat_arrays(
        [pa.array([0], pa.int32()), pc.cumulative_sum(lengths).cast(pa.int32())]
    )
    single = {**field, "mode": "NULLABLE"}
    return pa.ListArray.from_arrays(
        offsets, _converted(values, single, target.value_type), type=target
    )


def _from_text(array: pa.Array, kind: str, target: pa.DataType) -> pa.Array:
    if kind == "BYTES":
        return pa.array([_decoded(value) for value in array.to_pylist()], target)
    if kind == "TIMESTAMP":
        array = pc.replace_substring_regex(array, r" ?UTC$", "Z")
        zoned = pc.match_substring_regex(array, r"(Z|[+-]\d{2}(:?\d{2})?)$")
        if pc.all(zoned).as_py() is False:
            array = pc.if_else(zoned, array, pc.binary_join_element_wise(array, "Z", ""))
    return array.cast(target)


def _decoded(text: str | None) -> bytes | None:
    if text is None:
        return None
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise _NotByArrowError from error
