"""Functions whose arguments are no plain values: patterns with groups, date arrays, ERROR, ..."""

import re
from typing import TYPE_CHECKING, Any

from sqlglot import exp

from infra.local.bigquery.sql import casts, dates
from infra.local.bigquery.sql.failures import MARK, invalid
from infra.local.bigquery.sql.operators import no_signature
from infra.local.bigquery.sql.scope import Scope
from infra.local.bigquery.sql.typed import Typed, string
from infra.local.bigquery.sql.typesystem import (
    BYTES,
    DATE,
    INT64,
    NULL,
    STRING,
    TIMESTAMP,
    array_of,
)

if TYPE_CHECKING:
    from infra.local.bigquery.sql.translator import Translator


def _arguments(
    tr: "Translator", node: exp.Anonymous, scope: Scope, low: int, high: int
) -> list[Typed]:
    if not low <= len(node.expressions) <= high:
        raise invalid(f"Number of arguments does not match for function {node.name.upper()}", node)
    return [tr.expr(argument, scope) for argument in node.expressions]


def _texts(tr: "Translator", values: list[Typed], node: exp.Anonymous) -> list[Typed]:
    coerced = [casts.coerce(tr.context, value, STRING) for value in values]
    if None in coerced:
        raise no_signature(f"function {node.name.upper()}", values, node)
    return [value for value in coerced if value is not None]


def _group(pattern: Typed, node: exp.Anonymous) -> int:
    if not isinstance(pattern.literal, str):
        return 0
    try:
        groups = re.compile(pattern.literal).groups
    except re.error:
        return 0
    if groups > 1:
        raise invalid(
            "Regular expressions passed into extraction functions must not have more"
            f" than 1 capturing group: {pattern.literal}",
            node,
        )
    return groups


def _regexp_extract(tr: "Translator", node: exp.Anonymous, scope: Scope) -> Typed:
    values = _arguments(tr, node, scope, 2, 4)
    text, pattern = _texts(tr, values[:2], node)
    group = _group(pattern, node)
    source = text.sql
    if len(values) > 2:
        source = f"substring({source}, {values[2].sql})"
    if len(values) == 4:
        found = f"regexp_extract_all({source}, {pattern.sql}, {group})"
        return Typed(f"list_extract({found}, {values[3].sql})", STRING)
    # DuckDB gives '' where nothing matches
    return Typed(
        f"CASE WHEN regexp_matches({source}, {pattern.sql})"
        f" THEN regexp_extract({source}, {pattern.sql}, {group}) END",
        STRING,
    )


def _regexp_extract_all(tr: "Translator", node: exp.Anonymous, scope: Scope) -> Typed:
    text, pattern = _texts(tr, _arguments(tr, node, scope, 2, 2), node)
    group = _group(pattern, node)
    return Typed(f"regexp_extract_all({text.sql}, {pattern.sql}, {group})", array_of(STRING))


def _regexp_instr(tr: "Translator", node: exp.Anonymous, scope: Scope) -> Typed:
    text, pattern = _texts(tr, _arguments(tr, node, scope, 2, 2), node)
    whole = f"regexp_extract({text.sql}, {pattern.sql}, 0)"
    return Typed(
        f"CASE WHEN {text.sql} IS NULL OR {pattern.sql} IS NULL THEN NULL"
        f" WHEN regexp_matches({text.sql}, {pattern.sql}) THEN instr({text.sql}, {whole})"
        " ELSE 0 END",
        INT64,
    )


def _date_array(tr: "Translator", node: exp.Anonymous, scope: Scope) -> Typed:
    """GENERATE_DATE_ARRAY(start, end[, INTERVAL n part])."""
    low, high, step = _series(tr, node, scope, DATE, "to_days(1)")
    series = f"generate_series(CAST({low} AS TIMESTAMP), CAST({high} AS TIMESTAMP), {step})"
    return Typed(f"CAST({series} AS DATE[])", array_of(DATE))


def _timestamp_array(tr: "Translator", node: exp.Anonymous, scope: Scope) -> Typed:
    """GENERATE_TIMESTAMP_ARRAY(start, end, INTERVAL n part)."""
    low, high, step = _series(tr, node, scope, TIMESTAMP, "to_days(1)")
    return Typed(f"generate_series({low}, {high}, {step})", array_of(TIMESTAMP))


def _series(
    tr: "Translator", node: exp.Anonymous, scope: Scope, kind: Any, step: str
) -> tuple[str, str, str]:
    name = node.name.upper()
    if not 2 <= len(node.expressions) <= 3:
        raise invalid(f"Number of arguments does not match for function {name}", node)
    low, high = (
        tr.coerced(argument, scope, kind, f"function {name}") for argument in node.expressions[:2]
    )
    if len(node.expressions) == 3:
        given = node.expressions[2]
        if not isinstance(given, exp.Interval):
            raise invalid(f"{name} expects INTERVAL as its third argument", given)
        step = dates.interval(tr, given, scope).sql
    return low.sql, high.sql, step


def _error(tr: "Translator", node: exp.Anonymous, scope: Scope) -> Typed:
    (message,) = _texts(tr, _arguments(tr, node, scope, 1, 1), node)
    return Typed(f"CAST('{MARK}' || {message.sql} AS BIGINT)", NULL)


def _session_user(tr: "Translator", node: exp.Anonymous, scope: Scope) -> Typed:
    _arguments(tr, node, scope, 0, 0)
    value = string(tr.context.environment.session_user)
    return Typed(value.sql, STRING)


def _sha512(tr: "Translator", node: exp.Anonymous, scope: Scope) -> Typed:
    (value,) = _arguments(tr, node, scope, 1, 1)
    if value.kind not in {STRING, BYTES}:
        raise no_signature("function SHA512", [value], node)
    raise invalid("SHA512 is not available in the local BigQuery", node)


def _unavailable(tr: "Translator", node: exp.Anonymous, scope: Scope) -> Typed:
    del tr, scope
    raise invalid(f"{node.name.upper()} is not available in the local BigQuery", node)


def _normalize(tr: "Translator", node: exp.Anonymous, scope: Scope) -> Typed:
    mode = node.expressions[1].name.upper() if len(node.expressions) > 1 else "NFC"
    if mode != "NFC":
        raise invalid(f"NORMALIZE mode {mode} is not available in the local BigQuery", node)
    value = tr.coerced(node.expressions[0], scope, STRING, "function NORMALIZE")
    return Typed(f"nfc_normalize({value.sql})", STRING)


SPECIAL = {
    "REGEXP_EXTRACT": _regexp_extract,
    "REGEXP_SUBSTR": _regexp_extract,
    "REGEXP_EXTRACT_ALL": _regexp_extract_all,
    "REGEXP_INSTR": _regexp_instr,
    "GENERATE_DATE_ARRAY": _date_array,
    "GENERATE_TIMESTAMP_ARRAY": _timestamp_array,
    "ERROR": _error,
    "SESSION_USER": _session_user,
    "SHA512": _sha512,
    "FARM_FINGERPRINT": _unavailable,
    "NORMALIZE": _normalize,
}
