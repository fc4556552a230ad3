"""CREATE, DROP and ALTER of tables, views and schemas."""

import dataclasses
from typing import TYPE_CHECKING, Any

import duckdb
from sqlglot import exp
from sqlglot.tokenizer_core import TokenType

from infra.local.bigquery.catalog import Dataset, Table, TableRef, now_ms
from infra.local.bigquery.errors import ApiError
from infra.local.bigquery.schemas import canonical_schema
from infra.local.bigquery.sql import (
    alterations,
    create_tables,
    names,
    running,
    syntax,
    table_specs,
)
from infra.local.bigquery.sql.compiled import Compiled, compile_query
from infra.local.bigquery.sql.failures import from_duckdb, invalid
from infra.local.bigquery.sql.plan import QueryPlan, QueryResult
from infra.local.bigquery.sql.script.nodes import Simple
from infra.local.bigquery.sql.session import Session
from infra.local.bigquery.sql.syntax_types import read_type
from infra.local.bigquery.sql.translator import Translator
from infra.local.bigquery.sql.typesystem import Field
from infra.local.bigquery.sql.udfs import SqlFunction

if TYPE_CHECKING:
    from collections.abc import Callable


def plan(session: Session, statement: Simple) -> QueryPlan:
    """What a DDL statement would do."""
    tree = statement.tree
    facts = QueryPlan(statement_type=statement_type(tree))
    if isinstance(tree, exp.Create) and isinstance(tree.expression, exp.Query):
        compiled = compile_query(session.environment(), tree.expression)
        facts = running.plan_of(session, compiled, facts.statement_type)
    if isinstance(tree, exp.Create) and tree.kind in {"TABLE", "VIEW"}:
        facts.ddl_target = create_tables.named(session, tree.this)
        exists = session.catalog.find_table(facts.ddl_target) is not None
        facts.ddl_operation = _operation(tree, exists=exists)
    elif isinstance(tree, exp.Drop | exp.Alter) and str(tree.args.get("kind")) != "SCHEMA":
        node = tree.this if isinstance(tree, exp.Alter) else tree.args["tables"][0]
        facts.ddl_target = create_tables.named(session, node)
        facts.ddl_operation = "ALTER" if isinstance(tree, exp.Alter) else "DROP"
    return facts


def statement_type(tree: exp.Expr) -> str:
    """As BigQuery names it."""
    kind = str(tree.args.get("kind") or "TABLE").upper()
    if isinstance(tree, exp.Create):
        with_query = kind == "TABLE" and isinstance(tree.expression, exp.Query)
        return f"CREATE_{kind}{'_AS_SELECT' if with_query else ''}"
    return f"{'DROP' if isinstance(tree, exp.Drop) else 'ALTER'}_{kind}"


def run(session: Session, statement: Simple) -> QueryResult:
    """Run a DDL statement.

    Raises:
        ApiError: as BigQuery words it.
    """
    tree = statement.tree
    if session.transaction is not None and not _is_temporary(tree):
        raise invalid(
            "DDL statements other than on temporary tables are not supported inside a transaction",
            tree,
        )
    kind = str(tree.args.get("kind") or "TABLE").upper()
    runners: dict[tuple[type, str], Callable[[Session, Any, Simple], QueryResult]] = {
        (exp.Create, "TABLE"): create_tables.create,
        (exp.Create, "VIEW"): _create_view,
        (exp.Create, "SCHEMA"): _create_schema,
        (exp.Create, "FUNCTION"): _create_function,
        (exp.Drop, "TABLE"): _drop_tables,
        (exp.Drop, "VIEW"): _drop_tables,
        (exp.Drop, "SCHEMA"): _drop_schema,
        (exp.Alter, "TABLE"): alterations.alter,
        (exp.Alter, "VIEW"): alterations.alter,
    }
    runner = runners.get((type(tree), kind))
    if runner is None:
        raise invalid(f"Unsupported statement: {statement_type(tree).replace('_', ' ')}", tree)
    _count_update(session, statement)
    try:
        result = runner(session, tree, statement)
    except duckdb.Error as error:
        raise from_duckdb(error) from error
    result.statement_type = statement_type(tree)
    result.sql = statement.sql
    return result


def _count_update(session: Session, statement: Simple) -> None:
    if not session.enforcement.active or _is_temporary(statement.tree):
        return
    target = plan(session, statement).ddl_target
    if isinstance(target, TableRef):
        table = session.catalog.find_table(target)
        partitioning = table.time_partitioning if table is not None else None
        session.enforcement.tables.table_changes(target, partitioning)


def _is_temporary(tree: exp.Expr) -> bool:
    return tree.find(exp.TemporaryProperty) is not None


def _operation(tree: exp.Create, *, exists: bool) -> str:
    if not exists:
        return "CREATE"
    return (
        "REPLACE" if tree.args.get("replace") else "SKIP" if tree.args.get("exists") else "CREATE"
    )


# --- views, schemas, functions


def _create_view(session: Session, tree: exp.Create, statement: Simple) -> QueryResult:
    spec = table_specs.read_spec(session, tree)
    ref = create_tables.named(session, tree.this)
    catalog = session.catalog
    catalog.dataset(ref.project, ref.dataset)
    existing = catalog.find_table(ref)
    if existing is not None and not tree.args.get("replace"):
        if tree.args.get("exists"):
            return QueryResult(ddl_operation="SKIP", ddl_target=ref)
        raise ApiError.duplicate("Table", str(ref))
    if existing is not None and not existing.is_view:
        raise ApiError.invalid_query(
            f"{ref} is not allowed for this operation because it is currently a TABLE."
        )
    environment = dataclasses.replace(
        session.environment(), default_dataset=None, parameters={}, positional=(), variables={},
        temporary={}, project=ref.project,
    )  # fmt: skip
    compiled = compile_query(environment, tree.expression)
    schema = _view_schema(tree, compiled)
    body, _ = table_specs.apply_options(spec.options, {}, None)
    now = now_ms()
    view = Table(
        ref=ref,
        kind="VIEW",
        schema=canonical_schema(schema),
        physical=existing.physical if existing is not None else catalog.new_physical(),
        created=existing.created if existing is not None else now,
        modified=now,
        view_query=_text_after_as(statement.sql),
        expires=table_specs.expiration(spec.options, None),
        body=body,
    )
    with session.writing() as tx:
        if existing is None:
            catalog.create_table(view, tx=tx)
        else:
            catalog.replace_table(view, tx=tx)
    return QueryResult(
        ddl_operation="CREATE" if existing is None else "REPLACE",
        ddl_target=ref,
        referenced_tables=list(compiled.tables),
        schema=[],
    )


def _view_schema(tree: exp.Create, compiled: Compiled) -> list[Field]:
    schema = compiled.schema
    if not isinstance(tree.this, exp.Schema):
        return schema
    given = tree.this.expressions
    if len(given) != len(schema):
        raise invalid("The number of columns in the view definition does not match the query", tree)
    return [{**field, "name": item.name} for field, item in zip(schema, given, strict=True)]


def _text_after_as(sql: str) -> str:
    """The query of a CREATE VIEW as its author wrote it."""
    depth = 0
    for token in syntax.tokenize(sql):
        if token.token_type == TokenType.L_PAREN:
            depth += 1
        elif token.token_type == TokenType.R_PAREN:
            depth -= 1
        elif token.token_type == TokenType.ALIAS and depth == 0:
            return sql[token.end + 1 :].strip().rstrip(";").strip()
    return sql


def _create_schema(session: Session, tree: exp.Create, _statement: Simple) -> QueryResult:
    spec = table_specs.read_spec(session, tree)
    context = Translator(session.environment()).context
    project, name = names.dataset_path(context, tree.this)
    catalog = session.catalog
    if catalog.find_dataset(project, name) is not None and tree.args.get("exists"):
        return QueryResult(ddl_operation="SKIP", ddl_target=(project, name))
    body, _ = table_specs.apply_options(spec.options, {}, None)
    days = spec.options.get("default_table_expiration_days")
    if days is not None:
        body["defaultTableExpirationMs"] = str(int(float(days) * 86_400_000))
    now = now_ms()
    location = str(spec.options.get("location") or "US")
    catalog.create_dataset(Dataset(project, name, location, now, now, body))
    return QueryResult(ddl_operation="CREATE", ddl_target=(project, name))


def _create_function(session: Session, tree: exp.Create, _statement: Simple) -> QueryResult:
    function = tree.this
    if not _is_temporary(tree) or not session.script:
        raise invalid(
            "Only CREATE TEMP FUNCTION in a script is supported by the local BigQuery", tree
        )
    if not isinstance(function, exp.UserDefinedFunction) or not isinstance(
        tree.expression, exp.Expr
    ):
        raise invalid("Only SQL functions are supported by the local BigQuery", tree)
    arguments = []
    for item in function.expressions:
        if not isinstance(item, exp.ColumnDef) or item.kind is None:
            raise invalid("Function arguments need a name and a type", tree)
        arguments.append((item.name, read_type(item.kind)))
    name = function.this.name
    session.functions[name.casefold()] = SqlFunction(name, tuple(arguments), tree.expression)
    return QueryResult(ddl_operation="CREATE")


# --- DROP


def _drop_tables(session: Session, tree: exp.Drop, _statement: Simple) -> QueryResult:
    wanted = str(tree.args["kind"]).upper()
    result = QueryResult(ddl_operation="DROP")
    for node in tree.args["tables"]:
        path = names.read_path(node)
        if path.single and session.temporary.pop(path.parts[0].casefold(), None) is not None:
            continue
        ref = create_tables.named(session, node)
        table = session.catalog.find_table(ref)
        result.ddl_target = ref
        if table is None:
            if not tree.args.get("exists"):
                raise ApiError.not_found("Table", f"{ref} was not found in location US")
            result.ddl_operation = "SKIP"
            continue
        if table.kind != wanted:
            raise ApiError.invalid_query(
                f"{ref} is not allowed for this operation because it is currently a {table.kind}."
            )
        with session.writing([table]) as tx:
            session.catalog.delete_table(ref, tx=tx)
    return result


def _drop_schema(session: Session, tree: exp.Drop, _statement: Simple) -> QueryResult:
    context = Translator(session.environment()).context
    project, name = names.dataset_path(context, tree.args["tables"][0])
    target = (project, name)
    if session.catalog.find_dataset(project, name) is None and tree.args.get("exists"):
        return QueryResult(ddl_operation="SKIP", ddl_target=target)
    session.catalog.delete_dataset(project, name, delete_contents=bool(tree.args.get("cascade")))
    return QueryResult(ddl_operation="DROP", ddl_target=target)
