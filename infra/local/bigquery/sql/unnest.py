"""UNNEST in FROM: of any array, with OFFSET, and the implicit form `FROM t, t.items`."""

# ruff: noqa: S608 - SQL is what this package writes: names are quoted, values bound or cast

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlglot import exp

from infra.local.bigquery.sql import columns as paths
from infra.local.bigquery.sql.failures import invalid
from infra.local.bigquery.sql.names import TablePath
from infra.local.bigquery.sql.scope import Column, Relation, Scope
from infra.local.bigquery.sql.typed import Typed
from infra.local.bigquery.sql.typesystem import INT64, field_names, quoted

if TYPE_CHECKING:
    from infra.local.bigquery.sql.translator import Translator


def translate(tr: "Translator", node: exp.Unnest, scope: Scope) -> str:
    """UNNEST(array) [AS alias] [WITH OFFSET [AS alias]]."""
    if len(node.expressions) != 1:
        raise invalid("UNNEST takes exactly one array", node)
    array = tr.expr(node.expressions[0], scope)
    alias = node.args.get("alias")
    name = None
    if alias is not None:
        identifier = alias.columns[0] if alias.columns else alias.this
        name = identifier.name if identifier is not None else None
    if name is None and isinstance(node.expressions[0], exp.Column) and node.meta.get("path"):
        name = node.expressions[0].name
    offset = node.args.get("offset")
    offset_name = None
    if offset:
        offset_name = offset.name if isinstance(offset, exp.Identifier) else "offset"
    return _relation(tr, _Array(array, name, offset_name, node), scope)


def array_path(tr: "Translator", path: TablePath, node: exp.Table, scope: Scope) -> str | None:
    """`FROM t, t.items`: a name that starts at a range variable is an array, not a table."""
    if path.single:
        return None
    first = path.parts[0]
    if not any(level.range_variable(first) for level in scope.chain()):
        return None
    identifiers = [exp.to_identifier(part) for part in path.parts]
    array = paths.translate_path(tr, identifiers, scope)
    alias = node.args.get("alias")
    name = alias.name if alias is not None and alias.this is not None else path.parts[-1]
    return _relation(tr, _Array(array, name, None, node), scope)


@dataclass(slots=True)
class _Array:
    """An array to unnest, the names of its elements and offsets, and its place in the text."""

    value: Typed
    name: str | None
    offset: str | None
    node: exp.Expr


def _relation(tr: "Translator", source: _Array, scope: Scope) -> str:
    array, name, offset_name = source.value, source.name, source.offset
    if not array.kind.is_array:
        raise invalid(
            "Values referenced in UNNEST must be arrays. UNNEST contains expression of type"
            f" {array.kind}",
            source.node,
        )
    alias = tr.context.unique()
    sql = f"{alias}.v"
    kind = array.kind.item
    value = Column(name or "", sql, kind)
    columns = []
    if kind.is_struct:
        stored = field_names(kind.fields)
        columns = [
            Column(field, f"{sql}.{quoted(stored[index])}", inner)
            for index, (field, inner) in enumerate(kind.fields)
        ]
    scope.relations.append(Relation(name, columns, value))
    if offset_name is None:
        return f"LATERAL (SELECT unnest({array.sql}) AS v) AS {alias}"
    scope.relations.append(Relation(offset_name, [], Column(offset_name, f"{alias}.o", INT64)))
    return (
        f"LATERAL (SELECT unnest(a.x) AS v, generate_subscripts(a.x, 1) - 1 AS o"
        f" FROM (SELECT {array.sql} AS x) AS a) AS {alias}"
    )
