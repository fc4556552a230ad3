"""Cost Explorer into a table, against moto and the local BigQuery."""

from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest

from shared.processors.aws.cost_explorer import CostExplorer, CostExplorerConfig
from shared.processors.contract import StepContext, StepResult
from shared.processors.provider_errors import SourceShapeError
from shared.warehouse import rows
from shared.warehouse.drift import DriftError
from shared.warehouse.failures import WarehouseBusyError
from shared.warehouse.queries import query
from tests.aws import Account, a_day, a_group, a_page
from tests.component.conftest import Cloud
from tests.runs import a_context, a_run

DAY = date(2025, 11, 15)
BEFORE = DAY - timedelta(days=1)
EC2, S3 = "Amazon Elastic Compute Cloud - Compute", "Amazon Simple Storage Service"


def a_config(**changes: Any) -> CostExplorerConfig:
    values: dict[str, Any] = {
        "source": {
            "metrics": ["UnblendedCost", "UsageQuantity"],
            "group_by": [{"dimension": "LINKED_ACCOUNT"}, {"dimension": "SERVICE"}],
        },
        "destination": {
            "dataset_type": "aws_silver_cost",
            "table": "cost_explorer_daily",
            "schema_template": "aws/cost_explorer_daily",
        },
        "lookback_days": 1,
    }
    return CostExplorerConfig.model_validate(values | changes)


def costs(*pairs: tuple[str, str], quantity: str = "1") -> list[dict[str, Any]]:
    return [
        a_group("444455556666", service, UnblendedCost=cost, UsageQuantity=quantity)
        for service, cost in pairs
    ]


def in_table(tenant: str, table: str = "cost_explorer_daily") -> list[dict[str, Any]]:
    sql = f"SELECT * FROM `{tenant}_aws_silver_cost.{table}` ORDER BY usage_date, service"
    return rows.read(query(sql))


def run(context: StepContext, config: CostExplorerConfig | None = None) -> StepResult:
    return CostExplorer().run(config or a_config(), context)


def context_of(tenant: str, **changes: Any) -> StepContext:
    return a_context(a_run(tenant, date=DAY), "fetch_costs", **changes)


def test_all_pages_become_days_of_the_table_to_the_last_digit(
    customer: str, account: Account
) -> None:
    names = [{"Value": "444455556666", "Attributes": {"description": "Production"}}]
    account.answer_costs(
        a_page(a_day(BEFORE, *costs((EC2, "12.3456789012"))), token="two"),
        a_page(
            a_day(BEFORE, *costs((S3, "0.0000000001"))),
            a_day(DAY, *costs((EC2, "1.5E-7"), (S3, "-3")), estimated=True),
            DimensionValueAttributes=names,
        ),
    )

    result = run(context_of(customer))

    found = in_table(customer)
    assert [
        (r["usage_date"], r["service"], r["unblended_cost"], r["estimated"]) for r in found
    ] == [
        (BEFORE, EC2, Decimal("12.3456789012"), False),
        (BEFORE, S3, Decimal("0.0000000001"), False),
        (DAY, EC2, Decimal("0.00000015"), True),
        (DAY, S3, Decimal(-3), True),
    ]
    assert {r["linked_account_name"] for r in found} == {"Production"}
    assert {(r["currency"], r["usage_unit"]) for r in found} == {("USD", "N/A")}
    assert result.rows_processed == 4
    assert result.outputs["pages"] == 2
    assert result.outputs["estimated_days"] == 1
    assert result.outputs["control_totals"] == [
        {"period": "2025-11-14", "currency": "USD", "rows": 2, "cost": "12.3456789013"},
        {"period": "2025-11-15", "currency": "USD", "rows": 2, "cost": "-2.99999985"},
    ]


def test_running_twice_and_at_once_leaves_the_same_rows(customer: str, account: Account) -> None:
    account.answer_costs(a_page(a_day(BEFORE), a_day(DAY, *costs((EC2, "1"), (S3, "2")))))
    context = context_of(customer)
    first = run(context)
    before = in_table(customer)

    with ThreadPoolExecutor(4) as pool:
        others = list(pool.map(lambda _: run(context), range(4)))

    assert in_table(customer) == before
    assert all(other == first for other in others)
    assert len(before) == 2


def test_appending_adds_once_however_often_and_in_whichever_attempt(
    customer: str, account: Account
) -> None:
    account.answer_costs(a_page(a_day(DAY, *costs((EC2, "1")))))
    config = a_config(
        lookback_days=0,
        destination={
            "dataset_type": "aws_silver_cost", "table": "appended", "write": "append",
        },
    )  # fmt: skip
    first = context_of(customer)
    for context in (first, first, a_context(first.run, first.step_id, attempt=2)):
        run(context, config)
    assert len(in_table(customer, "appended")) == 1


def test_a_crash_between_two_days_is_made_good_by_the_next_delivery(
    customer: str, account: Account, cloud: Cloud
) -> None:
    account.answer_costs(a_page(a_day(BEFORE, *costs((EC2, "1"))), a_day(DAY, *costs((EC2, "2")))))
    context = context_of(customer)
    cloud.fail("jobs.insert", times=1, status=403, reason="rateLimitExceeded")
    with pytest.raises(WarehouseBusyError):
        run(context)
    assert len(in_table(customer)) == 1

    run(context)

    assert [row["unblended_cost"] for row in in_table(customer)] == [1, 2]


def test_a_later_run_replaces_what_aws_has_corrected(customer: str, account: Account) -> None:
    estimate = a_day(DAY, *costs((EC2, "1"), (S3, "2")), estimated=True)
    account.answer_costs(
        a_page(a_day(BEFORE, *costs((EC2, "5"))), estimate),
        a_page(a_day(DAY, *costs((EC2, "1.25"))), a_day(DAY + timedelta(days=1))),
    )
    run(context_of(customer))

    tomorrow = a_run(customer, date=DAY + timedelta(days=1))
    run(a_context(tomorrow, "fetch_costs"))

    found = [(r["usage_date"], r["unblended_cost"], r["estimated"]) for r in in_table(customer)]
    assert found == [(BEFORE, 5, False), (DAY, Decimal("1.25"), False)]


def test_ungrouped_amounts_come_from_the_total_into_a_table_of_their_own_columns(
    customer: str, account: Account
) -> None:
    total = {"AmortizedCost": {"Amount": "7.5", "Unit": "EUR"}}
    account.answer_costs(a_page({**a_day(DAY), "Total": total}))
    config = a_config(
        source={"metrics": ["AmortizedCost"]},
        destination={"dataset_type": "aws_silver_cost", "table": "totals"},
        lookback_days=0,
    )

    run(context_of(customer), config)

    (row,) = rows.read(query(f"SELECT * FROM `{customer}_aws_silver_cost.totals`"))
    assert row == {
        "usage_date": DAY,
        "amortized_cost": Decimal("7.5"),
        "currency": "EUR",
        "usage_unit": None,
        "estimated": False,
    }


def test_tags_and_categories_lose_their_prefix(customer: str, account: Account) -> None:
    groups = (
        a_group("Cost Center$blue$1", "Team$", UnblendedCost="1"),
        a_group("Cost Center$", "Team$x", UnblendedCost="2"),
    )
    account.answer_costs(a_page(a_day(DAY, *groups)))
    config = a_config(
        source={"group_by": [{"tag": "Cost Center"}, {"cost_category": "Team"}]},
        destination={"table": "by_tag"},
        lookback_days=0,
    )

    run(context_of(customer), config)

    sql = f"SELECT tag_cost_center, cost_category_team FROM `{customer}.by_tag` ORDER BY 2"
    assert [tuple(row.values()) for row in rows.read(query(sql))] == [("blue$1", None), (None, "x")]


def test_a_table_of_another_form_is_left_alone(customer: str, account: Account) -> None:
    account.answer_costs(a_page(a_day(BEFORE), a_day(DAY, *costs((EC2, "1")))))
    run(context_of(customer))
    before = in_table(customer)
    other = a_config(
        destination={
            "dataset_type": "aws_silver_cost",
            "table": "cost_explorer_daily",
            "schema_template": "aws/focus_line_items",
        }
    )

    with pytest.raises(DriftError, match="partitioned by"):
        run(context_of(customer), other)

    assert in_table(customer) == before


def test_mixed_currencies_of_one_group_are_refused(customer: str, account: Account) -> None:
    group = a_group("444455556666", EC2, UnblendedCost="1", AmortizedCost="1")
    group["Metrics"]["AmortizedCost"]["Unit"] = "EUR"
    account.answer_costs(a_page(a_day(DAY, group)))
    source = {**a_config().source.model_dump(), "metrics": ["UnblendedCost", "AmortizedCost"]}

    with pytest.raises(SourceShapeError, match="currencies: EUR, USD"):
        run(context_of(customer), a_config(source=source, lookback_days=0))
