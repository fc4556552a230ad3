"""How the scheduler stands: all tenants in one query."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from shared.schedules.revisions import CONFIGS
from shared.tenancy import quota
from shared.warehouse import rows
from shared.warehouse.queries import query

_QUEUE = "tenants.pipeline_execution_queue"
_DEAD_LETTERS = "tenants.dead_letters"
_WINDOW = timedelta(days=2)
"""How far back a run may have been admitted that runs now or has ended today."""

_STATUS = f"""
WITH slots AS (
  SELECT
    tenant_id,
    slot,
    MAX(pipeline_logging_id) AS run_id,
    LOGICAL_OR(event = 'ADMITTED') AND NOT LOGICAL_OR(event = 'REFUNDED') AS counts,
    LOGICAL_OR(event = 'RELEASED') AS released,
    MAX(deadline) AS deadline,
    ARRAY_AGG(
      IF(event = 'RELEASED', STRUCT(recorded_at, status), NULL)
      IGNORE NULLS ORDER BY recorded_at
    )[SAFE_OFFSET(0)] AS ended
  FROM `{quota.LEDGER}`
  WHERE usage_date >= @since
  GROUP BY tenant_id, slot
),
runs AS (
  SELECT
    run_id,
    LOGICAL_OR(released) AS released,
    MAX(deadline) AS deadline,
    LOGICAL_OR(ended.status = 'COMPLETED' AND ended.recorded_at >= @midnight) AS completed_today
  FROM slots
  WHERE counts
  GROUP BY tenant_id, run_id
),
ledger AS (
  SELECT
    COUNTIF(NOT released AND deadline > @now) AS running,
    COUNTIF(NOT released AND deadline <= @now) AS overdue,
    COUNTIF(completed_today) AS completed_today
  FROM runs
),
configs AS (
  SELECT COUNT(*) AS active, COUNTIF(next_run_time <= @now) AS due_now
  FROM `{CONFIGS}`
  WHERE is_active
),
waiting AS (
  SELECT IFNULL(priority, 0) AS priority, COUNT(*) AS runs, MIN(enqueued_at) AS oldest
  FROM `{_QUEUE}`
  GROUP BY priority
),
queue AS (
  SELECT
    SUM(runs) AS waiting,
    MIN(oldest) AS oldest,
    ARRAY_AGG(STRUCT(priority, runs) ORDER BY priority DESC) AS by_priority
  FROM waiting
),
dead AS (
  SELECT COUNT(DISTINCT message_id) AS dead_letters
  FROM `{_DEAD_LETTERS}`
  WHERE recorded_at >= @midnight
)
SELECT *
FROM ledger
CROSS JOIN configs
CROSS JOIN queue
CROSS JOIN dead
"""  # noqa: S608 - own names


@dataclass(frozen=True)
class SchedulerStatus:
    """All tenants at one moment; today is the UTC day."""

    active_schedules: int
    due_now: int
    waiting_by_priority: dict[int, int]
    running: int
    overdue: int
    """Past their deadline; the next cleanup ends them."""
    completed_today: int
    dead_lettered_today: int
    oldest_waiting_seconds: float | None

    @property
    def waiting(self) -> int:
        """Runs in the queue."""
        return sum(self.waiting_by_priority.values())


def read(now: datetime | None = None) -> SchedulerStatus:
    """How things stand now, in one query whatever the number of tenants.

    Raises:
        WarehouseBusyError: not now.
    """
    now = now or datetime.now(UTC)
    midnight = datetime.combine(now.date(), datetime.min.time(), UTC)
    since = (now - _WINDOW).date()
    (row,) = rows.read(query(_STATUS, now=now, midnight=midnight, since=since))
    oldest = row["oldest"]
    return SchedulerStatus(
        active_schedules=row["active"],
        due_now=row["due_now"],
        waiting_by_priority={
            entry["priority"]: entry["runs"] for entry in row["by_priority"] or ()
        },
        running=row["running"],
        overdue=row["overdue"],
        completed_today=row["completed_today"],
        dead_lettered_today=row["dead_letters"],
        oldest_waiting_seconds=max(0.0, (now - oldest).total_seconds()) if oldest else None,
    )
