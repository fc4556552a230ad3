"""GROUP BY in all its forms, and what may be read beside it."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlglot import exp

from infra.local.bigquery.sql import aggregates
from infra.local.bigquery.sql.failures import invalid
from infra.local.bigquery.sql.scope import Grouping, Scope
from infra.local.bigquery.sql.stars import Entry
from infra.local.bigquery.sql.typed import Typed

if TYPE_CHECKING:
    from infra.local.bigquery.sql.translator import Translator

_REFUSED = {"STRUCT", "ARRAY", "JSON", "GEOGRAPHY"}


@dataclass(slots=True)
class Plan:
    """How a SELECT aggregates.

    Attributes:
        group_by: DuckDB text of its grouping, or empty.
        eager: every output is needed whatever an outer query reads.
    """

    grouped: bool = False
    group_by: str = ""

    @property
    def eager(self) -> bool:
        """Whether outputs count as read even if nobody asks for them."""
        return self.grouped


def plan(tr: "Translator", node: exp.Select, entries: list[Entry], scope: Scope) -> Plan:
    """Translate GROUP BY and set up `scope.grouping` for what follows."""
    group = node.args.get("group")
    aggregated = any(aggregates.has_aggregate(part) for part in _outputs(node))
    if group is None:
        if aggregated:
            scope.grouping = Grouping()
            return Plan(grouped=True)
        return Plan()
    builder = _Builder(tr, entries, scope)
    scope.no_aggregates = "GROUP BY clause"
    try:
        text = builder.all() if group.args.get("all") else builder.clause(group)
    finally:
        scope.no_aggregates = None
    scope.grouping = Grouping(keys=builder.keys, queries=builder.queries)
    return Plan(grouped=True, group_by=text)


def _outputs(node: exp.Select) -> list[exp.Expr]:
    clauses = (node.args.get(key) for key in ("having", "qualify", "order"))
    return [*node.expressions, *(clause for clause in clauses if clause is not None)]


def check(scope: Scope, where: str) -> None:
    """Refuse columns that were read outside of aggregates and are no grouping keys.

    Raises:
        ApiError: naming the first of them.
    """
    grouping = scope.grouping
    if grouping is None or not grouping.pending:
        return
    name, node = grouping.pending[0]
    raise invalid(
        f"{where} expression references column {name} which is neither grouped nor aggregated",
        node,
    )


class _Builder:
    def __init__(self, tr: "Translator", entries: list[Entry], scope: Scope) -> None:
        self._tr = tr
        self._entries = entries
        self._scope = scope
        self._by_alias = {
            entry.name.casefold(): entry for entry in entries if entry.name and entry.explicit
        }
        self.keys: set[str] = set()
        self.queries: list[tuple[exp.Expr, Typed]] = []

    def all(self) -> str:
        """GROUP BY ALL: every output without an aggregate or window function."""
        texts = []
        for entry in self._entries:
            if entry.node is not None and aggregates.has_aggregate(entry.node, windows=True):
                continue
            value = entry.read(self._tr, self._scope)
            if self._is_constant(entry.node):
                continue
            texts.append(self._key(value, entry.node))
        return ", ".join(dict.fromkeys(texts)) or "()"

    def clause(self, group: exp.Group) -> str:
        """GROUP BY items, ROLLUP, CUBE and GROUPING SETS."""
        parts = [self._item(item) for item in group.expressions]
        for key in ("rollup", "cube", "grouping_sets"):
            parts.extend(self._item(special) for special in group.args.get(key) or ())
        return ", ".join(parts)

    def _item(self, node: exp.Expr) -> str:
        if isinstance(node, exp.Rollup | exp.Cube):
            word = "ROLLUP" if isinstance(node, exp.Rollup) else "CUBE"
            return f"{word} ({', '.join(self._item(item) for item in node.expressions)})"
        if isinstance(node, exp.GroupingSets):
            return f"GROUPING SETS ({', '.join(self._set(item) for item in node.expressions)})"
        if isinstance(node, exp.Tuple):
            return f"({', '.join(self._item(item) for item in node.expressions)})"
        entry = self._entry(node)
        value = entry.read(self._tr, self._scope) if entry else self._tr.expr(node, self._scope)
        return self._key(value, entry.node if entry is not None else node)

    def _set(self, node: exp.Expr) -> str:
        if isinstance(node, exp.Paren):
            return f"({self._item(node.this)})"
        if isinstance(node, exp.Rollup | exp.Cube | exp.Tuple):
            return self._item(node)
        return f"({self._item(node)})"

    def _entry(self, node: exp.Expr) -> Entry | None:
        if isinstance(node, exp.Literal):
            if node.is_string or not str(node.this).isdigit():
                raise invalid("Cannot GROUP BY literal values", node)
            return self._ordinal(int(node.this), node)
        if isinstance(node, exp.Column) and node.args.get("table") is None:
            entry = self._by_alias.get(node.name.casefold())
            if entry is None or (entry.node is not None and aggregates.has_aggregate(entry.node)):
                return None
            return entry
        return None

    def _ordinal(self, position: int, node: exp.Expr) -> Entry:
        if not 1 <= position <= len(self._entries):
            raise invalid(
                "GROUP BY column number item is out of range. Column numbers must be between 1"
                f" and {len(self._entries)}",
                node,
            )
        entry = self._entries[position - 1]
        if entry.node is not None and aggregates.has_aggregate(entry.node):
            raise invalid(
                f"Column {position} contains an aggregation function, which is not allowed in"
                " GROUP BY",
                node,
            )
        return entry

    def _key(self, value: Typed, node: exp.Expr | None) -> str:
        if value.kind.kind in _REFUSED:
            raise invalid(f"Grouping by expressions of type {value.kind.kind} is not allowed", node)
        self.keys.add(value.sql)
        if node is not None and node.find(exp.Query) is not None:
            self.queries.append((node, value))
        return value.sql

    @staticmethod
    def _is_constant(node: exp.Expr | None) -> bool:
        return node is not None and node.find(exp.Column) is None
