"""The fan-out of due schedules."""

from pydantic import Field

from shared.http.routes import Route
from shared.models import Model


class Triggered(Model):
    """What was due and what became of it."""

    triggered_count: int = Field(description="Schedules that were due and run.")
    queued_count: int = Field(
        description="Run requests that were published: more than one for a schedule that catches"
        " up."
    )
    skipped_count: int = Field(
        description="Schedules that were due and do not run, since their tenants may not."
    )
    duration_ms: int


def trigger() -> Triggered:
    """Publish a run request for every schedule that is due, and let it be due later.

    Cloud Scheduler calls it every minute. Safe to call again and at the same time: an occurrence
    of a schedule is one run, however often it is triggered.
    """
    from shared.schedules.trigger import trigger

    return Triggered(**trigger().__dict__)


ROUTES = (
    Route(
        "POST",
        "/api/v1/scheduler/trigger",
        trigger,
        "Trigger what is due",
        Triggered,
        auth="admin_or_scheduler",
        action="scheduler.trigger",
        tag="scheduler",
    ),
)
