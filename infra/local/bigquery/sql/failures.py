"""Errors as BigQuery words them: positions in the query, and DuckDB's messages in clean text."""

import re
from typing import Any

import duckdb
from sqlglot import exp

from infra.local.bigquery.errors import ApiError

MARK = "\u2042"  # leads the text of an error that a translated expression raises on purpose


def position(node: Any) -> str:
    """` at [line:column]` of a syntax node, or nothing where sqlglot kept no position."""
    place = find_position(node)
    return f" at [{place[0]}:{place[1]}]" if place else ""


def find_position(node: Any) -> tuple[int, int] | None:
    """Line and column (both from 1) of the first token below `node` that has one."""
    if not isinstance(node, exp.Expr):
        return None
    best = None
    for child in node.walk():
        meta = child._meta
        if meta and "line" in meta:
            length = meta["end"] - meta["start"] if meta.get("start") is not None else 0
            place = (meta["line"], max(1, meta["col"] - length))
            if best is None or place < best:
                best = place
    return best


def invalid(message: str, node: Any = None) -> ApiError:
    """An invalidQuery error with the node's position."""
    return ApiError.invalid_query(f"{message}{position(node)}")


_MARKED = (
    re.compile(
        rf"""Could not convert string (?P<q>['"]){MARK}(?P<text>.*)(?P=q) to [A-Z0-9]""", re.DOTALL
    ),
    re.compile(rf"""field (?:format|value).*?: "{MARK}(?P<text>.*)", expected""", re.DOTALL),
    re.compile(rf"{MARK}(?P<text>[^\n]*)"),
)
_INTERNAL = re.compile(r"\b(?:data|temp)\.(?:main\.)?t\d+\b|\bt\d+\.")
_OVERFLOW = re.compile(r"Overflow in (\w+) of INT64 \((\S+) (\S+) (\S+?)\)!")
_NUMERIC_OVERFLOW = re.compile(r"Overflow in (\w+) of DECIMAL|Could not cast value .* to DECIMAL")
_DIVISION = re.compile(r"Division by zero in expression \((.*?) ([/%]|//) (.*?)\)")

_UNKNOWN_ZONE = re.compile(r"Unknown TimeZone '([^']*)'")
_RANGE = re.compile(r"Type INT128 with value (\S+) can't be cast .* destination type INT64")

_TOO_COMPLEX = (
    "Resources exceeded during query execution: Not enough resources for query planning - too many"
    " subqueries or query is too complex."
)
_PLAIN = (
    (re.compile(r"scalar subquery|more than one row returned by a subquery", re.IGNORECASE),
     "Scalar subquery produced more than one element"),
    (re.compile(r"affect the same target row more than once", re.IGNORECASE),
     "UPDATE/MERGE must match at most one source row for each target row"),
    (re.compile(r"[Mm]ax expression depth|maximum recursion|stack depth"),
     _TOO_COMPLEX),
    (re.compile(r"cannot take logarithm of (zero|a negative number)"),
     "Floating point error in function: LN"),
    (re.compile(r"square root of a negative"), "Argument to SQRT cannot be negative"),
    (re.compile(r"Conflict on (update|tuple)|Transaction conflict|write-write conflict"),
     "Could not serialize access to table due to concurrent update"),
)  # fmt: skip


def from_duckdb(error: duckdb.Error) -> ApiError:
    """What a client sees of an error that DuckDB raised while running a translated statement."""
    text = str(error)
    for pattern in _MARKED:
        marked = pattern.search(text)
        if marked:
            return ApiError.invalid_query(marked.group("text").strip())
    for pattern, message in _PLAIN:
        if pattern.search(text):
            return ApiError.invalid_query(message)
    return ApiError.invalid_query(_arithmetic(text) or _cleaned(text))


def _arithmetic(text: str) -> str | None:
    overflow = _OVERFLOW.search(text)
    if overflow:
        _, left, operator, right = overflow.groups()
        return f"int64 overflow: {left} {operator} {right}"
    zone = _UNKNOWN_ZONE.search(text)
    if zone:
        return f"Invalid time zone: {zone.group(1)}"
    if _RANGE.search(text):
        return "int64 overflow"
    if _NUMERIC_OVERFLOW.search(text):
        return "numeric overflow"
    division = _DIVISION.search(text)
    if division:
        left, operator, right = division.groups()
        left, right = (side.removesuffix(".0") for side in (left, right))
        if operator == "%":
            return f"division by zero: MOD({left}, {right})"
        if operator == "//":
            return f"division by zero: DIV({left}, {right})"
        return f"division by zero: {left} / {right}"
    return None


def _cleaned(text: str) -> str:
    first = text.split("\n", 1)[0]
    first = re.sub(r"^(?:[A-Z]\w*(?: \w+)*? Error: )+", "", first)
    first = re.sub(r"\s*(?:You might need|Candidate|Did you mean|LINE \d).*", "", first)
    return _INTERNAL.sub("", first).strip() or "Query failed"
