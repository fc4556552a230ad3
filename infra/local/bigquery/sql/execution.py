"""Running compiled statements on DuckDB: values bound, rows as Arrow, interruption, errors."""

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

import duckdb
import pyarrow as pa

from infra.local.bigquery.errors import ApiError
from infra.local.bigquery.sql.compiled import Compiled, output_sql
from infra.local.bigquery.sql.failures import from_duckdb
from infra.local.bigquery.sql.typesystem import SqlType, arrow_type

_SMALL = 2_000


@contextlib.contextmanager
def interruptible(
    cursor: duckdb.DuckDBPyConnection, cancelled: threading.Event | None
) -> Iterator[None]:
    """Interrupt what runs on the cursor once `cancelled` is set; DuckDB's errors in clean text.

    Raises:
        ApiError: stopped, or what the statement fails with.
    """
    register: Callable[..., Any] | None = getattr(cancelled, "on_set", None)
    undo = register(cursor.interrupt) if register is not None else None
    try:
        if cancelled is not None and cancelled.is_set():
            raise ApiError.stopped()
        yield
    except duckdb.InterruptException as error:
        raise ApiError.stopped() from error
    except duckdb.Error as error:
        if cancelled is not None and cancelled.is_set():
            raise ApiError.stopped() from error
        raise from_duckdb(error) from error
    finally:
        if undo is not None:
            undo()


def fetch(
    cursor: duckdb.DuckDBPyConnection, compiled: Compiled, values: dict[str, Any]
) -> pa.Table:
    """The rows of a query, in columns named as the schema names them.

    Raises:
        duckdb.Error: as the statement fails.
        ApiError: an array with a NULL element in the result.
    """
    if compiled.plain and compiled.small:
        return _fetch_small(cursor, compiled, values)
    relation = cursor.sql(compiled.sql, params=values) if values else cursor.sql(compiled.sql)
    table = relation.to_arrow_table() if relation is not None else pa.table({})
    compiled.small = table.num_rows <= _SMALL
    table = table.rename_columns([name for name, _ in compiled.columns])
    refuse_null_elements(table, compiled.columns)
    return table


def _fetch_small(
    cursor: duckdb.DuckDBPyConnection, compiled: Compiled, values: dict[str, Any]
) -> pa.Table:
    """As Python values: less fixed cost than Arrow, for few rows of scalars."""
    if not compiled.statements:
        compiled.statements = cursor.extract_statements(output_sql(compiled))
    rows = cursor.execute(compiled.statements[0], values or None).fetchall()
    compiled.small = len(rows) <= _SMALL
    columns = zip(*rows, strict=True) if rows else ((),) * len(compiled.columns)
    arrays = [
        pa.array(list(column), type=arrow_type(kind))
        for column, (_, kind) in zip(columns, compiled.columns, strict=True)
    ]
    return pa.Table.from_arrays(arrays, names=[name for name, _ in compiled.columns])


def refuse_null_elements(table: pa.Table, columns: list[tuple[str, SqlType]]) -> None:
    """BigQuery has no NULL elements in arrays of a result.

    Raises:
        ApiError: naming the column.
    """
    for index, (name, kind) in enumerate(columns):
        if kind.is_array:
            for chunk in table.column(index).chunks:
                if chunk.flatten().null_count:
                    raise ApiError.invalid_query(
                        f"Array cannot have a null element; error in writing field {name}"
                    )
