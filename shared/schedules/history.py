"""What became of every occurrence of every schedule: rows of `scheduled_pipeline_runs_log`.

An occurrence gets a row when it is triggered, one when its run has to wait, and one when it ends
without ever having run. What happens to a run that was admitted stands in the usage ledger, from
which the view `scheduled_pipeline_runs` takes it; so a run costs no append here.
"""

import datetime as dt
from typing import Any

from pydantic import Field

from shared.models import Model
from shared.schedules.requests import RunRequestMessage
from shared.warehouse import pages, rows
from shared.warehouse.queries import query
from shared.warehouse.rows import Row

LOG = "tenants.scheduled_pipeline_runs_log"
_RUNS = "tenants.scheduled_pipeline_runs"
_OPEN = frozenset({"TRIGGERED", "QUEUED"})


class ScheduledRun(Model):
    """An occurrence of a schedule and what became of it."""

    pipeline_logging_id: str = Field(description="Its run; there is none of that ID if SKIPPED.")
    state: str = Field(
        description="TRIGGERED, QUEUED, RUNNING, COMPLETED, FAILED, CANCELLED, TIMED_OUT or"
        " SKIPPED. The last five are final."
    )
    reason: str | None = Field(
        default=None, description="Why it waited, was skipped, or failed before it began."
    )
    date: dt.date | None = Field(default=None, description="Date whose data the run processes.")
    priority: int | None = None
    scheduled_time: dt.datetime = Field(description="The occurrence, UTC.")
    admitted_at: dt.datetime | None = Field(default=None, description="When it was let in, UTC.")
    started_at: dt.datetime | None = Field(
        default=None, description="When its first step began, UTC; known once it has ended."
    )
    completed_at: dt.datetime | None = Field(default=None, description="When it ended, UTC.")


class ScheduledRuns(Model):
    """Some occurrences, the latest first, and where the next ones begin."""

    runs: tuple[ScheduledRun, ...]
    next_cursor: str | None = Field(description="Send it as `cursor` for the next page.")


def row(
    request: RunRequestMessage, state: str, reason: str | None = None, *, pipeline_id: str = ""
) -> Row:
    """The row that says so of a request's occurrence."""
    now = rows.stamp()
    values: dict[str, Any] = {
        "tenant_id": request.tenant_id,
        "config_id": request.config_id,
        "pipeline_logging_id": request.pipeline_logging_id,
        "scheduled_time": request.scheduled_time,
        "provider": request.provider,
        "domain": request.domain,
        "pipeline_template": request.pipeline_template,
        "pipeline_id": pipeline_id or None,
        "date": request.date,
        "state": state,
        "reason": reason,
        "priority": request.priority,
        "completed_at": None if state in _OPEN else now["recorded_at"],
        **now,
    }
    return Row(f"{request.pipeline_logging_id}-{state}", values)


def record(
    request: RunRequestMessage, state: str, reason: str | None = None, *, pipeline_id: str = ""
) -> None:
    """Append the state of a request's occurrence; nothing for a run that comes from no schedule.

    Safe to repeat: the first final state of an occurrence stands.

    Raises:
        WarehouseBusyError: not now.
    """
    if request.config_id and request.scheduled_time:
        rows.append(LOG, [row(request, state, reason, pipeline_id=pipeline_id)])


def listed(
    tenant_id: str, config_id: str, *, limit: int = pages.DEFAULT_SIZE, cursor: str | None = None
) -> ScheduledRuns:
    """One page of what became of a schedule's occurrences, the latest first.

    Also of a schedule that was deleted; none of one that never was.

    Raises:
        InvalidInputError: the cursor is not one of this list.
        WarehouseBusyError: not now.
    """
    columns = ", ".join(ScheduledRun.model_fields)
    before: dict[str, Any] = {}
    condition = ""
    if cursor:
        scheduled_time, run_id = pages.moment_key_of(cursor)
        before = {"scheduled_time": scheduled_time, "run_id": run_id}
        condition = (
            " AND (scheduled_time < @scheduled_time OR"
            " (scheduled_time = @scheduled_time AND pipeline_logging_id < @run_id))"
        )
    found = rows.read(
        query(
            f"SELECT {columns} FROM `{_RUNS}`"  # noqa: S608 - own names
            f" WHERE tenant_id = @tenant_id AND config_id = @config_id{condition}"
            " ORDER BY scheduled_time DESC, pipeline_logging_id DESC LIMIT @wanted",
            tenant_id=tenant_id,
            config_id=config_id.lower(),
            wanted=limit + 1,
            **before,
        )
    )
    shown = tuple(ScheduledRun.model_validate(found_row) for found_row in found[:limit])
    more = len(found) > limit
    return ScheduledRuns(runs=shown, next_cursor=_cursor_behind(shown[-1]) if more else None)


def _cursor_behind(run: ScheduledRun) -> str:
    return pages.moment_cursor(run.scheduled_time, run.pipeline_logging_id)
