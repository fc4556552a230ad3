"""How the scheduler stands."""

from pydantic import Field

from shared.http.routes import Route
from shared.models import Model


class SchedulerStatus(Model):
    """All tenants at this moment; today is the UTC day."""

    total_active_pipelines: int = Field(description="Schedules that are not paused.")
    pipelines_due_now: int = Field(description="Those whose time has come; the trigger is next.")
    pipelines_queued: int = Field(description="Runs that wait for a free slot.")
    pipelines_completed_today: int = Field(description="Runs that ended COMPLETED today.")
    pipelines_running: int = Field(description="Runs that hold a slot.")
    pipelines_overdue: int = Field(
        description="Runs past their deadline; the next cleanup ends them."
    )
    waiting_by_priority: dict[str, int] = Field(
        description="Waiting runs by priority: 10 leaves first, 0 are backfills.",
        examples=[{"5": 4, "0": 1}],
    )
    oldest_waiting_seconds: float | None = Field(
        description="How long the run that waits longest has waited; null when none waits."
    )
    dead_lettered_today: int = Field(
        description="Messages that no delivery could process today; each is a defect or an outage."
    )


def status() -> SchedulerStatus:
    """Active, due, waiting, running and failed work of all tenants, in one query."""
    from shared.schedules import status

    found = status.read()
    return SchedulerStatus(
        total_active_pipelines=found.active_schedules,
        pipelines_due_now=found.due_now,
        pipelines_queued=found.waiting,
        pipelines_completed_today=found.completed_today,
        pipelines_running=found.running,
        pipelines_overdue=found.overdue,
        waiting_by_priority={
            str(priority): runs for priority, runs in found.waiting_by_priority.items()
        },
        oldest_waiting_seconds=found.oldest_waiting_seconds,
        dead_lettered_today=found.dead_lettered_today,
    )


ROUTES = (
    Route(
        "GET",
        "/api/v1/scheduler/status",
        status,
        "How the scheduler stands",
        SchedulerStatus,
        auth="admin_or_scheduler",
        tag="scheduler",
    ),
)
