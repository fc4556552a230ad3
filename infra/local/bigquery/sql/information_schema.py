"""INFORMATION_SCHEMA: TABLES, COLUMNS, SCHEMATA, PARTITIONS, VIEWS, TABLE_OPTIONS, JOBS.

Rows come from the catalog when the query is translated, as literal values.
"""

# ruff: noqa: S608 - SQL is what this package writes: names are quoted, values bound or cast

import datetime as dt
import json
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from infra.local.bigquery.catalog import Catalog, Table
from infra.local.bigquery.errors import ApiError
from infra.local.bigquery.sql.names import InformationView
from infra.local.bigquery.sql.partitions import partition_id
from infra.local.bigquery.sql.query import Output, Query
from infra.local.bigquery.sql.typesystem import (
    BOOL,
    INT64,
    STRING,
    TIMESTAMP,
    Field,
    SqlType,
    array_of,
    duckdb_type,
    field_type,
    struct_of,
    text_literal,
)

if TYPE_CHECKING:
    from infra.local.bigquery.sql.translator import Translator

Columns = list[tuple[str, SqlType]]
Rows = Iterable[tuple[Any, ...]]


def translate(tr: "Translator", view: InformationView, node: Any) -> Query:
    """The rows of a view as a query.

    Raises:
        ApiError: 404 notFound of the dataset or the view.
    """
    del node
    known = _VIEWS.get(view.view)
    if known is None:
        raise ApiError.not_found(
            "Table",
            f"{view.project}:{view.dataset or 'region-us'}.INFORMATION_SCHEMA.{view.view}"
            " was not found in location US",
        )
    columns, rows = known
    tr.context.cacheable = False
    catalog = tr.context.environment.catalog
    if view.dataset is not None:
        catalog.dataset(view.project, view.dataset)
    if view.view == "PARTITIONS":
        return _partitions(tr, catalog, view)
    if view.view in _JOB_VIEWS:
        return _json_query(columns, tr.context.environment.jobs(view.project))
    return literal_query(columns, rows(catalog, view))


def literal_query(columns: Columns, rows: Rows) -> Query:
    """A query that gives these rows."""
    outputs = [Output(name, kind) for name, kind in columns]
    listed = ", ".join(
        f"CAST(v.c{i} AS {duckdb_type(k)}) AS c{i}" for i, (_, k) in enumerate(columns)
    )
    texts = ["(" + ", ".join(_literal(value) for value in row) + ")" for row in rows]
    names = ", ".join(f"c{index}" for index in range(len(columns)))
    if not texts:
        empty = ", ".join(["NULL"] * len(columns))
        return Query(f"SELECT {listed} FROM (VALUES ({empty})) AS v({names}) WHERE false", outputs)
    return Query(f"SELECT {listed} FROM (VALUES {', '.join(texts)}) AS v({names})", outputs)


def _json_query(columns: Columns, rows: Rows) -> Query:
    """The same for many rows with nested values: one literal, which costs DuckDB no planning."""
    outputs = [Output(name, kind) for name, kind in columns]
    structure = json.dumps(
        [{f"c{i}": _json_structure(kind) for i, (_, kind) in enumerate(columns)}]
    )
    text = json.dumps(
        [{f"c{i}": value for i, value in enumerate(row)} for row in rows], default=str
    )
    listed = ", ".join(
        f"CAST(v.r.c{i} AS {duckdb_type(kind)}) AS c{i}" for i, (_, kind) in enumerate(columns)
    )
    parsed = f"from_json({text_literal(text)}, {text_literal(structure)})"
    return Query(f"SELECT {listed} FROM (SELECT unnest({parsed}) AS r) AS v", outputs)


def _json_structure(kind: SqlType) -> Any:
    if kind.is_array:
        return [_json_structure(kind.item)]
    if kind.is_struct:
        return {name: _json_structure(inner) for name, inner in kind.fields}
    return "VARCHAR" if kind == TIMESTAMP else duckdb_type(kind)


def _literal(value: Any) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, dt.datetime):
        return f"TIMESTAMPTZ '{value:%Y-%m-%d %H:%M:%S.%f}+00'"
    return text_literal(str(value))


def _moment(milliseconds: int) -> dt.datetime:
    return dt.datetime.fromtimestamp(milliseconds / 1000, dt.UTC)


def _tables(catalog: Catalog, view: InformationView) -> Iterator[Table]:
    if view.dataset is not None:
        yield from catalog.tables(view.project, view.dataset)
        return
    for dataset in catalog.datasets(view.project):
        yield from catalog.tables(view.project, dataset.name)


def _table_rows(catalog: Catalog, view: InformationView) -> Rows:
    for table in _tables(catalog, view):
        ref = table.ref
        kind = "VIEW" if table.is_view else "BASE TABLE"
        yield (
            ref.project, ref.dataset, ref.table, kind, "NO" if table.is_view else "YES", "NO",
            _moment(table.created), _ddl(table),
        )  # fmt: skip


def _ddl(table: Table) -> str:
    name = f"`{table.ref.project}.{table.ref.dataset}.{table.ref.table}`"
    if table.is_view:
        return f"CREATE VIEW {name}\nAS {table.view_query};"
    columns = ",\n".join(
        f"  {field['name']} {field_type(field)}{' NOT NULL' * (field['mode'] == 'REQUIRED')}"
        for field in table.schema
    )
    return f"CREATE TABLE {name}\n(\n{columns}\n);"


def _column_rows(catalog: Catalog, view: InformationView) -> Rows:
    for table in _tables(catalog, view):
        clustered = [name.casefold() for name in (table.clustering or {}).get("fields", ())]
        partition = (table.partition_field or "").casefold()
        for position, field in enumerate(table.schema, 1):
            folded = field["name"].casefold()
            yield (
                table.ref.project, table.ref.dataset, table.ref.table, field["name"], position,
                "NO" if field["mode"] == "REQUIRED" else "YES", _data_type(field), "NEVER", "NO",
                "NO", "YES" if folded == partition else "NO",
                clustered.index(folded) + 1 if folded in clustered else None, "NULL", "NULL",
            )  # fmt: skip


def _data_type(field: Field) -> str:
    text = str(field_type(field))
    if field.get("precision"):
        scale = f", {field['scale']}" if field.get("scale") else ""
        return f"{text}({field['precision']}{scale})"
    return f"{text}({field['maxLength']})" if field.get("maxLength") else text


def _path_rows(catalog: Catalog, view: InformationView) -> Rows:
    for table in _tables(catalog, view):
        for field in table.schema:
            for path, leaf in _paths(field, ""):
                yield (
                    table.ref.project, table.ref.dataset, table.ref.table, field["name"], path,
                    _data_type(leaf), leaf.get("description"),
                )  # fmt: skip


def _paths(field: Field, prefix: str) -> Iterator[tuple[str, Field]]:
    path = f"{prefix}{field['name']}"
    yield path, field
    for child in field.get("fields") or ():
        yield from _paths(child, f"{path}.")


def _schema_rows(catalog: Catalog, view: InformationView) -> Rows:
    for dataset in catalog.datasets(view.project):
        yield (
            dataset.project, dataset.name, None, _moment(dataset.created),
            _moment(dataset.modified), dataset.location,
        )  # fmt: skip


def _view_rows(catalog: Catalog, view: InformationView) -> Rows:
    for table in _tables(catalog, view):
        if table.is_view:
            ref = table.ref
            yield (ref.project, ref.dataset, ref.table, table.view_query, None, "YES")


def _option_rows(catalog: Catalog, view: InformationView) -> Rows:
    for table in _tables(catalog, view):
        ref = table.ref
        if table.body.get("description"):
            value = json.dumps(table.body["description"], ensure_ascii=False)
            yield (ref.project, ref.dataset, ref.table, "description", "STRING", value)
        if table.labels:
            pairs = ", ".join(
                f'STRUCT("{key}", "{value}")' for key, value in sorted(table.labels.items())
            )
            kind = "ARRAY<STRUCT<STRING, STRING>>"
            yield (ref.project, ref.dataset, ref.table, "labels", kind, f"[{pairs}]")


def _no_rows(_catalog: Catalog, _view: InformationView) -> Rows:
    return ()


_PARTITION_COLUMNS: Columns = [
    ("table_catalog", STRING), ("table_schema", STRING), ("table_name", STRING),
    ("partition_id", STRING), ("total_rows", INT64), ("total_logical_bytes", INT64),
    ("last_modified_time", TIMESTAMP), ("storage_tier", STRING),
]  # fmt: skip


def _partitions(tr: "Translator", catalog: Catalog, view: InformationView) -> Query:
    branches = []
    for table in _tables(catalog, view):
        if table.is_view or not catalog.has_rows_table(table):
            continue
        tr.context.reference(table.ref, table)
        identity = partition_id(table, "p") if table.time_partitioning else "CAST(NULL AS VARCHAR)"
        ref = [text_literal(p) for p in (table.ref.project, table.ref.dataset, table.ref.table)]
        modified = _literal(_moment(table.modified))
        parts = [*ref, identity, "count(*)", "CAST(0 AS BIGINT)", modified, "'ACTIVE'"]
        listed = ", ".join(f"{text} AS c{index}" for index, text in enumerate(parts))
        group = f" GROUP BY {identity}" if table.time_partitioning else ""
        branches.append(f"SELECT {listed} FROM {table.physical} AS p{group}")
    if not branches:
        return literal_query(_PARTITION_COLUMNS, ())
    outputs = [Output(name, kind) for name, kind in _PARTITION_COLUMNS]
    return Query(" UNION ALL ".join(branches), outputs)


_NAME: Columns = [("table_catalog", STRING), ("table_schema", STRING), ("table_name", STRING)]
_TABLE = struct_of([("project_id", STRING), ("dataset_id", STRING), ("table_id", STRING)])
JOB_COLUMNS: Columns = [
    ("creation_time", TIMESTAMP), ("project_id", STRING), ("user_email", STRING),
    ("job_id", STRING), ("job_type", STRING), ("statement_type", STRING), ("priority", STRING),
    ("start_time", TIMESTAMP), ("end_time", TIMESTAMP), ("query", STRING), ("state", STRING),
    ("total_bytes_processed", INT64), ("total_slot_ms", INT64),
    ("error_result",
     struct_of([("reason", STRING), ("location", STRING), ("debug_info", STRING),
                ("message", STRING)])),
    ("cache_hit", BOOL), ("destination_table", _TABLE), ("referenced_tables", array_of(_TABLE)),
    ("labels", array_of(struct_of([("key", STRING), ("value", STRING)]))),
    ("total_bytes_billed", INT64), ("parent_job_id", STRING),
]  # fmt: skip
"""Columns of INFORMATION_SCHEMA.JOBS in Google's order, those that the local jobs know."""
_JOB_VIEWS = ("JOBS", "JOBS_BY_PROJECT", "JOBS_BY_USER")

_VIEWS: dict[str, tuple[Columns, Callable[[Catalog, InformationView], Rows]]] = {
    "TABLES": (
        [*_NAME, ("table_type", STRING), ("is_insertable_into", STRING), ("is_typed", STRING),
         ("creation_time", TIMESTAMP), ("ddl", STRING)],
        _table_rows,
    ),
    "COLUMNS": (
        [*_NAME, ("column_name", STRING), ("ordinal_position", INT64), ("is_nullable", STRING),
         ("data_type", STRING), ("is_generated", STRING), ("is_hidden", STRING),
         ("is_system_defined", STRING), ("is_partitioning_column", STRING),
         ("clustering_ordinal_position", INT64), ("collation_name", STRING),
         ("column_default", STRING)],
        _column_rows,
    ),
    "COLUMN_FIELD_PATHS": (
        [*_NAME, ("column_name", STRING), ("field_path", STRING), ("data_type", STRING),
         ("description", STRING)],
        _path_rows,
    ),
    "SCHEMATA": (
        [("catalog_name", STRING), ("schema_name", STRING), ("schema_owner", STRING),
         ("creation_time", TIMESTAMP), ("last_modified_time", TIMESTAMP), ("location", STRING)],
        _schema_rows,
    ),
    "VIEWS": (
        [*_NAME, ("view_definition", STRING), ("check_option", STRING),
         ("use_standard_sql", STRING)],
        _view_rows,
    ),
    "TABLE_OPTIONS": (
        [*_NAME, ("option_name", STRING), ("option_type", STRING), ("option_value", STRING)],
        _option_rows,
    ),
    "PARTITIONS": (_PARTITION_COLUMNS, _no_rows),
    **dict.fromkeys(_JOB_VIEWS, (JOB_COLUMNS, _no_rows)),
}  # fmt: skip
