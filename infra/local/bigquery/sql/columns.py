"""Names in expressions: columns, range variables, struct fields, script variables."""

from typing import TYPE_CHECKING, Any

from sqlglot import exp

from infra.local.bigquery.sql.failures import invalid
from infra.local.bigquery.sql.scope import Alias, Column, Relation, Scope, Uses, did_you_mean
from infra.local.bigquery.sql.typed import Typed
from infra.local.bigquery.sql.typesystem import (
    JSON,
    field_names,
    quoted,
    struct_of,
    text_literal,
)

if TYPE_CHECKING:
    from infra.local.bigquery.sql.translator import Translator


def path_of(node: exp.Expr) -> list[exp.Identifier] | None:
    """The identifiers of a dotted name, or None where something else is in it."""
    if isinstance(node, exp.Column):
        parts = [node.args.get(key) for key in ("catalog", "db", "table", "this")]
        path: list[exp.Identifier] = []
        for part in parts:
            if isinstance(part, exp.Identifier):
                path.append(part)
            elif isinstance(part, exp.Dot):
                inner = path_of(part)
                if inner is None:
                    return None
                path.extend(inner)
            elif part is not None:
                return None
        return path
    if isinstance(node, exp.Dot):
        left = [node.this] if isinstance(node.this, exp.Identifier) else path_of(node.this)
        if left is None or not isinstance(node.expression, exp.Identifier):
            return None
        return [*left, node.expression]
    return None


def translate_path(tr: "Translator", path: list[exp.Identifier], scope: Scope) -> Typed:
    """A dotted name as an expression.

    Raises:
        ApiError: "Unrecognized name", or an ambiguous one.
    """
    first = path[0]
    for level in scope.chain():
        found = _in_level(tr, path, level, scope)
        if found is not None:
            found.name = path[-1].name  # as the query writes it, whatever the case of the column
            return found
    variable = tr.variable(first.name)
    if variable is not None:
        variable.name = first.name
        return follow(variable, path[1:])
    hint = did_you_mean(first.name, scope.known_names())
    raise invalid(f"Unrecognized name: {first.name}{hint}", first)


def _in_level(
    tr: "Translator", path: list[exp.Identifier], level: Scope, scope: Scope
) -> Typed | None:
    first = path[0]
    alias = _alias(first, level, scope)
    if alias is not None and len(path) == 1:
        tr.context.use(alias.uses)
        return Typed(alias.sql, alias.kind, name=first.name)
    relation = level.range_variable(first.name)
    if relation is not None:
        return _in_relation(tr, relation, path, level)
    columns = level.columns(first.name)
    if len(columns) > 1:
        raise invalid(f"Column name {first.name} is ambiguous", first)
    if columns:
        return read_column(tr, columns[0], path[1:], level, first)
    if alias is not None:
        tr.context.use(alias.uses)
        return follow(Typed(f"({alias.sql})", alias.kind), path[1:])
    return None


def _alias(first: exp.Identifier, level: Scope, scope: Scope) -> Alias | None:
    """The SELECT-list alias of that name; arguments of aggregates see only the FROM clause."""
    if level is not scope or level.aliases is None:
        return None
    if level.grouping is not None and level.grouping.inside:
        return None
    return level.aliases.get(first.name.casefold())


def _in_relation(
    tr: "Translator", relation: Relation, path: list[exp.Identifier], level: Scope
) -> Typed:
    if len(path) == 1:
        return row_value(tr, relation, level, path[0])
    if relation.value is not None and not relation.columns:
        return read_column(tr, relation.value, path[1:], level, path[0])
    columns = relation.find(path[1].name)
    if not columns:
        names = (column.name for column in relation.columns)
        hint = did_you_mean(path[1].name, names)
        raise invalid(f"Name {path[1].name} not found inside {path[0].name}{hint}", path[1])
    if len(columns) > 1:
        raise invalid(f"Column name {path[1].name} is ambiguous", path[1])
    return read_column(tr, columns[0], path[2:], level, path[1])


def read_column(
    tr: "Translator", column: Column, rest: list[exp.Identifier], level: Scope, node: Any
) -> Typed:
    """The value of a column, or of a field inside it, noted as read."""
    tr.context.use(_path_uses(column, rest))
    value = Typed(column.sql, column.kind, name=column.name)
    grouping = level.grouping
    covered = grouping is None or grouping.inside > 0 or column.sql in grouping.keys
    names = [column.name]
    for part in rest:
        value = field_of(value, part)
        names.append(part.name)
        covered = covered or (grouping is not None and value.sql in grouping.keys)
    if not covered and grouping is not None:
        grouping.pending.append((".".join(names), node))
    value.name = names[-1]
    return value


def _path_uses(column: Column, rest: list[exp.Identifier]) -> Uses:
    """Of a base column, only the leaf that a path names is read."""
    if not rest or column.base is None or column.base != column.sql or not column.kind.is_struct:
        return column.uses
    path, kind = column.name, column.kind
    for part in rest:
        inner = {name.casefold(): (name, field) for name, field in kind.fields}.get(
            part.name.casefold()
        )
        if inner is None:
            break
        path, kind = f"{path}\0{inner[0]}", inner[1]
    return frozenset((number, path) for number, _ in column.uses)


def row_value(tr: "Translator", relation: Relation, level: Scope, node: Any) -> Typed:
    """What a range variable's bare name stands for: its value, or its row as a STRUCT."""
    if relation.value is not None:
        value = read_column(tr, relation.value, [], level, node)
        value.name = relation.alias
        return value
    visible = [column for column in relation.columns if not column.hidden]
    kind = struct_of((column.name, column.kind) for column in visible)
    names = field_names(kind.fields)
    parts = []
    for name, column in zip(names, visible, strict=True):
        parts.append(f"{quoted(name)} := {read_column(tr, column, [], level, node).sql}")
    return Typed(f"struct_pack({', '.join(parts)})", kind, name=relation.alias)


def follow(value: Typed, rest: list[exp.Identifier]) -> Typed:
    """The field of a struct (or JSON) value that the remaining names lead to."""
    for part in rest:
        value = field_of(value, part)
    if rest:
        value.name = rest[-1].name
    return value


def field_of(value: Typed, part: exp.Identifier) -> Typed:
    """One field of a STRUCT or member of a JSON value."""
    if value.kind.is_struct:
        wanted = part.name.casefold()
        stored = field_names(value.kind.fields)
        for position, (name, kind) in enumerate(value.kind.fields):
            if name.casefold() == wanted:
                return Typed(f"{value.sql}.{quoted(stored[position])}", kind, name=part.name)
        hint = did_you_mean(part.name, (name for name, _ in value.kind.fields))
        raise invalid(f"Field name {part.name} does not exist in {value.kind}{hint}", part)
    if value.kind == JSON:
        path = '$."' + part.name.replace('"', '\\"') + '"'
        return Typed(f"json_extract({value.sql}, {text_literal(path)})", JSON, name=part.name)
    raise invalid(f"Cannot access field {part.name} on a value with type {value.kind}", part)
