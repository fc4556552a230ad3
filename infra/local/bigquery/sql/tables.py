"""FROM: base tables, views, CTEs, subqueries and joins between them."""

# ruff: noqa: S608 - SQL is what this package writes: names are quoted, values bound or cast

from typing import TYPE_CHECKING, Any

from sqlglot import exp

from infra.local.bigquery.catalog import Table
from infra.local.bigquery.errors import ApiError
from infra.local.bigquery.sql import (
    casts,
    information_schema,
    names,
    pivots,
    syntax,
    unnest,
    wildcards,
)
from infra.local.bigquery.sql.failures import invalid
from infra.local.bigquery.sql.partitions import PARTITION_COLUMN, decorator_condition
from infra.local.bigquery.sql.query import Output, Query
from infra.local.bigquery.sql.scope import Column, Relation, Scope
from infra.local.bigquery.sql.typed import Typed
from infra.local.bigquery.sql.typesystem import (
    DATE,
    TIMESTAMP,
    field_names,
    field_type,
    quoted,
)

if TYPE_CHECKING:
    from infra.local.bigquery.sql.translator import Translator


def from_clause(tr: "Translator", node: exp.Select, scope: Scope) -> str:
    """` FROM ...` as DuckDB text with its range variables put in `scope`; empty without FROM."""
    clause = node.args.get("from_")
    if clause is None:
        if node.args.get("where") is not None:
            raise invalid("Query without FROM clause cannot have a WHERE clause", node)
        return ""
    text = source(tr, clause.this, scope)
    for join in node.args.get("joins") or ():
        text = _join(tr, text, join, scope)
    return f" FROM {text}"


def source(tr: "Translator", node: exp.Expr, scope: Scope) -> str:
    """One item of FROM."""
    text = _source(tr, node, scope)
    for join in node.args.get("joins") or ():
        text = _join(tr, text, join, scope)
    return text


def _source(tr: "Translator", node: exp.Expr, scope: Scope) -> str:
    for key, word in (("sample", "TABLESAMPLE"), ("version", "FOR SYSTEM_TIME AS OF")):
        if node.args.get(key) is not None:
            raise invalid(f"{word} is not supported by the local BigQuery", node)
    if isinstance(node, exp.Unnest):
        return unnest.translate(tr, node, scope)
    if isinstance(node, exp.Subquery):
        return _subquery(tr, node, scope)
    if isinstance(node, exp.Paren):
        return f"({source(tr, node.this, scope)})"
    if isinstance(node, exp.Table):
        if isinstance(node.this, exp.Func | exp.Anonymous):
            name = node.this.name
            raise invalid(f"Table-valued function not found: {name}", node)
        return _table(tr, node, scope)
    raise invalid(f"Syntax error: Unexpected {type(node).__name__} in FROM", node)


def _alias(node: exp.Expr) -> str | None:
    alias = node.args.get("alias")
    if alias is None or alias.this is None:
        return None
    return str(alias.name)


def _subquery(tr: "Translator", node: exp.Subquery, scope: Scope) -> str:
    inner = node.this
    if isinstance(inner, exp.Table | exp.Unnest) or (
        isinstance(inner, exp.Subquery) and node.args.get("joins")
    ):
        return f"({source(tr, inner, scope)})"
    query = tr.query(
        exp.Subquery(this=inner) if not _decorated(node) else node, _without_siblings(scope)
    )
    pivot = (node.args.get("pivots") or [None])[0]
    if pivot is not None:
        return pivots.translate(tr, query, pivot, _alias(node), scope)
    return derived(tr, query, _alias(node), scope)


def _decorated(node: exp.Subquery) -> bool:
    return any(node.args.get(key) for key in ("order", "limit", "offset", "with_"))


def _without_siblings(scope: Scope) -> Scope | None:
    """A subquery in FROM sees CTEs and outer blocks, not the other items of its own FROM."""
    return Scope(parent=scope.parent, ctes=scope.ctes)


def derived(tr: "Translator", query: Query, alias: str | None, scope: Scope) -> str:
    """A query as an item of FROM."""
    name = tr.context.unique()
    scope.relations.append(_relation(query, alias, name))
    return f"({query.sql}) AS {name}"


def _relation(query: Query, alias: str | None, name: str) -> Relation:
    columns = [
        Column(column.name, f"{name}.c{index}", column.kind, column.uses, column.base)
        for index, column in enumerate(query.columns)
    ]
    if query.value_table != "VALUE":
        return Relation(alias, columns)
    value = Column(alias or "", columns[0].sql, columns[0].kind, columns[0].uses)
    return Relation(alias, struct_columns(value), value)


def struct_columns(value: Column) -> list[Column]:
    """The fields of a STRUCT value as columns; none for other types."""
    if not value.kind.is_struct:
        return []
    stored = field_names(value.kind.fields)
    return [
        Column(name, f"{value.sql}.{quoted(stored[index])}", kind, value.uses)
        for index, (name, kind) in enumerate(value.kind.fields)
    ]


# --- tables


def _table(tr: "Translator", node: exp.Table, scope: Scope) -> str:
    path = names.read_path(node)
    context = tr.context
    if not path.single or "." not in path.parts[0]:
        array = unnest.array_path(tr, path, node, scope)
        if array is not None:
            return array
    alias = _alias(node)
    view = names.information_view(context, path)
    if view is not None:
        query = information_schema.translate(tr, view, node)
        return derived(tr, query, alias or path.parts[-1], scope)
    pivot = (node.args.get("pivots") or [None])[0]
    if path.single:
        cte = scope.cte(path.parts[0])
        if cte is not None:
            if pivot is not None:
                query = Query(f"SELECT * FROM {cte.sql_name}", cte.columns)
                return pivots.translate(tr, query, pivot, alias, scope)
            return _cte(tr, cte, alias or path.parts[0], scope)
    if pivot is not None:
        inner = Scope(parent=scope.parent, ctes=scope.ctes)
        text = named_table(tr, path, node, None, inner)
        query = _whole(text, inner)
        return pivots.translate(tr, query, pivot, alias, scope)
    return named_table(tr, path, node, alias, scope)


def _whole(text: str, scope: Scope) -> Query:
    visible = [c for relation in scope.relations for c in relation.columns if not c.hidden]
    listed = ", ".join(f"{column.sql} AS c{index}" for index, column in enumerate(visible))
    outputs = [Output(column.name, column.kind, column.uses) for column in visible]
    return Query(f"SELECT {listed} FROM {text}", outputs)


def _cte(tr: "Translator", cte: Any, alias: str, scope: Scope) -> str:
    name = tr.context.unique()
    columns = [
        Column(column.name, f"{name}.c{index}", column.kind, column.uses)
        for index, column in enumerate(cte.columns)
    ]
    scope.relations.append(Relation(alias, columns))
    return f"{cte.sql_name} AS {name}"


def find(tr: "Translator", target: names.Target, path: names.TablePath) -> Table:
    """The table or view that a name means, noted as referenced.

    Raises:
        ApiError: 404 notFound in BigQuery's words.
    """
    context = tr.context
    if path.single:
        temporary = context.environment.temporary.get(path.parts[0].casefold())
        if temporary is not None:
            context.cacheable = False
            return temporary
    try:
        table = context.environment.catalog.table(target.ref)
    except ApiError as error:
        if error.reason == "notFound" and "was not found" not in error.message:
            raise ApiError.not_found(
                "Dataset" if error.message.startswith("Not found: Dataset") else "Table",
                _missing(target, error),
            ) from error
        raise
    context.reference(target.ref, table)
    return table


def _missing(target: names.Target, error: ApiError) -> str:
    ref = target.ref
    if error.message.startswith("Not found: Dataset"):
        return f"{ref.project}:{ref.dataset} was not found in location US"
    return f"{ref} was not found in location US"


def named_table(
    tr: "Translator", path: names.TablePath, node: exp.Table, alias: str | None, scope: Scope
) -> str:
    """A table or view by its name."""
    if path.single and tr.context.default_dataset is None:
        if path.parts[0].casefold() not in tr.context.environment.temporary:
            names.resolve(tr.context, path)
        target = names.Target(tr.context.environment.temporary[path.parts[0].casefold()].ref)
    else:
        target = names.resolve(tr.context, path)
    implied = alias or names.split_decorator(path.parts[-1])[0]
    if target.wildcard:
        query = wildcards.translate(tr, target, node)
        return wildcards.relation(tr, query, alias, scope)
    table = find(tr, target, path)
    if table.is_view:
        return _view(tr, table, implied, scope, node)
    return base_table(tr, table, implied, scope, partition=target.partition)


def _view(tr: "Translator", view: Table, alias: str, scope: Scope, node: Any) -> str:
    query = view_query(tr, view)
    del node
    return derived(tr, query, alias, scope)


def view_query(tr: "Translator", view: Table) -> Query:
    """A view's query, translated in its own project, with the names of the view's schema."""
    with tr.context.inside_view(view):
        query = tr.query(syntax.parse_statement(view.view_query or ""), None)
    for column, (name, _) in zip(query.columns, query.named_columns(), strict=True):
        column.name = name
    for column, field in zip(query.columns, view.schema, strict=False):
        column.name = field["name"]
    return query


def base_table(
    tr: "Translator", table: Table, alias: str | None, scope: Scope, *, partition: str | None = None
) -> str:
    """One reading of a base table with its pseudo columns."""
    name = tr.context.unique()
    scan = tr.context.scan(table, name, partition)
    columns = [
        Column(
            field["name"], sql, field_type(field), frozenset({(scan.number, field["name"])}), sql
        )
        for field in table.schema
        for sql in (f"{name}.{quoted(field['name'])}",)
    ]
    if table.ingestion_time_partitioned:
        columns.extend(_pseudo_columns(name, scan.number, table))
    scope.relations.append(Relation(alias, columns))
    if partition is None:
        return f"{table.physical} AS {name}"
    condition = decorator_condition(table, partition, "p")
    scan.pruning.append(decorator_condition(table, partition, name))
    return f"(SELECT * FROM {table.physical} AS p WHERE {condition}) AS {name}"


def _pseudo_columns(name: str, number: int, table: Table) -> list[Column]:
    sql = f"{name}.{quoted(PARTITION_COLUMN)}"
    uses = frozenset({(number, PARTITION_COLUMN)})
    date = f"CAST({sql} AS DATE)"
    columns = [Column("_PARTITIONTIME", sql, TIMESTAMP, uses, sql, hidden=True)]
    if (table.time_partitioning or {}).get("type", "DAY") == "DAY":
        columns.append(Column("_PARTITIONDATE", date, DATE, uses, date, hidden=True))
    return columns


# --- joins


def _join(tr: "Translator", left: str, join: exp.Join, scope: Scope) -> str:
    before = len(scope.relations)
    side = str(join.args.get("side") or "").upper()
    kind = str(join.args.get("kind") or "").upper()
    if join.args.get("method") or kind in {"SEMI", "ANTI", "ASOF", "STRAIGHT"}:
        raise invalid(f"Syntax error: Unexpected keyword {join.args.get('method') or kind}", join)
    right = source(tr, join.this, scope)
    lateral = isinstance(join.this, exp.Unnest) or right.startswith("LATERAL ")
    using = join.args.get("using")
    on = join.args.get("on")
    if using:
        condition = _using(tr, using, scope, before, side)
    elif on is not None:
        scope.no_aggregates = "JOIN ON clause"
        scope.analytic = False
        condition = tr.boolean(on, scope, "JOIN ON clause").sql
        scope.no_aggregates = None
        scope.analytic = True
    elif side and not lateral:
        raise invalid(f"{side} JOIN must have an immediately following ON or USING clause", join)
    else:
        return f"{left} CROSS JOIN {right}" if not side else f"{left} LEFT JOIN {right} ON true"
    word = f"{side} JOIN" if side else "JOIN"
    return f"{left} {word} {right} ON {condition}"


def _using(
    tr: "Translator", using: list[exp.Identifier], scope: Scope, before: int, side: str
) -> str:
    tests = []
    left_scope = Scope(relations=scope.relations[:before], merged=dict(scope.merged))
    right_scope = Scope(relations=scope.relations[before:])
    for identifier in using:
        name = identifier.name
        pair = []
        for part, word in ((left_scope, "left"), (right_scope, "right")):
            found = part.columns(name)
            if not found:
                raise invalid(
                    f"Column {name} in USING clause not found on {word} side of join", identifier
                )
            if len(found) > 1:
                raise invalid(
                    f"Column {name} in USING clause is ambiguous on {word} side of join", identifier
                )
            pair.append(found[0])
        tests.append(_merge(tr, identifier, (pair[0], pair[1]), scope, side))
    return " AND ".join(tests)


def _merge(
    tr: "Translator", node: exp.Identifier, pair: tuple[Column, Column], scope: Scope, side: str
) -> str:
    name = node.name
    left, right = pair
    tr.context.use(left.uses | right.uses)
    values = [Typed(left.sql, left.kind), Typed(right.sql, right.kind)]
    kind = casts.supertype(values)
    coerced = [] if kind is None else [casts.coerce(tr.context, v, kind) for v in values]
    if kind is None or None in coerced:
        raise invalid(
            f"Column {name} in USING has incompatible types on either side of the join:"
            f" {left.kind}, {right.kind}",
            node,
        )
    one, other = (value.sql for value in coerced if value is not None)
    sql = {"RIGHT": other, "FULL": f"coalesce({one}, {other})"}.get(side, one)
    base = left.base if side in {"", "LEFT"} else None
    folded = name.casefold()
    merged = Column(name, sql, kind, left.uses | right.uses, base)
    scope.merged[folded] = merged
    for relation in scope.relations:
        if relation.find(name):
            relation.shadowed.add(folded)
    return f"{one} = {other}"
