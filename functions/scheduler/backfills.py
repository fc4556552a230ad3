"""Backfills: a tenant's runs for each date of a range."""

import datetime as dt

from pydantic import Field

from shared.http import auth
from shared.http.inputs import Day, idempotency_key
from shared.http.routes import Route
from shared.models import Model
from shared.schedules.backfill_progress import Backfills, BackfillWithRuns
from shared.schedules.backfill_requests import MAX_DATES, BackfillFields


class StartBackfill(BackfillFields):
    """Which template is to run for which dates."""

    tenant_id: str | None = Field(
        default=None, description="Required with `X-Admin-Key`; else the key's tenant."
    )
    start_date: Day = Field(description="First date to process.", examples=["2025-10-01"])
    end_date: Day = Field(
        description=f"Last date, inclusive; not in the future, at most {MAX_DATES} dates.",
        examples=["2025-10-31"],
    )


class BackfillAccepted(Model):
    """A backfill whose runs wait; follow it at /api/v1/scheduler/backfills/{backfill_id}."""

    backfill_id: str
    tenant_id: str
    start_date: dt.date
    end_date: dt.date
    runs_total: int
    max_concurrency: int


class BackfillCancelled(Model):
    """What a cancellation ended."""

    backfill_id: str
    cancelled_count: int = Field(
        description="Waiting runs that will not run. Those that run already go on; each can be"
        " cancelled by itself."
    )


class BackfillQuery(Model):
    """Which backfills."""

    tenant_id: str | None = Field(default=None, description="Required with `X-Admin-Key`.")
    limit: int = Field(default=20, ge=1, le=100, description="Backfills a page.")
    cursor: str | None = Field(default=None, description="`next_cursor` of the page before.")


def start(body: StartBackfill) -> BackfillAccepted:
    """Let a template run once for every date of a range, oldest first.

    The runs wait behind all scheduled ones and start as the tenant's plan leaves room for them, at
    most `max_concurrency` at once; a date for which the day's or the month's quota is used up waits
    for the next. Template and parameters are checked now. Each run counts against the quota.

    With an `Idempotency-Key` the same request names the same backfill: after an answer that was
    lost, ask again. Without one every request is a backfill of its own.
    """
    from shared.schedules import backfills

    caller = auth.caller_for(body.tenant_id) if body.tenant_id else auth.caller()
    tenant = auth.active_tenant(caller.tenant_id)
    wanted = BackfillFields(**body.model_dump(exclude={"tenant_id"}))
    backfill_id = backfills.create(
        tenant,
        wanted,
        created_by=caller.name,
        user_id=caller.user_id,
        idempotency_key=idempotency_key(),
    )
    return BackfillAccepted(
        backfill_id=backfill_id,
        tenant_id=tenant.tenant_id,
        start_date=wanted.start_date,
        end_date=wanted.end_date,
        runs_total=len(wanted.dates()),
        max_concurrency=wanted.max_concurrency,
    )


def listed(query: BackfillQuery) -> Backfills:
    """The tenant's backfills of the last 90 days, newest first, with how far each has come."""
    from shared.schedules import backfill_progress

    tenant_id = auth.caller().tenant_id
    return backfill_progress.listed(tenant_id, limit=query.limit, cursor=query.cursor)


def get(backfill_id: str) -> BackfillWithRuns:
    """How far the backfill has come: how many dates stand where, each with its run and error."""
    from shared.schedules import backfill_progress

    return backfill_progress.get(auth.caller().tenant_id, backfill_id)


def cancel(backfill_id: str) -> BackfillCancelled:
    """Let the waiting runs of the backfill leave the queue; those that run go on.

    May be repeated.
    """
    from shared.schedules import backfill_progress, backfills

    caller = auth.caller()
    known = backfill_progress.get(caller.tenant_id, backfill_id)
    count = backfills.cancel(caller.tenant_id, known.backfill_id, cancelled_by=caller.name)
    return BackfillCancelled(backfill_id=known.backfill_id, cancelled_count=count)


_ID = {"backfill_id": "ID that the start of the backfill answered."}

ROUTES = (
    Route(
        "POST",
        "/api/v1/scheduler/backfill",
        start,
        "Start a backfill",
        BackfillAccepted,
        status=202,
        body=StartBackfill,
        scope="run",
        action="backfill.start",
        resource="backfill_id",
        starts_run=True,
        headers={"Idempotency-Key": "Names the backfill: the same key of a tenant starts it once."},
        problems=(403, 404, 409),
        tag="backfills",
    ),
    Route(
        "GET",
        "/api/v1/scheduler/backfills",
        listed,
        "The tenant's backfills",
        Backfills,
        query=BackfillQuery,
        problems=(404,),
        tag="backfills",
    ),
    Route(
        "GET",
        "/api/v1/scheduler/backfills/{backfill_id}",
        get,
        "How far a backfill has come",
        BackfillWithRuns,
        problems=(404,),
        tag="backfills",
        path_descriptions=_ID,
    ),
    Route(
        "POST",
        "/api/v1/scheduler/backfills/{backfill_id}/cancel",
        cancel,
        "Cancel a backfill",
        BackfillCancelled,
        scope="run",
        action="backfill.cancel",
        resource="backfill_id",
        problems=(404,),
        tag="backfills",
        path_descriptions=_ID,
    ),
)
