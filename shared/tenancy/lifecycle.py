"""A tenant's states and how it changes between them: renamed, upgraded, suspended, offboarded.

A change reads the newest profile and appends the next one. Whoever appends the successor of a state
first wins the claim that this state names, so two changes at once never undo each other.

    ONBOARDING → ACTIVE ⇄ SUSPENDED
                    └──→ OFFBOARDED ←──┘   final: the ID is not given again

An ID is not given again because things outside of this service remember it: grants and reports on
its datasets' names, copies of its data, its entries in the audit log. A new organization would
inherit them.
"""

import uuid
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime
from typing import Any, Literal

from shared.clients import bigquery_client
from shared.errors import ConflictError, NotFoundError
from shared.models import Model
from shared.tenancy import plans, tenants
from shared.tenancy.tenants import TenantProfile, TenantStatus
from shared.warehouse import claims, pages, rows
from shared.warehouse.claims import ClaimHeldError
from shared.warehouse.failures import translated
from shared.warehouse.queries import query
from shared.warehouse.rows import Row
from shared.warehouse.tables import OWNER_LABEL

SUBSCRIPTIONS = "tenants.tenant_subscriptions"
_SUBSCRIPTIONS_LOG = "tenants.tenant_subscriptions_log"
_LEASE_SECONDS = 15.0
_TIMEOUT_SECONDS = 60.0
_LIMITS = ("daily_limit", "monthly_limit", "concurrent_limit", "team_limit", "providers_limit")

SubscriptionStatus = Literal["ACTIVE", "SUSPENDED", "CANCELLED"]


class Subscription(Model):
    """A tenant's plan with the limits it came with."""

    plan_name: str
    status: str
    daily_limit: int
    monthly_limit: int
    concurrent_limit: int
    team_limit: int | None = None
    providers_limit: int | None = None


class WrongStateError(ConflictError):
    """The tenant is not in a state from which this is possible."""

    code = "wrong-tenant-state"

    def __init__(self, tenant_id: str, status: TenantStatus, possible: Collection[str]) -> None:
        self.status = status
        super().__init__(
            f"Tenant {tenant_id!r} is {status}; this is possible for {', '.join(possible)} ones."
        )


def current(tenant_id: str) -> TenantProfile:
    """The tenant's profile as it is now, not as it was a minute ago.

    Raises:
        NotFoundError: no such tenant.
    """
    found = tenants.find(tenant_id)
    if found is None:
        raise NotFoundError("Tenant", tenant_id)
    return found


def listed(*, status: TenantStatus | None, limit: int, cursor: str | None) -> list[TenantProfile]:
    """The tenants behind `cursor`, by ID.

    Raises:
        InvalidInputError: the cursor is not one of this list.
        WarehouseBusyError: not now.
    """
    behind = pages.key_of(cursor, 1)[0] if cursor else ""
    fields = ", ".join(TenantProfile.model_fields)
    found = rows.read(
        query(
            f"SELECT {fields} FROM `{tenants.PROFILES}`"  # noqa: S608 - own names
            " WHERE tenant_id > @behind AND (@status = '' OR status = @status)"
            " ORDER BY tenant_id LIMIT @rows",
            behind=behind,
            status=str(status or ""),
            rows=limit,
        )
    )
    return [tenants.from_row(row) for row in found]


def change(
    tenant_id: str, step: Callable[[TenantProfile], TenantProfile], *, changed_by: str
) -> TenantProfile:
    """Append what `step` makes of the newest profile; nothing when it changes nothing.

    Raises:
        NotFoundError: no such tenant.
        ConflictError: `step` says that the state does not allow it, or somebody else is changing
            the tenant at this moment.
        Retryable: not now; nothing is changed.
    """
    state = current(tenant_id)
    changed = step(state)
    if changed == state:
        return state
    moment = f"{state.recorded_at:%Y%m%dT%H%M%S%f}"
    try:
        claims.take(f"profile--{tenant_id}--{moment}", str(uuid.uuid4()), _LEASE_SECONDS)
    except ClaimHeldError as error:
        raise ConflictError(
            f"Tenant {tenant_id!r} is being changed by another request. Ask again in a moment.",
            retry_after_seconds=error.retry_after_seconds,
        ) from None
    return tenants.record(changed, recorded_by=changed_by)


def move(
    to: TenantStatus, *, possible: Collection[TenantStatus], reason: str | None = None
) -> Callable[[TenantProfile], TenantProfile]:
    """A step for `change` into another status; a tenant that has it already is left as it is."""

    def step(state: TenantProfile) -> TenantProfile:
        if state.status is to:
            return state
        if state.status not in possible:
            raise WrongStateError(state.tenant_id, state.status, [str(s) for s in possible])
        return state.model_copy(update={"status": to, "status_reason": reason})

    return step


def subscription(tenant_id: str) -> Subscription | None:
    """The tenant's subscription as it is now, None before it has one."""
    fields = ", ".join(Subscription.model_fields)
    found = rows.read(
        query(
            f"SELECT {fields} FROM `{SUBSCRIPTIONS}` WHERE tenant_id = @tenant_id",  # noqa: S608 - own names
            tenant_id=tenant_id,
        )
    )
    return Subscription.model_validate(found[0]) if found else None


def align_subscription(profile: TenantProfile, *, recorded_by: str) -> None:
    """Subscribe the tenant to the plan of its profile, with the plan's limits as they are today.

    Admission reads the newest subscription each time: an upgrade holds for the next run. Nothing
    happens when it has that plan.

    Raises:
        WarehouseBusyError: not now; ask again.
    """
    found = subscription(profile.tenant_id)
    if found and found.plan_name == profile.subscription_plan:
        return
    limits = plans.plan(profile.subscription_plan).model_dump(include=set(_LIMITS))
    values = {"plan_name": profile.subscription_plan, **limits}
    status = found.status if found else "ACTIVE"
    _append(profile.tenant_id, values, status, recorded_by)


def set_subscription_status(
    tenant_id: str, status: SubscriptionStatus, *, recorded_by: str
) -> None:
    """Let admission refuse or admit the tenant's runs from now on, with the limits it has.

    Raises:
        WarehouseBusyError: not now; ask again.
    """
    found = subscription(tenant_id)
    if found is None or found.status == status:
        return
    values = found.model_dump(include={"plan_name", *_LIMITS})
    _append(tenant_id, values, status, recorded_by)


def _append(tenant_id: str, plan: Mapping[str, Any], status: str, recorded_by: str) -> None:
    now = datetime.now(UTC)
    values = {
        "tenant_id": tenant_id,
        "subscription_id": str(uuid.uuid5(uuid.NAMESPACE_URL, f"subscription/{tenant_id}")),
        **plan,
        "status": status,
        "starts_at": now if status == "ACTIVE" else None,
        "ends_at": now if status == "CANCELLED" else None,
        "recorded_by": recorded_by,
        **rows.stamp(),
    }
    rows.append(_SUBSCRIPTIONS_LOG, [Row(str(uuid.uuid4()), values)])


def delete_datasets(tenant_id: str) -> list[str]:
    """Delete every dataset that is labelled with the tenant, with all that is in it.

    May be repeated; a dataset of another label is never touched, whatever its name.

    Raises:
        WarehouseBusyError: not now; some may be gone already, ask again.
        WarehouseError: BigQuery refused.
    """
    client = bigquery_client()
    with translated():
        found = client.list_datasets(
            filter=f"labels.{OWNER_LABEL}:{tenant_id}", timeout=_TIMEOUT_SECONDS
        )
        own = sorted(d.dataset_id for d in found if d.labels.get(OWNER_LABEL) == tenant_id)
        for dataset in own:
            client.delete_dataset(
                dataset, delete_contents=True, not_found_ok=True, timeout=_TIMEOUT_SECONDS
            )
    return own
