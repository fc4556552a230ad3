"""How far backfills have come: read from the queue and from the runs, in one query."""

import datetime as dt
from typing import Any

from pydantic import Field

from shared.engine.status import read_metadata
from shared.errors import NotFoundError
from shared.models import Model
from shared.schedules.backfill_requests import BackfillFields
from shared.schedules.requests import RunRequestMessage
from shared.tenancy.names import check_tenant_id
from shared.warehouse import pages
from shared.warehouse.queries import query

_QUEUE_LOG = "tenants.pipeline_execution_queue_log"


class Progress(Model):
    """How many dates stand where."""

    waiting: int = Field(description="In the queue: for a free slot, or for tomorrow's quota.")
    running: int
    completed: int
    failed: int
    cancelled: int
    timed_out: int = Field(description="Passed their deadline, or waited for 80 days in vain.")


class Backfill(BackfillFields):
    """A backfill and how far it has come."""

    backfill_id: str = Field(description="UUID of the backfill.")
    tenant_id: str
    created_at: dt.datetime
    created_by: str | None
    runs_total: int
    progress: Progress
    is_finished: bool = Field(description="Whether no date waits or runs any more.")


class BackfillRun(Model):
    """One date of a backfill."""

    date: dt.date
    pipeline_logging_id: str
    state: str = Field(description="waiting, running, completed, failed, cancelled or timed_out.")
    error: str | None = Field(description="Why it did not complete.")


class BackfillWithRuns(Backfill):
    """A backfill with its dates, ascending."""

    runs: tuple[BackfillRun, ...]


class Backfills(Model):
    """Some backfills, and where the next ones begin."""

    backfills: tuple[Backfill, ...]
    next_cursor: str | None


def get(tenant_id: str, backfill_id: str) -> BackfillWithRuns:
    """The tenant's backfill of this ID with its dates, ascending.

    Raises:
        NotFoundError: the tenant has none.
        WarehouseBusyError: not now.
    """
    found = read_metadata(
        query(
            f"{_dates_sql(tenant_id)} SELECT * FROM dates"  # noqa: S608 - checked dataset
            " WHERE backfill_id = @backfill_id ORDER BY date",
            tenant_id=tenant_id,
            backfill_id=backfill_id.lower(),
        ),
        tenant_id,
    )
    if not found:
        raise NotFoundError("Backfill", backfill_id)
    own = [
        BackfillRun(
            date=row["date"],
            pipeline_logging_id=row["pipeline_logging_id"],
            state=row["state"],
            error=row["error"],
        )
        for row in found
    ]
    counts: dict[str, int] = {}
    for run in own:
        counts[run.state] = counts.get(run.state, 0) + 1
    summary = {
        "backfill_id": found[0]["backfill_id"],
        "request": found[0]["request"],
        "created_at": min(row["enqueued_at"] for row in found),
        "start_date": own[0].date,
        "end_date": own[-1].date,
        "states": [{"state": state, "dates": dates} for state, dates in counts.items()],
    }
    return BackfillWithRuns(**_backfill(tenant_id, summary).model_dump(), runs=tuple(own))


def listed(
    tenant_id: str, *, limit: int = pages.DEFAULT_SIZE, cursor: str | None = None
) -> Backfills:
    """One page of the tenant's backfills, newest first; they are known for 90 days.

    Raises:
        InvalidInputError: the cursor is not one of this list.
        NotFoundError: the tenant has no dataset.
        WarehouseBusyError: not now.
    """
    behind = "TRUE"
    values: dict[str, Any] = {}
    if cursor:
        behind = "(created_at < @at OR (created_at = @at AND backfill_id < @id))"
        moment, last_id = pages.moment_key_of(cursor)
        values = {"at": moment, "id": last_id}
    found = read_metadata(
        query(
            f"{_dates_sql(tenant_id)}, states AS ("  # noqa: S608 - checked dataset
            " SELECT backfill_id, state, COUNT(*) AS dates, MIN(date) AS first_date,"
            " MAX(date) AS last_date, MIN(enqueued_at) AS created_at, ANY_VALUE(request) AS request"
            " FROM dates GROUP BY backfill_id, state"
            "), backfills AS ("
            " SELECT backfill_id, MIN(created_at) AS created_at, MIN(first_date) AS start_date,"
            " MAX(last_date) AS end_date, ANY_VALUE(request) AS request,"
            " ARRAY_AGG(STRUCT(state, dates)) AS states FROM states GROUP BY backfill_id"
            f") SELECT * FROM backfills WHERE {behind}"
            " ORDER BY created_at DESC, backfill_id DESC LIMIT @wanted",
            tenant_id=tenant_id,
            wanted=limit + 1,
            **values,
        ),
        tenant_id,
    )
    shown = [_backfill(tenant_id, row) for row in found[:limit]]
    more = len(found) > limit
    last = shown[-1] if shown else None
    cursor = pages.moment_cursor(last.created_at, last.backfill_id) if last and more else None
    return Backfills(backfills=tuple(shown), next_cursor=cursor)


def _dates_sql(tenant_id: str) -> str:
    """`WITH dates`: a row for every date of every backfill of the tenant.

    What the run says counts for more than what the queue says.
    """
    dataset = check_tenant_id(tenant_id)
    return f"""
WITH entered AS (
  SELECT
    backfill_id,
    pipeline_logging_id,
    MIN(enqueued_at) AS enqueued_at,
    ANY_VALUE(request) AS request,
    MIN(CAST(JSON_VALUE(request, '$.date') AS DATE)) AS date
  FROM `{_QUEUE_LOG}`
  WHERE tenant_id = @tenant_id AND state = 'QUEUED' AND backfill_id IS NOT NULL
  GROUP BY backfill_id, pipeline_logging_id
),
gone AS (
  SELECT
    pipeline_logging_id,
    ARRAY_AGG(STRUCT(state, reason) ORDER BY recorded_at)[OFFSET(0)] AS latest
  FROM `{_QUEUE_LOG}`
  WHERE tenant_id = @tenant_id AND state != 'QUEUED'
  GROUP BY pipeline_logging_id
),
dates AS (
  SELECT
    entered.*,
    CASE
      WHEN run.status IN ('PENDING', 'RUNNING') THEN 'running'
      WHEN run.status != 'QUEUED' THEN LOWER(run.status)
      WHEN gone.pipeline_logging_id IS NULL THEN 'waiting'
      WHEN gone.latest.state = 'LAUNCHED' THEN 'running'
      WHEN gone.latest.state = 'EXPIRED' THEN 'timed_out'
      ELSE 'cancelled'
    END AS state,
    IFNULL(run.error, gone.latest.reason) AS error
  FROM entered
  LEFT JOIN gone
    ON gone.pipeline_logging_id = entered.pipeline_logging_id
  LEFT JOIN `{dataset}.x_meta_pipeline_runs` AS run
    ON run.pipeline_logging_id = entered.pipeline_logging_id
)"""  # noqa: S608 - checked dataset


def _backfill(tenant_id: str, row: dict[str, Any]) -> Backfill:
    states = {entry["state"]: entry["dates"] for entry in row["states"]}
    progress = Progress(**{name: states.get(name, 0) for name in Progress.model_fields})
    request = RunRequestMessage.model_validate(row["request"])
    return Backfill(
        **request.model_dump(include={"provider", "domain", "pipeline_template", "parameters"}),
        backfill_id=row["backfill_id"],
        tenant_id=tenant_id,
        start_date=row["start_date"],
        end_date=row["end_date"],
        max_concurrency=request.max_concurrency or 1,
        created_at=row["created_at"],
        created_by=request.trigger_by,
        runs_total=sum(states.values()),
        progress=progress,
        is_finished=not (progress.waiting or progress.running),
    )
