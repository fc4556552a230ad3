"""Cost Management into a table, against the local Azure and the local BigQuery."""

from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest

from shared.processors.azure.cost_management import CostManagement, CostManagementConfig
from shared.processors.contract import StepContext, StepResult
from shared.processors.provider_errors import ProviderRefusedError
from shared.warehouse import rows
from shared.warehouse.failures import WarehouseBusyError
from shared.warehouse.queries import query
from tests.azure import Subscription, a_cost
from tests.component.conftest import Cloud
from tests.component.shared.processors.azure.conftest import store_credential
from tests.credential_samples import azure_secret
from tests.runs import a_context, a_run

DAY = date(2025, 11, 15)
BEFORE = DAY - timedelta(days=1)


def a_config(**changes: Any) -> CostManagementConfig:
    values: dict[str, Any] = {
        "source": {
            "metrics": ["Cost"],
            "group_by": [{"dimension": "ResourceGroupName"}, {"dimension": "ServiceName"}],
        },
        "destination": {
            "dataset_type": "azure_silver_cost",
            "table": "cost_management_daily",
            "schema_template": "azure/cost_management_daily",
        },
        "lookback_days": 1,
    }
    return CostManagementConfig.model_validate(values | changes)


def in_table(tenant: str, table: str = "cost_management_daily") -> list[dict[str, Any]]:
    name = f"{tenant}_azure_silver_cost.{table}"
    return rows.read(query(f"SELECT * FROM `{name}` ORDER BY usage_date, service_name, currency"))


def run(context: StepContext, config: CostManagementConfig | None = None) -> StepResult:
    return CostManagement().run(config or a_config(), context)


def context_of(tenant: str, **changes: Any) -> StepContext:
    return a_context(a_run(tenant, date=DAY), "fetch_costs", **changes)


def test_all_pages_become_days_of_the_table_to_the_last_digit(
    customer: str, subscription: Subscription
) -> None:
    subscription.costs_are(
        a_cost(BEFORE - timedelta(days=1), "Storage", "99"),
        a_cost(BEFORE, "Storage", "12.345678901234567"),
        a_cost(BEFORE, "Storage", "0.000000000000000001"),
        a_cost(DAY, "Storage", "1.5E-7"),
        a_cost(DAY, "Storage", "7", Currency="USD"),
        a_cost(DAY, "Virtual Machines", "-3"),
        a_cost(DAY, "Unassigned", "0.1", ResourceGroupName=""),
        page_size=2,
    )

    result = run(context_of(customer))

    found = in_table(customer)
    assert [(r["usage_date"], r["service_name"], r["currency"], r["cost"]) for r in found] == [
        (BEFORE, "Storage", "EUR", Decimal("12.345678901234567001")),
        (DAY, "Storage", "EUR", Decimal("0.00000015")),
        (DAY, "Storage", "USD", Decimal(7)),
        (DAY, "Unassigned", "EUR", Decimal("0.1")),
        (DAY, "Virtual Machines", "EUR", Decimal(-3)),
    ]
    assert {r["resource_group_name"] for r in found} == {"rg-shop", None}
    assert {(r["cost_type"], r["cost_usd"]) for r in found} == {("ActualCost", None)}
    assert (result.rows_processed, result.outputs["pages"]) == (5, 3)
    assert result.outputs["dates"] == ["2025-11-14", "2025-11-15"]
    assert result.outputs["control_totals"] == [
        {"period": "2025-11-14", "currency": "EUR", "rows": 1, "cost": "12.345678901234567001"},
        {"period": "2025-11-15", "currency": "EUR", "rows": 3, "cost": "-2.89999985"},
        {"period": "2025-11-15", "currency": "USD", "rows": 1, "cost": "7"},
    ]


def test_running_twice_and_at_once_leaves_the_same_rows(
    customer: str, subscription: Subscription
) -> None:
    subscription.costs_are(a_cost(DAY, "Storage", "1"), a_cost(DAY, "Bandwidth", "2"))
    context = context_of(customer)
    first = run(context)
    before = in_table(customer)

    with ThreadPoolExecutor(3) as pool:
        others = list(pool.map(lambda _: run(context), range(3)))

    assert in_table(customer) == before
    assert all(other == first for other in others)
    assert len(before) == 2


def test_a_crash_between_two_days_is_made_good_by_the_next_delivery(
    customer: str, subscription: Subscription, cloud: Cloud
) -> None:
    subscription.costs_are(a_cost(BEFORE, "Storage", "1"), a_cost(DAY, "Storage", "2"))
    context = context_of(customer)
    cloud.fail("jobs.insert", times=1, status=403, reason="rateLimitExceeded")
    with pytest.raises(WarehouseBusyError):
        run(context)
    assert len(in_table(customer)) == 1

    run(context)

    assert [row["cost"] for row in in_table(customer)] == [1, 2]


def test_a_later_run_replaces_what_azure_has_corrected(
    customer: str, subscription: Subscription
) -> None:
    subscription.costs_are(
        a_cost(BEFORE, "Storage", "5"), a_cost(DAY, "Storage", "1"), a_cost(DAY, "Bandwidth", "2")
    )
    run(context_of(customer))
    subscription.costs_are(a_cost(DAY, "Storage", "1.25"))

    tomorrow = a_run(customer, date=DAY + timedelta(days=1))
    run(a_context(tomorrow, "fetch_costs"))

    found = [(r["usage_date"], r["cost"]) for r in in_table(customer)]
    assert found == [(BEFORE, 5), (DAY, Decimal("1.25"))]


def test_tags_and_filters_are_asked_for(customer: str, subscription: Subscription) -> None:
    subscription.costs_are(
        a_cost(DAY, "Storage", "1", tags={"Cost Center": "blue"}),
        a_cost(DAY, "Storage", "2"),
        a_cost(DAY, "Storage", "4", ResourceGroupName="other"),
    )
    config = a_config(
        source={
            "cost_type": "AmortizedCost",
            "metrics": ["Cost", "CostUSD"],
            "group_by": [{"tag": "Cost Center"}, {"dimension": "ServiceName"}],
            "filter": {"all_of": [{"dimension": "ResourceGroupName", "values": ["rg-shop"]}]},
        },
        destination={"dataset_type": "azure_silver_cost", "table": "by_tag"},
        lookback_days=0,
    )

    run(context_of(customer), config)

    found = {(r["tag_cost_center"], r["cost_usd"]) for r in in_table(customer, "by_tag")}
    assert found == {("blue", 1), (None, 2)}


def test_without_a_subscription_the_scope_has_to_be_given(tenant: str, central: None) -> None:
    credential_id = store_credential(tenant, azure_secret())
    with pytest.raises(ProviderRefusedError, match=f"set `scope` of the step.*{credential_id}"):
        run(context_of(tenant))
