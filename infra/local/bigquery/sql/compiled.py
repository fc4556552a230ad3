"""Compiled queries: translated once per text, parameter types and versions of what it names."""

# ruff: noqa: S608 - SQL is what this package writes: names are quoted, values bound or cast

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from infra.local.bigquery.catalog import Catalog, Table, TableRef
from infra.local.bigquery.errors import ApiError
from infra.local.bigquery.sql.context import Environment, Scan
from infra.local.bigquery.sql.parameters import type_node
from infra.local.bigquery.sql.query import Output, Query
from infra.local.bigquery.sql.translator import Translator
from infra.local.bigquery.sql.typesystem import (
    SqlType,
    field_names,
    quoted,
    type_field,
)

_ENTRIES = 2_000
_LONG = 50_000  # characters of DuckDB text; longer ones are not kept
_RESERVED = ("_PARTITION", "_TABLE_", "_FILE_", "_ROW_TIMESTAMP", "__ROOT__", "_COLIDENTIFIER")


@dataclass
class Compiled:
    """A translated query, ready to run.

    Attributes:
        slots: DuckDB parameter -> (source, key) of the value that it takes.
        tables: everything that the statement names, in order, as it was when it was translated.
        plain: its rows can be fetched as Python values, which is quicker for few of them.
        small: the last run gave few rows.
    """

    sql: str
    columns: list[tuple[str, SqlType]]
    slots: dict[str, tuple[str, Any]]
    tables: dict[TableRef, Table | None]
    scans: list[Scan]
    undeclared: dict[str, SqlType | None]
    cacheable: bool
    plain: bool = False
    small: bool = False
    statements: list[Any] = field(default_factory=list)

    @property
    def schema(self) -> list[dict[str, Any]]:
        """REST field dicts of the result."""
        return [type_field(name, kind) for name, kind in self.columns]

    @property
    def undeclared_parameters(self) -> list[dict[str, Any]]:
        """REST `undeclaredQueryParameters`."""
        return [
            {"name": name, "parameterType": type_node(kind or SqlType("INT64"))}
            for name, kind in self.undeclared.items()
        ]


def _is_plain(kind: SqlType) -> bool:
    return not kind.is_array and not kind.is_struct and kind.kind != "INTERVAL"


def compile_query(environment: Environment, node: Any) -> Compiled:
    """Translate a query.

    Raises:
        ApiError: invalidQuery, notFound.
    """
    translator = Translator(environment)
    query = _expanded(translator.query(node))
    translator.use_columns(query.columns)
    return finish(translator, query)


def _expanded(query: Query) -> Query:
    """SELECT AS VALUE of a STRUCT gives the struct's fields as columns."""
    kind = query.columns[0].kind
    if query.value_table != "VALUE" or not kind.is_struct:
        return query
    names = field_names(kind.fields)
    parts = [f"v.c0.{quoted(name)} AS c{index}" for index, name in enumerate(names)]
    uses = query.columns[0].uses
    columns = [Output(name, inner, uses) for name, inner in kind.fields]
    return Query(f"SELECT {', '.join(parts)} FROM ({query.sql}) AS v", columns)


def finish(translator: Translator, query: Query) -> Compiled:
    """A translated query with its output checked."""
    columns = query.named_columns()
    check_duplicates(columns)
    context = translator.context
    context.finish()
    check_filters(context.scans)
    return Compiled(
        query.sql,
        columns,
        context.slots,
        context.tables,
        context.scans,
        context.undeclared,
        context.cacheable,
        plain=all(_is_plain(kind) for _, kind in columns),
    )


def check_duplicates(columns: list[tuple[str, SqlType]]) -> None:
    """Refuse a result with two columns of one name."""
    seen: set[str] = set()
    for name, _ in columns:
        if name.upper().startswith(_RESERVED):
            raise ApiError.invalid_query(
                f'Invalid field name "{name}". Field names are not allowed to start with the'
                f" (case-insensitive) prefixes {', '.join(_RESERVED)}"
            )
        if name.casefold() in seen:
            raise ApiError.invalid_query(
                "Duplicate column names in the result are not supported when a destination table is"
                " present. Found duplicate(s):"
                f" {name}"
            )
        seen.add(name.casefold())


def check_filters(scans: list[Scan]) -> None:
    """Refuse a reading without the partition filter that its table requires."""
    for scan in scans:
        table = scan.table
        if table.require_partition_filter and not scan.pruning:
            column = (
                table.partition_field or "_PARTITION_LOAD_TIME', '_PARTITIONDATE', '_PARTITIONTIME"
            )
            raise ApiError.invalid_query(
                f"Cannot query over table '{table.ref.dotted}' without a filter over column(s)"
                f" '{column}' that can be used for partition elimination"
            )


def output_sql(compiled: Compiled) -> str:
    """The query with TIMESTAMP columns as naive UTC, which Python reads without a library."""
    parts = []
    for index, (_, kind) in enumerate(compiled.columns):
        sql = f"c{index}"
        parts.append(f"timezone('UTC', {sql})" if kind.kind == "TIMESTAMP" else sql)
    if all(kind.kind != "TIMESTAMP" for _, kind in compiled.columns):
        return compiled.sql
    return f"SELECT {', '.join(parts)} FROM ({compiled.sql}) AS o"


class Cache:
    """Compiled queries by key; an entry whose tables have changed is compiled again."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._lock = threading.Lock()
        self._entries: OrderedDict[Any, Compiled] = OrderedDict()

    def find(self, key: Any) -> Compiled | None:
        """The entry of that key, if it still holds."""
        entry = self._entries.get(key)
        return entry if entry is not None and self._holds(entry) else None

    def get(self, key: Any, build: Callable[[], Compiled]) -> Compiled:
        """The entry of that key, built when there is none that still holds."""
        entry = self.find(key)
        if entry is not None:
            return entry
        entry = build()
        if entry.cacheable and not entry.undeclared and len(entry.sql) < _LONG:
            with self._lock:
                self._entries[key] = entry
                self._entries.move_to_end(key)
                while len(self._entries) > _ENTRIES:
                    self._entries.popitem(last=False)
        return entry

    def _holds(self, entry: Compiled) -> bool:
        find = self._catalog.find_table
        return all(find(ref) is table for ref, table in entry.tables.items())
