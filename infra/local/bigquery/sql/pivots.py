"""PIVOT and UNPIVOT."""

# ruff: noqa: S608 - SQL is what this package writes: names are quoted, values bound or cast

from typing import TYPE_CHECKING

from sqlglot import exp

from infra.local.bigquery.sql import casts
from infra.local.bigquery.sql.failures import invalid
from infra.local.bigquery.sql.query import Output, Query
from infra.local.bigquery.sql.scope import Column, Grouping, Relation, Scope
from infra.local.bigquery.sql.typesystem import STRING, text_literal

if TYPE_CHECKING:
    from infra.local.bigquery.sql.translator import Translator
    from infra.local.bigquery.sql.typed import Typed


def translate(
    tr: "Translator", query: Query, pivot: exp.Pivot, alias: str | None, scope: Scope
) -> str:
    """A pivoted query as an item of FROM."""
    result = _unpivot(tr, query, pivot) if pivot.args.get("unpivot") else _pivot(tr, query, pivot)
    given = pivot.args.get("alias")
    name = given.name if given is not None and given.this is not None else alias
    sql_name = tr.context.unique()
    columns = [
        Column(column.name, f"{sql_name}.c{index}", column.kind)
        for index, column in enumerate(result.columns)
    ]
    scope.relations.append(Relation(name, columns))
    return f"({result.sql}) AS {sql_name}"


def _source(tr: "Translator", query: Query) -> tuple[str, Scope]:
    tr.use_columns(query.columns)
    name = tr.context.unique()
    columns = [
        Column(column.name, f"{name}.c{index}", column.kind)
        for index, column in enumerate(query.columns)
    ]
    return f"({query.sql}) AS {name}", Scope(relations=[Relation(None, columns)])


def _pivot(tr: "Translator", query: Query, pivot: exp.Pivot) -> Query:
    source, scope = _source(tr, query)
    field = pivot.args["fields"][0]
    key = tr.expr(field.this, scope)
    scope.grouping = Grouping(keys=set())
    used = {column.name.casefold() for column in pivot.find_all(exp.Column)}
    kept = [c for c in scope.relations[0].columns if c.name.casefold() not in used]
    outputs = [Output(column.name, column.kind) for column in kept]
    texts = [column.sql for column in kept]
    for item in field.expressions:
        named = isinstance(item, exp.PivotAlias | exp.Alias)
        value_node = item.this if named else item
        value = tr.expr(value_node, Scope())
        label = item.args["alias"].name if named else _label(value_node)
        matched = casts.coerce(tr.context, value, key.kind)
        if matched is None:
            raise invalid(f"PIVOT value of type {value.kind} does not match {key.kind}", item)
        test = f"{key.sql} IS NOT DISTINCT FROM {matched.sql}"
        for aggregate in pivot.expressions:
            text, output = _aggregate(tr, aggregate, scope, test, label)
            texts.append(text)
            outputs.append(output)
    listed = ", ".join(f"{text} AS c{index}" for index, text in enumerate(texts))
    group = f" GROUP BY {', '.join(c.sql for c in kept)}" if kept else ""
    return Query(f"SELECT {listed} FROM {source}{group}", outputs)


def _aggregate(
    tr: "Translator", node: exp.Expr, scope: Scope, test: str, label: str
) -> tuple[str, Output]:
    from infra.local.bigquery.sql import aggregate_calls

    prefix = f"{node.alias}_" if isinstance(node, exp.Alias) else ""
    call = node.this if isinstance(node, exp.Alias) else node
    value: Typed = aggregate_calls.aggregate_call(tr, call, scope, condition=test)
    return value.sql, Output(f"{prefix}{label}", value.kind)


def _label(node: exp.Expr) -> str:
    if isinstance(node, exp.Literal):
        text = str(node.this)
        return text if not text[:1].isdigit() else f"_{text}"
    return str(node.name or node.sql("bigquery")).replace(" ", "_")


def _unpivot(tr: "Translator", query: Query, pivot: exp.Pivot) -> Query:
    source, scope = _source(tr, query)
    field = pivot.args["fields"][0]
    value_name = pivot.expressions[0].name
    label_name = field.this.name
    moved = []
    for item in field.expressions:
        named = isinstance(item, exp.PivotAlias | exp.Alias)
        column = item.this if named else item
        label = item.args["alias"].name if named else column.name
        moved.append((tr.expr(column, scope), column.name, label))
    kind = casts.supertype([value for value, _, _ in moved])
    if kind is None:
        raise invalid("UNPIVOT columns must have the same type", pivot)
    names = {name.casefold() for _, name, _ in moved}
    kept = [c for c in scope.relations[0].columns if c.name.casefold() not in names]
    branches = []
    for value, _, label in moved:
        sql = casts.converted_sql(value.sql, value.kind, kind) or value.sql
        parts = [column.sql for column in kept] + [sql, text_literal(label)]
        listed = ", ".join(f"{text} AS c{index}" for index, text in enumerate(parts))
        keep_nulls = str(pivot.args.get("include_nulls") or "").lower() == "true"
        where = "" if keep_nulls else f" WHERE {sql} IS NOT NULL"
        branches.append(f"SELECT {listed} FROM {source}{where}")
    outputs = [Output(column.name, column.kind) for column in kept]
    outputs += [Output(value_name, kind), Output(label_name, STRING)]
    return Query(" UNION ALL ".join(branches), outputs)
