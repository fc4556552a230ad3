"""Profiles are only appended to; the latest state counts."""

from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from shared.errors import NotFoundError
from shared.tenancy import tenants
from shared.tenancy.tenants import TenantProfile, TenantStatus
from tests.component.conftest import Cloud

pytestmark = pytest.mark.usefixtures("central")


def record(tenant_id: str, status: TenantStatus, **changes: object) -> TenantProfile:
    profile = TenantProfile.model_validate(
        {"tenant_id": tenant_id, "status": status, "created_at": datetime.now(UTC), **changes}
    )
    tenants.record(profile, recorded_by="test")
    return profile


def test_latest_state_is_the_profile(fresh: Callable[[], str]) -> None:
    tenant_id = fresh()
    first = record(tenant_id, TenantStatus.ONBOARDING)
    tenants.record(
        first.model_copy(update={"status": TenantStatus.ACTIVE, "company_name": "ACME"}),
        recorded_by="test",
    )

    found = tenants.find(tenant_id)

    assert found is not None
    assert (found.status, found.company_name) == (TenantStatus.ACTIVE, "ACME")
    assert found.created_at == first.created_at


def test_change_is_seen_at_once_by_the_process_that_made_it(fresh: Callable[[], str]) -> None:
    tenant_id = fresh()
    record(tenant_id, TenantStatus.ACTIVE)
    assert tenants.profile(tenant_id).status is TenantStatus.ACTIVE

    record(tenant_id, TenantStatus.SUSPENDED)

    assert tenants.profile(tenant_id).status is TenantStatus.SUSPENDED


def test_profile_is_asked_for_once_a_minute(fresh: Callable[[], str], cloud: Cloud) -> None:
    tenant_id = fresh()
    record(tenant_id, TenantStatus.ACTIVE)
    tenants.profile(tenant_id)
    before = cloud.calls().get("jobs.query", 0)

    for _ in range(5):
        tenants.profile(tenant_id)

    assert cloud.calls().get("jobs.query", 0) == before


def test_unknown_tenant_is_not_found_and_not_remembered(fresh: Callable[[], str]) -> None:
    tenant_id = fresh()
    with pytest.raises(NotFoundError, match=tenant_id):
        tenants.profile(tenant_id)

    record(tenant_id, TenantStatus.ACTIVE)

    assert tenants.profile(tenant_id).tenant_id == tenant_id


def test_owner_of_a_billing_account_is_found_until_it_is_offboarded(
    fresh: Callable[[], str],
) -> None:
    tenant_id = fresh()
    account = f"{tenant_id[2:8].upper()}-AAAAAA-BBBBBB"
    profile = record(tenant_id, TenantStatus.ACTIVE, billing_account_ids=(account, "other"))

    assert tenants.owners_of_billing_accounts((account, "nobodys")) == {account: tenant_id}

    tenants.record(
        profile.model_copy(update={"status": TenantStatus.OFFBOARDED}), recorded_by="test"
    )
    assert tenants.owners_of_billing_accounts((account,)) == {}
    assert tenants.owners_of_billing_accounts(()) == {}
