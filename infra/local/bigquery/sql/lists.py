"""Subqueries over one array as list functions: what a billing query does per row, without a join.

`(SELECT SUM(c.amount) FROM UNNEST(credits) c WHERE ...)` and its like are folded; anything else
stays a correlated subquery with the same result.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlglot import exp

from infra.local.bigquery.sql import aggregates
from infra.local.bigquery.sql import columns as paths
from infra.local.bigquery.sql.failures import MARK
from infra.local.bigquery.sql.scope import Column, Relation, Scope
from infra.local.bigquery.sql.signatures import choose
from infra.local.bigquery.sql.typed import Typed
from infra.local.bigquery.sql.typesystem import INT64, duckdb_type, field_names, quoted

if TYPE_CHECKING:
    from infra.local.bigquery.sql.translator import Translator

_ALLOWED = {"expressions", "from_", "where", "limit", "kind"}
_FOLDS = {
    "SUM": "list_sum({0})",
    "COUNT": "coalesce(list_count({0}), 0)",
    "MIN": "list_min({0})",
    "MAX": "list_max({0})",
    "LOGICAL_OR": "list_bool_or({0})",
    "LOGICAL_AND": "list_bool_and({0})",
    "ANY_VALUE": "list_any_value({0})",
}


@dataclass(slots=True)
class _Source:
    """The array of a foldable subquery and the scope of its elements."""

    array: str
    element: str
    scope: Scope


def fold(tr: "Translator", node: exp.Subquery, scope: Scope) -> Typed | None:
    """A scalar subquery over one UNNEST as a list function, or None."""
    select = node.this
    if node.args.get("with_") or node.args.get("order") or node.args.get("limit"):
        return None
    if not isinstance(select, exp.Select) or not _foldable(select):
        return None
    item = select.expressions[0]
    item = item.this if isinstance(item, exp.Alias) else item
    aggregated = isinstance(item, exp.Anonymous) and aggregates.is_aggregate(item.name)
    if not aggregated and aggregates.has_aggregate(item, windows=True):
        return None
    source = _source(tr, select, scope)
    if source is None:
        return None
    filtered = _filtered(tr, select, source)
    if filtered is None:
        return None
    if aggregated:
        return _aggregate(tr, item, source, filtered)
    return _picked(tr, select, item, source, filtered)


def _foldable(select: exp.Select) -> bool:
    used = {key for key, value in select.args.items() if value}
    if used - _ALLOWED or len(select.expressions) != 1 or select.args.get("kind"):
        return False
    if any(select.find_all(exp.Star)) and not _counts_rows(select.expressions[0]):
        return False
    inner = [part for part in (select.args.get("where"), *select.expressions) if part is not None]
    return not any(part.find(exp.Query, exp.Window) for part in inner)


def _counts_rows(item: exp.Expr) -> bool:
    call = item.this if isinstance(item, exp.Alias) else item
    return isinstance(call, exp.Anonymous) and call.name.upper() == "COUNT"


def _source(tr: "Translator", select: exp.Select, scope: Scope) -> _Source | None:
    clause = select.args.get("from_")
    if clause is None:
        return None
    source = clause.this
    if isinstance(source, exp.Unnest):
        if source.args.get("offset") or len(source.expressions) != 1:
            return None
        array = tr.expr(source.expressions[0], scope)
        alias = source.args.get("alias")
        name = None
        if alias is not None:
            identifier = alias.columns[0] if alias.columns else alias.this
            name = identifier.name if identifier is not None else None
    elif isinstance(source, exp.Table) and source.args.get("db") is not None:
        path = [part for part in source.parts if isinstance(part, exp.Identifier)]
        if not any(level.range_variable(path[0].name) for level in scope.chain()):
            return None
        array = paths.translate_path(tr, path, scope)
        name = source.alias or path[-1].name
    else:
        return None
    if not array.kind.is_array or "SELECT" in array.sql:
        return None
    element = tr.context.unique("e")
    inner = Scope(parent=scope)
    inner.relations.append(_element(name, element, array))
    return _Source(array.sql, element, inner)


def _element(name: str | None, element: str, array: Typed) -> Relation:
    kind = array.kind.item
    columns = []
    if kind.is_struct:
        stored = field_names(kind.fields)
        columns = [
            Column(field, f"{element}.{quoted(stored[index])}", inner)
            for index, (field, inner) in enumerate(kind.fields)
        ]
    return Relation(name, columns, Column(name or "", element, kind))


def _filtered(tr: "Translator", select: exp.Select, source: _Source) -> str | None:
    where = select.args.get("where")
    if where is None:
        return source.array
    source.scope.no_aggregates = "WHERE clause"
    condition = tr.boolean(where.this, source.scope, "WHERE clause").sql
    source.scope.no_aggregates = None
    if "SELECT" in condition:
        return None
    return f"list_filter({source.array}, lambda {source.element}: {condition})"


def _aggregate(
    tr: "Translator", call: exp.Anonymous, source: _Source, filtered: str
) -> Typed | None:
    name = call.name.upper()
    template = _FOLDS.get(name)
    if template is None or len(call.expressions) != 1:
        return None
    argument = call.expressions[0]
    if isinstance(argument, exp.Star):
        return Typed(f"coalesce(len({filtered}), 0)", INT64)
    if isinstance(argument, exp.Distinct | exp.Order | exp.Limit | exp.HavingMax | exp.IgnoreNulls):
        return None
    value = tr.expr(argument, source.scope)
    match = choose(tr.context, aggregates.AGGREGATES[name], [value])
    if match is None or "SELECT" in value.sql or match.result.is_struct:
        return None
    mapped = f"list_transform({filtered}, lambda {source.element}: {match.arguments[0].sql})"
    kind = match.result
    sql = template.replace("{0}", mapped)
    return Typed(f"CAST({sql} AS {duckdb_type(kind)})" if name == "SUM" else sql, kind)


def _picked(
    tr: "Translator", select: exp.Select, item: exp.Expr, source: _Source, filtered: str
) -> Typed | None:
    value = tr.expr(item, source.scope)
    if "SELECT" in value.sql:
        return None
    limit = select.args.get("limit")
    if limit is not None and not (
        isinstance(limit.expression, exp.Literal) and limit.expression.this == "1"
    ):
        return None
    mapped = f"list_transform({filtered}, lambda {source.element}: {value.sql})"
    if limit is not None:
        return Typed(f"list_extract({mapped}, 1)", value.kind)
    refusal = f"CAST('{MARK}Scalar subquery produced more than one element' AS BIGINT)"
    return Typed(
        f"list_extract({mapped}, CASE WHEN len({filtered}) > 1 THEN {refusal} ELSE 1 END)",
        value.kind,
    )
