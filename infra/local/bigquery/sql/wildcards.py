"""Wildcard tables: `prefix_*` with `_TABLE_SUFFIX`."""

# ruff: noqa: S608 - SQL is what this package writes: names are quoted, values bound or cast

from typing import TYPE_CHECKING

from sqlglot import exp

from infra.local.bigquery.catalog import TableRef
from infra.local.bigquery.errors import ApiError
from infra.local.bigquery.sql.failures import invalid
from infra.local.bigquery.sql.names import Target
from infra.local.bigquery.sql.query import Output, Query
from infra.local.bigquery.sql.scope import Column, Relation, Scope
from infra.local.bigquery.sql.typesystem import (
    STRING,
    duckdb_type,
    field_type,
    quoted,
    text_literal,
)

if TYPE_CHECKING:
    from infra.local.bigquery.sql.translator import Translator


def translate(tr: "Translator", target: Target, node: exp.Expr) -> Query:
    """All tables with the prefix as one; the newest table gives the schema, as in BigQuery."""
    context = tr.context
    prefix = target.ref.table[:-1]
    project, dataset = target.ref.project, target.ref.dataset
    tables = [
        table
        for table in context.environment.catalog.tables(project, dataset)
        if table.ref.table.startswith(prefix) and not table.is_view
    ]
    if not tables:
        raise ApiError.not_found("Table", f"{target.ref} was not found in location US")
    context.cacheable = False
    newest = max(tables, key=lambda table: (table.created, table.ref.table))
    outputs = [Output(field["name"], field_type(field)) for field in newest.schema]
    outputs.append(Output("_TABLE_SUFFIX", STRING))
    branches = []
    for table in tables:
        context.reference(TableRef(project, dataset, table.ref.table), table)
        scan = context.scan(table, context.unique())
        scan.columns.update(field["name"] for field in table.schema)
        present = {field["name"].casefold(): field for field in table.schema}
        parts = []
        for index, field in enumerate(newest.schema):
            mine = present.get(field["name"].casefold())
            if mine is not None and field_type(mine) != field_type(field):
                raise invalid(
                    f"Cannot read field '{field['name']}' of type {field_type(mine)} as"
                    f" {field_type(field)}",
                    node,
                )
            value = quoted(mine["name"]) if mine else "NULL"
            parts.append(f"CAST({value} AS {duckdb_type(field_type(field))}) AS c{index}")
        suffix = text_literal(table.ref.table.removeprefix(prefix))
        parts.append(f"{suffix} AS c{len(newest.schema)}")
        branches.append(f"SELECT {', '.join(parts)} FROM {table.physical}")
    return Query(" UNION ALL ".join(branches), outputs)


def relation(tr: "Translator", query: Query, alias: str | None, scope: Scope) -> str:
    """The wildcard table as an item of FROM, its suffix a pseudo column."""
    name = tr.context.unique()
    columns = [
        Column(column.name, f"{name}.c{index}", column.kind)
        for index, column in enumerate(query.columns)
    ]
    columns[-1].hidden = True
    scope.relations.append(Relation(alias, columns))
    return f"({query.sql}) AS {name}"
