"""SELECT, set operations and WITH."""

# ruff: noqa: S608 - SQL is what this package writes: names are quoted, values bound or cast

from typing import TYPE_CHECKING, Any

from sqlglot import exp

from infra.local.bigquery.errors import ApiError
from infra.local.bigquery.sql import aggregation, casts, ctes, stars, tables
from infra.local.bigquery.sql.failures import invalid
from infra.local.bigquery.sql.pruning import Pruning
from infra.local.bigquery.sql.query import Output, Query
from infra.local.bigquery.sql.scope import Alias, Column, Relation, Scope
from infra.local.bigquery.sql.stars import Item
from infra.local.bigquery.sql.typed import Typed
from infra.local.bigquery.sql.typesystem import INT64, SqlType

if TYPE_CHECKING:
    from infra.local.bigquery.sql.translator import Translator

_UNGROUPABLE = {"STRUCT", "ARRAY", "JSON", "GEOGRAPHY"}


def translate(tr: "Translator", node: exp.Expr, outer: Scope | None) -> Query:
    """Any query expression."""
    if isinstance(node, exp.Select):
        return _select(tr, node, outer)
    if isinstance(node, exp.SetOperation):
        return _set_operation(tr, node, outer)
    if isinstance(node, exp.Subquery):
        return _parenthesised(tr, node, outer)
    raise invalid("Syntax error: Expected a query", node)


def _parenthesised(tr: "Translator", node: exp.Subquery, outer: Scope | None) -> Query:
    if not any(node.args.get(key) for key in ("order", "limit", "offset", "with_")):
        return translate(tr, node.this, outer)
    scope = Scope(parent=outer)
    prefix = ctes.translate(tr, node, scope)
    inner = translate(tr, node.this, scope)
    return _decorated(tr, node, scope, prefix, inner)


def _decorated(tr: "Translator", node: exp.Expr, scope: Scope, prefix: str, inner: Query) -> Query:
    """ORDER BY and LIMIT around a query that already has its columns."""
    tr.use_columns(inner.columns)
    scope.aliases = {
        column.name.casefold(): Alias(f"q.c{index}", column.kind, index + 1)
        for index, column in enumerate(inner.columns)
        if column.name
    }
    order = _order_by(tr, node, scope, inner.columns, [])
    limit = _limit(tr, node, scope)
    sql = f"{prefix}SELECT * FROM ({inner.sql}) AS q{order}{limit}"
    return Query(sql, inner.columns, inner.value_table, bool(order))


# --- SELECT


def _select(tr: "Translator", node: exp.Select, outer: Scope | None) -> Query:
    _refuse_foreign_syntax(node)
    scope = Scope(parent=outer, distinct=node.args.get("distinct") is not None)
    prefix = ctes.translate(tr, node, scope)
    source = tables.from_clause(tr, node, scope)
    where = _where(tr, node, scope)
    entries = stars.expand(tr, node, scope)
    scope.windows = {window.name.casefold(): window for window in node.args.get("windows") or ()}
    plan = aggregation.plan(tr, node, entries, scope)
    items = [_item(tr, entry, scope, eager=plan.eager) for entry in entries]
    aggregation.check(scope, "SELECT list")
    scope.aliases = _aliases(items)
    having = _clause(tr, node, scope, "having", "HAVING")
    aggregation.check(scope, "HAVING clause")
    qualify = _clause(tr, node, scope, "qualify", "QUALIFY")
    order = _order_by(tr, node, scope, [item.output for item in items], items)
    aggregation.check(scope, "ORDER BY clause")
    limit = _limit(tr, node, scope)
    distinct = _distinct(node, items)
    if plan.eager or distinct or qualify:
        tr.use_columns([item.output for item in items])
    simple = not (plan.grouped or distinct or qualify or limit)
    outputs = [item.output for item in items]
    if not simple:
        for output in outputs:
            output.base = None
    listed = ", ".join(f"{item.value.sql} AS c{i}" for i, item in enumerate(items))
    group = f" GROUP BY {plan.group_by}" if plan.group_by else ""
    sql = f"{prefix}SELECT {distinct}{listed}{source}{where}{group}{having}{qualify}{order}{limit}"
    return _as_value_table(node, Query(sql, outputs, ordered=bool(order)), items)


def _refuse_foreign_syntax(node: exp.Select) -> None:
    for key in ("laterals", "cluster", "distribute", "sort", "connect", "match", "into", "locks"):
        if node.args.get(key):
            raise invalid(f"Syntax error: Unexpected keyword {key.upper()}", node)
    distinct = node.args.get("distinct")
    if distinct is not None and distinct.args.get("on") is not None:
        raise invalid("Syntax error: Unexpected keyword ON", distinct.args["on"])
    if not node.expressions:
        raise invalid("SELECT list must not be empty", node)


def _as_value_table(node: exp.Select, query: Query, items: list[Item]) -> Query:
    kind = str(node.args.get("kind") or "").upper()
    if kind == "STRUCT":
        query.value_table = "STRUCT"
    elif kind == "VALUE":
        if len(items) != 1:
            raise invalid("SELECT AS VALUE query must have exactly one column", node)
        query.value_table = "VALUE"
    return query


def _item(tr: "Translator", entry: stars.Entry, scope: Scope, *, eager: bool) -> Item:
    with tr.context.recording() as uses:
        value = entry.read(tr, scope)
    frozen = frozenset(uses)
    if eager:
        tr.context.use(frozen)
    name = entry.name if entry.name is not None else value.name
    output = Output(name or "", value.kind, frozen, entry.base)
    return Item(value, output, entry.explicit)


def _aliases(items: list[Item]) -> dict[str, Alias]:
    aliases: dict[str, Alias] = {}
    for position, item in enumerate(items, 1):
        if item.output.name and item.explicit:
            alias = Alias(item.value.sql, item.value.kind, position, item.output.uses)
            aliases.setdefault(item.output.name.casefold(), alias)
    return aliases


def _where(tr: "Translator", node: exp.Select, scope: Scope) -> str:
    clause = node.args.get("where")
    if clause is None:
        return ""
    return f" WHERE {condition(tr, clause.this, scope)}"


def condition(tr: "Translator", node: exp.Expr, scope: Scope) -> str:
    """The condition of a WHERE clause, noted where it prunes partitions."""
    scope.no_aggregates = "WHERE clause"
    scope.analytic = False
    try:
        return Pruning(tr, scope).condition(node)
    finally:
        scope.no_aggregates = None
        scope.analytic = True


def _clause(tr: "Translator", node: exp.Select, scope: Scope, key: str, word: str) -> str:
    clause = node.args.get(key)
    if clause is None:
        return ""
    if key == "having":
        if scope.grouping is None:
            raise invalid(
                "The HAVING clause requires GROUP BY or aggregation to be present", clause
            )
        scope.analytic = False
    try:
        return f" {word} {tr.boolean(clause.this, scope, f'{word} clause').sql}"
    finally:
        scope.analytic = True


def _distinct(node: exp.Select, items: list[Item]) -> str:
    if node.args.get("distinct") is None:
        return ""
    for item in items:
        if item.value.kind.kind in _UNGROUPABLE:
            raise invalid(
                f"Column {item.output.name or 'without a name'} of type {item.value.kind.kind}"
                " cannot be used in SELECT DISTINCT",
                node,
            )
    return "DISTINCT "


# --- ORDER BY, LIMIT


def _order_by(
    tr: "Translator", node: exp.Expr, scope: Scope, outputs: list[Output], items: list[Item]
) -> str:
    clause = node.args.get("order")
    if clause is None:
        return ""
    parts = [_order_item(tr, ordered, scope, outputs, items) for ordered in clause.expressions]
    return f" ORDER BY {', '.join(parts)}"


def _order_item(
    tr: "Translator", ordered: exp.Ordered, scope: Scope, outputs: list[Output], items: list[Item]
) -> str:
    node = ordered.this
    if isinstance(node, exp.Literal) and not node.is_string and str(node.this).isdigit():
        position = int(node.this)
        if not 1 <= position <= len(outputs):
            raise invalid(
                f"ORDER BY column number item is out of range. Column numbers must be"
                f" between 1 and {len(outputs)}",
                node,
            )
        text, kind = str(position), outputs[position - 1].kind
    else:
        text, kind = _order_key(tr, node, scope, items)
    if kind.kind in _UNGROUPABLE:
        raise invalid(f"ORDER BY does not support expressions of type {kind.kind}", node)
    return text + direction(ordered)


def _order_key(
    tr: "Translator", node: exp.Expr, scope: Scope, items: list[Item]
) -> tuple[str, SqlType]:
    """An ORDER BY expression: the position of an equal output, or its text."""
    value = tr.expr(node, scope)
    for position, item in enumerate(items, 1):
        if item.value.sql == value.sql:
            return str(position), value.kind
    if scope.distinct:
        columns = [Column(i.output.name, i.value.sql, i.value.kind) for i in items]
        visible = Scope(parent=scope.parent, relations=[Relation(None, columns)])
        try:
            value = tr.expr(node, visible)
        except ApiError as error:
            raise invalid(
                "ORDER BY clause expression references a column which is not visible after SELECT"
                " DISTINCT",
                node,
            ) from error
    return value.sql, value.kind


def direction(ordered: exp.Ordered) -> str:
    """ASC or DESC with the place of NULLs: NULL is the smallest value in BigQuery."""
    word = "DESC" if ordered.args.get("desc") else "ASC"
    nulls = "FIRST" if ordered.args.get("nulls_first") else "LAST"
    return f" {word} NULLS {nulls}"


def _limit(tr: "Translator", node: exp.Expr, scope: Scope) -> str:
    text = ""
    limit, offset = node.args.get("limit"), node.args.get("offset")
    if limit is not None:
        text += f" LIMIT {_count(tr, limit.expression, scope, 'LIMIT')}"
    if offset is not None:
        text += f" OFFSET {_count(tr, offset.expression, scope, 'OFFSET')}"
    return text


def _count(tr: "Translator", node: Any, scope: Scope, word: str) -> str:
    if isinstance(node, exp.Literal | exp.Parameter | exp.Placeholder | exp.Cast):
        value = casts.coerce(tr.context, tr.expr(node, Scope(parent=scope)), INT64)
        if value is not None:
            return value.sql
    raise invalid(f"Syntax error: {word} expects a non-negative integer literal or parameter", node)


# --- set operations


def _set_operation(tr: "Translator", node: exp.SetOperation, outer: Scope | None) -> Query:
    scope = Scope(parent=outer)
    prefix = ctes.translate(tr, node, scope)
    branches = [translate(tr, branch, scope) for branch in _branches(node)]
    word = _word(node)
    for branch in branches:
        tr.use_columns(branch.columns)
    columns = _joined_columns(branches, node)
    texts = [_branch_sql(branch, columns) for branch in branches]
    body = f" {word} ".join(f"({text})" for text in texts)
    query = Query(body, columns, branches[0].value_table)
    if not prefix and not any(node.args.get(key) for key in ("order", "limit", "offset")):
        return query
    return _decorated(tr, node, scope, prefix, query)


def _branches(node: exp.SetOperation) -> list[exp.Expr]:
    """The operands of a chain of the same operation, without deep recursion."""
    branches = [node.expression]
    current = node.this
    while (
        type(current) is type(node)
        and current.args.get("distinct") == node.args.get("distinct")
        and not any(current.args.get(key) for key in ("order", "limit", "offset", "with_"))
    ):
        branches.append(current.expression)
        current = current.this
    return [current, *reversed(branches)]


def _word(node: exp.SetOperation) -> str:
    distinct = node.args.get("distinct")
    if isinstance(node, exp.Union):
        if distinct is None:
            raise invalid("Syntax error: Expected keyword ALL or keyword DISTINCT", node)
        return "UNION" if distinct else "UNION ALL"
    if not distinct:
        raise invalid("Syntax error: Expected keyword DISTINCT", node)
    return "EXCEPT" if isinstance(node, exp.Except) else "INTERSECT"


def _joined_columns(branches: list[Query], node: exp.Expr) -> list[Output]:
    first = branches[0].columns
    for branch in branches[1:]:
        if len(branch.columns) != len(first):
            raise invalid(
                "Queries in set operation have mismatched column count; query 1 has"
                f" {len(first)} column{'s' * (len(first) != 1)}, query"
                f" {branches.index(branch) + 1} has {len(branch.columns)}",
                node,
            )
    columns = []
    for position, column in enumerate(first):
        values = [Typed("", branch.columns[position].kind) for branch in branches]
        kind = casts.supertype(values)
        if kind is None:
            kinds = ", ".join(str(value.kind) for value in values)
            raise invalid(
                f"Column {position + 1} in set operation has incompatible types: {kinds}", node
            )
        columns.append(Output(column.name, kind))
    return columns


def _branch_sql(branch: Query, columns: list[Output]) -> str:
    if all(mine.kind == wanted.kind for mine, wanted in zip(branch.columns, columns, strict=True)):
        return branch.sql
    parts = []
    for index, (mine, wanted) in enumerate(zip(branch.columns, columns, strict=True)):
        sql = casts.converted_sql(f"b.c{index}", mine.kind, wanted.kind)
        parts.append(f"{sql} AS c{index}")
    return f"SELECT {', '.join(parts)} FROM ({branch.sql}) AS b"
