"""Type names in SQL: CAST targets, column definitions, DECLARE."""

from typing import Any

from sqlglot import exp

from infra.local.bigquery.sql.failures import invalid
from infra.local.bigquery.sql.typesystem import (
    SCALARS,
    Field,
    SqlType,
    array_of,
    struct_of,
    type_field,
)

_KINDS = {
    exp.DType.BIGINT: "INT64",
    exp.DType.INT: "INT64",
    exp.DType.SMALLINT: "INT64",
    exp.DType.TINYINT: "INT64",
    exp.DType.DOUBLE: "FLOAT64",
    exp.DType.FLOAT: "FLOAT64",
    exp.DType.DECIMAL: "NUMERIC",
    exp.DType.BIGDECIMAL: "BIGNUMERIC",
    exp.DType.BOOLEAN: "BOOL",
    exp.DType.TEXT: "STRING",
    exp.DType.VARCHAR: "STRING",
    exp.DType.BINARY: "BYTES",
    exp.DType.VARBINARY: "BYTES",
    exp.DType.DATE: "DATE",
    exp.DType.TIMESTAMP: "DATETIME",
    exp.DType.DATETIME: "DATETIME",
    exp.DType.TIME: "TIME",
    exp.DType.TIMESTAMPTZ: "TIMESTAMP",
    exp.DType.JSON: "JSON",
    exp.DType.INTERVAL: "INTERVAL",
    exp.DType.GEOGRAPHY: "GEOGRAPHY",
}


def read_type(node: exp.Expr) -> SqlType:
    """The type that a syntax node names; length and precision parameters are left to `read_field`.

    Raises:
        ApiError: "Type not found".
    """
    if isinstance(node, exp.DataType):
        if node.this == exp.DType.ARRAY:
            if not node.expressions:
                raise invalid("Type not found: ARRAY needs an element type", node)
            return array_of(read_type(node.expressions[0]))
        if node.this == exp.DType.STRUCT:
            return struct_of(_struct_field(item) for item in node.expressions)
        kind = _KINDS.get(node.this)
        if kind is not None:
            return SCALARS[kind]
    if isinstance(node, exp.Interval):
        return SCALARS["INTERVAL"]
    raise invalid(f"Type not found: {node.sql('bigquery')}", node)


def _struct_field(node: exp.Expr) -> tuple[str, SqlType]:
    if isinstance(node, exp.ColumnDef):
        if node.kind is None:
            raise invalid(f"Type not found: {node.name}", node)
        return node.name, read_type(node.kind)
    return "", read_type(node)


def read_field(name: str, node: exp.Expr) -> Field:
    """The REST schema field of a column definition's name and type."""
    field = type_field(name, read_type(node))
    _add_parameters(field, node)
    return field


def _add_parameters(field: Field, node: exp.Expr) -> None:
    if not isinstance(node, exp.DataType):
        return
    if node.this == exp.DType.ARRAY:
        _add_parameters(field, node.expressions[0])
        return
    if node.this == exp.DType.STRUCT:
        for inner, definition in zip(field["fields"], node.expressions, strict=True):
            if isinstance(definition, exp.ColumnDef) and definition.kind is not None:
                _add_parameters(inner, definition.kind)
        return
    values = [_parameter(item) for item in node.expressions]
    if not values:
        return
    if field["type"] in {"STRING", "BYTES"}:
        field["maxLength"] = values[0]
    elif field["type"] in {"NUMERIC", "BIGNUMERIC"}:
        field["precision"] = values[0]
        if len(values) > 1:
            field["scale"] = values[1]


def _parameter(node: Any) -> str:
    return str(node.this.name if isinstance(node, exp.DataTypeParam) else node.name)
