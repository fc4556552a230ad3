"""What names mean at a place in a query: range variables, columns, CTEs, grouping."""

import difflib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from infra.local.bigquery.sql.typesystem import SqlType

Uses = frozenset[tuple[int, str]]
NO_USES: Uses = frozenset()


@dataclass(slots=True)
class Column:
    """A column of a range variable.

    Attributes:
        name: as queries write it; empty for an unnamed one.
        sql: DuckDB text of its value.
        uses: the base columns that it reads, as (scan number, column name).
        base: DuckDB text over a base table alone that has the same value, for partition pruning.
        hidden: a pseudo column, reachable by name but not by `*`.
    """

    name: str
    sql: str
    kind: SqlType
    uses: Uses = NO_USES
    base: str | None = None
    hidden: bool = False


@dataclass(slots=True)
class Relation:
    """A range variable of a FROM clause.

    Attributes:
        alias: its name, or None.
        columns: by position.
        value: the value that the alias stands for, where that is not the row of its columns
            (elements of UNNEST, value tables).
        shadowed: folded names of columns that a JOIN ... USING replaced in `*` and in bare names.
    """

    alias: str | None
    columns: list[Column]
    value: Column | None = None
    shadowed: set[str] = field(default_factory=set)

    def find(self, name: str) -> list[Column]:
        """Columns of that name, ignoring case."""
        folded = name.casefold()
        return [column for column in self.columns if column.name.casefold() == folded]


@dataclass(slots=True)
class Grouping:
    """The state of a query with GROUP BY or aggregates while its output is translated.

    Attributes:
        keys: DuckDB texts of the grouping expressions.
        pending: columns read outside of aggregates that no key has covered yet.
        inside: depth of aggregate arguments.
        queries: grouping expressions that contain a subquery, with their translation: a second
            translation would not give the same text.
    """

    keys: set[str] = field(default_factory=set)
    pending: list[tuple[str, Any]] = field(default_factory=list)
    inside: int = 0
    queries: list[tuple[Any, Any]] = field(default_factory=list)


@dataclass(slots=True)
class Alias:
    """A SELECT-list alias, visible in GROUP BY, HAVING, QUALIFY and ORDER BY."""

    sql: str
    kind: SqlType
    position: int
    uses: Uses = NO_USES


@dataclass
class Scope:
    """Names of one query block; `parent` is the block around a subquery."""

    parent: "Scope | None" = None
    relations: list[Relation] = field(default_factory=list)
    merged: dict[str, Column] = field(default_factory=dict)
    ctes: dict[str, Any] = field(default_factory=dict)
    aliases: dict[str, Alias] | None = None
    windows: dict[str, Any] = field(default_factory=dict)
    grouping: Grouping | None = None
    no_aggregates: str | None = None
    analytic: bool = True
    distinct: bool = False

    def chain(self) -> Iterator["Scope"]:
        """This scope and those around it."""
        scope: Scope | None = self
        while scope is not None:
            yield scope
            scope = scope.parent

    def cte(self, name: str) -> Any:
        """The CTE of that name, or None."""
        folded = name.casefold()
        for scope in self.chain():
            if folded in scope.ctes:
                return scope.ctes[folded]
        return None

    def range_variable(self, name: str) -> Relation | None:
        """The range variable of that name in this block."""
        folded = name.casefold()
        for relation in self.relations:
            if relation.alias is not None and relation.alias.casefold() == folded:
                return relation
        return None

    def columns(self, name: str) -> list[Column]:
        """Columns of that bare name in this block; more than one is ambiguous."""
        folded = name.casefold()
        if folded in self.merged:
            return [self.merged[folded]]
        found = []
        for relation in self.relations:
            if folded not in relation.shadowed:
                found.extend(relation.find(name))
        return found

    def known_names(self) -> list[str]:
        """Every name that could have been meant."""
        names: list[str] = []
        for scope in self.chain():
            for relation in scope.relations:
                if relation.alias:
                    names.append(relation.alias)
                names.extend(column.name for column in relation.columns if column.name)
            names.extend(scope.aliases or ())
        return names


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """BigQuery's hint, or nothing."""
    folded: dict[str, str] = {}
    for candidate in known:
        folded.setdefault(candidate.casefold(), candidate)
    near = difflib.get_close_matches(name.casefold(), folded, n=1, cutoff=0.75)
    return f"; Did you mean {folded[near[0]]}?" if near else ""
