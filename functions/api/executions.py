"""Runs of a tenant: the list of them, and starting one by the template's path in the body."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from functions.api import runs
from functions.api.runs import Accepted, StartRun
from shared.engine.status import Run
from shared.http import auth
from shared.http.inputs import Day
from shared.http.routes import Route
from shared.models import Model
from shared.warehouse import pages

State = Literal["QUEUED", "PENDING", "RUNNING", "COMPLETED", "FAILED", "CANCELLED", "TIMED_OUT"]


class ExecutionQuery(Model):
    """Which runs."""

    status: State | None = Field(
        default=None, description="Only runs in this state.", examples=["FAILED"]
    )
    pipeline: str | None = Field(
        default=None,
        min_length=1,
        max_length=300,
        description="Only this pipeline: its ID, or its template as gcp/cost/cost_billing.",
        examples=["gcp/cost/cost_billing"],
    )
    first_day: Day | None = Field(
        default=None,
        alias="from",
        description="Only runs accepted on or after this UTC day.",
        examples=["2025-11-01"],
    )
    last_day: Day | None = Field(
        default=None,
        alias="to",
        description="Only runs accepted on or before this UTC day.",
        examples=["2025-11-30"],
    )
    limit: int = Field(
        default=pages.DEFAULT_SIZE, ge=1, le=pages.MAX_SIZE, description="Runs a page."
    )
    cursor: str | None = Field(
        default=None, max_length=1000, description="`next_cursor` of the page before."
    )


class Executions(Model):
    """A page of runs, newest first."""

    executions: tuple[Run, ...]
    next_cursor: str | None = Field(
        description="Send it as `cursor` for the next page; null on the last."
    )


def list_executions(tenant_id: str, query: ExecutionQuery) -> Executions:
    """The tenant's runs, newest first, page by page.

    A cursor stays right while runs are added. Days are those on which the runs were accepted, UTC.
    """
    from shared.engine.executions import Wanted, executions

    found = executions(
        auth.caller_for(tenant_id).tenant_id,
        Wanted(
            status=query.status,
            pipeline=query.pipeline,
            first_day=query.first_day,
            last_day=query.last_day,
            limit=query.limit,
            cursor=query.cursor,
        ),
    )
    return Executions(executions=tuple(found.runs), next_cursor=found.next_cursor)


def _template_path(value: str) -> str:
    parts = value.split("/")
    if len(parts) != 3 or not all(parts):
        raise ValueError("must be {provider}/{domain}/{template}, such as gcp/cost/cost_billing")
    return value.lower()


class ExecuteRun(StartRun):
    """A run and the template that it is of; every further field replaces a variable of it."""

    pipeline: Annotated[str, AfterValidator(_template_path)] = Field(
        description="Template as {provider}/{domain}/{template}.",
        examples=["gcp/cost/cost_billing"],
    )


def execute(tenant_id: str, body: ExecuteRun) -> Accepted:
    """Start a run of the template that the body names; otherwise as the run route.

    With an `Idempotency-Key`, asking again names the same run and starts nothing new.
    """
    provider, domain, template = body.pipeline.split("/")
    return runs.start(tenant_id, provider, domain, template, body)


ROUTES = (
    Route(
        "GET",
        "/api/v1/tenants/{tenant_id}/metadata/executions",
        list_executions,
        "List runs",
        Executions,
        query=ExecutionQuery,
        problems=(404,),
        tag="runs",
    ),
    Route(
        "POST",
        "/api/v1/tenants/{tenant_id}/pipelines/execute",
        execute,
        "Start a run, template in the body",
        Accepted,
        status=202,
        body=ExecuteRun,
        scope="run",
        action="pipeline.run",
        resource="pipeline_logging_id",
        starts_run=True,
        headers={"Idempotency-Key": "Names the run: the same key of a tenant starts it once."},
        problems=(404,),
        tag="runs",
    ),
)
