"""CREATE TABLE: with columns, AS SELECT, LIKE, COPY, temporary."""

# ruff: noqa: S608 - SQL is what this package writes: names are quoted, values bound or cast

import duckdb
from sqlglot import exp

from infra.local.bigquery.catalog import Table, TableRef, now_ms
from infra.local.bigquery.errors import ApiError
from infra.local.bigquery.schemas import canonical_schema
from infra.local.bigquery.sql import casts, execution, inserts, names, running, table_specs
from infra.local.bigquery.sql.compiled import Compiled, compile_query
from infra.local.bigquery.sql.failures import invalid
from infra.local.bigquery.sql.plan import QueryPlan, QueryResult
from infra.local.bigquery.sql.script.nodes import Simple
from infra.local.bigquery.sql.session import Session
from infra.local.bigquery.sql.table_specs import Spec
from infra.local.bigquery.sql.translator import Translator
from infra.local.bigquery.sql.typesystem import Field, duckdb_type, field_type
from infra.local.bigquery.sql.writes import check_partition_field


def named(session: Session, node: exp.Expr) -> TableRef:
    """The full name of the table that a statement names."""
    table = node.this if isinstance(node, exp.Schema) else node
    if not isinstance(table, exp.Table):
        raise invalid("Syntax error: Expected a table name", node)
    context = Translator(session.environment()).context
    return names.resolve(context, names.read_path(table)).ref


def create(session: Session, tree: exp.Create, _statement: Simple) -> QueryResult:
    """CREATE TABLE in all its forms."""
    spec = table_specs.read_spec(session, tree)
    if spec.temporary:
        return _create_temporary(session, tree, spec)
    ref = named(session, tree.this)
    while True:
        result = _try_create(session, tree, spec, ref)
        if result is not None:
            return result


def _try_create(
    session: Session, tree: exp.Create, spec: Spec, ref: TableRef
) -> QueryResult | None:
    catalog = session.catalog
    catalog.dataset(ref.project, ref.dataset)
    existing = catalog.find_table(ref)
    if existing is not None and not tree.args.get("replace"):
        if tree.args.get("exists"):
            return QueryResult(ddl_operation="SKIP", ddl_target=ref)
        raise ApiError.duplicate("Table", str(ref))
    if existing is not None and existing.is_view:
        raise ApiError.invalid_query(
            f"{ref} is not allowed for this operation because it is currently a VIEW."
        )
    compiled = (
        compile_query(session.environment(), tree.expression)
        if isinstance(tree.expression, exp.Query)
        else None
    )
    facts = running.plan_of(session, compiled) if compiled is not None else QueryPlan()
    table = _new_table(session, tree, spec, ref, compiled)
    if compiled is not None:
        running.ensure_tables(session, compiled.scans)
    source = _copied(session, tree)
    locked = [existing] if existing is not None else []
    with session.writing(locked) as tx:
        if catalog.find_table(ref) is not existing:
            return None
        if existing is None:
            table = catalog.create_table(table, tx=tx)
            catalog.create_physical(tx, table)
        else:
            catalog.create_physical(tx, table)
            table = catalog.replace_table(table, tx=tx)
        count = _fill(session, tx.cursor, table, compiled, source)
    result = running.as_result(facts)
    result.schema = table.schema if compiled is not None else []
    result.ddl_operation = "CREATE" if existing is None else "REPLACE"
    result.ddl_target = ref
    if compiled is not None:
        result.output_rows = count
    return result


def _new_table(
    session: Session, tree: exp.Create, spec: Spec, ref: TableRef, compiled: Compiled | None
) -> Table:
    schema = _schema(session, tree, spec, compiled)
    partitioning, clustering = spec.partitioning, spec.clustering
    origin = _origin(session, tree, spec)
    if origin is not None:
        partitioning = partitioning or origin.time_partitioning
        clustering = clustering or origin.clustering
    body, partitioning = table_specs.apply_options(spec.options, {}, partitioning)
    now = now_ms()
    table = Table(
        ref=ref,
        kind="TABLE",
        schema=canonical_schema(schema),
        physical=session.catalog.new_physical(),
        created=now,
        modified=now,
        time_partitioning=partitioning,
        clustering=clustering,
        expires=table_specs.expiration(spec.options, None),
        body=body,
    )
    check_partition_field(table)
    return table


def _schema(
    session: Session, tree: exp.Create, spec: Spec, compiled: Compiled | None
) -> list[Field]:
    given = table_specs.read_columns(tree.this) if isinstance(tree.this, exp.Schema) else []
    if given:
        if compiled is not None and len(given) != len(compiled.columns):
            raise invalid(
                f"Number of columns in the column definition list does not match the number of"
                f" columns in the query: {len(given)} and {len(compiled.columns)}",
                tree,
            )
        return given
    if compiled is not None:
        return compiled.schema
    origin = _origin(session, tree, spec)
    if origin is None:
        raise invalid("CREATE TABLE needs columns, AS SELECT, LIKE or COPY", tree)
    return list(origin.schema)


def _origin(session: Session, tree: exp.Create, spec: Spec) -> Table | None:
    """The table after LIKE, COPY or CLONE."""
    clone = tree.args.get("clone")
    node = spec.like or (clone.this if clone is not None else None)
    if node is None:
        return None
    table = session.catalog.table(named(session, node))
    if table.is_view:
        raise invalid(f"{table.ref} is a view", node)
    return table


def _copied(session: Session, tree: exp.Create) -> Table | None:
    clone = tree.args.get("clone")
    if clone is None:
        return None
    table = session.catalog.table(named(session, clone.this))
    session.catalog.ensure_physical(table)
    return table


def _fill(
    session: Session,
    cursor: duckdb.DuckDBPyConnection,
    table: Table,
    compiled: Compiled | None,
    source: Table | None,
) -> int:
    if source is not None:
        rows = cursor.execute(
            f"INSERT INTO {table.physical} SELECT * FROM {source.physical}"
        ).fetchall()
        return int(rows[0][0])
    if compiled is None:
        return 0
    schema = [
        {**field, "name": column["name"]}
        for field, column in zip(compiled.schema, table.schema, strict=True)
    ]
    text = _converted(compiled, table)
    values = session.values(compiled.slots)
    with execution.interruptible(cursor, session.cancelled):
        rows = cursor.execute(inserts.Plan(table, schema).sql(text), values or None).fetchall()
    return int(rows[0][0])


def _converted(compiled: Compiled, table: Table) -> str:
    """The query with its columns converted to a table's declared types."""
    parts = []
    for index, ((name, kind), column) in enumerate(
        zip(compiled.columns, table.schema, strict=True)
    ):
        wanted = field_type(column)
        if kind == wanted:
            parts.append(f"c{index}")
            continue
        sql = (
            casts.converted_sql(f"c{index}", kind, wanted) if casts.implicit(kind, wanted) else None
        )
        if sql is None:
            raise ApiError.invalid_query(
                f"Column {name} has type {kind} which cannot be stored in {column['name']} of type"
                f" {wanted}"
            )
        parts.append(f"CAST({sql} AS {duckdb_type(wanted)})")
    return f"SELECT {', '.join(parts)} FROM ({compiled.sql}) AS c"


def _create_temporary(session: Session, tree: exp.Create, spec: Spec) -> QueryResult:
    if not session.script:
        raise invalid("Use of CREATE TEMPORARY TABLE requires a script or session", tree)
    node = tree.this.this if isinstance(tree.this, exp.Schema) else tree.this
    name = names.read_path(node).parts[-1]
    known = session.temporary.get(name.casefold())
    if known is not None and not tree.args.get("replace"):
        if tree.args.get("exists"):
            return QueryResult(ddl_operation="SKIP")
        raise ApiError.duplicate("Table", f"{session.request.project}:_SESSION.{name}")
    compiled = (
        compile_query(session.environment(), tree.expression)
        if isinstance(tree.expression, exp.Query)
        else None
    )
    facts = running.plan_of(session, compiled) if compiled is not None else QueryPlan()
    ref = TableRef(session.request.project, "_SESSION", name)
    table = _new_table(session, tree, spec, ref, compiled)
    if compiled is not None:
        running.ensure_tables(session, compiled.scans)
    with session.writing() as tx:
        session.catalog.create_physical(tx, table)
        count = _fill(session, tx.cursor, table, compiled, None)
    session.temporary[name.casefold()] = table
    result = running.as_result(facts)
    result.schema = []
    result.output_rows = count if compiled is not None else None
    result.ddl_operation = "CREATE" if known is None else "REPLACE"
    result.ddl_target = ref
    return result
