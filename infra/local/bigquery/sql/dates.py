"""Dates and times: parts, intervals, adding, difference, truncation, EXTRACT."""

from typing import TYPE_CHECKING, Any

from sqlglot import exp

from infra.local.bigquery.sql import casts, formatting
from infra.local.bigquery.sql.failures import invalid
from infra.local.bigquery.sql.operators import no_signature
from infra.local.bigquery.sql.scope import Scope
from infra.local.bigquery.sql.typed import Typed
from infra.local.bigquery.sql.typesystem import (
    DATE,
    DATETIME,
    INT64,
    INTERVAL,
    STRING,
    TIME,
    TIMESTAMP,
    SqlType,
)

if TYPE_CHECKING:
    from infra.local.bigquery.sql.translator import Translator

_WEEKDAYS = ("SUNDAY", "MONDAY", "TUESDAY", "WEDNESDAY", "THURSDAY", "FRIDAY", "SATURDAY")
_MICROS = {
    "MICROSECOND": 1,
    "MILLISECOND": 1_000,
    "SECOND": 1_000_000,
    "MINUTE": 60_000_000,
    "HOUR": 3_600_000_000,
    "DAY": 86_400_000_000,
}
_MONTHS = {"MONTH": 1, "QUARTER": 3, "YEAR": 12}
_DATE_PARTS = {"DAY", "WEEK", "ISOWEEK", "MONTH", "QUARTER", "YEAR", "ISOYEAR"}
_PARTS = {
    "DATE": _DATE_PARTS,
    "DATETIME": _DATE_PARTS | set(_MICROS),
    "TIMESTAMP": _DATE_PARTS | set(_MICROS),
    "TIME": set(_MICROS) - {"DAY"},
}


def part_of(node: exp.Expr) -> tuple[str, int]:
    """A date part such as DAY or WEEK(MONDAY): its name, and the days a week is shifted by.

    Raises:
        ApiError: it is no date part.
    """
    if isinstance(node, exp.Anonymous) and node.name.upper() == "WEEK":
        day = node.expressions[0].name.upper() if node.expressions else ""
        if day in _WEEKDAYS:
            return "WEEK", 1 - _WEEKDAYS.index(day)
    if isinstance(node, exp.Column | exp.Var | exp.Identifier):
        name = node.name.upper()
        return name, {"WEEK": 1, "ISOWEEK": 0}.get(name, 0)
    raise invalid("A valid date part name is required", node)


def _known_part(node: exp.Expr, kind: SqlType, function: str) -> tuple[str, int]:
    part, shift = part_of(node)
    if part not in _PARTS[kind.kind]:
        raise invalid(f"{function} does not support the {part} date part", node)
    return part, shift


# --- INTERVAL


def interval(tr: "Translator", node: exp.Interval, scope: Scope) -> Typed:
    """INTERVAL n part, or INTERVAL 'text' part TO part."""
    unit = node.args.get("unit")
    if isinstance(unit, exp.IntervalSpan):
        return _interval_span(tr, node, unit, scope)
    count = _interval_count(tr, node, scope)
    return Typed(_interval_sql(unit.name.upper() if unit else "", count, node), INTERVAL)


def _interval_count(tr: "Translator", node: exp.Interval, scope: Scope) -> str:
    value = node.this
    if isinstance(value, exp.Literal):  # sqlglot makes the number of INTERVAL 5 DAY a string
        try:
            return f"CAST({int(value.this)} AS BIGINT)"
        except ValueError as error:
            raise invalid(f"Invalid interval literal '{value.this}'", node) from error
    return tr.coerced(value, scope, INT64, "operator INTERVAL").sql


def _interval_sql(part: str, count: str, node: Any) -> str:
    if part in _MONTHS:
        return f"to_months(CAST({count} * {_MONTHS[part]} AS INTEGER))"
    if part in {"DAY", "WEEK"}:
        return f"to_days(CAST({count} * {7 if part == 'WEEK' else 1} AS INTEGER))"
    if part in _MICROS:
        return f"to_microseconds({count} * {_MICROS[part]})"
    raise invalid(f"Unsupported INTERVAL part {part}", node)


_SPAN_UNITS = ("YEAR", "MONTH", "DAY", "HOUR", "MINUTE", "SECOND")


def _interval_span(
    tr: "Translator", node: exp.Interval, unit: exp.IntervalSpan, scope: Scope
) -> Typed:
    del tr, scope
    first, last = unit.this.name.upper(), unit.expression.name.upper()
    text = str(node.this.this).strip()
    units = _SPAN_UNITS[_SPAN_UNITS.index(first) : _SPAN_UNITS.index(last) + 1]
    fields: list[str] = []
    for chunk in text.split(" "):
        sign = "-" if chunk.startswith("-") else ""
        pieces = chunk.lstrip("+-").replace("-", ":").split(":")
        fields.extend(f"{sign}{piece}" for piece in pieces)
    if len(fields) != len(units):
        raise invalid(f"Invalid interval literal '{text}'", node)
    parts = " ".join(f"{value} {name}" for value, name in zip(fields, units, strict=True))
    return Typed(f"CAST('{parts}' AS INTERVAL)" if _clean(parts) else "", INTERVAL)


def _clean(text: str) -> bool:
    return all(c.isalnum() or c in " -." for c in text)


def unexpected_zone(_tr: "Translator", node: exp.Expr, _scope: Scope) -> Typed:
    """AT TIME ZONE outside of EXTRACT, FORMAT and CAST."""
    raise invalid("Syntax error: Unexpected keyword AT", node)


# --- arguments


def _moment(tr: "Translator", node: exp.Expr, scope: Scope, kind: SqlType, name: str) -> Typed:
    """An argument of a date function: of `kind`, or a wider one that the function also takes."""
    value = tr.expr(node, scope)
    wider = {"DATE": {DATETIME, TIMESTAMP}, "DATETIME": {TIMESTAMP}}.get(kind.kind, set())
    if value.kind in wider and (name.endswith("_TRUNC") or name == "LAST_DAY"):
        return value
    coerced = casts.coerce(tr.context, value, kind)
    if coerced is None:
        raise no_signature(f"function {name}", [value], node)
    return coerced


def _arity(node: exp.Anonymous, low: int, high: int) -> list[exp.Expr]:
    count = len(node.expressions)
    if not low <= count <= high:
        raise invalid(
            f"Number of arguments does not match for function {node.name.upper()}."
            f" Expected {low}{f' to {high}' if high != low else ''}, got {count}",
            node,
        )
    return list(node.expressions)


# --- adding


def _adder(kind: SqlType, sign: int) -> Any:
    def add(tr: "Translator", node: exp.Anonymous, scope: Scope) -> Typed:
        name = node.name.upper()
        first, second = _arity(node, 2, 2)
        value = _moment(tr, first, scope, kind, name)
        if not isinstance(second, exp.Interval):
            raise invalid(f"{name} expects INTERVAL as its second argument", second)
        unit = second.args.get("unit")
        part = unit.name.upper() if unit is not None else ""
        allowed = {*_MONTHS, "DAY", "WEEK", *_MICROS}
        if value.kind == DATE:
            allowed -= set(_MICROS) - {"DAY"}
        elif value.kind == TIMESTAMP:
            allowed = set(_MICROS)
        elif value.kind == TIME:
            allowed = set(_MICROS) - {"DAY"}
        if part not in allowed:
            raise invalid(f"{name} does not support the {part} date part", node)
        count = _interval_count(tr, second, scope)
        count = count if sign > 0 else f"(- {count})"
        return Typed(_added(value, part, count, second), value.kind)

    return add


def _added(value: Typed, part: str, count: str, node: Any) -> str:
    if value.kind == DATE:
        if part in {"DAY", "WEEK"}:
            days = count if part == "DAY" else f"{count} * 7"
            return f"bq.d_range({value.sql} + CAST({days} AS INTEGER))"
        return f"bq.d_range(CAST({value.sql} + {_interval_sql(part, count, node)} AS DATE))"
    step = _interval_sql(part, count, node)
    if value.kind == TIMESTAMP:
        return f"bq.ts_range({value.sql} + {step})"
    if value.kind == DATETIME:
        return f"bq.dt_range({value.sql} + {step})"
    return f"({value.sql} + {step})"


# --- difference


def _differ(kind: SqlType) -> Any:
    def differ(tr: "Translator", node: exp.Anonymous, scope: Scope) -> Typed:
        name = node.name.upper()
        first, second, third = _arity(node, 3, 3)
        left = _moment(tr, first, scope, kind, name)
        right = _moment(tr, second, scope, kind, name)
        part, shift = _known_part(third, left.kind, name)
        if left.kind == TIMESTAMP and part not in _MICROS:
            raise invalid(f"{name} does not support the {part} date part", third)
        return Typed(_difference(left, right, part, shift), INT64)

    return differ


def _difference(left: Typed, right: Typed, part: str, shift: int) -> str:
    if left.kind == TIMESTAMP and part in _MICROS:
        # whole units between two instants, not boundaries crossed
        return f"((epoch_us({left.sql}) - epoch_us({right.sql})) // {_MICROS[part]})"
    one, other = (_plain(value) for value in (left, right))
    if part in {"WEEK", "ISOWEEK"}:
        start = "date_trunc('week', {} + to_days({}))"
        weeks = [start.format(side, shift) for side in (other, one)]
        return f"(date_diff('day', {weeks[0]}, {weeks[1]}) // 7)"
    if part == "ISOYEAR":
        return f"(extract(isoyear FROM {one}) - extract(isoyear FROM {other}))"
    return f"date_diff('{part.lower()}', {other}, {one})"


def _plain(value: Typed) -> str:
    return f"timezone('UTC', {value.sql})" if value.kind == TIMESTAMP else value.sql


# --- truncation


def _truncator(kind: SqlType) -> Any:
    def truncate(tr: "Translator", node: exp.Anonymous, scope: Scope) -> Typed:
        name = node.name.upper()
        arguments = _arity(node, 1 if name == "LAST_DAY" else 2, 3)
        value = _moment(tr, arguments[0], scope, kind, name)
        part, shift = _known_part(arguments[1], value.kind, name)
        if len(arguments) == 3:
            if value.kind != TIMESTAMP:
                raise invalid(f"{name} takes a time zone only for a TIMESTAMP", node)
            zone = tr.coerced(arguments[2], scope, STRING, f"function {name}").sql
            local = Typed(f"timezone({zone}, {value.sql})", DATETIME)
            return Typed(f"timezone({zone}, {_truncated(local, part, shift)})", TIMESTAMP)
        return Typed(_truncated(value, part, shift), value.kind)

    return truncate


def _truncated(value: Typed, part: str, shift: int) -> str:
    if value.kind == DATE:
        if part == "DAY":
            return value.sql
        if part in {"WEEK", "ISOWEEK"}:
            return f"bq.week_start({value.sql}, {shift})"
        if part == "ISOYEAR":
            return _iso_year_start(value.sql)
        return f"CAST(date_trunc('{part.lower()}', {value.sql}) AS DATE)"
    if value.kind == TIME:
        return f"CAST(date_trunc('{part.lower()}', DATE '1970-01-01' + {value.sql}) AS TIME)"
    if part in {"WEEK", "ISOWEEK"}:
        days = f"to_days({shift})"
        return f"(date_trunc('week', {value.sql} + {days}) - {days})"
    if part == "ISOYEAR":
        start = _iso_year_start(f"CAST({value.sql} AS DATE)")
        return f"CAST({start} AS {'TIMESTAMPTZ' if value.kind == TIMESTAMP else 'TIMESTAMP'})"
    return f"date_trunc('{part.lower()}', {value.sql})"


def _iso_year_start(date: str) -> str:
    year = f"CAST(extract(isoyear FROM {date}) AS BIGINT)"
    return f"CAST(date_trunc('week', make_date({year}, 1, 4)) AS DATE)"


def _last_day(tr: "Translator", node: exp.Anonymous, scope: Scope) -> Typed:
    arguments = _arity(node, 1, 2)
    value = _moment(tr, arguments[0], scope, DATE, "LAST_DAY")
    date = casts.converted_sql(value.sql, value.kind, DATE) or value.sql
    part, shift = ("MONTH", 0) if len(arguments) == 1 else part_of(arguments[1])
    if part in _MONTHS:
        start = f"date_trunc('{part.lower()}', {date})"
        months = _MONTHS[part]
        return Typed(f"(CAST({start} + to_months({months}) AS DATE) - 1)", DATE)
    if part in {"WEEK", "ISOWEEK"}:
        return Typed(f"(bq.week_start({date}, {shift}) + 6)", DATE)
    raise invalid(f"LAST_DAY does not support the {part} date part", node)


# --- EXTRACT

_EXTRACTED = {
    "YEAR": "extract(year FROM {0})",
    "QUARTER": "extract(quarter FROM {0})",
    "MONTH": "extract(month FROM {0})",
    "DAY": "extract(day FROM {0})",
    "DAYOFYEAR": "extract(doy FROM {0})",
    "DAYOFWEEK": "(extract(dow FROM {0}) + 1)",
    "ISOYEAR": "extract(isoyear FROM {0})",
    "ISOWEEK": "extract(week FROM {0})",
    "HOUR": "extract(hour FROM {0})",
    "MINUTE": "extract(minute FROM {0})",
    "SECOND": "extract(second FROM {0})",
    "MILLISECOND": "(extract(millisecond FROM {0}) % 1000)",
    "MICROSECOND": "(extract(microsecond FROM {0}) % 1000000)",
}
_TIME_PARTS = {"HOUR", "MINUTE", "SECOND", "MILLISECOND", "MICROSECOND"}


def extract(tr: "Translator", node: exp.Extract, scope: Scope) -> Typed:
    """EXTRACT(part FROM value [AT TIME ZONE zone])."""
    source, zone = node.expression, "'UTC'"
    if isinstance(source, exp.AtTimeZone):
        zone = tr.coerced(source.args["zone"], scope, STRING, "function EXTRACT").sql
        source = source.this
    value = tr.expr(source, scope)
    if value.coercion and value.kind == STRING:
        value = casts.coerce(tr.context, value, TIMESTAMP) or value
    if value.kind == INTERVAL:
        part, _ = part_of(node.this)
        return Typed(f"CAST({_EXTRACTED[part].replace('{0}', value.sql)} AS BIGINT)", INT64)
    if value.kind not in {DATE, DATETIME, TIME, TIMESTAMP}:
        raise no_signature("function EXTRACT", [value], node)
    sql = f"timezone({zone}, {value.sql})" if value.kind == TIMESTAMP else value.sql
    part, shift = part_of(node.this)
    return _extracted(sql, value.kind, part, shift, node)


def _extracted(sql: str, kind: SqlType, part: str, shift: int, node: Any) -> Typed:
    if part == "DATE" and kind in {DATETIME, TIMESTAMP}:
        return Typed(f"CAST({sql} AS DATE)", DATE)
    if part == "TIME" and kind in {DATETIME, TIMESTAMP}:
        return Typed(f"CAST({sql} AS TIME)", TIME)
    if part == "DATETIME" and kind == TIMESTAMP:
        return Typed(sql, DATETIME)
    wrong = (kind == DATE and part in _TIME_PARTS) or (kind == TIME and part not in _TIME_PARTS)
    if wrong:
        raise invalid(f"EXTRACT from {kind} does not support the {part} date part", node)
    if part == "WEEK":
        week = (
            f"strftime({sql} + to_days({shift - 1}), '%U')"
            if shift != 1
            else (f"strftime({sql}, '%U')")
        )
        if shift == 0:
            week = f"strftime({sql}, '%W')"
        return Typed(f"CAST({week} AS BIGINT)", INT64)
    template = _EXTRACTED.get(part)
    if template is None:
        raise invalid(f"A valid date part name is required but found {part}", node)
    return Typed(f"CAST({template.replace('{0}', sql)} AS BIGINT)", INT64)


def cast_with_format(
    tr: "Translator", node: exp.Cast, target: SqlType, scope: Scope, *, safe: bool
) -> Typed:
    """CAST(value AS type FORMAT text)."""
    value = tr.expr(node.this, scope)
    wanted = node.args["format"]
    zone = None
    if isinstance(wanted, exp.AtTimeZone):
        zone = tr.coerced(wanted.args["zone"], scope, STRING, "operator CAST").sql
        wanted = wanted.this
    result = formatting.cast_format(value, target, tr.expr(wanted, scope).literal, zone, node)
    return Typed(f"TRY({result.sql})", result.kind) if safe else result


SPECIAL = {
    "DATE_ADD": _adder(DATE, 1),
    "DATE_SUB": _adder(DATE, -1),
    "DATETIME_ADD": _adder(DATETIME, 1),
    "DATETIME_SUB": _adder(DATETIME, -1),
    "TIMESTAMP_ADD": _adder(TIMESTAMP, 1),
    "TIMESTAMP_SUB": _adder(TIMESTAMP, -1),
    "TIME_ADD": _adder(TIME, 1),
    "TIME_SUB": _adder(TIME, -1),
    "DATE_DIFF": _differ(DATE),
    "DATETIME_DIFF": _differ(DATETIME),
    "TIMESTAMP_DIFF": _differ(TIMESTAMP),
    "TIME_DIFF": _differ(TIME),
    "DATE_TRUNC": _truncator(DATE),
    "DATETIME_TRUNC": _truncator(DATETIME),
    "TIMESTAMP_TRUNC": _truncator(TIMESTAMP),
    "TIME_TRUNC": _truncator(TIME),
    "LAST_DAY": _last_day,
}
