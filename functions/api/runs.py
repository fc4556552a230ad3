"""Runs: start one, see how it stands."""

from pydantic import ConfigDict, Field

from shared.engine.status import RunStatus, run_status
from shared.http import auth
from shared.http.inputs import Day, idempotency_key
from shared.http.routes import Route
from shared.models import Model


class StartRun(Model):
    """What a run may be given; every further field replaces a variable of the template."""

    model_config = ConfigDict(extra="allow", frozen=True)

    date: Day | None = Field(
        default=None, description="Date to process; the last complete day in UTC when absent."
    )
    trigger_by: str | None = Field(
        default=None, max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$", description="Who wants it."
    )


class Accepted(Model):
    """A run that will end; follow it at /api/v1/pipelines/runs/{pipeline_logging_id}."""

    pipeline_logging_id: str
    pipeline_id: str
    status: str = Field(description="Always PENDING.")


def start(tenant_id: str, provider: str, domain: str, template: str, body: StartRun) -> Accepted:
    """Start a run of `configs/{provider}/{domain}/{template}.yml` for the tenant.

    With an `Idempotency-Key`, asking again names the same run and starts nothing new; the key with
    another request is refused.
    """
    from shared.engine.idempotency import claim_key
    from shared.engine.launch import launch
    from shared.engine.prepare import RunRequest, TemplatePath, prepare

    caller = auth.caller_for(tenant_id)
    tenant = auth.active_tenant(caller.tenant_id)
    key = idempotency_key()
    pipeline, run = prepare(
        RunRequest(
            TemplatePath(provider, domain, template),
            date=body.date,
            trigger_by=body.trigger_by,
            variables=body.model_extra,
            user_id=caller.user_id,
            idempotency_key=key,
        ),
        tenant,
    )
    if key is not None:
        claim_key(key, run)
    launch(pipeline, run)
    return Accepted(
        pipeline_logging_id=run.pipeline_logging_id, pipeline_id=run.pipeline_id, status="PENDING"
    )


def status_of(tenant_id: str, run_id: str) -> RunStatus:
    """The tenant's run with its steps, rows, durations and error."""
    return run_status(auth.caller_for(tenant_id).tenant_id, run_id)


def status(run_id: str) -> RunStatus:
    """The run with its steps, rows, durations and error; the tenant is the key's."""
    return run_status(auth.caller().tenant_id, run_id)


ROUTES = (
    Route(
        "POST",
        "/api/v1/pipelines/run/{tenant_id}/{provider}/{domain}/{template}",
        start,
        "Start a run",
        Accepted,
        status=202,
        body=StartRun,
        scope="run",
        action="pipeline.run",
        resource="pipeline_logging_id",
        headers={"Idempotency-Key": "Names the run: the same key of a tenant starts it once."},
        starts_run=True,
        problems=(404, 409),
        tag="runs",
    ),
    Route(
        "GET",
        "/api/v1/pipelines/status/{tenant_id}/{run_id}",
        status_of,
        "How a run stands",
        RunStatus,
        problems=(404,),
        tag="runs",
    ),
    Route(
        "GET",
        "/api/v1/pipelines/runs/{run_id}",
        status,
        "How a run stands",
        RunStatus,
        problems=(404,),
        tag="runs",
    ),
)
