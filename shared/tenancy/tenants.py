"""Tenant profiles: who a tenant is and in which state. Only ever appended to."""

import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from pydantic import Field

from shared.errors import NotFoundError
from shared.expiring import ExpiringCache
from shared.models import Model
from shared.settings import settings
from shared.tenancy import plans
from shared.warehouse import rows
from shared.warehouse.failures import WarehouseError
from shared.warehouse.queries import query
from shared.warehouse.rows import Row

PROFILES = "tenants.tenant_profiles"
_PROFILES_LOG = "tenants.tenant_profiles_log"
_SUBSCRIPTIONS_LOG = "tenants.tenant_subscriptions_log"


class TenantStatus(StrEnum):
    """Where a tenant stands; only ACTIVE ones run pipelines."""

    ONBOARDING = "ONBOARDING"
    ACTIVE = "ACTIVE"
    FAILED = "FAILED"
    SUSPENDED = "SUSPENDED"
    OFFBOARDED = "OFFBOARDED"


class TenantProfile(Model):
    """A tenant's latest state."""

    tenant_id: str
    company_name: str | None = None
    admin_email: str | None = None
    status: TenantStatus
    status_reason: str | None = Field(
        default=None, description="Why the tenant is in this status, for FAILED and SUSPENDED."
    )
    subscription_plan: str = plans.DEFAULT_PLAN
    billing_account_ids: tuple[str, ...] = Field(
        default=(), description="Cloud Billing accounts whose costs this tenant may read."
    )
    onboarding_attempt: int = 1
    onboarding_run_id: str | None = None
    created_at: datetime
    recorded_at: datetime | None = None


_profiles: ExpiringCache[str, TenantProfile] = ExpiringCache(lifetime_seconds=60)


def find(tenant_id: str) -> TenantProfile | None:
    """The tenant's profile as it is now, None when there never was one."""
    fields = ", ".join(name for name in TenantProfile.model_fields)
    found = rows.read(
        query(
            f"SELECT {fields} FROM `{PROFILES}` WHERE tenant_id = @tenant_id",  # noqa: S608 - own names
            tenant_id=tenant_id,
        )
    )
    return from_row(found[0]) if found else None


def find_all(tenant_ids: Sequence[str]) -> dict[str, TenantProfile]:
    """The profiles of those that have one, as they are now, by tenant; one query.

    Raises:
        WarehouseBusyError: not now.
    """
    if not tenant_ids:
        return {}
    fields = ", ".join(TenantProfile.model_fields)
    found = rows.read(
        query(
            f"SELECT {fields} FROM `{PROFILES}` WHERE tenant_id IN UNNEST(@tenant_ids)",  # noqa: S608 - own names
            tenant_ids=list(tenant_ids),
        )
    )
    return {row["tenant_id"]: from_row(row) for row in found}


def profile(tenant_id: str) -> TenantProfile:
    """The tenant's profile, at most a minute old.

    Raises:
        NotFoundError: no such tenant.
    """
    return _profiles.get(tenant_id, lambda: _existing(tenant_id))


def standing(tenant_id: str) -> TenantStatus | None:
    """The tenant's status, at most a minute old; None for somebody who was never onboarded.

    Raises:
        WarehouseBusyError: not now.
    """
    try:
        return profile(tenant_id).status
    except NotFoundError:
        return None
    except WarehouseError as error:
        if rows.is_missing(error):  # no central dataset: nobody was ever onboarded
            return None
        raise


def _existing(tenant_id: str) -> TenantProfile:
    found = find(tenant_id)
    if found is None:
        raise NotFoundError("Tenant", tenant_id)
    return found


def record(state: TenantProfile, *, recorded_by: str) -> TenantProfile:
    """Append `state` as the tenant's newest; it with the time at which that was."""
    stamp = rows.stamp()
    values: dict[str, Any] = {
        **state.model_dump(mode="python", exclude={"recorded_at"}),
        "status": str(state.status),
        "dataset_id": state.tenant_id,
        "location": settings().BIGQUERY_LOCATION,
        "recorded_by": recorded_by,
        **stamp,
    }
    rows.append(_PROFILES_LOG, [Row(str(uuid.uuid4()), values)])
    _profiles.forget(state.tenant_id)
    return state.model_copy(update={"recorded_at": stamp["recorded_at"]})


def subscribe(tenant_id: str, plan_name: str, *, recorded_by: str) -> None:
    """Append the tenant's subscription to a plan, with the plan's limits as they are today."""
    limits = plans.plan(plan_name).subscribed()
    values = {
        "tenant_id": tenant_id,
        "subscription_id": str(uuid.uuid5(uuid.NAMESPACE_URL, f"subscription/{tenant_id}")),
        "plan_name": plan_name,
        "status": "ACTIVE",
        "starts_at": datetime.now(UTC),
        "recorded_by": recorded_by,
        **limits,
        **rows.stamp(),
    }
    rows.append(_SUBSCRIPTIONS_LOG, [Row(str(uuid.uuid4()), values)])


def owners_of_billing_accounts(accounts: tuple[str, ...]) -> dict[str, str]:
    """Which of `accounts` belong to a tenant already: account to tenant ID."""
    if not accounts:
        return {}
    found = rows.read(
        query(
            f"SELECT account, tenant_id FROM `{PROFILES}`, UNNEST(billing_account_ids) AS account"  # noqa: S608 - own names
            " WHERE account IN UNNEST(@accounts) AND status != 'OFFBOARDED'",
            accounts=list(accounts),
        )
    )
    return {row["account"]: row["tenant_id"] for row in found}


def former_owners_of_billing_account(account: str) -> list[str]:
    """The tenants that had the account until they were offboarded.

    Raises:
        WarehouseBusyError: not now.
    """
    found = rows.read(
        query(
            f"SELECT tenant_id FROM `{PROFILES}`"  # noqa: S608 - own names
            " WHERE @account IN UNNEST(billing_account_ids) AND status = 'OFFBOARDED'",
            account=account,
        )
    )
    return [row["tenant_id"] for row in found]


def from_row(row: Mapping[str, Any]) -> TenantProfile:
    """The profile in a row of the view; what is NULL there has its default."""
    known = {name: value for name, value in row.items() if value is not None}
    return TenantProfile.model_validate(known)
