"""Suspending, resuming and offboarding a tenant: its state, its runs, its keys and its data.

Each order of effects first shuts the door and then clears the room, so that nothing new begins
while the old is ended; each may be repeated after a failure half-way.
"""

from dataclasses import dataclass

from shared.engine.cancel import end_all
from shared.errors import NotFoundError
from shared.tenancy import api_key_ring, credential_erasure, credentials, lifecycle
from shared.tenancy.tenants import TenantProfile, TenantStatus

_REASON_CODE = "tenant-inactive"


@dataclass(frozen=True, kw_only=True)
class Offboarding:
    """What an offboarding found and ended; zeros where an earlier one had been."""

    profile: TenantProfile
    datasets_deleted: list[str]
    api_keys_revoked: int
    credentials_destroyed: int
    runs_cancelled: int


def suspend(tenant_id: str, *, reason: str | None, changed_by: str) -> TenantProfile:
    """Refuse the tenant's runs from now on and cancel those under way; its data stays.

    Raises:
        NotFoundError: no such tenant.
        ConflictError: it is neither active nor suspended.
        Retryable: not now; ask again.
    """
    step = lifecycle.move(
        TenantStatus.SUSPENDED,
        possible=(TenantStatus.ACTIVE, TenantStatus.SUSPENDED),
        reason=reason,
    )
    profile = lifecycle.change(tenant_id, step, changed_by=changed_by)
    lifecycle.set_subscription_status(tenant_id, "SUSPENDED", recorded_by=changed_by)
    _end_runs(tenant_id, f"Tenant {tenant_id!r} was suspended.")
    return profile


def resume(tenant_id: str, *, changed_by: str) -> TenantProfile:
    """Let a suspended tenant run pipelines again. What was cancelled stays so.

    Raises:
        NotFoundError: no such tenant.
        ConflictError: it is neither active nor suspended.
        Retryable: not now; ask again.
    """
    step = lifecycle.move(
        TenantStatus.ACTIVE, possible=(TenantStatus.ACTIVE, TenantStatus.SUSPENDED)
    )
    profile = lifecycle.change(tenant_id, step, changed_by=changed_by)
    lifecycle.set_subscription_status(tenant_id, "ACTIVE", recorded_by=changed_by)
    return profile


def offboard(tenant_id: str, *, changed_by: str) -> Offboarding:
    """End the tenant: no more runs, keys, credentials or data. Profile and audit entries stay.

    Only datasets that carry the tenant's label are deleted. Its ID is not given again.

    Raises:
        NotFoundError: no such tenant.
        ConflictError: it is being onboarded at this moment.
        Retryable: not now; ask again, what is done stays done.
    """
    step = lifecycle.move(
        TenantStatus.OFFBOARDED,
        possible=(TenantStatus.ACTIVE, TenantStatus.SUSPENDED, TenantStatus.FAILED),
    )
    profile = lifecycle.change(tenant_id, step, changed_by=changed_by)
    lifecycle.set_subscription_status(tenant_id, "CANCELLED", recorded_by=changed_by)
    revoked = api_key_ring.revoke_all(tenant_id, revoked_by=changed_by, reason="tenant offboarded")
    destroyed = credentials.destroy_all(tenant_id, destroyed_by=changed_by)
    cancelled = _end_runs(tenant_id, f"Tenant {tenant_id!r} was offboarded.")
    deleted = lifecycle.delete_datasets(tenant_id)
    credential_erasure.erase(tenant_id)  # what is younger than an hour goes in the next night
    return Offboarding(
        profile=profile,
        datasets_deleted=deleted,
        api_keys_revoked=revoked,
        credentials_destroyed=destroyed,
        runs_cancelled=cancelled,
    )


def _end_runs(tenant_id: str, reason: str) -> int:
    try:
        return end_all(tenant_id, reason=reason, code=_REASON_CODE)
    except NotFoundError:  # it has no dataset, so no runs either
        return 0
