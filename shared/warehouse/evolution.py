"""What a query gives against what the table it fills has: columns to add, or a step to stop.

A column that the result has and the table has not is added, NULLable. A column that the result
lacks stays, NULL in the rows written from now on. A column of another type stops the step before
anything is written: BigQuery would refuse the rows, and only a person can say what they mean.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from shared.clients import bigquery_client
from shared.errors import Permanent
from shared.warehouse.drift import DriftEvent
from shared.warehouse.failures import WarehouseBusyError, translated
from shared.warehouse.queries import Query

_TIMEOUT_SECONDS = 30.0
_TRIES = 3
_STANDARD_NAMES = {"INTEGER": "INT64", "FLOAT": "FLOAT64", "BOOLEAN": "BOOL", "RECORD": "STRUCT"}
_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)

Field = Mapping[str, Any]
"""A column as BigQuery's REST API has it: name, type, mode, fields."""


class ResultDriftError(Permanent):
    """The result cannot go into the table: a column has another type, or a needed one is gone."""

    code = "schema-drift"

    def __init__(self, events: Sequence[DriftEvent]) -> None:
        self.events = tuple(events)
        clauses = [_clause(event) for event in events]
        super().__init__(
            f"{events[0].table}: {'; '.join(clauses)}. Nothing was written. CAST in the query to"
            " the table's type, or write to a new table."
        )


def _clause(event: DriftEvent) -> str:
    if event.after is None:
        return f"column {event.column} is REQUIRED and the query no longer gives it"
    return f"column {event.column} is {event.before}, the query now gives {event.after}"


@dataclass(frozen=True)
class Evolution:
    """How a result differs from its table."""

    events: tuple[DriftEvent, ...] = ()
    schema: tuple[Field, ...] = ()
    """The table's columns with the new ones."""
    absent: tuple[Field, ...] = ()
    """Columns of the table that the result lacks, those inside of others aside."""

    @property
    def added(self) -> bool:
        """Whether there are columns to add."""
        return any(event.kind == "column_added" for event in self.events)


@dataclass
class _Comparison:
    table: str
    events: list[DriftEvent] = field(default_factory=list)
    refused: list[DriftEvent] = field(default_factory=list)

    def merged(self, have: Sequence[Field], want: Sequence[Field], prefix: str) -> list[Field]:
        """The columns of `have` with what `want` adds; notes the differences."""
        wanted = {str(column["name"]).lower(): column for column in want}
        columns = [self._kept(known, wanted, prefix) for known in have]
        return columns + [self._new(column, prefix) for column in wanted.values()]

    def _kept(self, known: Field, wanted: dict[str, Field], prefix: str) -> Field:
        path, before = f"{prefix}{known['name']}", type_text(known)
        column = wanted.pop(str(known["name"]).lower(), None)
        if column is None:
            gone = DriftEvent("column_missing", self.table, path, before, None)
            self.events.append(gone)
            if known.get("mode") == "REQUIRED":
                self.refused.append(gone)
            return known
        if _kind(known) == _kind(column) and _kind(known)[0] == "STRUCT":
            fields = self.merged(known["fields"], column["fields"], f"{path}.")
            return {**known, "fields": fields}
        if _kind(known) != _kind(column):
            changed = DriftEvent("type_changed", self.table, path, before, type_text(column))
            self.events.append(changed)
            self.refused.append(changed)
        return known

    def _new(self, column: Field, prefix: str) -> Field:
        path = f"{prefix}{column['name']}"
        self.events.append(DriftEvent("column_added", self.table, path, None, type_text(column)))
        return column if column.get("mode") == "REPEATED" else {**column, "mode": "NULLABLE"}


def compare(table: str, have: Sequence[Field], want: Sequence[Field]) -> Evolution:
    """Compare the columns of `table` with those of a result.

    Raises:
        ResultDriftError: the result does not fit; has all events that there are.
    """
    comparison = _Comparison(table)
    schema = comparison.merged(have, want, "")
    if comparison.refused:
        raise ResultDriftError(comparison.refused)
    given = {str(column["name"]).lower() for column in want}
    absent = tuple(column for column in have if str(column["name"]).lower() not in given)
    return Evolution(tuple(comparison.events), tuple(schema), absent)


def plan(table: str, result: Sequence[Field]) -> Evolution:
    """Compare an existing table with a result; changes nothing.

    Args:
        table: `project.dataset.table`.
        result: columns of the result, as a dry run gives them.

    Raises:
        ResultDriftError: the result does not fit.
        WarehouseError: there is no such table.
        WarehouseBusyError: not now.
    """
    return compare(table, _columns(_table(table)), result)


def add_columns(table: str, result: Sequence[Field]) -> None:
    """Add the columns that `result` has and `table` has not; may be called again and concurrently.

    Raises:
        ResultDriftError: the result does not fit any more.
        WarehouseBusyError: not now.
        WarehouseError: BigQuery refused.
    """
    from google.api_core.exceptions import Conflict, PreconditionFailed
    from google.cloud.bigquery import DEFAULT_RETRY, SchemaField

    for _ in range(_TRIES):
        found = _table(table)
        evolution = compare(table, _columns(found), result)
        if not evolution.added:
            return
        found.schema = [SchemaField.from_api_repr(dict(column)) for column in evolution.schema]
        try:
            with translated(Conflict, PreconditionFailed):
                bigquery_client().update_table(
                    found,
                    ["schema"],
                    retry=DEFAULT_RETRY.with_timeout(_TIMEOUT_SECONDS),
                    timeout=_TIMEOUT_SECONDS,
                )
        except (Conflict, PreconditionFailed):
            continue  # somebody else changed the table meanwhile: compare with what they left
        return
    raise WarehouseBusyError(f"{table} is being changed by others", "resourceInUse")


def padded(query: Query, absent: Sequence[Field]) -> Query:
    """`query` with NULL in the columns that it lacks, so that its result has all of the table's."""
    columns = [column for column in absent if all(map(_PLAIN_NAME.fullmatch, _names(column)))]
    if not columns:
        return query
    nulls = ", ".join(f"CAST(NULL AS {type_text(c)}) AS `{c['name']}`" for c in columns)
    sql = f"SELECT returned.*, {nulls} FROM ({query.nested}) AS returned"  # noqa: S608 - checked names
    return query.model_copy(update={"sql": sql})


def type_text(column: Field) -> str:
    """The GoogleSQL type of a column: `STRING`, `ARRAY<STRUCT<key STRING, value STRING>>`."""
    kind, repeated = _kind(column)
    if kind == "STRUCT":
        inner = ", ".join(f"{part['name']} {type_text(part)}" for part in column["fields"])
        kind = f"STRUCT<{inner}>"
    return f"ARRAY<{kind}>" if repeated else kind


def _kind(column: Field) -> tuple[str, bool]:
    name = str(column["type"])
    return _STANDARD_NAMES.get(name, name), column.get("mode") == "REPEATED"


def _names(column: Field) -> Iterator[str]:
    yield str(column["name"])
    for part in column.get("fields") or ():
        yield from _names(part)


def _columns(table: Any) -> list[Field]:
    return [column.to_api_repr() for column in table.schema]


def _table(path: str) -> Any:
    from google.cloud.bigquery import DEFAULT_RETRY

    with translated():
        return bigquery_client().get_table(
            path, retry=DEFAULT_RETRY.with_timeout(_TIMEOUT_SECONDS), timeout=_TIMEOUT_SECONDS
        )
