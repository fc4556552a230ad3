"""FORMAT(): printf-like text of values."""

import re
from typing import TYPE_CHECKING, Any

from sqlglot import exp

from infra.local.bigquery.sql import casts
from infra.local.bigquery.sql.failures import invalid
from infra.local.bigquery.sql.scope import Scope
from infra.local.bigquery.sql.typed import Typed
from infra.local.bigquery.sql.typesystem import (
    DATE,
    DATETIME,
    FLOAT64,
    INT64,
    NUMERIC,
    STRING,
    TIME,
    TIMESTAMP,
    field_names,
    quoted,
    text_literal,
)

if TYPE_CHECKING:
    from infra.local.bigquery.sql.translator import Translator

_SPECIFIER = re.compile(r"%([-+ 0#']*)(\d+|\*)?(?:\.(\d+|\*))?([diouxXfFeEgGspPtT%])")


def _format(tr: "Translator", node: exp.Anonymous, scope: Scope) -> Typed:
    """FORMAT(text, values...): the text must be a literal."""
    if not node.expressions:
        raise invalid("FORMAT expects a format string", node)
    wanted = tr.expr(node.expressions[0], scope)
    if not isinstance(wanted.literal, str):
        raise invalid("FORMAT needs a string literal as its first argument here", node)
    values = [tr.expr(argument, scope) for argument in node.expressions[1:]]
    parts: list[str] = []
    last = 0
    text = wanted.literal
    for match in _SPECIFIER.finditer(text):
        parts.append(text_literal(text[last : match.start()]))
        last = match.end()
        if match.group(4) == "%":
            parts.append("'%'")
            continue
        if not values:
            raise invalid("Too few arguments to FORMAT for pattern", node)
        parts.append(_specified(match, values.pop(0), node))
    parts.append(text_literal(text[last:]))
    if values:
        raise invalid("Too many arguments to FORMAT for pattern", node)
    kept = [part for part in parts if part != "''"]
    return Typed(f"({' || '.join(kept)})" if kept else "''", STRING)


def _specified(match: re.Match[str], value: Typed, node: Any) -> str:
    flags, width, precision, letter = match.groups()
    if width == "*" or precision == "*":
        raise invalid("FORMAT does not support * here", node)
    if letter in "diouxX":
        if value.kind != INT64:
            raise invalid(
                f"Invalid type for argument of FORMAT; Expected INT64; Got {value.kind}", node
            )
        body = _integer_text(value.sql, flags, width, letter)
    elif letter in "fFeEgG":
        if value.kind.kind not in {"FLOAT64", "NUMERIC", "BIGNUMERIC", "INT64"}:
            raise invalid(
                f"Invalid type for argument of FORMAT; Expected FLOAT64; Got {value.kind}", node
            )
        body = _float_text(value, flags, width, precision, letter)
    elif letter == "s":
        if value.kind != STRING:
            raise invalid(
                f"Invalid type for argument of FORMAT; Expected STRING; Got {value.kind}", node
            )
        body = f"left({value.sql}, {precision})" if precision else value.sql
        body = _padded(body, flags, width)
    else:
        body = _padded(printable(value, literal=letter == "T"), flags, width)
    return body


def _padded(sql: str, flags: str, width: str | None) -> str:
    if not width:
        return sql
    side = "rpad" if "-" in flags else "lpad"
    return f"CASE WHEN len({sql}) >= {width} THEN {sql} ELSE {side}({sql}, {width}, ' ') END"


def _integer_text(sql: str, flags: str, width: str | None, letter: str) -> str:
    if "'" in flags:
        return _padded(f"format('{{:,}}', {sql})", flags, width)
    kept = "".join(flag for flag in flags if flag in "-+ 0#")
    shown = "d" if letter in "diu" else letter
    return f"printf('%{kept}{width or ''}{shown}', {sql})"


def _float_text(
    value: Typed, flags: str, width: str | None, precision: str | None, letter: str
) -> str:
    digits = int(precision) if precision is not None else 6
    exact = value.kind.kind in {"NUMERIC", "BIGNUMERIC"} and letter in "fF"
    if exact:
        scale = min(digits, 9)
        rounded = f"CAST(round({value.sql}, {scale}) AS DECIMAL(38,{scale}))"
        body = f"CAST({rounded} AS VARCHAR)"
        if "'" in flags:
            whole = f"format('{{:,}}', CAST(trunc({rounded}) AS HUGEINT))"
            fraction = f" || '.' || split_part({body}, '.', 2)" if digits else ""
            body = f"({whole}{fraction})"
        return _padded(body, flags, width)
    number = casts.converted_sql(value.sql, value.kind, FLOAT64) or value.sql
    if "'" in flags:
        return _padded(f"format('{{:,.{digits}f}}', {number})", flags, width)
    kept = "".join(flag for flag in flags if flag in "-+ 0#")
    return f"printf('%{kept}{width or ''}.{digits}{letter}', {number})"


def printable(value: Typed, *, literal: bool) -> str:
    """%t and %T: a readable text of any value."""
    kind = value.kind
    if kind.is_array:
        inner = printable(Typed("e", kind.item), literal=literal)
        return (
            f"('[' || array_to_string(list_transform({value.sql}, lambda e: {inner}), ', ') || ']')"
        )
    if kind.is_struct:
        names = field_names(kind.fields)
        inner = " || ', ' || ".join(
            printable(Typed(f"({value.sql}).{quoted(name)}", field), literal=literal)
            for name, (_, field) in zip(names, kind.fields, strict=True)
        )
        return f"('(' || {inner} || ')')"
    text = casts.converted_sql(value.sql, kind, STRING) or f"CAST({value.sql} AS VARCHAR)"
    if literal and kind == STRING:
        text = f"('\"' || {text} || '\"')"
    elif literal and kind in {DATE, DATETIME, TIME, TIMESTAMP, NUMERIC}:
        text = f"('{kind} \"' || {text} || '\"')"
    return f"coalesce({text}, 'NULL')"


SPECIAL = {"FORMAT": _format}
