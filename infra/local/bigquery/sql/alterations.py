"""ALTER TABLE and ALTER VIEW."""

# ruff: noqa: S608 - SQL is what this package writes: names are quoted, values bound or cast

import dataclasses
from typing import Any

from sqlglot import exp

from infra.local.bigquery.catalog import Table
from infra.local.bigquery.errors import ApiError
from infra.local.bigquery.schemas import canonical_schema
from infra.local.bigquery.sql import casts, names, table_specs
from infra.local.bigquery.sql.failures import invalid
from infra.local.bigquery.sql.plan import QueryResult
from infra.local.bigquery.sql.script.nodes import Simple
from infra.local.bigquery.sql.session import Session
from infra.local.bigquery.sql.syntax_types import read_field
from infra.local.bigquery.sql.translator import Translator
from infra.local.bigquery.sql.typesystem import Field, field_type, quoted
from infra.local.bigquery.storage import Transaction


def alter(session: Session, tree: exp.Alter, _statement: Simple) -> QueryResult:
    """One ALTER statement with all its actions, in one transaction."""
    context = Translator(session.environment()).context
    ref = names.resolve(context, names.read_path(tree.this)).ref
    table = session.catalog.find_table(ref)
    if table is None:
        if tree.args.get("exists"):
            return QueryResult(ddl_operation="SKIP", ddl_target=ref)
        raise ApiError.not_found("Table", f"{ref} was not found in location US")
    if table.kind != str(tree.args["kind"]).upper():
        raise ApiError.invalid_query(
            f"{ref} is not allowed for this operation because it is currently a {table.kind}."
        )
    session.catalog.ensure_physical(table)
    with session.writing([table]) as tx:
        changed = session.catalog.table(ref)
        for action in tree.args["actions"]:
            changed = _apply(session, tx, changed, action)
        if changed.ref != ref:
            raise invalid("ALTER TABLE RENAME TO is not supported by the local BigQuery", tree)
        session.catalog.replace_table(changed, tx=tx)
    return QueryResult(ddl_operation="ALTER", ddl_target=ref)


def _apply(session: Session, tx: Transaction, table: Table, action: Any) -> Table:
    if isinstance(action, exp.ColumnDef):
        return _add_column(session, tx, table, action)
    if isinstance(action, exp.Drop):
        return _drop_columns(session, tx, table, action)
    if isinstance(action, exp.RenameColumn):
        return _rename_column(tx, table, action)
    if isinstance(action, exp.AlterColumn):
        return _alter_column(session, tx, table, action)
    if isinstance(action, exp.AlterSet):
        return _set_options(session, table, action)
    raise invalid("This ALTER action is not supported by the local BigQuery", action)


def _index(table: Table, name: str, node: Any) -> int:
    folded = name.casefold()
    for position, column in enumerate(table.schema):
        if column["name"].casefold() == folded:
            return position
    raise invalid(f"Column not found: {name}", node)


def _with_schema(session: Session, tx: Transaction, table: Table, schema: list[Field]) -> Table:
    changed = dataclasses.replace(table, schema=canonical_schema(schema))
    session.catalog.alter_physical(tx, table, changed)
    return changed


def _add_column(session: Session, tx: Transaction, table: Table, action: exp.ColumnDef) -> Table:
    column = table_specs.read_column(action)
    names_present = {field["name"].casefold() for field in table.schema}
    if column["name"].casefold() in names_present:
        if action.args.get("exists"):
            return table
        raise invalid(f"Column already exists: {column['name']}", action)
    if column["mode"] == "REQUIRED":
        raise invalid(
            f"Cannot add required column {column['name']} to an existing table schema", action
        )
    changed = _with_schema(session, tx, table, [*table.schema, column])
    if column["mode"] == "REPEATED":
        name = quoted(column["name"])
        tx.cursor.execute(f"UPDATE {table.physical} SET {name} = []").fetchall()
    return changed


def _drop_columns(session: Session, tx: Transaction, table: Table, action: exp.Drop) -> Table:
    for node in action.args["tables"]:
        present = {field["name"].casefold() for field in table.schema}
        if node.name.casefold() not in present and action.args.get("exists"):
            continue
        position = _index(table, node.name, node)
        used = {(table.partition_field or "").casefold()}
        used |= {name.casefold() for name in (table.clustering or {}).get("fields", ())}
        if node.name.casefold() in used:
            raise invalid(
                f"ALTER TABLE DROP COLUMN: cannot drop column {node.name}, it partitions or"
                " clusters the table",
                node,
            )
        schema = [field for index, field in enumerate(table.schema) if index != position]
        if not schema:
            raise invalid("ALTER TABLE DROP COLUMN: a table needs at least one column", node)
        table = _with_schema(session, tx, table, schema)
    return table


def _rename_column(tx: Transaction, table: Table, action: exp.RenameColumn) -> Table:
    old, new = action.this.name, action.args["to"].name
    position = _index(table, old, action)
    schema = [dict(field) for field in table.schema]
    physical = quoted(schema[position]["name"])
    schema[position]["name"] = new
    changed = dataclasses.replace(table, schema=canonical_schema(schema))
    tx.cursor.execute(f"ALTER TABLE {table.physical} RENAME COLUMN {physical} TO {quoted(new)}")
    return changed


def _alter_column(
    session: Session, tx: Transaction, table: Table, action: exp.AlterColumn
) -> Table:
    position = _index(table, action.name, action)
    schema = [dict(field) for field in table.schema]
    column = schema[position]
    if action.args.get("dtype") is not None:
        wanted = read_field(column["name"], action.args["dtype"])
        before, after = field_type(column), field_type(wanted)
        if before != after and not casts.implicit(before, after):
            raise invalid(
                f"ALTER TABLE ALTER COLUMN SET DATA TYPE requires that the existing column type"
                f" ({before}) is assignable to the new type ({after})",
                action,
            )
        schema[position] = {**wanted, "mode": column["mode"]}
        return _with_schema(session, tx, table, schema)
    if action.args.get("drop") and action.args.get("allow_null"):
        column["mode"] = "NULLABLE"
    elif action.args.get("drop"):
        column.pop("defaultValueExpression", None)
    elif action.args.get("default") is not None:
        column["defaultValueExpression"] = action.args["default"].sql("bigquery")
    else:
        raise invalid("This ALTER COLUMN action is not supported by the local BigQuery", action)
    return dataclasses.replace(table, schema=schema)


def _set_options(session: Session, table: Table, action: exp.AlterSet) -> Table:
    options: dict[str, Any] = {}
    for properties in action.expressions:
        for prop in properties.expressions:
            options[prop.name.lower()] = table_specs.option_value(session, prop.args.get("value"))
    body, partitioning = table_specs.apply_options(options, table.body, table.time_partitioning)
    return dataclasses.replace(
        table,
        body=body,
        time_partitioning=partitioning,
        expires=table_specs.expiration(options, table.expires),
    )
