"""What a schedule starts: its template is checked when it is saved, and run when it is asked to."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

from shared.errors import FieldProblem, InvalidInputError, NotFoundError
from shared.schedules import cron
from shared.schedules.definitions import Schedule

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shared.engine.prepare import TemplatePath
    from shared.processors.contract import RunIdentity
    from shared.tenancy.tenants import TenantProfile


_TEMPLATE_FIELDS = {
    "Provider": "/provider",
    "Domain": "/domain",
    "Template": "/pipeline_template",
}


class RunsTemplate(Protocol):
    """A template and the variables that its runs replace: a schedule's, or a backfill's."""

    @property
    def provider(self) -> str:
        """First part of the template's path."""

    @property
    def domain(self) -> str:
        """Second part of it."""

    @property
    def pipeline_template(self) -> str:
        """The template's name."""

    @property
    def parameters(self) -> "Mapping[str, Any]":
        """What its variables are to be."""


def check(tenant: "TenantProfile", wanted: RunsTemplate) -> "RunIdentity":
    """Resolve the template for the tenant now, so that no run finds at night what is wrong with it.

    Returns what a run of yesterday would be.

    Raises:
        InvalidInputError: it does not exist, or refuses a parameter; names each.
        TemplateError: the template itself is broken.
    """
    from shared.engine.prepare import RunRequest, prepare

    request = RunRequest(
        template_path(wanted), variables=wanted.parameters, trigger_type="scheduled"
    )
    try:
        return prepare(request, tenant)[1]
    except NotFoundError as error:
        raise InvalidInputError(
            [FieldProblem(_TEMPLATE_FIELDS[error.kind], str(error), error.name)]
        ) from None
    except InvalidInputError as error:
        raise InvalidInputError([_in_parameters(found) for found in error.problems]) from None


def run_now(
    tenant: "TenantProfile",
    schedule: Schedule,
    *,
    user_id: str | None = None,
    idempotency_key: str | None = None,
) -> "RunIdentity":
    """Start a run as the schedule would, at once; its own times do not change.

    It processes the last complete day of the schedule's time zone. The same `idempotency_key` of
    a schedule names the same run.

    Raises:
        InvalidInputError: the template no longer takes the schedule's parameters.
        KeyReusedError: the key was used on another day, or before the schedule was changed.
        QuotaExceededError: a limit of the tenant's plan is reached.
        Retryable: not now; ask again with the same key.
    """
    from shared.engine.idempotency import claim_key
    from shared.engine.launch import launch
    from shared.engine.prepare import RunRequest, prepare

    key = f"\nschedule/{schedule.config_id}/{idempotency_key}" if idempotency_key else None
    pipeline, run = prepare(
        RunRequest(
            template_path(schedule),
            date=cron.date_of_run(schedule.timezone, datetime.now(UTC)),
            trigger_by=f"schedule/{schedule.config_id}",
            variables=schedule.parameters,
            user_id=user_id,
            trigger_type="manual",
            idempotency_key=key,
        ),
        tenant,
    )
    run = run.model_copy(update={"config_id": schedule.config_id})
    if idempotency_key:
        claim_key(idempotency_key, run)
    launch(pipeline, run)
    return run


def template_path(wanted: RunsTemplate) -> "TemplatePath":
    """Where that template is."""
    from shared.engine.prepare import TemplatePath

    return TemplatePath(wanted.provider, wanted.domain, wanted.pipeline_template)


def _in_parameters(found: FieldProblem) -> FieldProblem:
    """A problem of a run's body, where a schedule's body has it."""
    if found.pointer.startswith(("/steps/", "/sources")):
        return FieldProblem("/pipeline_template", f"{found.pointer[1:]}: {found.problem}")
    return FieldProblem(f"/parameters{found.pointer}", found.problem, found.value)
