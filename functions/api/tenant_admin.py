"""Tenants: look at one, change it, suspend, resume, offboard; list all of them."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import AfterValidator, EmailStr, Field

from functions.api.tenants import plan_name
from shared.errors import AccessDeniedError, FieldProblem, InvalidInputError
from shared.http import auth
from shared.http.routes import Route
from shared.models import Model
from shared.tenancy import plans
from shared.tenancy.tenants import TenantProfile, TenantStatus
from shared.warehouse import pages


class PlanLimits(Model):
    """What the tenant's subscription allows."""

    daily_limit: int = Field(description="Pipeline runs a UTC day.")
    monthly_limit: int = Field(description="Pipeline runs a UTC calendar month.")
    concurrent_limit: int = Field(description="Pipeline runs at one time.")
    team_limit: int | None = Field(description="Team members; enforced by the frontend.")
    providers_limit: int | None = Field(description="Cloud providers with stored credentials.")


class Tenant(Model):
    """A tenant as it is now."""

    tenant_id: str
    company_name: str | None = None
    admin_email: str | None = None
    status: TenantStatus = Field(
        description="ONBOARDING, ACTIVE, FAILED (onboarding did not complete), SUSPENDED or"
        " OFFBOARDED."
    )
    status_reason: str | None = None
    subscription_plan: str = Field(examples=["PROFESSIONAL"])
    limits: PlanLimits | None = Field(description="Null before the tenant has a subscription.")
    billing_account_ids: tuple[str, ...] = ()
    created_at: datetime
    recorded_at: datetime | None = Field(default=None, description="When it last changed.")


class TenantSummary(Model):
    """A tenant in a list."""

    tenant_id: str
    company_name: str | None = None
    admin_email: str | None = None
    status: TenantStatus
    subscription_plan: str
    created_at: datetime


class TenantQuery(Model):
    """Which tenants."""

    status: TenantStatus | None = Field(default=None, description="Only tenants in this state.")
    limit: int = Field(
        default=pages.DEFAULT_SIZE, ge=1, le=pages.MAX_SIZE, description="Tenants a page."
    )
    cursor: str | None = Field(
        default=None, max_length=1000, description="`next_cursor` of the page before."
    )


class TenantList(Model):
    """A page of tenants, by their IDs."""

    tenants: tuple[TenantSummary, ...]
    next_cursor: str | None = Field(
        description="Send it as `cursor` for the next page; null on the last."
    )


class PatchTenant(Model):
    """What is to change; absent fields stay as they are."""

    company_name: str | None = Field(
        default=None,
        min_length=1,
        max_length=200,
        pattern=r"^[^\x00-\x1f\x7f]*$",
        description="null removes it.",
        examples=["ACME Corporation"],
    )
    admin_email: EmailStr | None = Field(
        default=None,
        description="Where mail about the tenant's pipelines goes; null removes it.",
        examples=["admin@acmecorp.com"],
    )
    subscription_plan: Annotated[str, AfterValidator(plan_name)] = Field(
        default=plans.DEFAULT_PLAN,
        description="Only with `X-Admin-Key`. Holds for the next run.",
        examples=["SCALE"],
    )


class SuspendTenant(Model):
    """Why."""

    reason: str | None = Field(
        default=None,
        min_length=1,
        max_length=500,
        pattern=r"^[^\x00-\x1f\x7f]*$",
        description="Shown in the tenant's profile.",
        examples=["invoice 2025-10 is unpaid"],
    )


class OffboardQuery(Model):
    """A deletion is asked for twice."""

    confirm: str = Field(default="", description="The tenant's ID once more.")


class Offboarded(Model):
    """What an offboarding ended; zeros where an earlier one had been before."""

    tenant_id: str
    status: TenantStatus
    datasets_deleted: tuple[str, ...]
    api_keys_revoked: int
    credentials_destroyed: int
    runs_cancelled: int


class OperatorOnlyError(AccessDeniedError):
    """The tenant's own key is not enough."""

    code = "operator-only"


def list_tenants(query: TenantQuery) -> TenantList:
    """Every tenant, by ID, page by page."""
    from shared.tenancy import lifecycle

    found = lifecycle.listed(status=query.status, limit=query.limit + 1, cursor=query.cursor)
    shown = found[: query.limit]
    more = len(found) > query.limit
    return TenantList(
        tenants=tuple(
            TenantSummary.model_validate(state.model_dump(include=set(TenantSummary.model_fields)))
            for state in shown
        ),
        next_cursor=pages.cursor_of([shown[-1].tenant_id]) if more else None,
    )


def get(tenant_id: str) -> Tenant:
    """The tenant's profile with its plan and limits."""
    from shared.tenancy import lifecycle

    return _answer(lifecycle.current(auth.caller_for(tenant_id).tenant_id))


def patch(tenant_id: str, body: PatchTenant) -> Tenant:
    """Change name, address or plan; fields that are not sent stay as they are.

    The plan is the operator's to change; its limits hold for the next run.
    """
    from shared.tenancy import lifecycle

    caller = auth.caller_for(tenant_id)
    wanted = body.model_dump(exclude_unset=True)
    if "subscription_plan" in wanted and not caller.is_admin:
        raise OperatorOnlyError("Only the operator changes plans; ask for an upgrade.")
    changed = lifecycle.change(
        caller.tenant_id, lambda state: _patched(state, wanted), changed_by=caller.name
    )
    lifecycle.align_subscription(changed, recorded_by=caller.name)
    return _answer(changed)


def _patched(state: TenantProfile, wanted: dict[str, Any]) -> TenantProfile:
    from shared.tenancy.lifecycle import WrongStateError

    if state.status is TenantStatus.OFFBOARDED:
        raise WrongStateError(state.tenant_id, state.status, ["ACTIVE", "SUSPENDED"])
    return state.model_copy(update=wanted)


def suspend(tenant_id: str, body: SuspendTenant) -> Tenant:
    """Refuse the tenant's runs and schedules from now on; what runs is cancelled, data stays."""
    from shared.engine import tenant_states

    profile = tenant_states.suspend(
        tenant_id, reason=body.reason, changed_by=auth.require_operator().name
    )
    return _answer(profile)


def resume(tenant_id: str) -> Tenant:
    """Let a suspended tenant run pipelines again; what was cancelled stays so."""
    from shared.engine import tenant_states

    return _answer(tenant_states.resume(tenant_id, changed_by=auth.require_operator().name))


def offboard(tenant_id: str, query: OffboardQuery) -> Offboarded:
    """Delete the tenant's datasets, end its keys, credentials and runs. Cannot be undone.

    Its profile stays as OFFBOARDED and its audit entries stay; its ID is not given again, since
    grants and reports outside of this service would pass to whoever got it. May be repeated after
    a failure half-way.
    """
    from shared.engine import tenant_states

    operator = auth.require_operator()
    if query.confirm != tenant_id:
        problem = f"must repeat the tenant's ID: ?confirm={tenant_id}"
        raise InvalidInputError([FieldProblem("confirm", problem, query.confirm)])
    done = tenant_states.offboard(tenant_id, changed_by=operator.name)
    return Offboarded(
        tenant_id=tenant_id,
        status=done.profile.status,
        datasets_deleted=tuple(done.datasets_deleted),
        api_keys_revoked=done.api_keys_revoked,
        credentials_destroyed=done.credentials_destroyed,
        runs_cancelled=done.runs_cancelled,
    )


def _answer(state: TenantProfile) -> Tenant:
    from shared.tenancy import lifecycle

    found = lifecycle.subscription(state.tenant_id)
    limits = found.model_dump(include=set(PlanLimits.model_fields)) if found else None
    shown = state.model_dump(include=set(Tenant.model_fields))
    return Tenant.model_validate({**shown, "limits": limits})


_TENANT = "/api/v1/tenants/{tenant_id}"

ROUTES = (
    Route(
        "GET",
        "/api/v1/tenants",
        list_tenants,
        "List tenants",
        TenantList,
        query=TenantQuery,
        auth="admin",
        tag="tenants",
    ),
    Route(
        "GET", _TENANT, get, "A tenant, its plan and limits", Tenant, problems=(404,), tag="tenants"
    ),
    Route(
        "PATCH",
        _TENANT,
        patch,
        "Change a tenant",
        Tenant,
        body=PatchTenant,
        action="tenant.update",
        resource="tenant_id",
        problems=(404, 409),
        tag="tenants",
    ),
    Route(
        "POST",
        f"{_TENANT}/suspend",
        suspend,
        "Suspend a tenant",
        Tenant,
        body=SuspendTenant,
        auth="admin",
        action="tenant.suspend",
        resource="tenant_id",
        problems=(404, 409),
        tag="tenants",
    ),
    Route(
        "POST",
        f"{_TENANT}/resume",
        resume,
        "Resume a tenant",
        Tenant,
        auth="admin",
        action="tenant.resume",
        resource="tenant_id",
        problems=(404, 409),
        tag="tenants",
    ),
    Route(
        "DELETE",
        _TENANT,
        offboard,
        "Offboard a tenant",
        Offboarded,
        query=OffboardQuery,
        auth="admin",
        action="tenant.offboard",
        resource="tenant_id",
        problems=(404, 409),
        tag="tenants",
    ),
)
