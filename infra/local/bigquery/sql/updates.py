"""What the DML statements share: their target, the values that its columns store, SET lists."""

from dataclasses import dataclass, field
from typing import Any

from sqlglot import exp

from infra.local.bigquery.catalog import Table
from infra.local.bigquery.sql import casts, names, syntax, tables
from infra.local.bigquery.sql.columns import path_of
from infra.local.bigquery.sql.failures import invalid
from infra.local.bigquery.sql.inserts import checked_value
from infra.local.bigquery.sql.partitions import (
    PARTITION_COLUMN,
    decorator_condition,
    ingestion_partition,
)
from infra.local.bigquery.sql.scope import Scope, did_you_mean
from infra.local.bigquery.sql.translator import Translator
from infra.local.bigquery.sql.typed import Typed
from infra.local.bigquery.sql.typesystem import Field, field_type, quoted


@dataclass
class Change:
    """A translated DML statement.

    Attributes:
        kind: its statement type.
        target: the table that it changes.
        steps: DuckDB statements in order; `counts` says what the result of each means.
        counts: inserted, updated, deleted, merged, or empty, one for each step.
    """

    kind: str
    target: Table
    tr: Translator
    steps: list[str] = field(default_factory=list)
    counts: list[str] = field(default_factory=list)

    def add(self, sql: str, counts: str = "") -> None:
        """Append a step."""
        self.steps.append(sql)
        self.counts.append(counts)


def target_table(tr: Translator, node: exp.Expr) -> tuple[Table, str | None]:
    """The table that a statement changes, and the partition of a decorator.

    Raises:
        ApiError: notFound, or it is a view.
    """
    if not isinstance(node, exp.Table):
        raise invalid("Syntax error: Expected a table name", node)
    path = names.read_path(node)
    if path.single and path.parts[0].casefold() in tr.context.environment.temporary:
        return tr.context.environment.temporary[path.parts[0].casefold()], None
    target = names.resolve(tr.context, path)
    table = tables.find(tr, target, path)
    if table.is_view:
        raise invalid(f"DML is not supported on views: {table.ref}", node)
    return table, target.partition


def column_of(table: Table, name: str, node: Any) -> Field:
    """The column of that name.

    Raises:
        ApiError: there is none.
    """
    folded = name.casefold()
    for column in table.schema:
        if column["name"].casefold() == folded:
            return column
    if table.ingestion_time_partitioned and folded == PARTITION_COLUMN.casefold():
        return {"name": PARTITION_COLUMN, "type": "TIMESTAMP", "mode": "NULLABLE"}
    hint = did_you_mean(name, (column["name"] for column in table.schema))
    raise invalid(f"Column {name} is not present in table {table.ref.table}{hint}", node)


def stored_value(tr: Translator, value: Typed, column: Field, node: Any) -> str:
    """A value as a column stores it: coerced, checked, rounded.

    Raises:
        ApiError: its type does not fit the column.
    """
    kind = field_type(column)
    coerced = casts.coerce(tr.context, value, kind)
    if coerced is None:
        raise invalid(
            f"Value has type {value.kind} which cannot be inserted into column"
            f" {column['name']}, which has type {kind}",
            node,
        )
    return checked_value(coerced.sql, column)


def is_default(node: exp.Expr) -> bool:
    """Whether a value is the keyword DEFAULT."""
    return (
        isinstance(node, exp.Var | exp.Column)
        and node.name.upper() == "DEFAULT"
        and (isinstance(node, exp.Var) or not node.this.quoted)
    )


def default_sql(tr: Translator, column: Field, table: Table) -> str:
    """DuckDB text of what a column stores by default."""
    expression = column.get("defaultValueExpression")
    if expression is None:
        if column["name"] == PARTITION_COLUMN and table.ingestion_time_partitioned:
            return ingestion_partition(table)
        return checked_value(None, column)
    tree = syntax.parse_statement(f"SELECT {expression}")
    return stored_value(tr, tr.expr(tree.expressions[0], Scope()), column, None)


def open_target(
    tr: Translator, node: exp.Expr, table: Table, partition: str | None, scope: Scope
) -> str:
    """The target as a range variable in `scope`: its DuckDB name."""
    alias = node.alias
    if not alias and isinstance(node, exp.Table):
        alias = names.split_decorator(names.read_path(node).parts[-1])[0]
    tables.base_table(tr, table, alias, scope)
    name = tr.context.scans[-1].alias
    if partition is not None:
        scan = tr.context.scans[-1]
        scan.pruning.append(decorator_condition(table, partition, name))
    return name


def assignments(
    tr: Translator, items: list[exp.Expr], table: Table, name: str, scope: Scope
) -> list[tuple[Field, str]]:
    """`SET a = 1, s.b = 2` as whole columns and their new values."""
    changed: dict[str, tuple[Field, str]] = {}
    for item in items:
        if not isinstance(item, exp.EQ):
            raise invalid("Syntax error: Expected an assignment", item)
        path = _target_path(item.this, table)
        column = column_of(table, path[0], item.this)
        folded = column["name"].casefold()
        if len(path) == 1:
            if folded in changed:
                raise invalid(f"Update item {column['name']} assigned more than once", item)
            value = _assigned(tr, item.expression, column, table, scope)
        else:
            before = changed[folded][1] if folded in changed else f"{name}.{quoted(column['name'])}"
            value = _with_field(tr, before, column, path[1:], (item, scope))
        changed[folded] = (column, value)
    return list(changed.values())


def _assigned(tr: Translator, node: exp.Expr, column: Field, table: Table, scope: Scope) -> str:
    if is_default(node):
        return default_sql(tr, column, table)
    return stored_value(tr, tr.expr(node, scope), column, node)


def _target_path(node: exp.Expr, table: Table) -> list[str]:
    path = path_of(node)
    if path is None:
        raise invalid("Syntax error: Expected a column name", node)
    parts = [part.name for part in path]
    known = {column["name"].casefold() for column in table.schema}
    if len(parts) > 1 and parts[0].casefold() not in known:
        parts = parts[1:]
    return parts


def _with_field(
    tr: Translator, before: str, column: Field, path: list[str], change: tuple[exp.Expr, Scope]
) -> str:
    """The struct `before` with one nested field replaced."""
    item, scope = change
    if column["type"] != "RECORD" or column["mode"] == "REPEATED":
        raise invalid(f"Cannot access field {path[0]} of column {column['name']}", item)
    parts = []
    found = False
    for inner in column["fields"]:
        old = f"({before}).{quoted(inner['name'])}"
        if inner["name"].casefold() == path[0].casefold():
            found = True
            if len(path) == 1:
                old = stored_value(tr, tr.expr(item.expression, scope), inner, item)
            else:
                old = _with_field(tr, old, inner, path[1:], change)
        parts.append(f"{quoted(inner['name'])} := {old}")
    if not found:
        raise invalid(f"Field name {path[0]} does not exist in {field_type(column)}", item)
    return f"struct_pack({', '.join(parts)})"
