"""Waiting runs leave the queue when they are cancelled, whoever cancels them."""

from typing import Any

from shared.warehouse import rows
from shared.warehouse.queries import query
from shared.warehouse.rows import Row

QUEUE = "tenants.pipeline_execution_queue"
QUEUE_LOG = "tenants.pipeline_execution_queue_log"
HISTORY_LOG = "tenants.scheduled_pipeline_runs_log"
_OF_BOTH = (
    *("tenant_id", "pipeline_logging_id", "config_id", "scheduled_time", "priority"),
    *("provider", "domain", "pipeline_template"),
)


def leave(tenant_id: str, run_id: str, *, reason: str) -> None:
    """Take a cancelled run out of the queue, and end its occurrence in the schedule's history.

    Safe to repeat. A run that does not wait, or not any more, is left alone.

    Raises:
        WarehouseBusyError: not now.
    """
    found = rows.read(
        query(
            f"SELECT {', '.join(_OF_BOTH)}, backfill_id FROM `{QUEUE}`"  # noqa: S608 - own names
            " WHERE tenant_id = @tenant_id AND pipeline_logging_id = @run_id",
            tenant_id=tenant_id,
            run_id=run_id,
        )
    )
    for waiting in found:
        cancelled: dict[str, Any] = {"state": "CANCELLED", "reason": reason, **rows.stamp()}
        if waiting["config_id"] and waiting["scheduled_time"]:
            known = {name: waiting[name] for name in _OF_BOTH}
            values = {**known, "completed_at": cancelled["recorded_at"], **cancelled}
            rows.append(HISTORY_LOG, [Row(f"{run_id}-CANCELLED", values)])
        rows.append(QUEUE_LOG, [Row(f"{run_id}-CANCELLED", {**waiting, **cancelled})])
