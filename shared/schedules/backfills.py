"""Backfills: one run for each date of a range, begun as the tenant's plan leaves room for them.

All runs of a backfill enter the waiting queue in one append, so there is the whole of it or none;
they wait there behind every scheduled run. Nothing else is kept: what a backfill is and how far it
has come is read from its rows of the queue and from the runs themselves.
"""

import datetime as dt
import uuid
from typing import Any

from shared.engine import idempotency, outcomes
from shared.engine.messages import FailedStep
from shared.engine.queued_runs import QUEUE, QUEUE_LOG
from shared.engine.status import find_runs
from shared.errors import ConflictError
from shared.processors.contract import RunIdentity
from shared.schedules import runs, waiting
from shared.schedules.backfill_requests import BackfillFields
from shared.schedules.requests import RunRequestMessage, backfill_run_id
from shared.tenancy.tenants import TenantProfile
from shared.warehouse import rows
from shared.warehouse.queries import query

MAX_WAITING = 1_000
"""Waiting runs of one tenant's backfills."""
_PATIENCE = dt.timedelta(days=80)
"""How long a run may wait; the queue's log is kept for 90 days."""
_PRIORITY = 0
_REASON = "Waits for room in the tenant's plan, behind scheduled runs."


class TooManyWaitingError(ConflictError):
    """The tenant's backfills have as many waiting runs as there may be."""

    code = "too-many-waiting"

    def __init__(self, tenant_id: str, waits: int, wanted: int) -> None:
        super().__init__(
            f"Backfills of tenant {tenant_id!r} have {waits} waiting runs, and {wanted} more would"
            f" pass {MAX_WAITING}, the most there may be. Wait, cancel one, or ask for fewer dates."
        )


def create(
    tenant: TenantProfile,
    wanted: BackfillFields,
    *,
    created_by: str,
    user_id: str | None = None,
    idempotency_key: str | None = None,
) -> str:
    """Let a run wait for each date; the backfill's ID.

    With a key, the same request again names the same backfill and adds what it lacks; without one
    each request is a backfill of its own. A run's ID comes from the backfill's and its date.

    Raises:
        InvalidInputError: dates, template or parameters that cannot be; names each.
        KeyReusedError: the key belongs to another request.
        TooManyWaitingError: the tenant has its share.
        Retryable: not now. All of it waits, or nothing; with a key, ask again.
    """
    dates = wanted.dates()
    example = runs.check(tenant, wanted)
    backfill_id = str(uuid.uuid4())
    known: set[str] = set()
    if idempotency_key is not None:
        name = f"backfill/{tenant.tenant_id}/{idempotency_key}"
        backfill_id = str(uuid.uuid5(uuid.NAMESPACE_URL, name))
        idempotency.bind(idempotency_key, backfill_id, [wanted.model_dump(mode="json")])
        known = _known(tenant.tenant_id, backfill_id)
    requested = [
        _request(
            wanted,
            date,
            tenant_id=tenant.tenant_id,
            backfill_id=backfill_id,
            trigger_by=created_by,
            user_id=user_id,
        )
        for date in dates
    ]
    missing = [one for one in requested if one.pipeline_logging_id not in known]
    if missing:
        _check_room(tenant.tenant_id, len(missing))
        waiting.enqueue(missing, reason=_REASON, expires_at=missing[0].expires_at)
    # After the queue: what a tenant sees waiting waits. A state that came since is not hidden.
    queued = [outcomes.run_row(_run(example, one), "QUEUED", ended=None) for one in requested]
    rows.append(outcomes.runs_log(tenant.tenant_id), queued)
    return backfill_id


def _request(
    wanted: BackfillFields, date: dt.date, *, backfill_id: str, **whose: Any
) -> RunRequestMessage:
    now = rows.stamp()["recorded_at"]  # later for later dates: the queue takes the oldest first
    return RunRequestMessage(
        pipeline_logging_id=backfill_run_id(backfill_id, date),
        **wanted.model_dump(include={"provider", "domain", "pipeline_template", "parameters"}),
        date=date,
        trigger_type="backfill",
        priority=_PRIORITY,
        backfill_id=backfill_id,
        max_concurrency=wanted.max_concurrency,
        requested_at=now,
        expires_at=now + _PATIENCE,
        **whose,
    )


def _run(example: RunIdentity, request: RunRequestMessage) -> RunIdentity:
    """The run of a request, alike to one of the same template."""
    return example.model_copy(
        update={
            "pipeline_logging_id": request.pipeline_logging_id,
            "date": request.date,
            "trigger_type": request.trigger_type,
            "trigger_by": request.trigger_by,
            "user_id": request.user_id,
            "started_at": request.requested_at,
        }
    )


def cancel(tenant_id: str, backfill_id: str, *, cancelled_by: str) -> int:
    """Let all runs of the backfill that wait leave the queue as CANCELLED; how many they were.

    Those that run go on; each can be cancelled by itself. One that begins at this very moment is
    cancelled too. Safe to repeat: the queue's rows come last, so what is missing is found again.

    Raises:
        Retryable: not now; ask again.
    """
    found = rows.read(
        query(
            f"SELECT request FROM `{QUEUE}`"  # noqa: S608 - own names
            " WHERE tenant_id = @tenant_id AND backfill_id = @backfill_id",
            tenant_id=tenant_id,
            backfill_id=backfill_id.lower(),
        )
    )
    waits = [RunRequestMessage.model_validate(row["request"]) for row in found]
    if not waits:
        return 0
    runs_known = find_runs(tenant_id, [one.pipeline_logging_id for one in waits])
    reason = f"backfill cancelled by {cancelled_by}"
    failure = FailedStep(position=0, step_id="", error=reason, error_code="cancelled")
    now = dt.datetime.now(dt.UTC)
    ended = [
        outcomes.run_row(run.identity(), "CANCELLED", ended=now, failure=failure)
        for run in runs_known
        if run.status == "QUEUED"
    ]
    rows.append(outcomes.runs_log(tenant_id), ended)
    begun = {r.pipeline_logging_id for r in runs_known if r.status not in {"QUEUED", "CANCELLED"}}
    leaving = [one for one in waits if one.pipeline_logging_id not in begun]
    rows.append(QUEUE_LOG, [waiting.row(one, "CANCELLED", reason) for one in leaving])
    return len(leaving)


def _known(tenant_id: str, backfill_id: str) -> set[str]:
    """The runs of the backfill that are in the queue's log."""
    found = rows.read(
        query(
            f"SELECT DISTINCT pipeline_logging_id FROM `{QUEUE_LOG}`"  # noqa: S608 - own names
            " WHERE tenant_id = @tenant_id AND backfill_id = @backfill_id",
            tenant_id=tenant_id,
            backfill_id=backfill_id,
        )
    )
    return {row["pipeline_logging_id"] for row in found}


def _check_room(tenant_id: str, wanted: int) -> None:
    """Refuse what passes the tenant's share; requests at the same moment may pass it a little."""
    found = rows.read(
        query(
            f"SELECT COUNT(*) AS waits FROM `{QUEUE}`"  # noqa: S608 - own names
            " WHERE tenant_id = @tenant_id AND backfill_id IS NOT NULL",
            tenant_id=tenant_id,
        )
    )
    waits = found[0]["waits"]
    if waits + wanted > MAX_WAITING:
        raise TooManyWaitingError(tenant_id, waits, wanted)
