"""WITH: common table expressions, also recursive ones."""

# ruff: noqa: S608 - SQL is what this package writes: names are quoted, values bound or cast

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlglot import exp

from infra.local.bigquery.sql import casts
from infra.local.bigquery.sql.failures import invalid
from infra.local.bigquery.sql.query import Output, Query
from infra.local.bigquery.sql.scope import Scope

if TYPE_CHECKING:
    from infra.local.bigquery.sql.translator import Translator


@dataclass(slots=True)
class Cte:
    """A named query: the DuckDB name of its WITH entry and its columns."""

    sql_name: str
    columns: list[Output]


def translate(tr: "Translator", node: exp.Expr, scope: Scope) -> str:
    """The WITH clause of `node` as DuckDB text with a trailing blank, its names put in `scope`."""
    clause = node.args.get("with_")
    if clause is None:
        return ""
    parts = []
    recursive = bool(clause.args.get("recursive"))
    seen: set[str] = set()
    for cte in clause.expressions:
        name = cte.alias
        if name.casefold() in seen:
            raise invalid(f"Duplicate alias {name} for WITH subquery", cte.args["alias"])
        seen.add(name.casefold())
        parts.append(_one(tr, cte, scope, recursive=recursive))
    return f"WITH {'RECURSIVE ' if recursive else ''}{', '.join(parts)} "


def _one(tr: "Translator", cte: exp.CTE, scope: Scope, *, recursive: bool) -> str:
    name = cte.alias
    sql_name = tr.context.unique("x")
    body = cte.this
    if recursive and isinstance(body, exp.Union) and _refers_to(body, name):
        query = _recursive(tr, body, name, sql_name, scope)
    else:
        query = tr.query(body, scope)
    scope.ctes[name.casefold()] = Cte(sql_name, query.columns)
    return f"{sql_name} AS ({query.sql})"


def _refers_to(body: exp.Expr, name: str) -> bool:
    folded = name.casefold()
    return any(
        table.name.casefold() == folded and not table.args.get("db")
        for table in body.find_all(exp.Table)
    )


def _recursive(tr: "Translator", body: exp.Union, name: str, sql_name: str, scope: Scope) -> Query:
    """`anchor UNION ALL step`: the anchor's types hold for the step."""
    anchor = tr.query(body.this, scope)
    tr.use_columns(anchor.columns)
    columns = [Output(column.name, column.kind) for column in anchor.columns]
    scope.ctes[name.casefold()] = Cte(sql_name, columns)
    step = tr.query(body.expression, scope)
    tr.use_columns(step.columns)
    if len(step.columns) != len(columns):
        raise invalid("Queries in set operation have mismatched column count", body)
    parts = []
    for index, (mine, wanted) in enumerate(zip(step.columns, columns, strict=True)):
        sql = casts.converted_sql(f"b.c{index}", mine.kind, wanted.kind)
        if sql is None:
            raise invalid(
                f"Column {index + 1} in UNION ALL has incompatible types: {wanted.kind},"
                f" {mine.kind}",
                body,
            )
        parts.append(f"{sql} AS c{index}")
    word = "UNION" if body.args.get("distinct") else "UNION ALL"
    sql = f"({anchor.sql}) {word} (SELECT {', '.join(parts)} FROM ({step.sql}) AS b)"
    return Query(sql, columns)
