"""From a request to a resolved run: template, tenant, date and body put together."""

import datetime as dt
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, Any

from shared.engine.launch import run_id_for
from shared.errors import FieldProblem, InvalidInputError
from shared.processors.contract import RunIdentity
from shared.settings import settings
from shared.telemetry import log
from shared.tenancy import plans
from shared.tenancy.tenants import TenantProfile

if TYPE_CHECKING:
    from shared.templates.catalog import Offer
    from shared.templates.loader import TemplateLibrary
    from shared.templates.models import ResolvedPipeline


@dataclass(frozen=True)
class TemplatePath:
    """Where a template is: `configs/{provider}/{domain}/{name}.yml`."""

    provider: str
    domain: str
    name: str


@dataclass(frozen=True)
class RunRequest:
    """What a caller asks for; `variables` holds what replaces the template's own."""

    template: TemplatePath
    date: dt.date | None = None
    trigger_by: str | None = None
    variables: Mapping[str, Any] | None = None
    user_id: str | None = None
    trigger_type: str = "manual"
    idempotency_key: str | None = None
    run_id: str | None = None
    """The run's ID where it is not to come from the `Idempotency-Key`."""


@cache
def library() -> "TemplateLibrary":
    """The deployment's templates; the compiler is imported with the first run, not at the start."""
    from shared.templates.loader import TemplateLibrary

    return TemplateLibrary(settings().CONFIGS_DIR)


def offers() -> "list[Offer]":
    """Every template that can be run, by its path; a broken one is left out and logged."""
    from shared.templates.catalog import offer
    from shared.templates.problems import TemplateError

    found = []
    for path in library().names():
        if path.count("/") != 2:
            continue  # customer/onboarding is run by its own route
        try:
            found.append(offer(library().named(path)))
        except TemplateError as error:
            log(logging.ERROR, "broken template", template=path, error=str(error))
    return found


def last_complete_day(now: datetime) -> dt.date:
    """The date of a run whose request names none: yesterday, UTC."""
    return (now.astimezone(UTC) - timedelta(days=1)).date()


def prepare(request: RunRequest, tenant: TenantProfile) -> "tuple[ResolvedPipeline, RunIdentity]":
    """The pipeline resolved for the tenant, and the run's identity. No side effect.

    Raises:
        NotFoundError: no such template; lists near names.
        TemplateError: the template itself is broken.
        InvalidInputError: a date or a variable that cannot be; names each.
    """
    from shared.templates.built_ins import BuiltIns
    from shared.templates.checks import verify
    from shared.templates.resolver import resolve

    now = datetime.now(UTC)
    day = request.date or last_complete_day(now)
    if day > now.date() + timedelta(days=1):
        raise InvalidInputError(
            [FieldProblem("/date", f"lies in the future; today is {now:%Y-%m-%d}", str(day))]
        )
    path = request.template
    compiled = library().get(path.provider, path.domain, path.name)
    run_id = request.run_id or run_id_for(tenant.tenant_id, request.idempotency_key)
    built_ins = BuiltIns(
        tenant_id=tenant.tenant_id,
        date=day,
        run_date=now.date(),
        project_id=settings().GCP_PROJECT_ID,
        pipeline_logging_id=run_id,
        trigger_by=request.trigger_by or request.user_id or request.trigger_type,
        company_name=tenant.company_name or tenant.tenant_id,
        billing_account_ids=list(tenant.billing_account_ids),
        admin_email=tenant.admin_email or settings().OPERATOR_EMAIL,
    )
    variables = dict(request.variables or {})
    resolved = resolve(compiled, built_ins, variables)
    verify(compiled, resolved, variables)
    limits = (resolved.max_bytes_billed, plans.max_bytes_billed(tenant.subscription_plan))
    allowed = min((limit for limit in limits if limit is not None), default=None)
    resolved = resolved.model_copy(update={"max_bytes_billed": allowed})
    run = RunIdentity(
        pipeline_logging_id=run_id,
        pipeline_id=resolved.pipeline_id,
        tenant_id=tenant.tenant_id,
        provider=resolved.provider,
        domain=resolved.domain,
        template_name=resolved.template_name,
        date=day,
        run_date=now.date(),
        trigger_type=request.trigger_type,
        trigger_by=request.trigger_by,
        user_id=request.user_id,
        parameters=variables,
        started_at=now,
    )
    return resolved, run
