"""One statement: which kind it is, its plan, its run."""

from typing import TYPE_CHECKING, Any

from sqlglot import exp

from infra.local.bigquery.errors import ApiError
from infra.local.bigquery.sql import ddl, dml, execution, literals, running, writes
from infra.local.bigquery.sql.compiled import Compiled, compile_query
from infra.local.bigquery.sql.failures import invalid
from infra.local.bigquery.sql.plan import QueryPlan, QueryResult
from infra.local.bigquery.sql.script.blocks import read_script
from infra.local.bigquery.sql.script.nodes import Simple
from infra.local.bigquery.sql.session import Session

if TYPE_CHECKING:
    from collections.abc import Callable


def plan(session: Session, statement: Simple) -> QueryPlan:
    """What a statement would do.

    Raises:
        ApiError: as it would fail.
    """
    tree = statement.tree
    if isinstance(tree, exp.Query):
        compiled = compile_select(session, statement)
        return running.plan_of(session, compiled)
    return _other(tree).plan(session, statement)


def run(session: Session, statement: Simple) -> QueryResult:
    """Run a statement.

    Raises:
        ApiError: what it fails with.
    """
    tree = statement.tree
    if isinstance(tree, exp.Query):
        return run_compiled(session, compile_select(session, statement), statement.sql)
    if session.request.destination is not None and not session.script:
        raise ApiError.invalid("Cannot set destination table in jobs with DML or DDL statements")
    return _other(tree).run(session, statement)


def _other(tree: exp.Expr) -> Any:
    if isinstance(tree, exp.Insert | exp.Update | exp.Delete | exp.Merge | exp.TruncateTable):
        return dml
    if isinstance(tree, exp.Create | exp.Drop | exp.Alter):
        return ddl
    if isinstance(tree, exp.Export):
        raise invalid("EXPORT DATA is not supported by the local BigQuery", tree)
    raise invalid(f"Unsupported statement: {tree.key.upper()}", tree)


# --- SELECT


def compile_select(session: Session, statement: Simple) -> Compiled:
    """The translated query, from the cache where it still holds."""

    def build() -> Compiled:
        return compile_query(session.environment(), statement.tree)

    return session.cache.get(session.key(statement.sql), build)


def compile_text(session: Session, sql: str) -> Compiled | None:
    """The translated query of a job's whole text without reading it as a script, or None.

    One that ran before is in the cache under its text; one that differs from such a query only in
    literals, under the text without them (literals.py).
    """
    found = session.cache.find(session.key(sql))
    if found is not None or session.dry:
        return found
    template = literals.take_out(sql)
    if template is None:
        return None
    session.literals = template.values
    try:
        script = read_script(template.sql)
        if script.single and isinstance(script.only.tree, exp.Query):
            return compile_select(session, script.only)
    except ApiError:  # translated as written, it fails with its own text, or not at all
        pass
    session.literals = {}
    return None


def run_text(session: Session, compiled: Compiled, sql: str) -> QueryResult:
    """Run what `compile_text` gave.

    Raises:
        ApiError: of a literal that is no date, what the analysis of the text as written says.
    """
    try:
        return run_compiled(session, compiled, sql)
    except ApiError as error:
        if session.literals and error.reason == "invalidQuery":
            session.literals = {}
            compile_select(session, read_script(sql).only)
        raise


def run_compiled(session: Session, compiled: Compiled, sql: str) -> QueryResult:
    """Run a translated query."""
    facts = running.plan_of(session, compiled)
    running.ensure_tables(session, compiled.scans)
    values = session.values(compiled.slots)
    if session.request.destination is not None and not session.script:
        return _into_destination(session, compiled, facts, values)
    with session.reading() as cursor, execution.interruptible(cursor, session.cancelled):
        rows = execution.fetch(cursor, compiled, values)
    return running.as_result(facts, rows=rows, total_rows=rows.num_rows, sql=sql)


def _into_destination(
    session: Session, compiled: Compiled, facts: QueryPlan, values: dict[str, Any]
) -> QueryResult:
    request = session.request
    undo: list[Callable[[], None]] = []

    def started(cursor: Any) -> None:
        register = getattr(session.cancelled, "on_set", None)
        if register is not None:
            undo.append(register(cursor.interrupt))

    destination = request.destination
    if destination is None:
        raise ValueError("a destination is needed")
    try:
        outcome = writes.write_destination(
            session.storage,
            session.catalog,
            destination=destination,
            partition=request.partition,
            schema=compiled.schema,
            rows=writes.Selected(compiled.sql, values),
            write_disposition=request.write_disposition,
            create_disposition=request.create_disposition,
            schema_update_options=request.schema_update_options,
            time_partitioning=request.time_partitioning,
            clustering=request.clustering,
            job_id=request.job_id,
            running=started,
        )
    finally:
        for forget in undo:
            forget()
    result = running.as_result(
        facts, output_rows=outcome.output_rows, total_rows=outcome.output_rows
    )
    result.schema = outcome.table.schema if request.partition is None else facts.schema
    return result
