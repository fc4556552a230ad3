"""What every kind of statement needs: its facts, its tables made ready, their identity checked."""

import contextlib
from collections.abc import Iterable
from dataclasses import fields
from typing import Any

from sqlglot import exp

from infra.local.bigquery.catalog import Table, TableRef
from infra.local.bigquery.errors import ApiError
from infra.local.bigquery.sql import names, syntax
from infra.local.bigquery.sql.bytes_estimate import billed_bytes
from infra.local.bigquery.sql.compiled import Compiled
from infra.local.bigquery.sql.context import Context, Scan
from infra.local.bigquery.sql.plan import QueryPlan, QueryResult
from infra.local.bigquery.sql.session import Session


def plan_of(session: Session, compiled: Compiled, kind: str = "SELECT") -> QueryPlan:
    """A compiled statement's facts; refuses one over the limit of bytes billed."""
    total = session.sizes.total(compiled.scans, session.values(compiled.slots))
    base_tables = {scan.table.physical for scan in compiled.scans}
    billed = billed_bytes(total, len(base_tables))
    limit = session.request.maximum_bytes_billed
    if limit is not None and billed > limit and not session.dry:
        raise ApiError.bytes_billed_limit(limit, billed)
    return QueryPlan(
        schema=compiled.schema,
        statement_type=kind,
        referenced_tables=[ref for ref, table in compiled.tables.items() if table is not None],
        total_bytes_processed=total,
        total_bytes_billed=billed,
        undeclared_parameters=compiled.undeclared_parameters,
    )


def as_result(plan: QueryPlan, **more: Any) -> QueryResult:
    """A plan's facts as the result of its run."""
    known = {item.name: getattr(plan, item.name) for item in fields(plan)}
    return QueryResult(**known, **more)


def ensure_tables(session: Session, scans: Iterable[Scan]) -> None:
    """Create what a statement reads where it was never written."""
    for scan in scans:
        ensure_table(session, scan.table)


def ensure_table(session: Session, table: Table) -> None:
    """Create a table's DuckDB table if it has none; inside a transaction, within that one."""
    if table.is_view or session.catalog.has_rows_table(table):
        return
    if session.transaction is None:
        session.catalog.ensure_physical(table)
    elif table.physical not in session.created:
        session.catalog.create_physical(session.transaction, table)
        session.created.add(table.physical)


def prepare_tables(session: Session, trees: Iterable[exp.Expr]) -> None:
    """Create what the statements may touch, before a transaction fixes its snapshot."""
    context = Context(session.environment())
    pending = [(tree, context.project, context.default_dataset) for tree in trees]
    seen: set[TableRef] = set()
    while pending:
        tree, context.project, context.default_dataset = pending.pop()
        for node in tree.find_all(exp.Table):
            table = _existing(session, context, node)
            if table is None or table.ref in seen:
                continue
            seen.add(table.ref)
            if table.is_view:
                inner = syntax.parse_statement(table.view_query or "")
                pending.append((inner, table.ref.project, None))
            else:
                session.catalog.ensure_physical(table)


def _existing(session: Session, context: Context, node: exp.Table) -> Table | None:
    """The table that a name means; None for CTEs, arrays and what does not exist."""
    with contextlib.suppress(ApiError):
        return session.catalog.find_table(names.resolve(context, names.read_path(node)).ref)
    return None


def still_valid(session: Session, tables: dict[TableRef, Table | None]) -> bool:
    """Whether every table is as it was when the statement was translated."""
    find = session.catalog.find_table
    return all(find(ref) is table for ref, table in tables.items())
