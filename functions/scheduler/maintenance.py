"""What keeps the place tidy: the change of the day, and runs that nobody ends any more."""

import datetime as dt
import time

from pydantic import Field

from shared.http.routes import Route
from shared.models import Model


class DayEnded(Model):
    """What the change of the day found and did."""

    usage_date: dt.date = Field(description="The UTC day that has ended.")
    tenants_active: int = Field(description="Tenants that ran something on it.")
    pipelines_run: int = Field(description="Runs that counted against its quotas.")
    tables_checked: int = Field(description="Central tables whose retention was looked at.")
    retention_extended: tuple[str, ...] = Field(
        description="Tables that keep their rows longer now, as their schemas say."
    )
    drift: tuple[str, ...] = Field(
        description="Where a table is not as its schema says and only a person can settle it."
    )
    schedules_compacted: int = Field(
        description="Schedules whose state was written anew, so that looking for due ones stays"
        " quick."
    )
    secrets_erased: int = Field(
        description="States of credentials that were replaced or deleted and still had a secret."
    )
    duration_ms: int


class CleanedUp(Model):
    """What a cleanup did."""

    cleaned_count: int = Field(description="Runs past their deadline that are TIMED_OUT now.")
    released_count: int = Field(
        description="Runs whose slots were given back: those, and some that had ended or had never"
        " begun."
    )
    refunded_count: int = Field(
        description="Slots that nobody used: their owners died while they took them."
    )
    remaining_count: int = Field(
        description="Runs left over, because time was up or something did not answer. The next"
        " call goes on with them."
    )
    duration_ms: int


def reset_daily_quotas() -> DayEnded:
    """End the UTC day: nothing is set to zero, since usage is counted per day; retention is kept.

    May be called again, at any time.
    """
    from shared.schedules.compaction import compact_schedules
    from shared.schedules.retention import end_day
    from shared.tenancy.credential_erasure import erase

    began = time.monotonic()
    found = end_day()
    compacted = compact_schedules()
    return DayEnded(
        usage_date=found.usage_date,
        tenants_active=found.tenants_active,
        pipelines_run=found.pipelines_run,
        tables_checked=found.tables_checked,
        retention_extended=found.retention_extended,
        drift=found.drift,
        schedules_compacted=compacted,
        secrets_erased=erase(),
        duration_ms=_milliseconds_since(began),
    )


def clean_up() -> CleanedUp:
    """End runs past their deadline as TIMED_OUT, stop their jobs, tell, give their slots back.

    Safe to call again and at the same time: what a call leaves undone the next one completes.
    """
    from shared.schedules import orphans

    began = time.monotonic()
    done = orphans.clean_up()
    return CleanedUp(
        cleaned_count=done.cleaned,
        released_count=done.released,
        refunded_count=done.refunded,
        remaining_count=done.remaining,
        duration_ms=_milliseconds_since(began),
    )


def _milliseconds_since(began: float) -> int:
    return round((time.monotonic() - began) * 1000)


ROUTES = (
    Route(
        "POST",
        "/api/v1/scheduler/reset-daily-quotas",
        reset_daily_quotas,
        "End the day",
        DayEnded,
        auth="admin_or_scheduler",
        action="scheduler.reset_daily_quotas",
        tag="scheduler",
    ),
    Route(
        "POST",
        "/api/v1/scheduler/cleanup-orphaned-pipelines",
        clean_up,
        "End runs past their deadline",
        CleanedUp,
        auth="admin_or_scheduler",
        action="scheduler.cleanup",
        tag="scheduler",
    ),
)
