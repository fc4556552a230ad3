"""Aggregate and window calls: DISTINCT, IGNORE NULLS, HAVING MAX, ORDER BY, LIMIT, OVER."""

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlglot import exp

from infra.local.bigquery.sql import aggregates, casts, select
from infra.local.bigquery.sql.failures import invalid
from infra.local.bigquery.sql.operators import no_signature
from infra.local.bigquery.sql.scope import Scope
from infra.local.bigquery.sql.signatures import Match, choose, fill
from infra.local.bigquery.sql.typed import Typed
from infra.local.bigquery.sql.typesystem import INT64, array_of, struct_of

if TYPE_CHECKING:
    from infra.local.bigquery.sql.translator import Translator


@dataclass(slots=True)
class _Call:
    """An aggregate call taken apart.

    Attributes:
        over: its OVER clause with a leading blank, or empty.
        condition: of a FILTER, or empty.
    """

    name: str
    node: exp.Expr
    arguments: list[exp.Expr]
    over: str = ""
    condition: str = ""
    distinct: bool = False
    nulls: str = ""
    order: list[exp.Ordered] = field(default_factory=list)
    limit: exp.Expr | None = None
    having: exp.HavingMax | None = None

    def suffix(self) -> str:
        """FILTER and OVER."""
        return (f" FILTER (WHERE {self.condition})" if self.condition else "") + self.over

    def only_where(self, condition: str) -> None:
        """Aggregate only rows that also meet this condition."""
        both = f"({self.condition}) AND ({condition})"
        self.condition = both if self.condition else condition


def _take_apart(node: exp.Anonymous, over: str, condition: str) -> _Call:
    call = _Call(node.name.upper(), node, list(node.expressions), over, condition)
    if not call.arguments:
        return call
    call.arguments[-1] = _unwrapped(call, call.arguments[-1])
    if len(call.arguments) > 1:
        call.arguments[0] = _unwrapped(call, call.arguments[0])
    if isinstance(call.arguments[0], exp.Distinct):
        call.distinct = True
        inner = call.arguments[0].expressions
        call.arguments = [*(_unwrapped(call, item) for item in inner), *call.arguments[1:]]
    return call


def _unwrapped(call: _Call, node: exp.Expr) -> exp.Expr:
    while True:
        if isinstance(node, exp.Limit):
            call.limit = node.expression
        elif isinstance(node, exp.Order):
            call.order = node.expressions
        elif isinstance(node, exp.IgnoreNulls):
            call.nulls = "IGNORE"
        elif isinstance(node, exp.RespectNulls):
            call.nulls = "RESPECT"
        elif isinstance(node, exp.HavingMax):
            call.having = node
        else:
            return node
        node = node.this


def plain_aggregate(tr: "Translator", node: exp.Anonymous, scope: Scope) -> Typed:
    """An aggregate call without OVER.

    Raises:
        ApiError: it stands where aggregates are not allowed.
    """
    name = node.name.upper()
    if scope.no_aggregates is not None:
        raise invalid(f"Aggregate function {name} not allowed in {scope.no_aggregates}", node)
    if scope.grouping is None:
        raise invalid(f"Aggregate function {name} not allowed here", node)
    if scope.grouping.inside:
        raise invalid("Aggregations of aggregations are not allowed", node)
    return aggregate_call(tr, node, scope)


def aggregate_call(
    tr: "Translator", node: exp.Expr, scope: Scope, *, over: str = "", condition: str = ""
) -> Typed:
    """An aggregate or window function; `over` is its OVER clause, `condition` a filter."""
    if not isinstance(node, exp.Anonymous):
        raise invalid("An aggregate function is expected", node)
    call = _take_apart(node, over, condition)
    grouping = scope.grouping
    if grouping is None or over:
        return _rendered(tr, call, scope)
    grouping.inside += 1
    mark = len(grouping.pending)
    try:
        return _rendered(tr, call, scope)
    finally:
        grouping.inside -= 1
        del grouping.pending[mark:]


def _rendered(tr: "Translator", call: _Call, scope: Scope) -> Typed:
    name, node = call.name, call.node
    if len(call.arguments) == 1 and isinstance(call.arguments[0], exp.Star):
        if name != "COUNT":
            raise invalid(f"Argument * can only be used in COUNT(*), not in {name}(*)", node)
        return Typed(f"count(*){call.suffix()}", INT64)
    values = [tr.expr(argument, scope) for argument in call.arguments]
    order = [f"{tr.expr(item.this, scope).sql}{select.direction(item)}" for item in call.order]
    if name == "APPROX_TOP_COUNT":
        return _top_count(values, call.over)
    table = aggregates.AGGREGATES.get(name) or aggregates.WINDOWS.get(name) or []
    match = choose(tr.context, table, values)
    if match is None:
        raise no_signature(f"aggregate function {name}", values, node)
    _check_arguments(call, match.arguments)
    if call.limit is not None and name in {"ARRAY_AGG", "STRING_AGG"}:
        return _limited(tr, call, match, order, scope)
    template, arguments = match.signature.template, match.arguments
    if call.having is not None:
        best = "arg_max_null" if call.having.args.get("max") else "arg_min_null"
        arguments = [arguments[0], tr.expr(call.having.expression, scope)]
        template = f"@{best}"
    if call.nulls == "IGNORE" and name == "ARRAY_AGG":
        call.only_where(f"{arguments[0].sql} IS NOT NULL")
    inline_nulls = f" {call.nulls} NULLS" if call.nulls and name in aggregates.WINDOWS else ""
    render = _Render(call.distinct, order, inline_nulls, call.suffix(), arguments)
    return Typed(render.template(template), match.result)


def _check_arguments(call: _Call, arguments: list[Typed]) -> None:
    name = call.name
    kind = arguments[0].kind if arguments else INT64
    if name == "ARRAY_AGG" and kind.is_array:
        raise invalid("The argument to ARRAY_AGG must not be an array type", call.node)
    refused = {"ARRAY", "STRUCT", "JSON", "GEOGRAPHY"}
    if name in {"MIN", "MAX"} and kind.kind in refused:
        raise invalid(f"{name} is not defined for arguments of type {kind.kind}", call.node)
    if call.distinct and kind.kind in refused - {"STRUCT"}:
        raise invalid(
            f"Aggregate functions with DISTINCT cannot be used with arguments of type {kind.kind}",
            call.node,
        )


_CORE = re.compile(r"@(\w+)(?:\[((?:[^\[\]])*)\])?")


@dataclass(slots=True)
class _Render:
    distinct: bool
    order: list[str]
    nulls: str
    suffix: str
    arguments: list[Typed]

    def template(self, text: str) -> str:
        """The template with every `@name` as a full aggregate call.

        Slots are filled before order and suffix are added: those are SQL of the query, whose own
        braces, such as a regular expression's, are no slots.
        """
        pieces, end = [], 0
        for match in _CORE.finditer(text):
            pieces += [fill(text[end : match.start()], self.arguments), self._core(match)]
            end = match.end()
        return "".join(pieces) + fill(text[end:], self.arguments)

    def _core(self, match: re.Match[str]) -> str:
        name, given = match.groups()
        inner = fill(given if given is not None else "{*}", self.arguments)
        if self.distinct and not inner.startswith("DISTINCT"):
            inner = f"DISTINCT {inner}"
        ordered = f" ORDER BY {', '.join(self.order)}" if self.order else ""
        return f"{name}({inner}{self.nulls}{ordered}){self.suffix}"


def _limited(tr: "Translator", call: _Call, match: Match, order: list[str], scope: Scope) -> Typed:
    """ARRAY_AGG and STRING_AGG with LIMIT: the list cut after it is ordered."""
    arguments = match.arguments
    count = casts.coerce(tr.context, tr.expr(call.limit, scope), INT64) if call.limit else None
    if count is None:
        raise invalid(f"LIMIT of {call.name} must be an integer", call.limit)
    if call.name == "STRING_AGG" or call.nulls == "IGNORE":
        call.only_where(f"{arguments[0].sql} IS NOT NULL")
    render = _Render(call.distinct, order, "", call.suffix(), arguments[:1])
    sliced = f"list_slice({render.template('@list')}, 1, {count.sql})"
    if call.name == "ARRAY_AGG":
        return Typed(sliced, match.result)
    separator = arguments[1].sql if len(arguments) > 1 else "','"
    return Typed(f"array_to_string({sliced}, {separator})", match.result)


def _top_count(values: list[Typed], over: str) -> Typed:
    kind = struct_of([("value", values[0].kind), ("count", INT64)])
    entries = f"map_entries(histogram({values[0].sql}){over})"
    pairs = (
        f"list_transform({entries},"
        " lambda e: struct_pack(n := CAST(e.value AS BIGINT), v := e.key))"
    )
    top = f"list_slice(list_reverse_sort({pairs}), 1, {values[1].sql})"
    shaped = f"list_transform({top}, lambda e: struct_pack(value := e.v, count := e.n))"
    return Typed(shaped, array_of(kind))


def window(tr: "Translator", node: exp.Window, scope: Scope) -> Typed:
    """f(...) OVER (...)."""
    call = node.this
    if isinstance(call, exp.IgnoreNulls | exp.RespectNulls):
        raise invalid("Syntax error: IGNORE NULLS belongs inside the parentheses", node)
    if not isinstance(call, exp.Anonymous):
        raise invalid("An OVER clause needs an analytic function", node)
    name = call.name.upper()
    if not aggregates.is_aggregate(name) and name not in aggregates.WINDOWS:
        raise invalid(f"Function {name} does not support an OVER clause", node)
    if not scope.analytic:
        raise invalid(f"Analytic function {name} not allowed in this clause", node)
    return aggregate_call(tr, call, scope, over=f" OVER ({_over(tr, node, scope)})")


def _over(tr: "Translator", node: exp.Window, scope: Scope) -> str:
    parts = []
    partition, order, spec = _definition(node, scope)
    if partition:
        keys = ", ".join(tr.expr(item, scope).sql for item in partition)
        parts.append(f"PARTITION BY {keys}")
    if order is not None:
        keys = ", ".join(
            f"{tr.expr(item.this, scope).sql}{select.direction(item)}" for item in order.expressions
        )
        parts.append(f"ORDER BY {keys}")
    if spec is not None:
        parts.append(_frame(tr, spec, scope))
    return " ".join(parts)


def _definition(node: exp.Window, scope: Scope) -> tuple[Any, Any, Any]:
    """PARTITION BY, ORDER BY and frame of a window, with what it inherits from named ones."""
    own = (node.args.get("partition_by"), node.args.get("order"), node.args.get("spec"))
    base = node.args.get("alias")
    if base is None:
        return own
    named = scope.windows.get(base.name.casefold())
    if named is None:
        raise invalid(f"Unrecognized window alias {base.name}", base)
    partition, order, spec = _definition(named, scope)
    return own[0] or partition, own[1] or order, own[2] or spec


def _frame(tr: "Translator", spec: exp.WindowSpec, scope: Scope) -> str:
    start = _bound(tr, spec.args.get("start"), spec.args.get("start_side"), scope)
    end_node = spec.args.get("end")
    if end_node is None:
        return f"{spec.args['kind']} {start}"
    end = _bound(tr, end_node, spec.args.get("end_side"), scope)
    return f"{spec.args['kind']} BETWEEN {start} AND {end}"


def _bound(tr: "Translator", value: Any, side: Any, scope: Scope) -> str:
    if isinstance(value, str):
        return value if value == "CURRENT ROW" else f"{value} {side}"
    return f"{tr.expr(value, scope).sql} {side}"
