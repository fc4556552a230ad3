"""Revisions of schedules: read as they are now, numbered without collision, appended."""

import uuid
from typing import Any

from shared.schedules.definitions import Schedule
from shared.warehouse import claims, pages, rows
from shared.warehouse.queries import query
from shared.warehouse.rows import Row

CONFIGS = "tenants.tenant_pipeline_configs"
CONFIGS_LOG = "tenants.tenant_pipeline_configs_log"
_COLUMNS = ", ".join(Schedule.model_fields)
_NOT_OF_A_REVISION = {"updated_at", "updated_by", "last_run_time"}
"""What the view makes of `recorded_at`, `recorded_by` and of the rows that advance a schedule."""


def find(tenant_id: str, config_id: str) -> Schedule | None:
    """The tenant's schedule of this ID, None where there is none or it was deleted.

    Raises:
        WarehouseBusyError: not now.
    """
    found = _read({"config_id = @config_id": {"config_id": config_id}}, tenant_id, 1)
    return found[0] if found else None


def is_deleted(tenant_id: str, config_id: str) -> bool:
    """Whether the tenant had a schedule of this ID and deleted it.

    Raises:
        WarehouseBusyError: not now.
    """
    found = rows.read(
        query(
            f"SELECT 1 FROM `{CONFIGS_LOG}` WHERE tenant_id = @tenant_id"  # noqa: S608 - own names
            " AND config_id = @config_id AND change = 'DELETED' LIMIT 1",
            tenant_id=tenant_id,
            config_id=config_id,
        )
    )
    return bool(found)


def newest(
    tenant_id: str, *, is_active: bool | None, cursor: str | None, count: int
) -> list[Schedule]:
    """The tenant's newest schedules, from behind `cursor` on.

    Raises:
        InvalidInputError: the cursor is not one of this list.
        WarehouseBusyError: not now.
    """
    conditions: dict[str, dict[str, Any]] = {}
    if is_active is not None:
        conditions["is_active = @is_active"] = {"is_active": is_active}
    if cursor:
        created_at, config_id = pages.moment_key_of(cursor)
        conditions[
            "(created_at < @created_at OR (created_at = @created_at AND config_id < @config_id))"
        ] = {"created_at": created_at, "config_id": config_id}
    return _read(conditions, tenant_id, count)


def count_active(tenant_id: str) -> int:
    """How many schedules of the tenant are active.

    Raises:
        WarehouseBusyError: not now.
    """
    found = rows.read(
        query(
            f"SELECT COUNT(*) AS active FROM `{CONFIGS}`"  # noqa: S608 - own names
            " WHERE tenant_id = @tenant_id AND is_active",
            tenant_id=tenant_id,
        )
    )
    return int(found[0]["active"])


def claim(config_id: str, revision: int) -> bool:
    """Take a revision's number; nobody else gets it, also if it is never used.

    Raises:
        WarehouseBusyError: BigQuery does not answer; the number may be taken.
    """
    return claims.win(f"schedule--{config_id}--{revision}", owner=str(uuid.uuid4()))


def claim_from(config_id: str, revision: int) -> int:
    """Take the first free number from `revision` on.

    Raises:
        WarehouseBusyError: BigQuery does not answer.
    """
    while not claim(config_id, revision):
        revision += 1
    return revision


def append(change: str, schedule: Schedule, stamp: dict[str, Any]) -> None:
    """Append a revision: CREATED, EDITED or DELETED.

    Raises:
        WarehouseBusyError: not now; nothing is known of the row.
    """
    values = {
        **schedule.model_dump(exclude=_NOT_OF_A_REVISION),
        "change": change,
        "recorded_by": schedule.updated_by,
        **stamp,
    }
    insert_id = f"{schedule.config_id}-{schedule.revision}-{change}"
    rows.append(CONFIGS_LOG, [Row(insert_id, values)])


def cursor_behind(schedule: Schedule) -> str:
    """The cursor for the page that begins behind this schedule."""
    assert schedule.created_at is not None  # noqa: S101 - every revision repeats it
    return pages.moment_cursor(schedule.created_at, schedule.config_id)


def _read(conditions: dict[str, dict[str, Any]], tenant_id: str, count: int) -> list[Schedule]:
    """The schedules that meet every condition; each comes with the values of its parameters."""
    values = {name: value for given in conditions.values() for name, value in given.items()}
    where = " AND ".join(["tenant_id = @tenant_id", *conditions])
    found = rows.read(
        query(
            f"SELECT {_COLUMNS} FROM `{CONFIGS}` WHERE {where}"  # noqa: S608 - own names and conditions
            " ORDER BY created_at DESC, config_id DESC LIMIT @wanted",
            tenant_id=tenant_id,
            wanted=count,
            **values,
        )
    )
    return [
        Schedule.model_validate({name: value for name, value in row.items() if value is not None})
        for row in found
    ]
