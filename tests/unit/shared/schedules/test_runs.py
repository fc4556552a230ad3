"""Templates are tried when a schedule is saved."""

from datetime import UTC, datetime
from typing import Any

import pytest

from shared.errors import InvalidInputError
from shared.schedules import runs
from shared.schedules.definitions import Definition
from shared.tenancy.tenants import TenantProfile, TenantStatus


def a_tenant(admin_email: str | None = "admin@acmecorp.com") -> TenantProfile:
    return TenantProfile(
        tenant_id="acme",
        admin_email=admin_email,
        status=TenantStatus.ACTIVE,
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
    )


def a_definition(**changes: Any) -> Definition:
    values: dict[str, Any] = {
        "provider": "gcp",
        "domain": "cost",
        "pipeline_template": "cost_billing",
        "schedule_cron": "0 2 * * *",
    }
    return Definition(**(values | changes))


def problems(definition: Definition, tenant: TenantProfile | None = None) -> dict[str, str]:
    with pytest.raises(InvalidInputError) as error:
        runs.check(tenant or a_tenant(), definition)
    return {found.pointer: found.problem for found in error.value.problems}


def test_a_template_with_fitting_parameters_is_taken() -> None:
    runs.check(a_tenant(), a_definition(parameters={"late_arrival_days": 7}))


def test_every_unfit_parameter_is_named_where_it_is() -> None:
    found = problems(
        a_definition(parameters={"late_arrival_days": "many", "tenant_id": "other", "surprise": 1})
    )

    assert set(found) == {
        "/parameters/late_arrival_days",
        "/parameters/tenant_id",
        "/parameters/surprise",
    }
    assert "built-in variable" in found["/parameters/tenant_id"]


@pytest.mark.parametrize(
    ("changes", "pointer", "near"),
    [
        ({"provider": "gpc"}, "/provider", "gcp"),
        ({"domain": "costs"}, "/domain", "cost"),
        ({"pipeline_template": "cost_biling"}, "/pipeline_template", "cost_billing"),
    ],
)
def test_a_template_that_does_not_exist_is_named_by_its_part(
    changes: dict[str, str], pointer: str, near: str
) -> None:
    found = problems(a_definition(**changes))

    assert list(found) == [pointer]
    assert f"Did you mean {near}" in found[pointer]


def test_what_the_tenant_lacks_is_said_now() -> None:
    found = problems(a_definition(), a_tenant(admin_email=None))

    assert found == {"/parameters/admin_email": "is required: the tenant's profile has none"}
