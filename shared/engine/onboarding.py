"""Onboarding: a tenant from nothing to its first API key, by `configs/customer/onboarding.yml`.

The template's first step runs here, inside the request, because its result is the answer; the rest
(the welcome mail) goes through the step topics like any run. States of the profile make it
repeatable: a failed or abandoned attempt is followed by the next one, which completes what is
missing, and a claim lets exactly one attempt of a number run.
"""

import logging
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from shared.engine import outcomes
from shared.engine.execute import advance
from shared.engine.launch import first_message
from shared.engine.messages import StepMessage
from shared.engine.outcomes import StepOutcome
from shared.engine.prepare import RunRequest, TemplatePath, prepare
from shared.errors import ConflictError, ConvergenceError
from shared.processors import registry
from shared.processors.contract import StepContext, StepResult
from shared.settings import settings
from shared.telemetry import log, log_context
from shared.tenancy import api_keys, billing_accounts, lifecycle, plans, tenants
from shared.tenancy.names import check_tenant_id
from shared.tenancy.tenants import TenantProfile, TenantStatus
from shared.warehouse import claims, tables
from shared.warehouse.claims import ClaimHeldError

_TEMPLATE = TemplatePath("customer", "", "onboarding")
_LEASE = timedelta(seconds=60)
"""How long an attempt may take before the next one may begin."""


@dataclass(frozen=True, kw_only=True)
class NewTenant:
    """Who is to be onboarded."""

    tenant_id: str
    company_name: str | None = None
    admin_email: str | None = None
    subscription_plan: str = plans.DEFAULT_PLAN
    billing_account_ids: tuple[str, ...] = ()
    force_recreate_dataset: bool = False
    """Delete first what an attempt that failed has left behind; never touches an active tenant."""
    recorded_by: str


@dataclass(frozen=True, kw_only=True)
class Onboarded:
    """What the new tenant gets. The key is shown this once."""

    tenant_id: str
    api_key: str = field(repr=False)
    dataset_created: bool
    tables_created: tuple[str, ...]
    pipeline_logging_id: str


def onboard(new: NewTenant) -> Onboarded:
    """Create the tenant, or complete an onboarding that failed half-way.

    Raises:
        ConflictError: the tenant exists, or its onboarding is under way elsewhere.
        InvalidInputError: a value that cannot be.
        Retryable: the cloud does not answer; the same request later completes it.
    """
    check_tenant_id(new.tenant_id)
    plans.plan(new.subscription_plan)
    found = tenants.find(new.tenant_id)
    _refuse_existing(new.tenant_id, found)
    _message(_profile(new, 1, datetime.now(UTC)))  # what the template lacks is asked for now
    claimed_until = billing_accounts.claim(new.billing_account_ids, new.tenant_id)
    state = _claim_attempt(new, found)
    message = _message(state)
    with log_context(tenant_id=new.tenant_id, attempt=state.onboarding_attempt):
        try:
            billing_accounts.written_in_time(claimed_until)
            return _complete(new, state, message)
        except ConvergenceError as error:
            _record_failure(state, message, error)
            raise


def _complete(new: NewTenant, state: TenantProfile, message: StepMessage) -> Onboarded:
    """Do everything that an attempt does.

    The profile becomes ACTIVE last, so that a crash at any line leaves an onboarding that can be
    repeated.
    """
    started = datetime.now(UTC)
    if new.force_recreate_dataset:
        lifecycle.delete_datasets(new.tenant_id)
    result = _create_infrastructure(message)
    outcome = StepOutcome("COMPLETED", 1, result)
    outcomes.record_run(message.run, "RUNNING", steps_total=len(message.steps))
    outcomes.record_step(message, "COMPLETED", attempt=1, started=started, outcome=outcome)
    tenants.subscribe(new.tenant_id, new.subscription_plan, recorded_by=new.recorded_by)
    key = api_keys.mint(new.tenant_id, name="onboarding", created_by=new.recorded_by)
    advance(message, outcome)
    run_id = message.run.pipeline_logging_id
    active = {"status": TenantStatus.ACTIVE, "onboarding_run_id": run_id}
    tenants.record(state.model_copy(update=active), recorded_by=new.recorded_by)
    log(logging.INFO, "tenant onboarded", plan=new.subscription_plan, pipeline_logging_id=run_id)
    return Onboarded(
        tenant_id=new.tenant_id,
        api_key=key.secret,
        dataset_created=bool(result.outputs["dataset_created"]),
        tables_created=tuple(result.outputs["tables_created"]),
        pipeline_logging_id=run_id,
    )


def _message(state: TenantProfile) -> StepMessage:
    request = RunRequest(
        _TEMPLATE,
        trigger_type="onboarding",
        idempotency_key=f"onboarding/{state.created_at.isoformat()}/{state.onboarding_attempt}",
    )
    return first_message(*prepare(request, state))


def _create_infrastructure(message: StepMessage) -> StepResult:
    step = message.step
    processor = registry.load(step.ps_type)
    config = processor.config_model.model_validate(step.config)
    seconds = min(step.timeout_seconds, settings().STEP_TIMEOUT_SECONDS)
    context = StepContext(
        run=message.run,
        step_id=step.step_id,
        attempt=1,
        deadline=datetime.now(UTC) + timedelta(seconds=seconds),
        sources=message.sources,
    )
    return processor.run(config, context)


def _refuse_existing(tenant_id: str, found: TenantProfile | None) -> None:
    """Refuse what is not the first attempt and not the repetition of a failed one."""
    if found is None or found.status is TenantStatus.FAILED:
        return
    if found.status is TenantStatus.OFFBOARDED:
        raise ConflictError(
            f"Tenant ID {tenant_id!r} belonged to a tenant that was offboarded and is not given"
            " again; choose another. Nothing was changed."
        )
    if found.status is not TenantStatus.ONBOARDING:
        raise ConflictError(f"Tenant {tenant_id!r} exists already. Nothing was changed.")
    began = found.recorded_at or found.created_at
    left = (began + _LEASE - datetime.now(UTC)).total_seconds()
    if left > 0:
        raise _under_way(tenant_id, left)


def _claim_attempt(new: NewTenant, found: TenantProfile | None) -> TenantProfile:
    """Record the attempt that is ours to make.

    Raises:
        ConflictError: somebody else is making it.
    """
    attempt = found.onboarding_attempt + 1 if found else 1
    created_at = found.created_at if found else datetime.now(UTC)
    try:
        claims.take(
            f"onboarding--{new.tenant_id}--{created_at:%Y%m%dT%H%M%S%f}--{attempt}"
            if found
            else f"onboarding--{new.tenant_id}--{attempt}",
            owner=str(uuid.uuid4()),
            lease_seconds=_LEASE.total_seconds(),
        )
    except ClaimHeldError as error:
        raise _under_way(new.tenant_id, error.retry_after_seconds or 1.0) from None
    state = _profile(new, attempt, created_at)
    tenants.record(state, recorded_by=new.recorded_by)
    return state


def _profile(new: NewTenant, attempt: int, created_at: datetime) -> TenantProfile:
    return TenantProfile(
        tenant_id=new.tenant_id,
        company_name=new.company_name,
        admin_email=new.admin_email,
        status=TenantStatus.ONBOARDING,
        subscription_plan=new.subscription_plan,
        billing_account_ids=new.billing_account_ids,
        onboarding_attempt=attempt,
        created_at=created_at,
    )


def _under_way(tenant_id: str, seconds: float) -> ConflictError:
    return ConflictError(
        f"Tenant {tenant_id!r} is being onboarded by another request. Try again in"
        f" {max(1, round(seconds))} seconds if it does not come through.",
        retry_after_seconds=seconds,
    )


def _record_failure(state: TenantProfile, message: StepMessage, error: ConvergenceError) -> None:
    """Leave the profile FAILED, so that the next attempt may begin at once, and the run as well.

    If even that cannot be written, the attempt's lease of a minute ends instead.
    """
    log(logging.ERROR, "onboarding failed", error=str(error), code=error.code)
    failed: dict[str, Any] = {"status": TenantStatus.FAILED, "status_reason": str(error)[:500]}
    if isinstance(error, billing_accounts.ClaimLostError):
        failed["billing_account_ids"] = ()
    try:
        tenants.record(state.model_copy(update=failed), recorded_by="api")
        _fail_run(message, error)
    except ConvergenceError as unrecorded:
        log(logging.ERROR, "the failure could not be recorded", error=str(unrecorded))


def _fail_run(message: StepMessage, error: ConvergenceError) -> None:
    """Record the attempt's run as FAILED and begin its `on_failure` steps.

    Where the attempt came to no dataset of its own, nothing could hold the run.

    Raises:
        WarehouseError: the dataset has no log yet that could say so.
        Retryable: not now.
    """
    tenant_id = message.run.tenant_id
    if (tables.dataset_labels(tenant_id) or {}).get(tables.OWNER_LABEL) != tenant_id:
        return
    past = outcomes.history(message.run, message.step.step_id)
    failed = StepOutcome("FAILED", 1, error=str(error), error_code=error.code)
    if past.outcome(message.step) is None:
        started = message.run.started_at
        outcomes.record_step(message, "FAILED", attempt=1, started=started, outcome=failed)
    advance(message, failed)
