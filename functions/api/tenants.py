"""Onboarding."""

from dataclasses import asdict
from typing import Annotated

from pydantic import AfterValidator, EmailStr, Field

from shared.http import auth
from shared.http.routes import Route
from shared.models import Model
from shared.tenancy import plans
from shared.tenancy.names import TENANT_ID_PATTERN, tenant_id_problem


def _tenant_id(value: str) -> str:
    problem = tenant_id_problem(value)
    if problem:
        raise ValueError(problem)
    return value


def plan_name(value: str) -> str:
    if value.upper() not in plans.plans():
        raise ValueError(f"must be one of {', '.join(plans.plans())}")
    return value.upper()


class OnboardRequest(Model):
    """A new tenant."""

    tenant_id: Annotated[str, AfterValidator(_tenant_id)] = Field(
        description="3 to 50 characters: a lower-case letter, then letters, digits, `_`.",
        examples=["acme_corp"],
        json_schema_extra={"pattern": TENANT_ID_PATTERN},
    )
    company_name: str | None = Field(
        default=None, min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$"
    )
    admin_email: EmailStr | None = Field(
        default=None, description="Where mail about the tenant's pipelines goes."
    )
    subscription_plan: Annotated[str, AfterValidator(plan_name)] = Field(
        default=plans.DEFAULT_PLAN, description="STARTER, PROFESSIONAL or SCALE."
    )
    billing_account_ids: tuple[
        Annotated[str, Field(pattern=r"^[0-9A-F]{6}-[0-9A-F]{6}-[0-9A-F]{6}$")], ...
    ] = Field(
        default=(),
        max_length=1000,
        description="Google Cloud billing accounts whose costs the tenant may read.",
    )
    force_recreate_dataset: bool = Field(
        default=False, description="Create anew what an onboarding that failed has left behind."
    )


class Onboarded(Model):
    """A new tenant. The key is shown this once."""

    tenant_id: str
    api_key: str = Field(description="Goes into X-API-Key. Store it: it cannot be shown again.")
    dataset_created: bool
    tables_created: tuple[str, ...]
    pipeline_logging_id: str = Field(description="The run of customer/onboarding.")


def onboard(body: OnboardRequest) -> Onboarded:
    """Create a tenant: dataset, metadata tables, plan, and an API key that is shown this once.

    An onboarding that failed half-way is completed by sending the same request again. In a
    deployment this needs `X-Admin-Key` unless `OPEN_ONBOARDING` is set.
    """
    from shared.engine import onboarding

    done = onboarding.onboard(
        onboarding.NewTenant(
            tenant_id=body.tenant_id,
            company_name=body.company_name,
            admin_email=body.admin_email,
            subscription_plan=body.subscription_plan,
            billing_account_ids=body.billing_account_ids,
            force_recreate_dataset=body.force_recreate_dataset,
            recorded_by=auth.user_id() or "onboarding",
        )
    )
    return Onboarded.model_validate(asdict(done))


ROUTES = tuple(
    Route(
        "POST",
        path,
        onboard,
        "Onboard a tenant",
        Onboarded,
        status=201,
        body=OnboardRequest,
        auth="admin_unless_open",
        action="tenant.onboard",
        resource="tenant_id",
        problems=(409,),
        tag="tenants",
    )
    for path in ("/api/v1/tenants/onboard", "/api/v1/customers/onboard")
)
