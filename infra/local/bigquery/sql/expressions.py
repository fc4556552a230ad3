"""Expressions other than operators and calls: literals, names, constructors, CASE, subqueries."""

# ruff: noqa: S608 - SQL is what this package writes: names are quoted, values bound or cast

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from sqlglot import exp

from infra.local.bigquery.sql import aggregate_calls, calls, casts, columns, dates, lists, operators
from infra.local.bigquery.sql.failures import invalid
from infra.local.bigquery.sql.scope import Scope
from infra.local.bigquery.sql.syntax_types import read_type
from infra.local.bigquery.sql.typed import Typed, null, number, string
from infra.local.bigquery.sql.typesystem import (
    BOOL,
    BYTES,
    INT64,
    JSON,
    STRING,
    array_of,
    field_names,
    quoted,
    struct_of,
    text_literal,
)

if TYPE_CHECKING:
    from infra.local.bigquery.sql.translator import Translator

Handler = Callable[["Translator", Any, Scope], Typed]


def _literal(tr: "Translator", node: exp.Literal, _scope: Scope) -> Typed:
    if node.is_string:
        return string(node.this)
    return tr.number_literal(node.this, node)


def _boolean(_tr: "Translator", node: exp.Boolean, _scope: Scope) -> Typed:
    return Typed("true" if node.this else "false", BOOL, literal=bool(node.this))


def _null(_tr: "Translator", _node: exp.Null, _scope: Scope) -> Typed:
    return null()


def _raw_string(_tr: "Translator", node: exp.RawString, _scope: Scope) -> Typed:
    return string(node.this)


def _hex(_tr: "Translator", node: exp.HexString, _scope: Scope) -> Typed:
    return number(int(node.this, 16), INT64)


def _byte_string(_tr: "Translator", node: exp.ByteString, _scope: Scope) -> Typed:
    text = node.this
    data = text.encode("latin-1") if all(ord(c) < 256 for c in text) else text.encode()
    return bytes_literal(data)


def bytes_literal(data: bytes) -> Typed:
    """A BYTES literal."""
    return Typed(f"from_hex('{data.hex()}')", BYTES, literal=data)


def _json_literal(tr: "Translator", node: exp.ParseJSON, scope: Scope) -> Typed:
    return _json_postfix(tr, node.this, scope)


def _json_postfix(tr: "Translator", node: exp.Expr, scope: Scope) -> Typed:
    """JSON '...' with what follows it: sqlglot hangs `.a` and `[0]` on the text itself."""
    if isinstance(node, exp.Bracket):
        return _json_member(tr, _json_postfix(tr, node.this, scope), node.expressions[0], scope)
    if isinstance(node, exp.Dot) and isinstance(node.expression, exp.Identifier):
        return columns.field_of(_json_postfix(tr, node.this, scope), node.expression)
    return Typed(f"bq.s2j({text_literal(str(node.this))})", JSON)


def _column(tr: "Translator", node: exp.Column, scope: Scope) -> Typed:
    if isinstance(node.this, exp.Star):
        raise invalid('Syntax error: Unexpected "*"', node)
    path = columns.path_of(node)
    if path is None:
        raise invalid(f"Unrecognized name: {node.name}", node)
    return columns.translate_path(tr, path, scope)


def _dot(tr: "Translator", node: exp.Dot, scope: Scope) -> Typed:
    if isinstance(node.expression, exp.Anonymous):
        return calls.dotted(tr, node, scope)
    path = columns.path_of(node)
    if path is not None:
        return columns.translate_path(tr, path, scope)
    if isinstance(node.this, exp.Parameter) and isinstance(node.this.this, exp.Parameter):
        name = f"{node.this.this.name}.{node.expression.name}".lower()
        return _system_variable(tr, name, node)
    if not isinstance(node.expression, exp.Identifier):
        raise invalid('Syntax error: Unexpected expression after "."', node)
    value = tr.expr(node.this, scope)
    result = columns.field_of(Typed(f"({value.sql})", value.kind), node.expression)
    result.name = node.expression.name
    return result


def _parameter(tr: "Translator", node: exp.Parameter, _scope: Scope) -> Typed:
    inner = node.this
    if isinstance(inner, exp.Parameter):
        return _system_variable(tr, inner.name.lower(), node)
    return tr.parameter(inner.name, node)


def _system_variable(tr: "Translator", name: str, node: Any) -> Typed:
    kinds = {"row_count": INT64, "error.message": STRING, "error.statement_text": STRING}
    if name in kinds:
        slot = tr.context.slot("system", name)
        kind = kinds[name]
        return Typed(f"CAST(${slot} AS {'BIGINT' if kind == INT64 else 'VARCHAR'})", kind)
    if name == "project_id":
        return string(tr.context.environment.project)
    raise invalid(f"Unrecognized name: @@{name}", node)


def _placeholder(tr: "Translator", node: exp.Placeholder, _scope: Scope) -> Typed:
    return tr.parameter(None, node)


def _paren(tr: "Translator", node: exp.Paren, scope: Scope) -> Typed:
    value = tr.expr(node.this, scope)
    value.name = None
    return value


def _cast(tr: "Translator", node: exp.Cast, scope: Scope) -> Typed:
    target = read_type(node.to)
    inner = node.this
    if isinstance(inner, exp.Struct):
        return _typed_struct(tr, inner, node, scope)
    safe = isinstance(node, exp.TryCast)
    if node.args.get("format") is not None:
        return dates.cast_with_format(tr, node, target, scope, safe=safe)
    value = tr.expr(inner, scope)
    return casts.cast(tr.context, value, target, node, safe=safe)


def _typed_struct(tr: "Translator", inner: exp.Struct, node: exp.Cast, scope: Scope) -> Typed:
    target = read_type(node.to)
    values = [tr.expr(_unaliased(item), scope) for item in inner.expressions]
    if len(values) != len(target.fields):
        raise invalid(
            f"STRUCT type has {len(target.fields)} fields but constructor call has"
            f" {len(values)} fields",
            node,
        )
    items = []
    for value, (_, kind) in zip(values, target.fields, strict=True):
        coerced = casts.coerce(tr.context, value, kind)
        if coerced is None:
            raise invalid(
                f"Struct field has type {value.kind} which does not coerce to {kind}", node
            )
        items.append(coerced)
    return casts.build_struct(items, target)


def _unaliased(node: exp.Expr) -> exp.Expr:
    return node.this if isinstance(node, exp.Alias | exp.PropertyEQ) else node


def struct_constructor(tr: "Translator", items: list[exp.Expr], scope: Scope) -> Typed:
    """STRUCT(value [AS name], ...); a bare column gives its own name."""
    fields = []
    values = []
    for item in items:
        value = tr.expr(_unaliased(item), scope)
        name: str | None = item.alias if isinstance(item, exp.Alias) else ""
        if isinstance(item, exp.Column | exp.Dot):
            name = value.name
        fields.append((name or "", value.kind))
        values.append(value)
    return casts.build_struct(values, struct_of(fields))


def _tuple(tr: "Translator", node: exp.Tuple, scope: Scope) -> Typed:
    """(a, b): a struct whose fields have no names."""
    values = [tr.expr(item, scope) for item in node.expressions]
    return casts.build_struct(values, struct_of(("", value.kind) for value in values))


def _array(tr: "Translator", node: exp.Array, scope: Scope) -> Typed:
    items = node.expressions
    if len(items) == 1 and isinstance(items[0], exp.Query):
        return _array_subquery(tr, items[0], scope)
    values = [tr.expr(item, scope) for item in items]
    kind = casts.supertype(values)
    if kind is None:
        kinds = ", ".join(dict.fromkeys(str(value.kind) for value in values))
        raise invalid(f"Array elements of types {{{kinds}}} do not have a common supertype", node)
    if kind.is_array:
        raise invalid(
            "Cannot construct array with element type ARRAY because nested arrays are"
            " not supported",
            node,
        )
    coerced = [casts.coerce(tr.context, value, kind) or value for value in values]
    return casts.build_array(coerced, kind)


def _array_subquery(tr: "Translator", node: exp.Expr, scope: Scope) -> Typed:
    inner = node.this if isinstance(node, exp.Subquery) and _bare(node) else node
    query = tr.query(inner, scope)
    if len(query.columns) != 1 and not query.value_table:
        raise invalid(
            "ARRAY subquery cannot have more than one column unless using SELECT AS STRUCT to"
            " build STRUCT values",
            node,
        )
    value = value_of(tr, query)
    if value.kind.is_array:
        raise invalid(
            "Cannot use array subquery with column of type"
            f" {value.kind} because nested arrays are not supported",
            node,
        )
    return Typed(f"ARRAY({value.sql})", array_of(value.kind))


def _bare(node: exp.Subquery) -> bool:
    return not any(node.args.get(key) for key in ("order", "limit", "offset", "with_"))


def value_of(tr: "Translator", query: Any) -> Typed:
    """A query as one column: its only column, or its row as a STRUCT."""
    tr.use_columns(query.columns)
    if query.value_table != "STRUCT":
        return Typed(query.sql, query.columns[0].kind)
    kind = struct_of((column.name, column.kind) for column in query.columns)
    names = field_names(kind.fields)
    packed = ", ".join(f"{quoted(name)} := q.c{i}" for i, name in enumerate(names))
    return Typed(f"SELECT struct_pack({packed}) AS c0 FROM ({query.sql}) AS q", kind)


def _subquery(tr: "Translator", node: exp.Subquery, scope: Scope) -> Typed:
    fast = lists.fold(tr, node, scope)
    if fast is not None:
        return fast
    query = tr.query(node, scope)
    if len(query.columns) != 1 and not query.value_table:
        raise invalid(
            "Scalar subquery cannot have more than one column unless using SELECT AS STRUCT to"
            " build STRUCT values",
            node,
        )
    value = value_of(tr, query)
    return Typed(f"({value.sql})", value.kind)


def _exists(tr: "Translator", node: exp.Exists, scope: Scope) -> Typed:
    inner = node.this
    query = tr.query(inner.this if isinstance(inner, exp.Subquery) else inner, scope)
    return Typed(f"EXISTS ({query.sql})", BOOL)


def _case(tr: "Translator", node: exp.Case, scope: Scope) -> Typed:
    branches = node.args["ifs"]
    default = node.args.get("default")
    results = [tr.expr(branch.args["true"], scope) for branch in branches]
    results.append(tr.expr(default, scope) if default is not None else null())
    tests = _case_tests(tr, node, scope)
    kind, coerced = common(tr, results, node, "CASE")
    parts = [
        f"WHEN {test} THEN {result.sql}" for test, result in zip(tests, coerced[:-1], strict=True)
    ]
    return Typed(f"CASE {' '.join(parts)} ELSE {coerced[-1].sql} END", kind)


def _case_tests(tr: "Translator", node: exp.Case, scope: Scope) -> list[str]:
    branches = node.args["ifs"]
    if node.this is None:
        return [tr.boolean(branch.this, scope, "CASE condition").sql for branch in branches]
    subject = tr.expr(node.this, scope)
    tests = []
    for branch in branches:
        value = tr.expr(branch.this, scope)
        tests.append(operators.comparison(tr, "=", [subject, value], branch).sql)
    return tests


def common(tr: "Translator", values: list[Typed], node: Any, what: str) -> tuple[Any, list[Typed]]:
    """The values coerced to their common type.

    Raises:
        ApiError: they have none.
    """
    kind = casts.supertype(values)
    coerced = [] if kind is None else [casts.coerce(tr.context, v, kind) for v in values]
    if kind is None or None in coerced:
        raise operators.no_signature(f"operator {what}", values, node)
    return kind, [value for value in coerced if value is not None]


def _if(tr: "Translator", node: exp.If, scope: Scope) -> Typed:
    test = tr.boolean(node.this, scope, "function IF")
    default = node.args.get("false")
    results = [
        tr.expr(node.args["true"], scope),
        tr.expr(default, scope) if default is not None else null(),
    ]
    kind, (yes, no) = common(tr, results, node, "IF")
    return Typed(f"CASE WHEN {test.sql} THEN {yes.sql} ELSE {no.sql} END", kind)


def _bracket(tr: "Translator", node: exp.Bracket, scope: Scope) -> Typed:
    value = tr.expr(node.this, scope)
    index_node = node.expressions[0]
    if value.kind == JSON:
        return _json_member(tr, value, index_node, scope)
    if not value.kind.is_array:
        raise invalid(
            f"Element access using [] is not supported on values of type {value.kind}", node
        )
    index = tr.coerced(index_node, scope, INT64, "operator []")
    offset = node.args.get("offset")
    function = "bq.safe_at" if node.args.get("safe") else "bq.at"
    shifted = index.sql if offset == 1 else f"({index.sql} + 1)"
    if node.args.get("safe") is False and offset is None:
        function = "bq.at"
    return Typed(f"{function}({value.sql}, {shifted})", value.kind.item)


def _json_member(tr: "Translator", value: Typed, index: exp.Expr, scope: Scope) -> Typed:
    key = tr.expr(index, scope)
    if key.kind == STRING:
        path = f"('$.\"' || replace({key.sql}, '\"', '\\\"') || '\"')"
    else:
        path = f"('$[' || CAST({key.sql} AS VARCHAR) || ']')"
    return Typed(f"json_extract({value.sql}, {path})", JSON)


def _implicit_concat(_tr: "Translator", node: exp.Expr, _scope: Scope) -> Typed:
    raise invalid("Syntax error: concatenated string literals are not supported", node)


def _kwarg(_tr: "Translator", node: exp.Kwarg, _scope: Scope) -> Typed:
    raise invalid(f"Named argument {node.this.name} is not supported here", node)


def _default(_tr: "Translator", node: exp.Var, _scope: Scope) -> Typed:
    if node.name.upper() == "DEFAULT":
        return null()
    raise invalid(f"Unrecognized name: {node.name}", node)


HANDLERS: dict[type[exp.Expr], Handler] = {
    exp.Literal: _literal,
    exp.Boolean: _boolean,
    exp.Null: _null,
    exp.RawString: _raw_string,
    exp.HexString: _hex,
    exp.ByteString: _byte_string,
    exp.ParseJSON: _json_literal,
    exp.Column: _column,
    exp.Dot: _dot,
    exp.Parameter: _parameter,
    exp.Placeholder: _placeholder,
    exp.Paren: _paren,
    exp.Cast: _cast,
    exp.TryCast: _cast,
    exp.Tuple: _tuple,
    exp.Array: _array,
    exp.Subquery: _subquery,
    exp.Exists: _exists,
    exp.Case: _case,
    exp.If: _if,
    exp.Bracket: _bracket,
    exp.Concat: _implicit_concat,
    exp.Kwarg: _kwarg,
    exp.Var: _default,
    exp.And: operators.logic,
    exp.Or: operators.logic,
    exp.Not: operators.negation,
    exp.Neg: operators.negate,
    exp.BitwiseNot: operators.bit_not,
    exp.Is: operators.is_test,
    exp.Between: operators.between,
    exp.Like: operators.like,
    exp.In: operators.membership,
    exp.Interval: dates.interval,
    exp.Extract: dates.extract,
    exp.AtTimeZone: dates.unexpected_zone,
    exp.Anonymous: calls.function,
    exp.SafeFunc: calls.safe_function,
    exp.NetFunc: calls.net_function,
    exp.Window: aggregate_calls.window,
    exp.CurrentDate: calls.niladic,
    exp.CurrentDatetime: calls.niladic,
    exp.CurrentTime: calls.niladic,
    exp.CurrentTimestamp: calls.niladic,
    exp.CurrentUser: calls.niladic,
    **dict.fromkeys(operators.BINARY_NODES, operators.binary),
    **dict.fromkeys(operators.COMPARISON_NODES, operators.compare),
}
