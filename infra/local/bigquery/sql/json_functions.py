"""JSON functions: paths, conversions from and to SQL values."""

import re
from typing import TYPE_CHECKING, Any

from sqlglot import exp

from infra.local.bigquery.sql import casts
from infra.local.bigquery.sql.failures import invalid
from infra.local.bigquery.sql.operators import no_signature
from infra.local.bigquery.sql.scope import Scope
from infra.local.bigquery.sql.typed import Typed
from infra.local.bigquery.sql.typesystem import (
    BOOL,
    FLOAT64,
    INT64,
    JSON,
    STRING,
    SqlType,
    array_of,
    field_names,
    quoted,
    text_literal,
)

if TYPE_CHECKING:
    from infra.local.bigquery.sql.translator import Translator

_STEP = re.compile(
    r"""\.(?:"((?:[^"\\]|\\.)*)"|([A-Za-z_0-9\-:$@]+))|\[\s*(\d+)\s*\]|\['((?:[^'\\]|\\.)*)'\]"""
    r"""|\["((?:[^"\\]|\\.)*)"\]"""
)


def duckdb_path(path: str, node: Any) -> str:
    """A JSONPath as DuckDB reads it: every member name quoted.

    Raises:
        ApiError: an unsupported path.
    """
    if not path.startswith("$"):
        raise invalid("JSONPath must start with '$'", node)
    result, at = "$", 1
    while at < len(path):
        match = _STEP.match(path, at)
        if match is None:
            raise invalid(f"Unsupported operator in JSONPath: {path}", node)
        dotted, bare, index, single, double = match.groups()
        if index is not None:
            result += f"[{index}]"
        else:
            name = next(n for n in (dotted, bare, single, double) if n is not None)
            result += '."' + name.replace('"', '\\"') + '"'
        at = match.end()
    return result


def _document(tr: "Translator", node: exp.Anonymous, scope: Scope) -> tuple[Typed, str]:
    """The first argument, and the path of the second as DuckDB text."""
    name = node.name.upper()
    if not 1 <= len(node.expressions) <= 2:
        raise invalid(f"Number of arguments does not match for function {name}", node)
    value = tr.expr(node.expressions[0], scope)
    if value.kind not in {JSON, STRING}:
        coerced = casts.coerce(tr.context, value, STRING)
        if coerced is None:
            raise no_signature(f"function {name}", [value], node)
        value = coerced
    value = _well_formed(value)
    if len(node.expressions) == 1:
        return value, "'$'"
    path = tr.coerced(node.expressions[1], scope, STRING, f"function {name}")
    if isinstance(path.literal, str):
        return value, text_literal(duckdb_path(path.literal, node))
    return value, path.sql


def _well_formed(value: Typed) -> Typed:
    """Malformed text counts as NULL, as in BigQuery's functions over STRING."""
    if value.kind != STRING:
        return value
    return Typed(f"CASE WHEN json_valid({value.sql}) THEN {value.sql} END", STRING)


def _query(tr: "Translator", node: exp.Anonymous, scope: Scope) -> Typed:
    value, path = _document(tr, node, scope)
    found = f"json_extract({value.sql}, {path})"
    if value.kind == JSON:
        return Typed(found, JSON)
    return Typed(f"nullif(CAST({found} AS VARCHAR), 'null')", STRING)


def _value(tr: "Translator", node: exp.Anonymous, scope: Scope) -> Typed:
    value, path = _document(tr, node, scope)
    found = f"bq.jscalar(json_extract({value.sql}, {path}))"
    return Typed(found, STRING)


def _query_array(tr: "Translator", node: exp.Anonymous, scope: Scope) -> Typed:
    value, path = _document(tr, node, scope)
    found = f"CAST(json_extract({value.sql}, {path}) AS JSON[])"
    if value.kind == JSON:
        return Typed(f"TRY({found})", array_of(JSON))
    texts = f"list_transform({found}, lambda e: CAST(e AS VARCHAR))"
    return Typed(f"TRY({texts})", array_of(STRING))


def _value_array(tr: "Translator", node: exp.Anonymous, scope: Scope) -> Typed:
    value, path = _document(tr, node, scope)
    found = f"CAST(json_extract({value.sql}, {path}) AS JSON[])"
    texts = f"TRY(list_transform({found}, lambda e: bq.jscalar(e)))"
    return Typed(texts, array_of(STRING))


def _parse(tr: "Translator", node: exp.Anonymous, scope: Scope) -> Typed:
    positional = [item for item in node.expressions if not isinstance(item, exp.Kwarg)]
    if len(positional) != 1:
        raise invalid("Number of arguments does not match for function PARSE_JSON", node)
    value = tr.coerced(positional[0], scope, STRING, "function PARSE_JSON")
    return Typed(f"bq.s2j({value.sql})", JSON)


# --- from SQL values


def json_text(sql: str, kind: SqlType) -> str:
    """DuckDB text of a value's JSON text, as TO_JSON_STRING writes it."""
    if kind.is_array:
        inner = json_text("e", kind.item)
        return (
            f"coalesce('[' || array_to_string(list_transform({sql}, lambda e: {inner}), ',')"
            " || ']', 'null')"
        )
    if kind.is_struct:
        return _struct_text(sql, kind)
    text = _SCALARS[kind.kind].replace("{0}", sql)
    return f"coalesce({text}, 'null')"


def _struct_text(sql: str, kind: SqlType) -> str:
    parts = []
    stored = field_names(kind.fields)
    for position, (name, field) in enumerate(kind.fields):
        key = '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '":'
        lead = ("," if position else "{") + key
        parts.append(
            f"{text_literal(lead)} || {json_text(f'({sql}).{quoted(stored[position])}', field)}"
        )
    if not parts:
        return f"CASE WHEN {sql} IS NULL THEN 'null' ELSE '{{}}' END"
    return f"CASE WHEN {sql} IS NULL THEN 'null' ELSE {' || '.join(parts)} || '}}' END"


_QUOTED = "CAST(to_json({0}) AS VARCHAR)"
_SCALARS = {
    "INT64": "CASE WHEN abs({0}) <= 9007199254740992 THEN CAST({0} AS VARCHAR)"
    " ELSE '\"' || CAST({0} AS VARCHAR) || '\"' END",
    "NULL": "CAST({0} AS VARCHAR)",
    "FLOAT64": "CASE WHEN isnan({0}) THEN '\"NaN\"' WHEN isinf({0}) THEN"
    " CASE WHEN {0} > 0 THEN '\"Infinity\"' ELSE '\"-Infinity\"' END ELSE bq.f2s({0}) END",
    "NUMERIC": "bq.n2s({0})",
    "BIGNUMERIC": "bq.n2s({0})",
    "BOOL": "CAST({0} AS VARCHAR)",
    "STRING": _QUOTED,
    "GEOGRAPHY": _QUOTED,
    "BYTES": "('\"' || to_base64({0}) || '\"')",
    "DATE": "('\"' || CAST({0} AS VARCHAR) || '\"')",
    "TIME": "('\"' || bq.t2s({0}) || '\"')",
    "DATETIME": "('\"' || replace(bq.dt2s({0}), ' ', 'T') || '\"')",
    "TIMESTAMP": "('\"' || replace(replace(bq.ts2s({0}), ' ', 'T'), '+00', 'Z') || '\"')",
    "JSON": "CAST({0} AS VARCHAR)",
    "INTERVAL": "('\"' || bq.iv2s({0}) || '\"')",
}


def _to_json_string(tr: "Translator", node: exp.Anonymous, scope: Scope) -> Typed:
    value = tr.expr(node.expressions[0], scope)
    return Typed(json_text(value.sql, value.kind), STRING)


def _to_json(tr: "Translator", node: exp.Anonymous, scope: Scope) -> Typed:
    value = tr.expr(node.expressions[0], scope)
    if value.kind == JSON:
        return value
    return Typed(f"CAST({json_text(value.sql, value.kind)} AS JSON)", JSON)


def _json_object(tr: "Translator", node: exp.Anonymous, scope: Scope) -> Typed:
    if len(node.expressions) % 2:
        raise invalid("JSON_OBJECT expects keys and values in pairs", node)
    parts = []
    for position in range(0, len(node.expressions), 2):
        key = tr.coerced(node.expressions[position], scope, STRING, "function JSON_OBJECT")
        value = tr.expr(node.expressions[position + 1], scope)
        lead = "," if position else ""
        parts.append(
            f"'{lead}' || CAST(to_json({key.sql}) AS VARCHAR) || ':' ||"
            f" {json_text(value.sql, value.kind)}"
        )
    return Typed(f"CAST('{{' || {' || '.join(parts) or _EMPTY} || '}}' AS JSON)", JSON)


_EMPTY = "''"


def _json_array(tr: "Translator", node: exp.Anonymous, scope: Scope) -> Typed:
    values = [tr.expr(argument, scope) for argument in node.expressions]
    inner = " || ',' || ".join(json_text(value.sql, value.kind) for value in values) or _EMPTY
    return Typed(f"CAST('[' || {inner} || ']' AS JSON)", JSON)


def _scalar(kind: SqlType, *, lax: bool) -> Any:
    """INT64(json), LAX_INT64(json) and the like."""

    def convert(tr: "Translator", node: exp.Anonymous, scope: Scope) -> Typed:
        value = tr.expr(node.expressions[0], scope)
        if value.kind != JSON:
            raise no_signature(f"function {node.name.upper()}", [value], node, "(JSON)")
        text = f"bq.jscalar({value.sql})"
        sql = text if kind == STRING else casts.converted_sql(text, STRING, kind) or text
        return Typed(f"TRY({sql})" if lax else sql, kind)

    return convert


def _string_of(tr: "Translator", node: exp.Anonymous, scope: Scope) -> Typed:
    """STRING(json), STRING(timestamp[, zone]), STRING(date|datetime|time)."""
    if not 1 <= len(node.expressions) <= 2:
        raise invalid("Number of arguments does not match for function STRING", node)
    value = tr.expr(node.expressions[0], scope)
    if value.kind == JSON:
        return Typed(f"bq.jscalar({value.sql})", STRING)
    if len(node.expressions) == 2:
        zone = tr.coerced(node.expressions[1], scope, STRING, "function STRING")
        local = f"bq.dt2s(timezone({zone.sql}, {value.sql}))"
        offset = (
            f"((epoch_us(timezone({zone.sql}, {value.sql})) - epoch_us({value.sql})) // 60000000)"
        )
        shown = (
            f"CASE WHEN {offset} < 0 THEN '-' ELSE '+' END ||"
            f" lpad(CAST(abs({offset}) // 60 AS VARCHAR), 2, '0') ||"
            f" CASE WHEN {offset} % 60 <> 0 THEN ':' ||"
            f" lpad(CAST(abs({offset}) % 60 AS VARCHAR), 2, '0') ELSE '' END"
        )
        return Typed(f"({local} || {shown})", STRING)
    return casts.cast(tr.context, value, STRING, node)


def _json_type(tr: "Translator", node: exp.Anonymous, scope: Scope) -> Typed:
    value = tr.coerced(node.expressions[0], scope, JSON, "function JSON_TYPE")
    names = (
        ("OBJECT", "object"), ("ARRAY", "array"), ("VARCHAR", "string"), ("BOOLEAN", "boolean"),
        ("NULL", "null"),
    )  # fmt: skip
    whens = " ".join(f"WHEN '{theirs}' THEN '{ours}'" for theirs, ours in names)
    return Typed(
        f"CASE WHEN {value.sql} IS NULL THEN NULL ELSE CASE json_type({value.sql})"
        f" {whens} ELSE 'number' END END",
        STRING,
    )


def _json_keys(tr: "Translator", node: exp.Anonymous, scope: Scope) -> Typed:
    value = tr.coerced(node.expressions[0], scope, JSON, "function JSON_KEYS")
    return Typed(f"list_sort(json_keys({value.sql}))", array_of(STRING))


SPECIAL = {
    "JSON_QUERY": _query,
    "JSON_EXTRACT": _query,
    "JSON_VALUE": _value,
    "JSON_EXTRACT_SCALAR": _value,
    "JSON_QUERY_ARRAY": _query_array,
    "JSON_EXTRACT_ARRAY": _query_array,
    "JSON_VALUE_ARRAY": _value_array,
    "JSON_EXTRACT_STRING_ARRAY": _value_array,
    "PARSE_JSON": _parse,
    "TO_JSON_STRING": _to_json_string,
    "TO_JSON": _to_json,
    "JSON_OBJECT": _json_object,
    "JSON_ARRAY": _json_array,
    "JSON_TYPE": _json_type,
    "JSON_KEYS": _json_keys,
    "STRING": _string_of,
    "INT64": _scalar(INT64, lax=False),
    "FLOAT64": _scalar(FLOAT64, lax=False),
    "BOOL": _scalar(BOOL, lax=False),
    "LAX_INT64": _scalar(INT64, lax=True),
    "LAX_FLOAT64": _scalar(FLOAT64, lax=True),
    "LAX_BOOL": _scalar(BOOL, lax=True),
    "LAX_STRING": _scalar(STRING, lax=True),
}
