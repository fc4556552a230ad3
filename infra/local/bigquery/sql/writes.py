"""Writing rows into a destination table: dispositions, partitions, schema checks, one transaction.

Query jobs with a destination, load jobs and copy jobs all end here.
"""

# ruff: noqa: S608 - SQL is what this package writes: names are quoted, values bound or cast

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import duckdb

from infra.local.bigquery.catalog import Catalog, Table, TableRef, now_ms
from infra.local.bigquery.errors import ApiError
from infra.local.bigquery.schemas import by_name, changed_schema
from infra.local.bigquery.sql import inserts
from infra.local.bigquery.sql.failures import from_duckdb
from infra.local.bigquery.sql.partitions import decorator_condition, partition_start
from infra.local.bigquery.sql.typesystem import Field
from infra.local.bigquery.storage import Storage, Transaction

_stages = itertools.count(1)
_UNITS = {4: "YEAR", 6: "MONTH", 8: "DAY", 10: "HOUR"}


@dataclass(frozen=True, slots=True)
class Selected:
    """Rows that a translated query gives: its text and the values that it binds."""

    sql: str
    values: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class WriteOutcome:
    """The table after the write, and how many rows came in."""

    table: Table
    output_rows: int


@dataclass(frozen=True, slots=True)
class Write:
    """One write to do; the names are those of a job's configuration."""

    destination: TableRef
    partition: str | None
    schema: list[Field]
    rows: Selected | Any
    disposition: str
    create: str
    updates: frozenset[str]
    time_partitioning: dict[str, Any] | None
    clustering: dict[str, Any] | None
    job_id: str

    @property
    def replaces_table(self) -> bool:
        """Whether the whole table goes, schema included."""
        return self.disposition == "WRITE_TRUNCATE" and self.partition is None


def write_destination(
    storage: Storage,
    catalog: Catalog,
    *,
    destination: TableRef,
    partition: str | None,
    schema: list[Field],
    rows: Selected | Any,
    write_disposition: str | None,
    create_disposition: str | None,
    schema_update_options: list[str],
    time_partitioning: dict[str, Any] | None,
    clustering: dict[str, Any] | None,
    job_id: str,
    running: Callable[[duckdb.DuckDBPyConnection], Any] | None = None,
) -> WriteOutcome:
    """Write `rows` (columns named by `schema`, in its order) in one transaction.

    Args:
        storage: where the rows go.
        catalog: where the table is.
        destination: the table, created unless `create_disposition` is CREATE_NEVER.
        partition: the decorator without `$`; every row must belong to that partition.
        schema: REST field dicts of the rows.
        rows: an Arrow table, or a translated query.
        write_disposition: WRITE_EMPTY when None.
        create_disposition: CREATE_IF_NEEDED when None.
        schema_update_options: ALLOW_FIELD_ADDITION, ALLOW_FIELD_RELAXATION.
        time_partitioning: of a table that is created or replaced.
        clustering: likewise.
        job_id: under which the effect is marked as final.
        running: called with the cursor before the rows are produced, to be able to interrupt it.

    Raises:
        ApiError: 404 notFound, 409 duplicate (WRITE_EMPTY), 400 invalid for rows or schemas that
            do not fit. Nothing is changed then.
    """
    write = Write(
        destination,
        partition,
        schema,
        rows,
        write_disposition or "WRITE_EMPTY",
        create_disposition or "CREATE_IF_NEEDED",
        frozenset(schema_update_options or ()),
        time_partitioning,
        clustering,
        job_id,
    )
    try:
        while True:
            outcome = _attempt(storage, catalog, write, running)
            if outcome is not None:
                return outcome
    except duckdb.InterruptException as error:
        raise ApiError.stopped() from error
    except duckdb.Error as error:
        raise from_duckdb(error) from error


def _attempt(
    storage: Storage,
    catalog: Catalog,
    write: Write,
    running: Callable[[duckdb.DuckDBPyConnection], Any] | None,
) -> WriteOutcome | None:
    """One try; None when another writer replaced the table before its lock was ours."""
    catalog.dataset(write.destination.project, write.destination.dataset)
    table = catalog.find_table(write.destination)
    if table is not None:
        _check_existing(table, write)
        catalog.ensure_physical(table)
    elif write.create == "CREATE_NEVER":
        raise ApiError.not_found("Table", str(write.destination))
    with storage.transaction([table.physical] if table is not None else []) as tx:
        if catalog.find_table(write.destination) is not table:
            return None
        if running is not None:
            running(tx.cursor)
        if table is None:
            target, count = _into_new(catalog, tx, write)
        elif write.replaces_table:
            target, count = _into_replaced(catalog, tx, table, write)
        else:
            target, count = _into_existing(catalog, tx, table, write)
        catalog.mark_job(tx, write.job_id, {"outputRows": count})
    return WriteOutcome(target, count)


def _check_existing(table: Table, write: Write) -> None:
    if table.is_view:
        raise ApiError.invalid(f"Cannot write to {table.ref}: it is a view")
    wanted = write.time_partitioning
    if wanted is not None and _interval(wanted) != _interval(table.time_partitioning):
        raise ApiError.invalid(
            "Incompatible table partitioning specification. Expects partitioning specification"
            f" {_interval(table.time_partitioning)}, but input partitioning specification is"
            f" {_interval(wanted)}"
        )


def _interval(partitioning: dict[str, Any] | None) -> str:
    if partitioning is None:
        return "none"
    column = partitioning.get("field")
    named = f",field:{column}" if column and column != "_PARTITIONTIME" else ""
    return f"interval(type:{str(partitioning.get('type') or 'DAY').lower()}{named})"


# --- the three kinds of target


def new_table(catalog: Catalog, write: Write) -> Table:
    """The table that a write creates."""
    partitioning = write.time_partitioning
    if partitioning is None and write.partition is not None:
        partitioning = {"type": _UNITS.get(len(write.partition), "DAY")}
    now = now_ms()
    return Table(
        ref=write.destination,
        kind="TABLE",
        schema=write.schema,
        physical=catalog.new_physical(),
        created=now,
        modified=now,
        time_partitioning=partitioning,
        clustering=write.clustering,
    )


def _into_new(catalog: Catalog, tx: Transaction, write: Write) -> tuple[Table, int]:
    table = new_table(catalog, write)
    check_partition_field(table)
    table = catalog.create_table(table, tx=tx)
    catalog.create_physical(tx, table)
    return table, _insert(tx, table, write, write.rows)


def _into_replaced(
    catalog: Catalog, tx: Transaction, old: Table, write: Write
) -> tuple[Table, int]:
    table = replace(
        old,
        schema=write.schema,
        physical=catalog.new_physical(),
        clustering=write.clustering or old.clustering,
        time_partitioning=write.time_partitioning or old.time_partitioning,
    )
    check_partition_field(table)
    catalog.create_physical(tx, table)
    count = _insert(tx, table, write, write.rows)
    return catalog.replace_table(table, tx=tx), count


def _into_existing(
    catalog: Catalog, tx: Transaction, old: Table, write: Write
) -> tuple[Table, int]:
    table = replace(old, schema=_merged_schema(old, write))
    rows = write.rows
    if isinstance(rows, Selected) and old.physical in rows.sql:
        rows = _staged(tx, rows, write.schema)
    if table.schema != old.schema:
        catalog.alter_physical(tx, old, table)
        table = catalog.replace_table(table, tx=tx)
    _make_room(tx, table, write)
    return table, _insert(tx, table, write, rows)


def check_partition_field(table: Table) -> None:
    """Refuse a partitioning column that is missing or of a wrong type.

    Raises:
        ApiError: 400 invalid.
    """
    name = table.partition_field
    if name is None:
        return
    column = by_name(table.schema).get(name.casefold())
    if column is None:
        raise ApiError.invalid(
            f"The field specified for partitioning cannot be found in the schema: {name}"
        )
    allowed = {"DATE", "TIMESTAMP", "DATETIME"}
    if column["type"] not in allowed or column["mode"] == "REPEATED":
        raise ApiError.invalid(
            "The field specified for time partitioning can only be of type TIMESTAMP, DATE or"
            f" DATETIME. The type found is: {column['type']}."
        )


def _make_room(tx: Transaction, table: Table, write: Write) -> None:
    where = ""
    if write.partition is not None:
        where = f" WHERE {decorator_condition(table, write.partition, table.physical)}"
    if write.disposition in {"WRITE_TRUNCATE", "WRITE_TRUNCATE_DATA"}:
        tx.cursor.execute(f"DELETE FROM {table.physical}{where}").fetchall()
    elif write.disposition == "WRITE_EMPTY":
        found = tx.cursor.execute(f"SELECT 1 FROM {table.physical}{where} LIMIT 1").fetchall()
        if found:
            suffix = f"${write.partition}" if write.partition is not None else ""
            raise ApiError.duplicate("Table", f"{table.ref}{suffix}")


def _merged_schema(table: Table, write: Write) -> list[Field]:
    """The table's schema after the write.

    Raises:
        ApiError: 400 invalid, "Provided Schema does not match Table ...".
    """
    incoming = write.schema
    if write.disposition == "WRITE_TRUNCATE_DATA" or isinstance(write.rows, Selected):
        incoming = _with_modes_of(table.schema, incoming)
    merged = changed_schema(table.schema, incoming, str(table.ref), allow_missing=True)
    prefix = f"Provided Schema does not match Table {table.ref}."
    added, relaxed = _differences(table.schema, merged, "")
    if added and "ALLOW_FIELD_ADDITION" not in write.updates:
        raise ApiError.invalid(f"{prefix} Cannot add fields (field: {added[0]})")
    if relaxed and "ALLOW_FIELD_RELAXATION" not in write.updates:
        raise ApiError.invalid(
            f"{prefix} Field {relaxed[0]} has changed mode from REQUIRED to NULLABLE"
        )
    return merged


def _with_modes_of(old: list[Field], new: list[Field]) -> list[Field]:
    """A query's result has no REQUIRED columns: those of the table stay, NULLs are refused."""
    known = by_name(old)
    result = []
    for column in new:
        before = known.get(column["name"].casefold())
        if before is not None and before["mode"] == "REQUIRED" and column["mode"] == "NULLABLE":
            column = {**column, "mode": "REQUIRED"}  # noqa: PLW2901 - the list is rebuilt
        if before is not None and before["type"] == column["type"] == "RECORD":
            column = {**column, "fields": _with_modes_of(before["fields"], column["fields"])}  # noqa: PLW2901
        result.append(column)
    return result


def _differences(old: list[Field], new: list[Field], parent: str) -> tuple[list[str], list[str]]:
    known = by_name(old)
    added, relaxed = [], []
    for column in new:
        path = f"{parent}{column['name']}"
        before = known.get(column["name"].casefold())
        if before is None:
            added.append(path)
            continue
        if before["mode"] == "REQUIRED" != column["mode"]:
            relaxed.append(path)
        if column["type"] == "RECORD":
            more, looser = _differences(before["fields"], column["fields"], f"{path}.")
            added += more
            relaxed += looser
    return added, relaxed


# --- rows


def _staged(tx: Transaction, rows: Selected, schema: list[Field]) -> Selected:
    """A query that reads its own destination is run before anything is deleted."""
    name = f"stage_{next(_stages)}"
    del schema
    tx.cursor.execute(f"CREATE TEMP TABLE {name} AS {rows.sql}", rows.values or None)
    return Selected(f"SELECT * FROM temp.main.{name}")


def _insert(tx: Transaction, table: Table, write: Write, rows: Selected | Any) -> int:
    moment = None
    if write.partition is not None:
        moment = partition_start(table, write.partition)
    plan = inserts.Plan(table, write.schema, write.partition, moment)
    if isinstance(rows, Selected):
        counted = tx.cursor.execute(plan.sql(rows.sql), rows.values or None).fetchall()
    else:
        name = f"arrow_{next(_stages)}"
        tx.cursor.register(name, rows)
        try:
            counted = tx.cursor.execute(plan.sql(f"SELECT * FROM {name}")).fetchall()
        finally:
            tx.cursor.unregister(name)
    if isinstance(rows, Selected) and "temp.main.stage_" in rows.sql:
        tx.cursor.execute(f"DROP TABLE {rows.sql.removeprefix('SELECT * FROM ')}")
    return int(counted[0][0])
