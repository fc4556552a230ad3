"""Conversions: CAST, SAFE_CAST, and the coercions that BigQuery makes by itself."""

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any

from infra.local.bigquery.errors import ApiError
from infra.local.bigquery.sql import decoding
from infra.local.bigquery.sql.context import Context
from infra.local.bigquery.sql.failures import invalid
from infra.local.bigquery.sql.typed import Typed, null, number
from infra.local.bigquery.sql.typesystem import (
    BIGNUMERIC,
    FLOAT64,
    INT64,
    NULL,
    NUMERIC,
    STRING,
    SqlType,
    array_of,
    duckdb_type,
    field_names,
    quoted,
    struct_of,
    text_literal,
)

_SAME = "{0}"
CASTS: dict[tuple[str, str], str] = {
    ("INT64", "FLOAT64"): "CAST({0} AS DOUBLE)",
    ("INT64", "NUMERIC"): "CAST({0} AS DECIMAL(38,9))",
    ("INT64", "BIGNUMERIC"): "CAST({0} AS DECIMAL(38,18))",
    ("INT64", "BOOL"): "({0} <> 0)",
    ("INT64", "STRING"): "CAST({0} AS VARCHAR)",
    ("FLOAT64", "INT64"): "bq.f2i({0})",
    ("FLOAT64", "NUMERIC"): "bq.f2n({0})",
    ("FLOAT64", "BIGNUMERIC"): "bq.f2bn({0})",
    ("FLOAT64", "STRING"): "bq.f2s({0})",
    ("NUMERIC", "INT64"): "CAST({0} AS BIGINT)",
    ("NUMERIC", "FLOAT64"): "CAST(CAST({0} AS VARCHAR) AS DOUBLE)",
    ("NUMERIC", "BIGNUMERIC"): "CAST({0} AS DECIMAL(38,18))",
    ("NUMERIC", "STRING"): "bq.n2s({0})",
    ("BIGNUMERIC", "INT64"): "CAST({0} AS BIGINT)",
    ("BIGNUMERIC", "FLOAT64"): "CAST(CAST({0} AS VARCHAR) AS DOUBLE)",
    ("BIGNUMERIC", "NUMERIC"): "CAST({0} AS DECIMAL(38,9))",
    ("BIGNUMERIC", "STRING"): "bq.n2s({0})",
    ("BOOL", "INT64"): "CAST({0} AS BIGINT)",
    ("BOOL", "STRING"): "CAST({0} AS VARCHAR)",
    ("STRING", "INT64"): "bq.s2i({0})",
    ("STRING", "FLOAT64"): "bq.s2f({0})",
    ("STRING", "NUMERIC"): "bq.s2n({0})",
    ("STRING", "BIGNUMERIC"): "bq.s2bn({0})",
    ("STRING", "BOOL"): "bq.s2b({0})",
    ("STRING", "BYTES"): "encode({0})",
    ("STRING", "DATE"): "bq.s2d({0})",
    ("STRING", "DATETIME"): "bq.s2dt({0})",
    ("STRING", "TIME"): "bq.s2t({0})",
    ("STRING", "TIMESTAMP"): "bq.s2ts({0})",
    ("STRING", "INTERVAL"): "CAST({0} AS INTERVAL)",
    ("STRING", "GEOGRAPHY"): _SAME,
    ("BYTES", "STRING"): "bq.utf8({0})",
    ("DATE", "STRING"): "CAST({0} AS VARCHAR)",
    ("DATE", "DATETIME"): "CAST({0} AS TIMESTAMP)",
    ("DATE", "TIMESTAMP"): "CAST({0} AS TIMESTAMPTZ)",
    ("DATETIME", "STRING"): "bq.dt2s({0})",
    ("DATETIME", "DATE"): "CAST({0} AS DATE)",
    ("DATETIME", "TIME"): "CAST({0} AS TIME)",
    ("DATETIME", "TIMESTAMP"): "timezone('UTC', {0})",
    ("TIME", "STRING"): "bq.t2s({0})",
    ("TIMESTAMP", "STRING"): "bq.ts2s({0})",
    ("TIMESTAMP", "DATE"): "CAST({0} AS DATE)",
    ("TIMESTAMP", "DATETIME"): "timezone('UTC', {0})",
    ("TIMESTAMP", "TIME"): "CAST(timezone('UTC', {0}) AS TIME)",
    ("INTERVAL", "STRING"): "bq.iv2s({0})",
}
# BigQuery, conversion rules: what is coerced without a CAST, nearest first
_IMPLICIT = {
    "INT64": ("NUMERIC", "BIGNUMERIC", "FLOAT64"),
    "NUMERIC": ("BIGNUMERIC", "FLOAT64"),
    "BIGNUMERIC": ("FLOAT64",),
    "DATE": ("DATETIME",),
}
_FROM_TEXT = {"DATE", "DATETIME", "TIME", "TIMESTAMP"}
_NUMBERS = {"INT64", "NUMERIC", "BIGNUMERIC", "FLOAT64"}
_RANK = ("INT64", "NUMERIC", "BIGNUMERIC", "FLOAT64")


def converted_sql(sql: str, source: SqlType, target: SqlType) -> str | None:
    """DuckDB text of a conversion, or None where BigQuery has none."""
    if source == target or target.kind == "NULL":
        return sql
    if source.kind == "NULL":
        return f"CAST({sql} AS {duckdb_type(target)})"
    if source.is_array and target.is_array:
        inner = converted_sql("e", source.item, target.item)
        return None if inner is None else f"list_transform({sql}, lambda e: {inner})"
    if source.is_struct and target.is_struct:
        return _struct_sql(sql, source, target)
    template = CASTS.get((source.kind, target.kind))
    return None if template is None else template.replace("{0}", sql)


def _struct_sql(sql: str, source: SqlType, target: SqlType) -> str | None:
    if len(source.fields) != len(target.fields):
        return None
    if duckdb_type(source) == duckdb_type(target):
        return sql
    parts = []
    new_names = field_names(target.fields)
    for position, old in enumerate(field_names(source.fields)):
        inner = converted_sql(
            f"({sql}).{quoted(old)}", source.fields[position][1], target.fields[position][1]
        )
        if inner is None:
            return None
        parts.append(f"{quoted(new_names[position])} := {inner}")
    return f"CASE WHEN {sql} IS NULL THEN NULL ELSE struct_pack({', '.join(parts)}) END"


# --- coercion


def coerce(context: Context, value: Typed, target: SqlType) -> Typed | None:
    """`value` as `target` by the conversions that need no CAST, or None."""
    if value.kind == target:
        return value
    if value.undeclared is not None:
        return _declare(context, value, target)
    if value.kind.kind == "NULL":
        return Typed(f"CAST({value.sql} AS {duckdb_type(target)})", target, name=value.name)
    if value.parts is not None and value.kind.kind == target.kind:
        return _coerce_parts(context, value, target)
    literal = _coerce_literal(value, target)
    if literal is not None:
        return literal
    if not implicit(value.kind, target):
        return None
    sql = converted_sql(value.sql, value.kind, target)
    return None if sql is None else Typed(sql, target, name=value.name)


def _declare(context: Context, value: Typed, target: SqlType) -> Typed:
    name = value.undeclared or ""
    if context.undeclared.get(name) is None:
        context.undeclared[name] = target
    return Typed(f"CAST({value.sql} AS {duckdb_type(target)})", target)


def _coerce_parts(context: Context, value: Typed, target: SqlType) -> Typed | None:
    parts = value.parts or []
    if target.is_array:
        wanted: Sequence[SqlType] = [target.item] * len(parts)
    else:
        wanted = [kind for _, kind in target.fields]
    if len(wanted) != len(parts):
        return None
    coerced = []
    for part, kind in zip(parts, wanted, strict=True):
        one = coerce(context, part, kind)
        if one is None:
            return None
        coerced.append(one)
    return build_array(coerced, target.item) if target.is_array else build_struct(coerced, target)


def build_array(items: list[Typed], element: SqlType) -> Typed:
    """An array of values that have the element's type."""
    kind = array_of(element)
    inner = ", ".join(item.sql for item in items)
    return Typed(f"CAST([{inner}] AS {duckdb_type(kind)})", kind, parts=items)


def build_struct(items: list[Typed], kind: SqlType) -> Typed:
    """A struct of values that have its fields' types."""
    names = field_names(kind.fields)
    inner = ", ".join(f"{quoted(n)} := {item.sql}" for n, item in zip(names, items, strict=True))
    return Typed(f"struct_pack({inner})", kind, parts=items)


def _coerce_literal(value: Typed, target: SqlType) -> Typed | None:
    if not value.coercion:
        return None
    if value.kind.kind == "STRING" and target.kind in _FROM_TEXT:
        sql = converted_sql(value.sql, STRING, target)
        return Typed(sql or "", target, name=value.name)
    if value.coercion != "literal" or target.kind not in _NUMBERS:
        return None
    if isinstance(value.literal, int) and not isinstance(value.literal, bool):
        return number(value.literal, target)
    if isinstance(value.literal, Decimal) and value.kind.kind == "FLOAT64":
        return _float_literal(value.literal, target)
    return None


def _float_literal(value: Decimal, target: SqlType) -> Typed | None:
    if target.kind not in {"NUMERIC", "BIGNUMERIC"}:
        return None
    return number(decoding.exact_decimal(str(value), target.kind), target)


def implicit(source: SqlType, target: SqlType) -> bool:
    """Whether BigQuery coerces an expression (not only a literal) of `source` to `target`."""
    if source == target or source.kind == "NULL":
        return True
    if source.is_struct and target.is_struct:
        return len(source.fields) == len(target.fields) and all(
            implicit(one, other)
            for (_, one), (_, other) in zip(source.fields, target.fields, strict=True)
        )
    if source.is_array and target.is_array:
        return source.item.kind == "NULL" or _same_shape(source.item, target.item)
    return target.kind in _IMPLICIT.get(source.kind, ())


def _same_shape(one: SqlType, other: SqlType) -> bool:
    if one.is_struct and other.is_struct and len(one.fields) == len(other.fields):
        pairs = zip(one.fields, other.fields, strict=True)
        return all(_same_shape(left, right) for (_, left), (_, right) in pairs)
    return one == other


def supertype(values: Iterable[Typed]) -> SqlType | None:
    """The type to which all values coerce, or None. Types of columns win over those of literals."""
    items = [value for value in values if value.kind.kind != "NULL"]
    if not items:
        return NULL
    firm = [value for value in items if not _soft(value)]
    candidates = _join_kinds([value.kind for value in firm or items])
    if candidates is None:
        return None
    result = candidates
    for value in items:
        if implicit(value.kind, result) or _literal_fits(value, result):
            continue
        wider = _join_kinds([result, value.kind])
        if wider is None:
            return None
        result = wider
    return result


def _soft(value: Typed) -> bool:
    if value.parts is not None:
        return (bool(value.parts) and all(_soft(part) for part in value.parts)) or not value.parts
    return value.coercion == "literal" or (
        value.coercion == "parameter" and value.kind.kind == "STRING"
    )


def _literal_fits(value: Typed, target: SqlType) -> bool:
    if value.parts is not None and value.kind.kind == target.kind:
        wanted = (
            [target.item] * len(value.parts)
            if target.is_array
            else [kind for _, kind in target.fields]
        )
        return len(wanted) == len(value.parts) and all(
            implicit(part.kind, kind) or _literal_fits(part, kind)
            for part, kind in zip(value.parts, wanted, strict=True)
        )
    if not value.coercion:
        return False
    if value.kind.kind == "STRING":
        return target.kind in _FROM_TEXT
    if value.coercion != "literal":
        return False
    if value.kind.kind == "INT64":
        return target.kind in _NUMBERS
    return value.kind.kind == "FLOAT64" and target.kind in {"NUMERIC", "BIGNUMERIC"}


def _join_kinds(kinds: list[SqlType]) -> SqlType | None:
    kinds = [kind for kind in kinds if kind.kind != "NULL"] or [NULL]
    first = kinds[0]
    if all(kind == first for kind in kinds):
        return first
    if all(kind.kind in _NUMBERS for kind in kinds):
        top = max(_RANK.index(kind.kind) for kind in kinds)
        return (INT64, NUMERIC, BIGNUMERIC, FLOAT64)[top]
    for kind in kinds:
        if all(implicit(other, kind) for other in kinds):
            return kind
    if all(kind.is_array for kind in kinds):
        inner = _join_kinds([kind.item for kind in kinds])
        return None if inner is None else array_of(inner)
    return _join_structs(kinds)


def _join_structs(kinds: list[SqlType]) -> SqlType | None:
    first = kinds[0]
    if not all(kind.is_struct and len(kind.fields) == len(first.fields) for kind in kinds):
        return None
    fields = []
    for position, (name, _) in enumerate(first.fields):
        joined = _join_kinds([kind.fields[position][1] for kind in kinds])
        if joined is None:
            return None
        fields.append((name, joined))
    return struct_of(fields)


# --- explicit casts


def cast(
    context: Context, value: Typed, target: SqlType, node: Any, *, safe: bool = False
) -> Typed:
    """CAST or SAFE_CAST.

    Raises:
        ApiError: no such conversion, or a literal that has no such value.
    """
    if value.undeclared is not None:
        return _declare(context, value, target)
    if value.kind.kind == "NULL":
        return null(target)
    if value.parts is not None and target.kind == value.kind.kind:
        coerced = _coerce_parts(context, value, target)
        if coerced is not None:
            return coerced
    if not safe:
        check_literal(value, target, node)
    literal = _coerce_literal(value, target)
    if literal is not None and value.kind.kind != "STRING":
        return Typed(literal.sql, target)
    sql = converted_sql(value.sql, value.kind, target)
    if sql is None:
        raise invalid(f"Invalid cast from {value.kind} to {target}", node)
    if safe and value.kind != target:
        sql = f"TRY({sql})"
    return Typed(sql, target)


_CHECKED = {
    "DATE": "DATE",
    "DATETIME": "DATETIME",
    "TIME": "TIME",
    "TIMESTAMP": "TIMESTAMP",
    "INT64": "INTEGER",
    "NUMERIC": "NUMERIC",
    "BIGNUMERIC": "BIGNUMERIC",
}


def check_literal(value: Typed, target: SqlType, node: Any) -> None:
    """BigQuery refuses a literal that cannot be cast while it analyses the query.

    Raises:
        ApiError: `value` is a string literal that is no `target`.
    """
    text = value.literal
    if target.kind not in _CHECKED or not isinstance(text, str) or value.kind != STRING:
        return
    try:
        if target.kind == "INT64":
            int(text.strip(), 16 if "x" in text.lower() else 10)
        else:
            decoding.decode_value(text, {"type": _CHECKED[target.kind], "name": ""})
    except ValueError as error:
        raise _bad_literal(text, target, node) from error


def _bad_literal(text: str, target: SqlType, node: Any) -> ApiError:
    if target.kind == "INT64":
        return invalid(f'Could not cast literal "{text}" to type INT64', node)
    if target.kind in {"NUMERIC", "BIGNUMERIC"}:
        return invalid(f"Invalid {target.kind} literal: {text_literal(text)}", node)
    return invalid(f'Could not cast literal "{text}" to type {target.kind}', node)
