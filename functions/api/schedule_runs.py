"""What became of a schedule's occurrences."""

from pydantic import Field

from shared.http import auth
from shared.http.routes import Route
from shared.models import Model
from shared.schedules.history import ScheduledRuns


class RunsQuery(Model):
    """Which of them."""

    limit: int = Field(default=50, ge=1, le=200, description="Occurrences a page.")
    cursor: str | None = Field(default=None, description="`next_cursor` of the page before.")


def listed(tenant_id: str, config_id: str, query: RunsQuery) -> ScheduledRuns:
    """When it was due, what its runs waited for, when they began and how they ended; latest first.

    A run's steps are at `/api/v1/pipelines/runs/{pipeline_logging_id}`. The history of a deleted
    schedule stays; of a schedule that never was there is none.
    """
    from shared.schedules import history

    tenant_id = auth.caller_for(tenant_id).tenant_id
    return history.listed(tenant_id, config_id, limit=query.limit, cursor=query.cursor)


ROUTES = (
    Route(
        "GET",
        "/api/v1/scheduler/customer/{tenant_id}/pipelines/{config_id}/runs",
        listed,
        "A schedule's runs",
        ScheduledRuns,
        query=RunsQuery,
        problems=(422,),
        tag="schedules",
        path_descriptions={"config_id": "ID that the creation of the schedule answered."},
    ),
)
