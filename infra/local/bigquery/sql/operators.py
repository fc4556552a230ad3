"""Operators: arithmetic without floating point sneaking into NUMERIC, comparison, logic, text."""

# ruff: noqa: E501 - one function a line

# ruff: noqa: S608 - SQL is what this package writes: names are quoted, values bound or cast

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from sqlglot import exp

from infra.local.bigquery.errors import ApiError
from infra.local.bigquery.sql import casts
from infra.local.bigquery.sql.failures import invalid
from infra.local.bigquery.sql.scope import Scope
from infra.local.bigquery.sql.signatures import choose, read_signatures
from infra.local.bigquery.sql.typed import Typed
from infra.local.bigquery.sql.typesystem import BOOL, STRING, SqlType

if TYPE_CHECKING:
    from infra.local.bigquery.sql.translator import Translator

# In each operator the first signature of equal cost wins.
_BINARY = read_signatures("""
ADD(INT64, INT64) -> INT64 : ({0} + {1})
ADD(NUMERIC, NUMERIC) -> NUMERIC : ({0} + {1})
ADD(BIGNUMERIC, BIGNUMERIC) -> BIGNUMERIC : ({0} + {1})
ADD(FLOAT64, FLOAT64) -> FLOAT64 : ({0} + {1})
ADD(DATE, INT64) -> DATE : bq.d_range({0} + CAST({1} AS INTEGER))
ADD(INT64, DATE) -> DATE : bq.d_range({1} + CAST({0} AS INTEGER))
ADD(DATE, INTERVAL) -> DATETIME : (CAST({0} AS TIMESTAMP) + {1})
ADD(DATETIME, INTERVAL) -> DATETIME : ({0} + {1})
ADD(TIMESTAMP, INTERVAL) -> TIMESTAMP : ({0} + {1})
ADD(INTERVAL, DATE) -> DATETIME : (CAST({1} AS TIMESTAMP) + {0})
ADD(INTERVAL, DATETIME) -> DATETIME : ({1} + {0})
ADD(INTERVAL, TIMESTAMP) -> TIMESTAMP : ({1} + {0})
ADD(INTERVAL, INTERVAL) -> INTERVAL : ({0} + {1})
SUB(INT64, INT64) -> INT64 : ({0} - {1})
SUB(NUMERIC, NUMERIC) -> NUMERIC : ({0} - {1})
SUB(BIGNUMERIC, BIGNUMERIC) -> BIGNUMERIC : ({0} - {1})
SUB(FLOAT64, FLOAT64) -> FLOAT64 : ({0} - {1})
SUB(DATE, INT64) -> DATE : bq.d_range({0} - CAST({1} AS INTEGER))
SUB(DATE, DATE) -> INTERVAL : to_days(CAST(date_diff('day', {1}, {0}) AS INTEGER))
SUB(TIMESTAMP, TIMESTAMP) -> INTERVAL : to_microseconds(epoch_us({0}) - epoch_us({1}))
SUB(DATETIME, DATETIME) -> INTERVAL : to_microseconds(epoch_us({0}) - epoch_us({1}))
SUB(DATE, INTERVAL) -> DATETIME : (CAST({0} AS TIMESTAMP) - {1})
SUB(DATETIME, INTERVAL) -> DATETIME : ({0} - {1})
SUB(TIMESTAMP, INTERVAL) -> TIMESTAMP : ({0} - {1})
SUB(INTERVAL, INTERVAL) -> INTERVAL : ({0} - {1})
MUL(INT64, INT64) -> INT64 : ({0} * {1})
MUL(NUMERIC, NUMERIC) -> NUMERIC : bq.nmul({0}, {1})
MUL(BIGNUMERIC, BIGNUMERIC) -> BIGNUMERIC : CAST(CAST({0} AS DECIMAL(38,14)) * CAST({1} AS DECIMAL(38,14)) AS DECIMAL(38,18))
MUL(FLOAT64, FLOAT64) -> FLOAT64 : ({0} * {1})
MUL(INTERVAL, INT64) -> INTERVAL : ({0} * {1})
MUL(INT64, INTERVAL) -> INTERVAL : ({1} * {0})
DIV(NUMERIC, NUMERIC) -> NUMERIC : bq.ndiv({0}, {1})
DIV(BIGNUMERIC, BIGNUMERIC) -> BIGNUMERIC : bq.bndiv({0}, {1})
DIV(FLOAT64, FLOAT64) -> FLOAT64 : bq.fdiv({0}, {1})
BITAND(INT64, INT64) -> INT64 : ({0} & {1})
BITOR(INT64, INT64) -> INT64 : ({0} | {1})
BITXOR(INT64, INT64) -> INT64 : xor({0}, {1})
SHL(INT64, INT64) -> INT64 : ({0} << {1})
SHR(INT64, INT64) -> INT64 : ({0} >> {1})
CONCAT(STRING, STRING) -> STRING : ({0} || {1})
CONCAT(BYTES, BYTES) -> BYTES : ({0} || {1})
CONCAT(ARRAY<T>, ARRAY<T>) -> ARRAY<T> : ({0} || {1})
""")
_INT_OPERANDS = {"INT64", "NULL"}
_SYMBOLS: dict[type[exp.Expr], tuple[str, str]] = {
    exp.Add: ("ADD", "+"),
    exp.Sub: ("SUB", "-"),
    exp.Mul: ("MUL", "*"),
    exp.Div: ("DIV", "/"),
    exp.BitwiseAnd: ("BITAND", "&"),
    exp.BitwiseOr: ("BITOR", "|"),
    exp.BitwiseXor: ("BITXOR", "^"),
    exp.BitwiseLeftShift: ("SHL", "<<"),
    exp.BitwiseRightShift: ("SHR", ">>"),
    exp.DPipe: ("CONCAT", "||"),
}
_COMPARISONS: dict[type[exp.Expr], str] = {
    exp.EQ: "=",
    exp.NEQ: "!=",
    exp.LT: "<",
    exp.LTE: "<=",
    exp.GT: ">",
    exp.GTE: ">=",
    exp.NullSafeEQ: "IS NOT DISTINCT FROM",
    exp.NullSafeNEQ: "IS DISTINCT FROM",
}


def no_signature(what: str, values: list[Typed], node: Any, supported: str = "") -> ApiError:
    """BigQuery's refusal of argument types."""
    kinds = ", ".join(str(value.kind) for value in values)
    hint = f" Supported signature: {supported}" if supported else ""
    return invalid(f"No matching signature for {what} for argument types: {kinds}.{hint}", node)


def binary(tr: "Translator", node: exp.Expr, scope: Scope) -> Typed:
    """An arithmetic, bit or concatenation operator."""
    key, symbol = _SYMBOLS[type(node)]
    values = [tr.expr(node.this, scope), tr.expr(node.expression, scope)]
    if key == "DIV" and all(value.kind.kind in _INT_OPERANDS for value in values):
        return _int_division(tr, values)
    match = choose(tr.context, _BINARY[key], values)
    if match is None:
        raise no_signature(f"operator {symbol}", values, node)
    return match.render()


def _int_division(tr: "Translator", values: list[Typed]) -> Typed:
    floats = [casts.coerce(tr.context, value, SqlType("FLOAT64")) for value in values]
    return Typed(f"bq.fdiv({floats[0].sql}, {floats[1].sql})", SqlType("FLOAT64"))  # type: ignore[union-attr]


def negate(tr: "Translator", node: exp.Expr, scope: Scope) -> Typed:
    """Unary minus; a negative literal stays a literal."""
    if isinstance(node.this, exp.Literal) and not node.this.is_string:
        return tr.number_literal(f"-{node.this.this}", node)
    value = tr.expr(node.this, scope)
    if value.kind.kind not in {"INT64", "FLOAT64", "NUMERIC", "BIGNUMERIC", "INTERVAL", "NULL"}:
        raise no_signature("operator -", [value], node)
    return Typed(f"(- {value.sql})", value.kind)


def bit_not(tr: "Translator", node: exp.Expr, scope: Scope) -> Typed:
    """~x."""
    value = tr.coerced(node.this, scope, SqlType("INT64"), "operator ~")
    return Typed(f"(~ {value.sql})", value.kind)


def compare(tr: "Translator", node: exp.Expr, scope: Scope) -> Typed:
    """A comparison; both sides become their common type."""
    symbol = _COMPARISONS[type(node)]
    nodes = (node.this, node.expression)
    values = [tr.expr(part, scope) for part in nodes]
    _check_literals(values, nodes)
    return comparison(tr, symbol, values, node)


def _check_literals(values: list[Typed], nodes: Iterable[exp.Expr]) -> None:
    """Refuse a string literal compared with a date or time that it is none of."""
    kind = casts.supertype(values)
    if kind is not None and kind != STRING:
        for value, node in zip(values, nodes, strict=True):
            casts.check_literal(value, kind, node)


def comparison(tr: "Translator", symbol: str, values: list[Typed], node: Any) -> Typed:
    """`values[0] symbol values[1]` as BOOL."""
    kind = casts.supertype(values)
    coerced = [] if kind is None else [casts.coerce(tr.context, v, kind) for v in values]
    if kind is None or None in coerced or not _comparable(kind, symbol):
        raise no_signature(f"operator {symbol}", values, node, f"ANY {symbol} ANY")
    left, right = (value.sql for value in coerced if value is not None)
    return Typed(f"({left} {symbol.replace('!=', '<>')} {right})", BOOL)


def _comparable(kind: SqlType, symbol: str) -> bool:
    if kind.kind in {"JSON", "GEOGRAPHY"} or kind.is_array:
        return False
    return not kind.is_struct or symbol in {"=", "!=", "IS NOT DISTINCT FROM", "IS DISTINCT FROM"}


def logic(tr: "Translator", node: exp.Expr, scope: Scope) -> Typed:
    """AND and OR, also long chains of them without deep recursion."""
    word = "AND" if isinstance(node, exp.And) else "OR"
    parts = [tr.boolean(part, scope, f"operator {word}").sql for part in _flat(node, type(node))]
    return Typed(f"({f' {word} '.join(parts)})", BOOL)


def _flat(node: exp.Expr, kind: type[exp.Expr]) -> list[exp.Expr]:
    parts = []
    stack = [node]
    while stack:
        current = stack.pop()
        if isinstance(current, kind):
            stack.append(current.args["expression"])
            stack.append(current.this)
        else:
            parts.append(current)
    return parts


def negation(tr: "Translator", node: exp.Expr, scope: Scope) -> Typed:
    """NOT x."""
    return Typed(f"(NOT {tr.boolean(node.this, scope, 'operator NOT').sql})", BOOL)


def is_test(tr: "Translator", node: exp.Expr, scope: Scope) -> Typed:
    """IS NULL, IS TRUE, IS FALSE (NOT around them is a node of its own)."""
    right = node.expression
    if isinstance(right, exp.Null):
        return Typed(f"({tr.expr(node.this, scope).sql} IS NULL)", BOOL)
    if isinstance(right, exp.Boolean):
        value = tr.boolean(node.this, scope, "operator IS")
        return Typed(f"({value.sql} IS NOT DISTINCT FROM {str(right.this).lower()})", BOOL)
    raise invalid("Syntax error: Unexpected expression after IS", node)


def between(tr: "Translator", node: exp.Expr, scope: Scope) -> Typed:
    """X BETWEEN low AND high."""
    nodes = [node.args[key] for key in ("this", "low", "high")]
    values = [tr.expr(part, scope) for part in nodes]
    _check_literals(values, nodes)
    kind = casts.supertype(values)
    coerced = [] if kind is None else [casts.coerce(tr.context, v, kind) for v in values]
    if kind is None or None in coerced or not _comparable(kind, "<"):
        raise no_signature("operator BETWEEN", values, node, "(ANY) BETWEEN (ANY) AND (ANY)")
    value, low, high = (item.sql for item in coerced if item is not None)
    return Typed(f"({value} BETWEEN {low} AND {high})", BOOL)


def like(tr: "Translator", node: exp.Expr, scope: Scope) -> Typed:
    """X LIKE pattern, also LIKE ANY|SOME|ALL (...); backslash escapes."""
    value = tr.expr(node.this, scope)
    pattern = node.expression
    joiner, patterns = "OR", [pattern]
    if isinstance(pattern, exp.Any | exp.All):
        joiner = "OR" if isinstance(pattern, exp.Any) else "AND"
        inner = pattern.this
        patterns = inner.expressions if isinstance(inner, exp.Tuple) else [inner.this]
    tests = []
    for one in patterns:
        right = tr.expr(one, scope)
        coerced = [casts.coerce(tr.context, side, STRING) for side in (value, right)]
        if None in coerced:
            raise no_signature("operator LIKE", [value, right], node, "STRING LIKE STRING")
        left_sql, right_sql = (side.sql for side in coerced if side is not None)
        tests.append(f"({left_sql} LIKE {right_sql} ESCAPE '\\')")
    sql = f"({f' {joiner} '.join(tests)})"
    return Typed(f"(NOT {sql})" if node.args.get("negate") else sql, BOOL)


def membership(tr: "Translator", node: exp.Expr, scope: Scope) -> Typed:
    """X IN (values), IN (subquery), IN UNNEST(array)."""
    value = tr.expr(node.this, scope)
    if node.args.get("unnest") is not None:
        return _in_array(tr, value, node, scope)
    if node.args.get("query") is not None:
        return _in_query(tr, value, node, scope)
    items = [tr.expr(item, scope) for item in node.expressions]
    _check_literals([value, *items], [node.this, *node.expressions])
    kind = casts.supertype([value, *items])
    coerced = [] if kind is None else [casts.coerce(tr.context, v, kind) for v in (value, *items)]
    if kind is None or None in coerced or not _comparable(kind, "="):
        raise no_signature("operator IN", [value, *items], node, "ANY IN (ANY, ...)")
    texts = [item.sql for item in coerced if item is not None]
    return Typed(f"({texts[0]} IN ({', '.join(texts[1:])}))", BOOL)


def _in_array(tr: "Translator", value: Typed, node: exp.Expr, scope: Scope) -> Typed:
    array = tr.expr(node.args["unnest"].expressions[0], scope)
    if not array.kind.is_array and array.kind.kind != "NULL" and array.undeclared is None:
        raise invalid(
            f"Values referenced in UNNEST must be arrays. UNNEST contains expression of type"
            f" {array.kind}",
            node,
        )
    item = array.kind.item if array.kind.is_array else value.kind
    kind = casts.supertype([value, Typed("", item, coercion=array.coercion)])
    left = None if kind is None else casts.coerce(tr.context, value, kind)
    right = (
        None
        if kind is None
        else casts.coerce(tr.context, array, SqlType("ARRAY", element=kind))
        or _converted_array(array, kind)
    )
    if left is None or right is None:
        raise no_signature("operator IN UNNEST", [value, array], node, "ANY IN UNNEST(ARRAY<ANY>)")
    # DuckDB's list_contains is false where SQL says NULL; only NULL elements make the difference
    return Typed(
        f"CASE WHEN list_contains({right.sql}, {left.sql}) THEN true"
        f" WHEN len({right.sql}) > 0 AND ({left.sql} IS NULL"
        f" OR list_count({right.sql}) < len({right.sql})) THEN NULL ELSE false END",
        BOOL,
    )


def _converted_array(array: Typed, kind: SqlType) -> Typed | None:
    target = SqlType("ARRAY", element=kind)
    sql = casts.converted_sql(array.sql, array.kind, target)
    return None if sql is None else Typed(sql, target)


def _in_query(tr: "Translator", value: Typed, node: exp.Expr, scope: Scope) -> Typed:
    query = node.args["query"]
    inner = query.this if isinstance(query, exp.Subquery) else query
    result = tr.query(inner, scope)
    if len(result.columns) != 1:
        raise invalid("Subquery of type IN must have only one output column", node)
    column = result.columns[0]
    kind = casts.supertype([value, Typed("", column.kind)])
    left = None if kind is None else casts.coerce(tr.context, value, kind)
    converted = None if kind is None else casts.converted_sql("q.c", column.kind, kind)
    if left is None or converted is None:
        other = Typed("", column.kind)
        raise no_signature("operator IN", [value, other], node, "ANY IN (subquery)")
    tr.use_columns(result.columns)
    alias = tr.context.unique("q")
    body = result.renamed(["c"])
    return Typed(
        f"({left.sql} IN (SELECT {converted.replace('q.c', f'{alias}.c')} FROM ({body}) AS {alias}))",
        BOOL,
    )


BINARY_NODES = tuple(_SYMBOLS)
COMPARISON_NODES = tuple(_COMPARISONS)
