"""Telling people of a run that ended before any of its steps could tell them."""

import logging

from shared.engine.messages import FailedStep, StepMessage
from shared.engine.topics import publish_step
from shared.processors.contract import RunIdentity
from shared.settings import settings
from shared.telemetry import log
from shared.templates.models import ResolvedStep, Retry
from shared.tenancy.tenants import TenantProfile

_MAIL = "shared.email_notification"
_MESSAGE = """The run of {template} for {date} could not be started.

Tenant: {tenant_id}
Run:    {run_id}
Asked:  {trigger_by}
Error:  {error}

Nothing was changed. Once the cause is mended, run the pipeline for {date} by hand.
"""


def tell(
    run: RunIdentity, tenant: TenantProfile | None, failure: FailedStep, *, operator: bool = False
) -> None:
    """Let a mail go out that says why the run could not be started; once, however often called.

    Args:
        run: the run.
        tenant: whose administrator is told; the operator where there is none.
        failure: why.
        operator: whether the operator is told as well.

    Raises:
        Retryable: Pub/Sub did not take it.
    """
    admin = tenant.admin_email if tenant else None
    known = [admin or settings().OPERATOR_EMAIL, settings().OPERATOR_EMAIL if operator else None]
    addresses = [address for address in dict.fromkeys(known) if address]
    if not addresses:
        log(logging.ERROR, "nobody to tell of a run that could not be started", error=failure.error)
        return
    template = f"{run.provider}/{run.domain}/{run.template_name}"
    text = _MESSAGE.format(
        template=template,
        date=run.date,
        tenant_id=run.tenant_id,
        run_id=run.pipeline_logging_id,
        trigger_by=run.trigger_by or run.trigger_type,
        error=failure.error,
    )
    step = ResolvedStep(
        step_id="alert",
        name="alert",
        ps_type=_MAIL,
        family="shared",
        trigger="on_failure",
        timeout_seconds=120,
        retry=Retry(max_attempts=5),
        config={
            "to_emails": addresses,
            "subject": f"[ALERT] {template} not started - {run.tenant_id} - {run.date}",
            "message": text,
        },
    )
    publish_step(StepMessage(run=run, steps=(step,), phase="failure", failure=failure))
