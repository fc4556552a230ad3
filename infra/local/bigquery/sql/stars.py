"""The SELECT list: `*`, `t.*`, EXCEPT, REPLACE and plain items."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlglot import exp

from infra.local.bigquery.sql import columns as names
from infra.local.bigquery.sql.failures import invalid
from infra.local.bigquery.sql.query import Output
from infra.local.bigquery.sql.scope import Column, Grouping, Relation, Scope
from infra.local.bigquery.sql.typed import Typed
from infra.local.bigquery.sql.typesystem import field_names, quoted

if TYPE_CHECKING:
    from collections.abc import Callable

    from infra.local.bigquery.sql.translator import Translator


@dataclass(slots=True)
class Entry:
    """One output column before its translation.

    Attributes:
        name: from an alias or a star; None leaves it to the value.
        node: the expression, or None for a column out of a star.
        base: see scope.Column.base.
        explicit: it was written in the list, so its alias is visible in later clauses.
    """

    read: "Callable[[Translator, Scope], Typed]"
    name: str | None = None
    node: exp.Expr | None = None
    base: str | None = None
    explicit: bool = True


@dataclass(slots=True)
class Item:
    """A translated output column."""

    value: Typed
    output: Output
    explicit: bool


def expand(tr: "Translator", node: exp.Select, scope: Scope) -> list[Entry]:
    """The SELECT list with its stars replaced by columns."""
    entries: list[Entry] = []
    for item in node.expressions:
        star = _star_of(item)
        if star is None:
            entries.append(_plain(item, scope))
        else:
            entries.extend(_star_entries(tr, item, star, scope))
    return entries


def _star_of(item: exp.Expr) -> exp.Star | None:
    if isinstance(item, exp.Star):
        return item
    if isinstance(item, exp.Column) and isinstance(item.this, exp.Star):
        return item.this
    if isinstance(item, exp.Dot) and isinstance(item.expression, exp.Star):
        return item.expression
    return None


def _plain(item: exp.Expr, scope: Scope) -> Entry:
    name = item.alias if isinstance(item, exp.Alias) else None
    node = item.this if isinstance(item, exp.Alias) else item
    implied = name
    if implied is None and not isinstance(node, exp.Column | exp.Dot | exp.Bracket):
        implied = ""
    return Entry(
        lambda tr, scope: tr.expr(node, scope),
        implied if implied is not None else _path_name(node),
        node,
        base=_base(node, scope),
    )


def _expression_entry(node: exp.Expr, name: str | None) -> Entry:
    def read(tr: "Translator", scope: Scope) -> Typed:
        return tr.expr(node, scope)

    return Entry(read, name, node)


def _path_name(node: exp.Expr) -> str | None:
    if isinstance(node, exp.Bracket):
        return ""
    return None


def _base(node: exp.Expr, scope: Scope) -> str | None:
    """The base text of a bare column, for partition pruning through subqueries."""
    if not isinstance(node, exp.Column):
        return None
    path = names.path_of(node)
    if path is None or len(path) > 2:
        return None
    if len(path) == 2:
        relation = scope.range_variable(path[0].name)
        found = relation.find(path[1].name) if relation else []
    else:
        found = [] if scope.range_variable(path[0].name) else scope.columns(path[0].name)
    return found[0].base if len(found) == 1 else None


def _star_entries(tr: "Translator", item: exp.Expr, star: exp.Star, scope: Scope) -> list[Entry]:
    if isinstance(item, exp.Star):
        if not scope.relations:
            raise invalid("SELECT * must have a FROM clause", item)
        entries = _all_columns(scope)
    else:
        entries = _qualified(tr, item, scope)
    return _edited(star, entries)


def _from_column(column: Column, level: Scope) -> Entry:
    def read(tr: "Translator", _scope: Scope) -> Typed:
        return names.read_column(tr, column, [], level, None)

    return Entry(read, column.name, base=column.base, explicit=True)


def _all_columns(scope: Scope) -> list[Entry]:
    entries = [_from_column(column, scope) for column in scope.merged.values()]
    for relation in scope.relations:
        entries.extend(_of_relation(relation, scope, relation.shadowed))
    return entries


def _of_relation(relation: Relation, scope: Scope, skipped: set[str]) -> list[Entry]:
    visible = [
        column
        for column in relation.columns
        if not column.hidden and column.name.casefold() not in skipped
    ]
    if relation.value is not None and not relation.columns:
        value = relation.value
        shown = Column(relation.alias or "", value.sql, value.kind, value.uses, value.base)
        return [_from_column(shown, scope)]
    return [_from_column(column, scope) for column in visible]


def _qualified(tr: "Translator", item: exp.Expr, scope: Scope) -> list[Entry]:
    if isinstance(item, exp.Column):
        path = [
            part for key in ("catalog", "db", "table") if (part := item.args.get(key)) is not None
        ]
        for level in scope.chain():
            relation = level.range_variable(path[0].name)
            if relation is not None and len(path) == 1:
                if relation.value is not None and not relation.columns:
                    break
                return _of_relation(relation, level, set())
            if relation is not None:
                break
        value_node: Any = None
        value = names.translate_path(tr, path, scope)
    else:
        value_node = item.this
        value = _typed(tr, value_node, scope)
    if not value.kind.is_struct:
        raise invalid(f"Dot-star is not supported for type {value.kind}", item)
    entries = []
    for stored, (name, kind) in zip(field_names(value.kind.fields), value.kind.fields, strict=True):

        def read(tr: "Translator", scope: Scope, stored: str = stored, kind: Any = kind) -> Typed:
            if value_node is None:
                whole = names.translate_path(tr, path, scope)
            else:
                whole = tr.expr(value_node, scope)
            return Typed(f"({whole.sql}).{quoted(stored)}", kind)

        entries.append(Entry(read, name))
    return entries


def _typed(tr: "Translator", node: exp.Expr, scope: Scope) -> Typed:
    """An expression for the sake of its type, also with aggregates before GROUP BY is known."""
    saved, scope.grouping = scope.grouping, Grouping()
    try:
        return tr.expr(node, scope)
    finally:
        scope.grouping = saved


def _edited(star: exp.Star, entries: list[Entry]) -> list[Entry]:
    excluded = {part.name.casefold(): part for part in star.args.get("except_") or ()}
    replaced = {part.alias.casefold(): part for part in star.args.get("replace") or ()}
    known = {(entry.name or "").casefold() for entry in entries}
    for folded, part in (*excluded.items(), *replaced.items()):
        if folded not in known:
            word = "EXCEPT" if folded in excluded else "REPLACE"
            shown = part.alias if isinstance(part, exp.Alias) else part.name
            raise invalid(f"Column {shown} in SELECT * {word} list does not exist", part)
    result = []
    for entry in entries:
        folded = (entry.name or "").casefold()
        if folded in excluded:
            continue
        if folded in replaced:
            result.append(_expression_entry(replaced[folded].this, entry.name))
        else:
            result.append(entry)
    if not result:
        raise invalid("SELECT * EXCEPT list leaves no columns", star)
    return result
