"""Runs that wait for a free slot."""

from pydantic import Field

from shared.http.routes import Route
from shared.models import Model


class Processed(Model):
    """What became of waiting runs."""

    launched_count: int = Field(description="Waiting runs whose tenants have room for them now.")
    ended_count: int = Field(
        description="Waiting runs that are to leave without having run: they have expired, their"
        " tenants may not run anything, or a quota is used up."
    )
    waiting_count: int = Field(description="Runs that go on waiting.")
    duration_ms: int


def process_queue() -> Processed:
    """Publish waiting runs again as far as their tenants have room, by priority, then by age.

    Cloud Scheduler calls it every minute. Safe to call again and at the same time: a run begins
    once, and no limit is passed.
    """
    from shared.schedules.waiting import process_queue

    return Processed(**process_queue().__dict__)


ROUTES = (
    Route(
        "POST",
        "/api/v1/scheduler/process-queue",
        process_queue,
        "Start waiting runs",
        Processed,
        auth="admin_or_scheduler",
        action="scheduler.process_queue",
        tag="scheduler",
    ),
)
