"""The work of every midnight, UTC: what the old day leaves and how long it is kept.

No counter is set back: usage is counted per day, and a new day starts at zero by itself. Old rows
are not deleted either: BigQuery drops partitions that are older than their table says. What is left
to do is to see that the tables say what the schemas say, and to keep the schedules' log short.
"""

import logging
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

from shared.telemetry import log
from shared.tenancy import quota
from shared.warehouse import rows, tables
from shared.warehouse.drift import DriftError
from shared.warehouse.queries import query
from shared.warehouse.schemas import TableSchema, load_folder
from shared.warehouse.tables import Action

if TYPE_CHECKING:
    from collections.abc import Iterator

_CENTRAL = "tenants"


@dataclass(frozen=True)
class DayEnd:
    """What the change of the day found and did."""

    usage_date: date
    """The day that has ended."""
    tenants_active: int
    """Tenants that ran something on it."""
    pipelines_run: int
    tables_checked: int
    retention_extended: tuple[str, ...]
    """Tables that keep their rows longer now, as their schemas say."""
    drift: tuple[str, ...]
    """What only a person can settle, such as a retention that the schema would shorten."""


def end_day(now: datetime | None = None) -> DayEnd:
    """Look at the day before `now` and put the retention of the central tables right.

    May be repeated, at any time. One query, and one call for each central table.

    Raises:
        WarehouseBusyError: not now; call again.
    """
    yesterday = (now or datetime.now(UTC)).date() - timedelta(days=1)
    tenants_active, pipelines_run = _used(yesterday)
    checked, extended, drift = _retention()
    return DayEnd(
        usage_date=yesterday,
        tenants_active=tenants_active,
        pipelines_run=pipelines_run,
        tables_checked=checked,
        retention_extended=extended,
        drift=drift,
    )


def _used(day: date) -> tuple[int, int]:
    """Tenants that used something of their quota on `day`, and the runs they used it for."""
    (found,) = rows.read(
        query(
            "WITH slots AS ("  # noqa: S608 - own names
            " SELECT tenant_id, slot, MAX(pipeline_logging_id) AS run_id,"
            " LOGICAL_OR(event = 'ADMITTED') AND NOT LOGICAL_OR(event = 'REFUNDED') AS counts"
            f" FROM `{quota.LEDGER}` WHERE usage_date = @day GROUP BY tenant_id, slot"
            ") SELECT COUNT(DISTINCT tenant_id) AS tenants, COUNT(DISTINCT run_id) AS runs"
            " FROM slots WHERE counts",
            day=day,
        )
    )
    return found["tenants"], found["runs"]


def _retention() -> tuple[int, tuple[str, ...], tuple[str, ...]]:
    """Tables checked, those that keep rows longer now, and what was left as it is.

    A retention is only ever made longer: a job at night does not delete what somebody has kept.
    """
    extended: list[str] = []
    drift: list[str] = []
    checked = 0
    for schema in _partitioned():
        checked += 1
        path = f"{_CENTRAL}.{schema.name}"
        try:
            (change,) = tables.plan(_CENTRAL, [schema])
            if change.action is Action.CREATE:
                drift.append(f"{path} does not exist")
            elif "retention" in change.details:
                tables.ensure_relation(_CENTRAL, schema)
                extended.append(path)
        except DriftError as error:
            drift += error.problems
    if drift:
        log(logging.ERROR, "central tables differ from their schemas", problems=drift)
    return checked, tuple(extended), tuple(drift)


def _partitioned() -> "Iterator[TableSchema]":
    for relation in load_folder(_CENTRAL):
        if isinstance(relation, TableSchema) and relation.time_partitioning:
            yield relation
