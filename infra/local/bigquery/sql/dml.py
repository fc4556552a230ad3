"""INSERT, UPDATE, DELETE, TRUNCATE TABLE and MERGE with the counts of rows that they change."""

# ruff: noqa: S608 - SQL is what this package writes: names are quoted, values bound or cast

from typing import TYPE_CHECKING, Any

import duckdb
from sqlglot import exp

from infra.local.bigquery.catalog import Table
from infra.local.bigquery.dml_queues import Partitions, Turn
from infra.local.bigquery.errors import ApiError
from infra.local.bigquery.sql import (
    execution,
    merges,
    running,
    select,
    tables,
    updates,
)
from infra.local.bigquery.sql.compiled import Compiled
from infra.local.bigquery.sql.context import used_values
from infra.local.bigquery.sql.failures import invalid
from infra.local.bigquery.sql.inserts import refusal
from infra.local.bigquery.sql.partitions import (
    PARTITION_COLUMN,
    decorator_condition,
    ingestion_partition,
    partition_id,
)
from infra.local.bigquery.sql.plan import QueryPlan, QueryResult
from infra.local.bigquery.sql.scope import Scope
from infra.local.bigquery.sql.script.nodes import Simple
from infra.local.bigquery.sql.session import Session
from infra.local.bigquery.sql.translator import Translator
from infra.local.bigquery.sql.typed import Typed
from infra.local.bigquery.sql.typesystem import (
    Field,
    quoted,
)
from infra.local.bigquery.storage import Transaction

if TYPE_CHECKING:
    from collections.abc import Callable


def plan(session: Session, statement: Simple) -> QueryPlan:
    """What a DML statement would do."""
    return _plan(session, translate(session, statement.tree))


def run(session: Session, statement: Simple) -> QueryResult:
    """Run a DML statement in the open transaction or in one of its own."""
    change = translate(session, statement.tree)
    with session.dml_turn(change.kind, change.target) as turn:
        while True:
            facts = _plan(session, change)
            result = _attempt(session, change, facts, turn)
            if result is not None:
                result.sql = statement.sql
                return result
            change = translate(session, statement.tree)


def _plan(session: Session, change: updates.Change) -> QueryPlan:
    context = change.tr.context
    context.finish()
    compiled = Compiled(
        "", [], context.slots, context.tables, context.scans, context.undeclared, cacheable=False
    )
    facts = running.plan_of(session, compiled, change.kind)
    facts.dml_target = change.target.ref
    facts.schema = list(change.target.schema)
    return facts


class _OvertakenError(Exception):
    """Another statement has changed the same partitions since this one began."""


def _attempt(
    session: Session, change: updates.Change, facts: QueryPlan, turn: Turn | None
) -> QueryResult | None:
    """One run; None when it must be repeated, since its table is not what it was translated for."""
    context = change.tr.context
    if turn is not None:
        turn.begin()
    running.ensure_tables(session, context.scans)
    running.ensure_table(session, change.target)
    values = session.values(context.slots)
    try:
        with session.writing([change.target]) as tx:
            if not running.still_valid(session, context.tables):
                return None
            with execution.interruptible(tx.cursor, session.cancelled):
                stats = _execute(session, tx, change, values, turn)
    except _OvertakenError:
        return None
    result = running.as_result(facts, dml_stats=stats)
    result.schema = []
    result.num_dml_affected_rows = sum(stats.values())
    session.row_count = result.num_dml_affected_rows
    return result


def _execute(
    session: Session,
    tx: Transaction,
    change: updates.Change,
    values: dict[str, Any],
    turn: Turn | None,
) -> dict[str, int]:
    cursor, buffers = tx.cursor, session.enforcement.buffers
    partitions = None if turn is None else _partitions(cursor, change, values)
    buffered = None if change.kind == "INSERT" else buffers.fingerprint(cursor, change.target)
    stats = {"insertedRowCount": 0, "updatedRowCount": 0, "deletedRowCount": 0}
    for sql, counts in zip(change.steps, change.counts, strict=True):
        rows = cursor.execute(sql, used_values(sql, values) or None).fetchall()
        if counts == "merged":
            for (action,) in rows:
                stats[merges.COUNTERS[action]] += 1
        elif counts:
            stats[counts] += int(rows[0][0])
    buffers.refuse_changes(cursor, change.target, buffered, change.kind)
    # A MERGE that only inserted conflicts with nothing.
    if turn is not None and stats["updatedRowCount"] + stats["deletedRowCount"]:
        if turn.conflicts(partitions):
            raise _OvertakenError
        tx.on_commit(lambda: turn.committed(partitions))
    return stats


def _partitions(
    cursor: duckdb.DuckDBPyConnection, change: updates.Change, values: dict[str, Any]
) -> Partitions:
    """The partitions that a statement may change, as far as its WHERE clause tells."""
    table = change.target
    scan = next((s for s in change.tr.context.scans if s.table is table and s.pruning), None)
    if table.time_partitioning is None or scan is None:
        return None
    condition = " AND ".join(scan.pruning)
    text = (
        f"SELECT DISTINCT {partition_id(table, scan.alias)}"
        f" FROM {table.physical} AS {scan.alias} WHERE {condition}"
    )
    rows = cursor.execute(text, used_values(text, values) or None).fetchall()
    return frozenset(identity for (identity,) in rows)


# --- translation


def translate(session: Session, tree: exp.Expr) -> updates.Change:
    """A DML statement as steps.

    Raises:
        ApiError: as it would fail before it changes anything.
    """
    tr = Translator(session.environment())
    handlers: dict[type[exp.Expr], Callable[[Translator, Any], updates.Change]] = {
        exp.Insert: _insert,
        exp.Update: _update,
        exp.Delete: _delete,
        exp.TruncateTable: _truncate,
        exp.Merge: merges.translate,
    }
    return handlers[type(tree)](tr, tree)


def _insert(tr: Translator, node: exp.Insert) -> updates.Change:
    target = node.this.this if isinstance(node.this, exp.Schema) else node.this
    table, partition = updates.target_table(tr, target)
    given = (
        [part.name for part in node.this.expressions]
        if isinstance(node.this, exp.Schema)
        else [column["name"] for column in table.schema]
    )
    columns = [updates.column_of(table, name, node) for name in given]
    _refuse_repeats(given, node)
    source = node.expression
    if isinstance(source, exp.Values):
        rows = _value_rows(tr, source, columns, table)
    elif isinstance(source, exp.Query):
        rows = _query_rows(tr, source, columns, node)
    else:
        raise invalid("Syntax error: Expected VALUES or a query", node)
    change = updates.Change("INSERT", table, tr)
    change.add(_insert_sql(tr, table, columns, rows, partition), "insertedRowCount")
    return change


def _refuse_repeats(given: list[str], node: exp.Expr) -> None:
    seen: set[str] = set()
    for name in given:
        if name.casefold() in seen:
            raise invalid(f"INSERT has columns with duplicate name: {name}", node)
        seen.add(name.casefold())


def _value_rows(tr: Translator, source: exp.Values, columns: list[Field], table: Table) -> str:
    rows = []
    for row in source.expressions:
        items = (
            row.expressions
            if isinstance(row, exp.Tuple)
            else [row.this if isinstance(row, exp.Paren) else row]
        )
        if len(items) != len(columns):
            raise invalid(
                f"Inserted row has wrong column count; Has {len(items)}, expected {len(columns)}",
                row,
            )
        texts = []
        for item, column in zip(items, columns, strict=True):
            if updates.is_default(item):
                texts.append(updates.default_sql(tr, column, table))
            else:
                texts.append(updates.stored_value(tr, tr.expr(item, Scope()), column, item))
        rows.append(f"({', '.join(texts)})")
    return f"VALUES {', '.join(rows)}"


def _query_rows(tr: Translator, source: exp.Expr, columns: list[Field], node: exp.Expr) -> str:
    query = tr.query(source)
    tr.use_columns(query.columns)
    if len(query.columns) != len(columns):
        raise invalid(
            f"Inserted row has wrong column count; Has {len(query.columns)}, expected"
            f" {len(columns)}",
            node,
        )
    parts = []
    for index, (output, column) in enumerate(zip(query.columns, columns, strict=True)):
        value = Typed(f"q.c{index}", output.kind, coercion=_literal_output(source, index))
        parts.append(updates.stored_value(tr, value, column, node))
    return f"SELECT {', '.join(parts)} FROM ({query.sql}) AS q"


def _literal_output(source: exp.Expr, index: int) -> str:
    """Whether a column of `INSERT ... SELECT` is a string literal, which coerces to dates."""
    if not isinstance(source, exp.Select) or index >= len(source.expressions):
        return ""
    if any(isinstance(item, exp.Star) or item.is_star for item in source.expressions):
        return ""
    item = source.expressions[index]
    item = item.this if isinstance(item, exp.Alias) else item
    return "literal" if isinstance(item, exp.Literal) and item.is_string else ""


def _insert_sql(
    tr: Translator, table: Table, columns: list[Field], rows: str, partition: str | None
) -> str:
    targets = [quoted(column["name"]) for column in columns]
    named = {column["name"].casefold() for column in columns}
    values = [f"r.v{index}" for index in range(len(columns))]
    missing = [column for column in table.schema if column["name"].casefold() not in named]
    for column in missing:
        targets.append(quoted(column["name"]))
        values.append(updates.default_sql(tr, column, table))
    if table.ingestion_time_partitioned and PARTITION_COLUMN.casefold() not in named:
        targets.append(quoted(PARTITION_COLUMN))
        values.append(_ingestion_value(table, partition))
    aliases = ", ".join(f"v{index}" for index in range(len(columns)))
    return (
        f"INSERT INTO {table.physical} ({', '.join(targets)}) SELECT {', '.join(values)}"
        f" FROM ({rows}) AS r({aliases})"
    )


def _ingestion_value(table: Table, partition: str | None) -> str:
    if partition is None:
        return ingestion_partition(table)
    condition = decorator_condition(table, partition, "x")
    return condition.split(" >= ", 1)[1].split(" AND ", 1)[0]


# --- UPDATE, DELETE, TRUNCATE


def _condition(tr: Translator, node: exp.Expr, scope: Scope, word: str) -> str:
    clause = node.args.get("where")
    if clause is None:
        raise invalid(f"{word} must have a WHERE clause", node)
    return select.condition(tr, clause.this, scope)


def _update(tr: Translator, node: exp.Update) -> updates.Change:
    table, partition = updates.target_table(tr, node.this)
    scope = Scope()
    name = updates.open_target(tr, node.this, table, partition, scope)
    sources = ""
    clause = node.args.get("from_")
    if clause is not None:
        inner = exp.Select(expressions=[], from_=clause, joins=node.args.get("joins"))
        sources = tables.from_clause(tr, inner, scope).removeprefix(" FROM ")
    condition = _partitioned(_condition(tr, node, scope, "UPDATE"), table, partition, name)
    items = updates.assignments(tr, node.expressions, table, name, scope)
    listed = ", ".join(f"{quoted(column['name'])} = {value}" for column, value in items)
    change = updates.Change("UPDATE", table, tr)
    if sources:
        change.add(_single_match(table, name, sources, condition))
        sql = f"UPDATE {table.physical} AS {name} SET {listed} FROM {sources} WHERE {condition}"
    else:
        sql = f"UPDATE {table.physical} AS {name} SET {listed} WHERE {condition}"
    change.add(sql, "updatedRowCount")
    return change


def _single_match(table: Table, name: str, sources: str, condition: str) -> str:
    """A step that fails when one target row meets several source rows."""
    text = "UPDATE/MERGE must match at most one source row for each target row"
    return (
        f"SELECT CASE WHEN max(n) > 1 THEN {refusal(text, 'BIGINT')} END FROM"
        f" (SELECT count(*) AS n FROM {table.physical} AS {name}, {sources}"
        f" WHERE {condition} GROUP BY {name}.rowid)"
    )


def _partitioned(condition: str, table: Table, partition: str | None, name: str) -> str:
    if partition is None:
        return condition
    return f"({condition}) AND {decorator_condition(table, partition, name)}"


def _delete(tr: Translator, node: exp.Delete) -> updates.Change:
    target = (
        node.this if isinstance(node.this, exp.Expr) else (node.args.get("tables") or [None])[0]
    )
    if target is None:
        raise invalid("Syntax error: Expected a table name", node)
    table, partition = updates.target_table(tr, target)
    scope = Scope()
    name = updates.open_target(tr, target, table, partition, scope)
    condition = _partitioned(_condition(tr, node, scope, "DELETE"), table, partition, name)
    change = updates.Change("DELETE", table, tr)
    change.add(f"DELETE FROM {table.physical} AS {name} WHERE {condition}", "deletedRowCount")
    return change


def _truncate(tr: Translator, node: exp.TruncateTable) -> updates.Change:
    table, partition = updates.target_table(tr, node.expressions[0])
    if partition is not None:
        raise ApiError.invalid_query("TRUNCATE TABLE does not support partition decorators")
    change = updates.Change("TRUNCATE_TABLE", table, tr)
    change.add(f"DELETE FROM {table.physical}", "deletedRowCount")
    return change
