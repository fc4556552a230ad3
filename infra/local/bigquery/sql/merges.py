"""MERGE: every kind of clause, the insert-only form ON FALSE, and its counts."""

# ruff: noqa: S608 - SQL is what this package writes: names are quoted, values bound or cast

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlglot import exp

from infra.local.bigquery.sql import tables, updates
from infra.local.bigquery.sql.failures import invalid
from infra.local.bigquery.sql.partitions import PARTITION_COLUMN, ingestion_partition
from infra.local.bigquery.sql.pruning import Pruning
from infra.local.bigquery.sql.scope import Scope
from infra.local.bigquery.sql.typed import Typed
from infra.local.bigquery.sql.typesystem import Field, quoted

if TYPE_CHECKING:
    from infra.local.bigquery.catalog import Table
    from infra.local.bigquery.sql.translator import Translator

COUNTERS = {
    "INSERT": "insertedRowCount",
    "UPDATE": "updatedRowCount",
    "DELETE": "deletedRowCount",
}


def translate(tr: "Translator", node: exp.Merge) -> updates.Change:
    """A MERGE as one DuckDB MERGE that returns the action of each row."""
    table, partition = updates.target_table(tr, node.this)
    if partition is not None:
        raise invalid("MERGE does not support partition decorators", node)
    target_scope, source_scope = Scope(), Scope()
    name = updates.open_target(tr, node.this, table, None, target_scope)
    source = tables.source(tr, node.args["using"], source_scope)
    for relation in source_scope.relations:
        for column in relation.columns:
            tr.context.use(column.uses)
    both = Scope(relations=[*target_scope.relations, *source_scope.relations])
    on = _condition(tr, node, table, both)
    change = updates.Change("MERGE", table, tr)
    merge = _Merge(tr, table, name, target_scope, source_scope, both)
    clauses = [merge.clause(when) for when in node.args["whens"].expressions]
    source_name = source.rsplit(" AS ", 1)[1]
    body = f"(SELECT * FROM {source}) AS {source_name}"
    change.add(
        f"MERGE INTO {table.physical} AS {name} USING {body} ON {on} {' '.join(clauses)}"
        " RETURNING merge_action",
        "merged",
    )
    return change


def _condition(tr: "Translator", node: exp.Merge, table: "Table", both: Scope) -> str:
    """The ON clause; it prunes partitions of the target, and leaves out no row of the source."""
    before = {scan.number: list(scan.pruning) for scan in tr.context.scans}
    text = Pruning(tr, both).condition(node.args["on"])
    reads_all = any(when.args.get("source") for when in node.args["whens"].expressions)
    for scan in tr.context.scans:
        if scan.table is not table or reads_all:
            scan.pruning[:] = before.get(scan.number, [])
    return text


@dataclass(slots=True)
class _Merge:
    """What the clauses of one MERGE are translated against."""

    tr: "Translator"
    table: "Table"
    name: str
    target: Scope
    source: Scope
    both: Scope

    def clause(self, when: exp.When) -> str:
        """One WHEN clause."""
        matched, by_source = bool(when.args.get("matched")), bool(when.args.get("source"))
        if matched:
            head, scope = "WHEN MATCHED", self.both
        elif by_source:
            head, scope = "WHEN NOT MATCHED BY SOURCE", self.target
        else:
            head, scope = "WHEN NOT MATCHED BY TARGET", self.source
        condition = when.args.get("condition")
        if condition is not None:
            head += f" AND {self.tr.boolean(condition, scope, 'MERGE AND condition').sql}"
        then = when.args["then"]
        if isinstance(then, exp.Update):
            items = updates.assignments(self.tr, then.expressions, self.table, self.name, scope)
            listed = ", ".join(f"{quoted(column['name'])} = {value}" for column, value in items)
            return f"{head} THEN UPDATE SET {listed}"
        if isinstance(then, exp.Insert):
            if matched or by_source:
                raise invalid("INSERT is only allowed in a WHEN NOT MATCHED BY TARGET clause", when)
            return f"{head} THEN {self._insert(then)}"
        if isinstance(then, exp.Var) and then.name.upper() == "DELETE":
            return f"{head} THEN DELETE"
        raise invalid("Syntax error: Expected UPDATE, INSERT or DELETE", when)

    def _insert(self, then: exp.Insert) -> str:
        listed, values = then.args.get("this"), then.args.get("expression")
        columns = list(self.table.schema)
        if isinstance(listed, exp.Tuple):
            columns = [
                updates.column_of(self.table, part.name, part) for part in listed.expressions
            ]
        if _is_row(listed) or _is_row(values):
            texts = self._whole_row(columns, then)
        else:
            texts = self._given(values, columns, then)
        named = {column["name"].casefold() for column in columns}
        targets = [quoted(column["name"]) for column in columns]
        for column in self.table.schema:
            if column["name"].casefold() not in named:
                targets.append(quoted(column["name"]))
                texts.append(updates.default_sql(self.tr, column, self.table))
        if self.table.ingestion_time_partitioned and PARTITION_COLUMN.casefold() not in named:
            targets.append(quoted(PARTITION_COLUMN))
            texts.append(ingestion_partition(self.table))
        return f"INSERT ({', '.join(targets)}) VALUES ({', '.join(texts)})"

    def _given(self, values: Any, columns: list[Field], node: Any) -> list[str]:
        if isinstance(values, exp.Tuple):
            items = values.expressions
        elif isinstance(values, exp.Paren):
            items = [values.this]
        else:
            items = [values]
        _check_count(len(items), len(columns), node)
        texts = []
        for item, column in zip(items, columns, strict=True):
            if updates.is_default(item):
                texts.append(updates.default_sql(self.tr, column, self.table))
            else:
                value = self.tr.expr(item, self.source)
                texts.append(updates.stored_value(self.tr, value, column, item))
        return texts

    def _whole_row(self, columns: list[Field], node: Any) -> list[str]:
        """INSERT ROW: the source's columns by position."""
        given = [c for relation in self.source.relations for c in relation.columns if not c.hidden]
        _check_count(len(given), len(columns), node)
        texts = []
        for have, column in zip(given, columns, strict=True):
            self.tr.context.use(have.uses)
            value = Typed(have.sql, have.kind)
            texts.append(updates.stored_value(self.tr, value, column, node))
        return texts


def _is_row(node: Any) -> bool:
    return isinstance(node, exp.Var) and node.name.upper() == "ROW"


def _check_count(given: int, expected: int, node: Any) -> None:
    if given != expected:
        raise invalid(
            f"Inserted row has wrong column count; Has {given}, expected {expected}", node
        )
