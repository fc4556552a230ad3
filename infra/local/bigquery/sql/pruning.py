"""WHERE conditions, and which of their conjuncts leave out whole partitions of a base table."""

import re
from typing import TYPE_CHECKING

from sqlglot import exp

from infra.local.bigquery.sql.scope import Scope, Uses

if TYPE_CHECKING:
    from infra.local.bigquery.sql.translator import Translator

PSEUDO = ("_partitiontime", "_partitiondate")


class Pruning:
    """Translates a condition and notes the conjuncts that prune partitions in their scans."""

    def __init__(self, tr: "Translator", scope: Scope) -> None:
        self._tr = tr
        self._scope = scope

    def condition(self, node: exp.Expr) -> str:
        """The condition as DuckDB text."""
        texts = [self._conjunct(part) for part in _conjuncts(node)]
        return texts[0] if len(texts) == 1 else f"({' AND '.join(texts)})"

    def _conjunct(self, node: exp.Expr) -> str:
        context = self._tr.context
        with context.recording() as uses:
            value = self._tr.boolean(node, self._scope, "WHERE clause")
        frozen = frozenset(uses)
        context.use(frozen)
        if frozen and node.find(exp.Query) is None:
            self._note(value.sql, frozen)
        return value.sql

    def _note(self, sql: str, uses: Uses) -> None:
        scans = {number for number, _ in uses}
        if len(scans) != 1:
            return
        scan = self._tr.context.scans[scans.pop()]
        column = (scan.table.partition_field or "").casefold()
        wanted = {column} if column else set(PSEUDO)
        if scan.table.time_partitioning is None or not {n.casefold() for _, n in uses} <= wanted:
            return
        text = self._over_base(sql)
        if text is not None:
            scan.pruning.append(text)

    def _over_base(self, sql: str) -> str | None:
        """The condition with each column replaced by its text over the base table."""
        replacements = {}
        for relation in self._scope.relations:
            for column in relation.columns:
                if column.sql in sql:
                    if column.base is None:
                        if _mentions(sql, column.sql):
                            return None
                        continue
                    replacements[column.sql] = column.base
        for old, new in replacements.items():
            if old != new:
                sql = re.sub(_bounded(old), new.replace("\\", r"\\"), sql)
        return sql


def _bounded(text: str) -> str:
    return rf"(?<![\w.\"]){re.escape(text)}(?![\w\"])"


def _mentions(sql: str, text: str) -> bool:
    return re.search(_bounded(text), sql) is not None


def _conjuncts(node: exp.Expr) -> list[exp.Expr]:
    parts = []
    stack = [node]
    while stack:
        current = stack.pop()
        if isinstance(current, exp.And):
            stack.append(current.expression)
            stack.append(current.this)
        elif isinstance(current, exp.Paren) and isinstance(current.this, exp.And):
            stack.append(current.this)
        else:
            parts.append(current)
    return parts
