"""A run's way: cancel it, retry it, explain it before it starts."""

import datetime as dt
from typing import TYPE_CHECKING, Any

from pydantic import Field

from functions.api.runs import Accepted, StartRun
from shared.engine.status import RunStatus
from shared.http import auth
from shared.http.inputs import idempotency_key
from shared.http.routes import Route
from shared.models import Model

if TYPE_CHECKING:
    from shared.engine.explain import ExplainedStep


def cancel(run_id: str) -> RunStatus:
    """End the run as CANCELLED: no further step begins, and a running BigQuery job is stopped.

    What the job was writing stays as it was before. Steps that report failures do not run.
    """
    from shared.engine.cancel import cancel

    caller = auth.caller()
    return cancel(caller.tenant_id, run_id, cancelled_by=caller.name)


class Retried(Accepted):
    """The run that goes on where another ended early."""

    parent_run_id: str = Field(description="The run that failed or timed out.")
    first_step: str = Field(description="The step at which it goes on.")


def retry(run_id: str) -> Retried:
    """Start a new run that goes on at the step at which this one failed or timed out.

    The template is resolved again with the same parameters and date; what earlier steps left is
    handed on. It counts as a run. Without an `Idempotency-Key` a run is retried once at a time.
    """
    from shared.engine.retry import RetryRequest, launch, resumption

    caller = auth.caller()
    tenant = auth.active_tenant(caller.tenant_id)
    resumed = resumption(
        tenant,
        RetryRequest(run_id=run_id, user_id=caller.user_id, idempotency_key=idempotency_key()),
    )
    launch(resumed)
    return Retried(
        pipeline_logging_id=resumed.run.pipeline_logging_id,
        pipeline_id=resumed.run.pipeline_id,
        status="PENDING",
        parent_run_id=run_id.lower(),
        first_step=resumed.pipeline.steps[resumed.position].step_id,
    )


class ExplainedVariable(Model):
    """A variable with its value."""

    name: str
    value: Any
    origin: str = Field(
        description="`built-in`, `body`, `template`, or `inherited from configs/…`."
    )


class ExplainedParameter(Model):
    """A query parameter."""

    name: str
    type: str = Field(description="GoogleSQL type.")
    value: Any = Field(description="`{steps.…}` for what an earlier step leaves.")


class ExplainedQuery(Model):
    """What a step sends to BigQuery."""

    sql: str = Field(description="To the letter as a run executes it.")
    parameters: tuple[ExplainedParameter, ...] = ()
    tables_read: tuple[str, ...] = ()
    bytes_estimated: int | None = Field(
        default=None,
        description="Bytes it would scan; null where an earlier step decides.",
    )
    maximum_bytes_billed: int | None = Field(
        default=None, description="What BigQuery is told to refuse beyond."
    )


class Refusal(Model):
    """The error that a run would meet."""

    code: str
    detail: str


class ExplainedStepAnswer(Model):
    """A step as it would run."""

    step_id: str
    name: str
    ps_type: str
    trigger: str = Field(description="on_success, on_failure or always.")
    when: str | None = None
    timeout_seconds: int
    max_attempts: int
    config: dict[str, Any] = Field(description="The processor's fields, resolved.")
    query: ExplainedQuery | None = None
    tables_written: tuple[str, ...] = ()
    refusal: Refusal | None = None


class QuotaLeft(Model):
    """Runs that may still start."""

    today: int
    this_month: int
    at_once: int


class Explained(Model):
    """A run that was not started."""

    tenant_id: str
    tenant_status: str = Field(description="Only ACTIVE tenants run pipelines.")
    pipeline_id: str
    template: str
    file: str
    description: str
    date: dt.date
    sources: tuple[str, ...] = Field(description="Foreign tables that the template may read.")
    variables: tuple[ExplainedVariable, ...]
    steps: tuple[ExplainedStepAnswer, ...]
    quota_left: QuotaLeft | None = Field(
        default=None, description="Null for a tenant without an active subscription."
    )


def explain(tenant_id: str, provider: str, domain: str, template: str, body: StartRun) -> Explained:
    """What a run would do: values with their origin, SQL, tables, bytes, and what it would meet.

    Nothing is started, written or billed, and no quota is used.
    """
    from shared.engine.explain import explain
    from shared.engine.prepare import RunRequest, TemplatePath
    from shared.tenancy import tenants

    caller = auth.caller_for(tenant_id)
    tenant = tenants.profile(caller.tenant_id)
    request = RunRequest(
        TemplatePath(provider, domain, template),
        date=body.date,
        trigger_by=body.trigger_by,
        variables=body.model_extra,
        user_id=caller.user_id,
    )
    found = explain(request, tenant)
    pipeline = found.pipeline
    return Explained(
        tenant_id=tenant.tenant_id,
        tenant_status=str(tenant.status),
        pipeline_id=pipeline.pipeline_id,
        template="/".join((provider, domain, template)),
        file=found.file,
        description=pipeline.description,
        date=found.date,
        sources=pipeline.sources,
        variables=tuple(
            ExplainedVariable(name=v.name, value=v.value, origin=v.origin) for v in found.variables
        ),
        steps=tuple(_step(step) for step in found.steps),
        quota_left=_quota_left(tenant.tenant_id),
    )


def _step(explained: "ExplainedStep") -> ExplainedStepAnswer:
    step, foresight = explained.step, explained.foresight
    refusal = foresight.refusal
    return ExplainedStepAnswer(
        step_id=step.step_id,
        name=step.name,
        ps_type=step.ps_type,
        trigger=step.trigger,
        when=step.when.text if step.when else None,
        timeout_seconds=step.timeout_seconds,
        max_attempts=step.retry.max_attempts,
        config=explained.config,
        query=_query(explained),
        tables_written=foresight.tables_written,
        refusal=Refusal(code=refusal.code, detail=str(refusal)) if refusal else None,
    )


def _query(explained: "ExplainedStep") -> ExplainedQuery | None:
    if explained.sql is None:
        return None
    return ExplainedQuery(
        sql=explained.sql,
        parameters=tuple(ExplainedParameter(**parameter) for parameter in explained.parameters),
        tables_read=explained.foresight.tables_read,
        bytes_estimated=explained.foresight.bytes_estimated,
        maximum_bytes_billed=explained.foresight.maximum_bytes_billed,
    )


def _quota_left(tenant_id: str) -> QuotaLeft | None:
    from shared.tenancy import quota
    from shared.tenancy.quota import NoSubscriptionError

    try:
        usage = quota.look(tenant_id)
    except NoSubscriptionError:
        return None
    return QuotaLeft(
        today=max(0, usage.limits.daily - usage.run_today),
        this_month=max(0, usage.limits.monthly - usage.run_this_month),
        at_once=max(0, usage.limits.concurrent - usage.running),
    )


ROUTES = (
    Route(
        "POST",
        "/api/v1/pipelines/runs/{run_id}/cancel",
        cancel,
        "Cancel a run",
        RunStatus,
        scope="run",
        action="pipeline.cancel",
        resource="run_id",
        problems=(404, 409, 422),
        tag="runs",
    ),
    Route(
        "POST",
        "/api/v1/pipelines/runs/{run_id}/retry",
        retry,
        "Retry a failed run",
        Retried,
        status=202,
        scope="run",
        action="pipeline.retry",
        resource="pipeline_logging_id",
        starts_run=True,
        headers={"Idempotency-Key": "Names the retry: the same key of a run starts it once."},
        problems=(404, 409, 422),
        tag="runs",
    ),
    Route(
        "POST",
        "/api/v1/pipelines/explain/{tenant_id}/{provider}/{domain}/{template}",
        explain,
        "Explain a run before it starts",
        Explained,
        body=StartRun,
        scope="run",
        problems=(404,),
        tag="runs",
    ),
)
