"""One run request: its run is started, kept waiting, or ended with a reason.

A message may arrive twice, at once, late, or come again because a dispatcher died at any line. What
makes that harmless: a run that is over or has begun is left alone; an admission is asked for by the
run's ID and answered the same again; and of a run that is ended here the state comes first, so that
whoever comes next finds why, and completes what has to follow.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from shared.engine import outcomes
from shared.engine.delivery import Delivery, MalformedMessageError
from shared.engine.launch import launch
from shared.engine.messages import FailedStep
from shared.engine.outcomes import FINAL_RUN_STATES
from shared.engine.prepare import RunRequest, TemplatePath, prepare
from shared.engine.queued_runs import QUEUE_LOG
from shared.errors import Permanent
from shared.processors.contract import RunIdentity
from shared.schedules import alerts, history, requests, waiting
from shared.schedules.requests import RunRequestMessage
from shared.telemetry import log
from shared.tenancy import quota, tenants
from shared.tenancy.names import check_tenant_id
from shared.tenancy.quota import NoSubscriptionError, QuotaExceededError
from shared.tenancy.tenants import TenantProfile, TenantStatus
from shared.warehouse import rows
from shared.warehouse.failures import WarehouseError
from shared.warehouse.queries import query

_CLOCK_SKEW = timedelta(hours=1)
_LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)


_SKIPS = frozenset({"tenant-inactive", QuotaExceededError.code, NoSubscriptionError.code})
"""Codes of runs that their tenants could not have: their occurrences are skipped."""
EXPIRED = "expired"
DEAD_LETTERED = "request-dead-lettered"


@dataclass(frozen=True)
class Known:
    """What is known of a run before anything is done, and of its tenant."""

    tenant: TenantProfile | None
    run_status: str | None = None
    was_admitted: bool = False
    error: str | None = None
    error_code: str | None = None

    @property
    def is_over(self) -> bool:
        """Whether the run has a final state."""
        return self.run_status in FINAL_RUN_STATES


def receive_request(delivery: Delivery) -> None:
    """Handle the run request in a delivery.

    Raises:
        MalformedMessageError: it is none.
        Retryable: deliver the message again later.
    """
    handle(requests.parse(delivery))


def handle(request: RunRequestMessage) -> None:
    """Start the run if its tenant may run it now.

    Five calls to BigQuery for a run that starts at once, and as many for one that has to wait.

    Raises:
        Retryable: deliver the message again later.
    """
    go_on(request, look(request))


def go_on(request: RunRequestMessage, known: Known) -> None:
    """Do what is to be done with a run of which this is known; it may be known no more.

    Raises:
        Retryable: deliver the message again later.
    """
    if known.is_over or known.run_status == "RUNNING":
        _complete(request, known)
    elif known.tenant is None or known.tenant.status is not TenantStatus.ACTIVE:
        standing = known.tenant.status if known.tenant else "unknown"
        reason = f"Tenant {request.tenant_id!r} is {standing}; it cannot run pipelines."
        _skip(request, known, reason, code="tenant-inactive")
    elif request.waited and request.expires_at and request.expires_at <= datetime.now(UTC):
        reason = "No limit of the tenant's plan left room for the run in time."
        _end(request, known, "TIMED_OUT", reason, code=EXPIRED)
    else:
        _start(request, known, known.tenant)


def look(request: RunRequestMessage) -> Known:
    """The run's state and its tenant, in one query.

    Raises:
        Retryable: not now.
        WarehouseError: the tenant is active and has no dataset.
    """
    dataset = check_tenant_id(request.tenant_id)
    columns = ", ".join(TenantProfile.model_fields)
    since = request.scheduled_time or request.requested_at or _LONG_AGO
    try:
        found = rows.read(
            query(
                f"SELECT {columns}, ARRAY("  # noqa: S608 - checked dataset
                "SELECT AS STRUCT status, slot, error, error_code"
                f" FROM `{dataset}.x_meta_pipeline_runs_log`"
                " WHERE pipeline_logging_id = @run_id AND recorded_at >= @since"
                " ORDER BY recorded_at, sequence) AS states"
                f" FROM `{tenants.PROFILES}` WHERE tenant_id = @tenant_id",
                tenant_id=request.tenant_id,
                run_id=request.pipeline_logging_id,
                since=since - _CLOCK_SKEW,
            )
        )
    except WarehouseError as error:
        if not rows.is_missing(error):
            raise
        tenant = tenants.find(request.tenant_id)
        if tenant and tenant.status is TenantStatus.ACTIVE:
            raise
        return Known(tenant)
    if not found:
        return Known(None)
    states = found[0].pop("states") or ()
    return _known(tenants.from_row(found[0]), states)


def _known(tenant: TenantProfile, states: Sequence[Mapping[str, Any]]) -> Known:
    """From the rows of a run, oldest first."""
    if not states:
        return Known(tenant)
    by_status = {row["status"]: row for row in reversed(states)}
    final = next((row for row in states if row["status"] in FINAL_RUN_STATES), None)
    furthest: Mapping[str, Any] = next(
        (by_status[s] for s in ("RUNNING", "PENDING", "QUEUED") if s in by_status), {}
    )
    shown = final or furthest
    return Known(
        tenant=tenant,
        run_status=shown.get("status"),
        was_admitted=any(row["slot"] is not None for row in states),
        error=shown.get("error"),
        error_code=shown.get("error_code"),
    )


def _start(request: RunRequestMessage, known: Known, tenant: TenantProfile) -> None:
    try:
        pipeline, run = prepare(_run_request(request), tenant)
    except Permanent as error:
        _end(request, known, "FAILED", str(error), code=error.code)
        return
    run = run.model_copy(update={"config_id": request.config_id})
    try:
        launch(pipeline, run)
    except QuotaExceededError as error:
        if error.limit == "concurrent" or request.trigger_type == "backfill":
            _wait(request, run, str(error), is_known=known.run_status is not None)
        else:
            _skip(request, known, str(error), code=error.code)
        return
    except NoSubscriptionError as error:
        _skip(request, known, str(error), code=error.code)
        return
    if request.waited or known.run_status == "QUEUED":
        rows.append(QUEUE_LOG, [waiting.row(request, "LAUNCHED", None)])


def _run_request(request: RunRequestMessage) -> RunRequest:
    return RunRequest(
        TemplatePath(request.provider, request.domain, request.pipeline_template),
        date=request.date,
        trigger_by=request.trigger_by,
        variables=request.parameters,
        user_id=request.user_id,
        trigger_type=request.trigger_type,
        run_id=request.pipeline_logging_id,
    )


def _wait(request: RunRequestMessage, run: RunIdentity, reason: str, *, is_known: bool) -> None:
    """Let the run wait for a slot; one that comes out of the queue is in it still.

    It is in the queue before anybody sees it there, so it is never seen and then forgotten.
    """
    waiting.enqueue([request], reason=reason)
    if not is_known:
        history.record(request, "QUEUED", reason, pipeline_id=run.pipeline_id)
        outcomes.record_run(run, "QUEUED")
    log(logging.INFO, "run waits", reason=reason)


def _skip(request: RunRequestMessage, known: Known, reason: str, *, code: str) -> None:
    """Let the tenant not have the run; one that nobody has seen yet leaves no row of its own."""
    if known.run_status is not None:
        _end(request, known, "CANCELLED", reason, code=code)
        return
    log(logging.WARNING, "run skipped", reason=reason, code=code)
    history.record(request, "SKIPPED", reason)
    _leave_queue(request, known, "CANCELLED", reason)


def _end(request: RunRequestMessage, known: Known, status: str, reason: str, *, code: str) -> None:
    """End a run that was never admitted."""
    log(logging.WARNING, "run not started", status=status, reason=reason, code=code)
    failure = FailedStep(position=0, step_id="", error=reason, error_code=code)
    outcomes.record_run(_identity(request), status, failure=failure)
    was_queued = known.run_status == "QUEUED"
    _complete(
        request.model_copy(update={"waited": request.waited or was_queued}),
        Known(known.tenant, status, error=reason, error_code=code),
    )


def _complete(request: RunRequestMessage, known: Known) -> None:
    """See to what follows from the state of a run that has begun or is over.

    That it does not wait any more, and of a run that ended without having been admitted its place
    in the history, and that people are told of a failure.
    """
    log(logging.INFO, "request of a run that has begun or is over", status=known.run_status)
    ran = known.was_admitted and known.error_code != DEAD_LETTERED
    if ran or not known.is_over:
        _leave_queue(request, known, "LAUNCHED", None)
        return
    status, reason = str(known.run_status), known.error or ""
    is_skip = status == "CANCELLED" and known.error_code in _SKIPS
    history.record(request, "SKIPPED" if is_skip else status, reason)
    left = "EXPIRED" if known.error_code == EXPIRED else "CANCELLED"
    _leave_queue(request, known, left, reason)
    if status == "FAILED":
        _tell(request, known)


def _leave_queue(request: RunRequestMessage, known: Known, state: str, reason: str | None) -> None:
    if request.waited or known.run_status == "QUEUED":
        rows.append(QUEUE_LOG, [waiting.row(request, state, reason)])


def _tell(request: RunRequestMessage, known: Known) -> None:
    failure = FailedStep(
        position=0, step_id="", error=known.error or "", error_code=known.error_code or ""
    )
    dead = known.error_code == DEAD_LETTERED
    alerts.tell(_identity(request), known.tenant, failure, operator=dead)


def _identity(request: RunRequestMessage) -> RunIdentity:
    """The run, where its template cannot say what it is."""
    path = (request.provider, request.domain, request.pipeline_template)
    now = datetime.now(UTC)
    return RunIdentity(
        pipeline_logging_id=request.pipeline_logging_id,
        pipeline_id="-".join((request.tenant_id, *path)),
        tenant_id=request.tenant_id,
        provider=request.provider,
        domain=request.domain,
        template_name=request.pipeline_template,
        date=request.date,
        run_date=now.date(),
        trigger_type=request.trigger_type,
        trigger_by=request.trigger_by,
        user_id=request.user_id,
        parameters=request.parameters,
        config_id=request.config_id,
        started_at=now,
    )


def bury(delivery: Delivery, attempts: str) -> None:
    """End the run of a request that no delivery could process as FAILED, and tell people.

    A run that has begun all the same is left alone. Safe to repeat: Pub/Sub may dead-letter a
    message twice.

    Args:
        delivery: of the dead letter.
        attempts: how often the message was delivered, as Pub/Sub wrote it.

    Raises:
        Retryable: deliver the dead letter again later.
    """
    try:
        request = requests.parse(delivery)
    except MalformedMessageError as error:
        log(logging.ERROR, "dead letter that nobody can read", error=str(error))
        return
    known = look(request)
    if known.is_over or known.run_status == "RUNNING":
        _complete(request, known)
        return
    text = (
        f"The run could not be started in {attempts} deliveries of its request;"
        " the dispatcher's log has the reason."
    )
    log(logging.ERROR, "run request dead-lettered", error=text)
    failure = FailedStep(position=0, step_id="", error=text, error_code=DEAD_LETTERED)
    if known.tenant and known.tenant.status is not TenantStatus.OFFBOARDED:
        outcomes.record_run(_with_slot(_identity(request)), "FAILED", failure=failure)
    was_queued = known.run_status == "QUEUED"
    _complete(
        request.model_copy(update={"waited": request.waited or was_queued}),
        Known(known.tenant, "FAILED", error=text, error_code=DEAD_LETTERED),
    )


def _with_slot(run: RunIdentity) -> RunIdentity:
    """The run with the slot that it got before its dispatcher died, if it got one."""
    try:
        own = quota.look(run.tenant_id, [run.pipeline_logging_id]).own.get(run.pipeline_logging_id)
    except NoSubscriptionError:
        return run
    if own is None or own.released:
        return run
    return run.model_copy(update={"slot": own.slot, "usage_date": own.usage_date})
