"""Usage and machines of a tenant, from the API to the tables."""

from decimal import Decimal
from typing import Any

import pytest

from tests.system.world import DAY, Tenant, World

ACCOUNT = "04D5E6-F7A8B9-C0D1E2"
"""No other test's: an account belongs to one tenant."""
NET = (
    "SUM(CAST(cost AS NUMERIC) + IFNULL((SELECT SUM(CAST(c.amount AS NUMERIC))"
    " FROM UNNEST(credits) AS c), 0))"
)


@pytest.fixture(scope="module")
def owner(world: World) -> Tenant:
    """The tenant with the account."""
    return world.onboard(billing_account_ids=[ACCOUNT])


def export(world: World, table: str, select: str, where: str) -> list[tuple[Any, ...]]:
    """What the owner's part of an export says of the day."""
    rows = world.query(
        f"SELECT {select} FROM `billing_export.{table}` WHERE DATE(usage_start_time) = @day"
        f" AND billing_account_id IN UNNEST(@accounts) AND {where} GROUP BY 1 ORDER BY 1",
        day=DAY,
        accounts=[ACCOUNT],
    )
    return [tuple(row.values()) for row in rows]


def written(world: World, table: str, select: str) -> list[tuple[Any, ...]]:
    rows = world.query(
        f"SELECT {select} FROM `{table}` WHERE usage_date = @day GROUP BY 1 ORDER BY 1", day=DAY
    )
    return [tuple(row.values()) for row in rows]


def completed(world: World, tenant: Tenant, template: str, **body: Any) -> dict[str, Any]:
    run = world.finished(tenant, world.start(tenant, template, **body))
    assert run["status"] == "COMPLETED", run
    return run


def test_usage_equals_the_export(world: World, owner: Tenant) -> None:
    run = completed(world, owner, "gcp/cost/cost_usage")

    table = f"{owner.tenant_id}_gcp_silver_cost.cost_usage_daily"
    amount = "SUM(CAST(usage.amount_in_pricing_units AS NUMERIC))"
    expected = export(
        world, "gcp_billing_export_v1", f"sku.id, {amount}, {NET}", "usage.unit IS NOT NULL"
    )
    found = written(world, table, "sku_id, SUM(usage_amount_in_pricing_units), SUM(net_cost)")
    assert found == expected
    assert run["rows_processed"] >= len(found) > 3
    (prices,) = world.query(f"SELECT MAX(effective_unit_price) AS price FROM `{table}`")
    assert isinstance(prices.price, Decimal)


def test_machines_equal_the_detailed_export(world: World, owner: Tenant) -> None:
    completed(world, owner, "gcp/compute/vm_usage")

    table = f"{owner.tenant_id}_gcp_silver_compute.vm_usage_daily"
    expected = export(
        world,
        "gcp_billing_export_resource_v1",
        f"resource.global_name, {NET}, COUNT(*)",
        "resource.global_name LIKE '%/instance/%'",
    )
    found = written(world, table, "instance_global_name, SUM(net_cost), SUM(line_items)")
    assert found == expected
    assert found
    (hours,) = world.query(
        f"SELECT SUM(vcpu_hours) AS v, SUM(memory_gib_hours) AS m FROM `{table}`"
    )
    assert hours.v > 0
    assert hours.m > 0


def test_changed_days_of_the_bill_are_replaced(world: World, owner: Tenant) -> None:
    """The first run sees a month of changes; the second, nothing new."""
    body = {"restate": "changed_since_last_run", "destination_table": "billing_restated"}
    first = completed(world, owner, "gcp/cost/cost_billing", **body)

    table = f"{owner.tenant_id}_gcp_silver_cost.billing_restated"
    days = world.query(f"SELECT COUNT(DISTINCT usage_date) AS n FROM `{table}`")[0].n
    assert days > 20
    assert first["rows_processed"] > 0
    second = completed(world, owner, "gcp/cost/cost_billing", **body)
    assert second["rows_processed"] == 0
