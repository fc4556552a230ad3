"""AWS from the credential to the last digit: the templates, on data of AWS's published shape."""

import json
import uuid
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from tests.aws import EXTERNAL_ID, Account, Export, a_day, a_group, a_page, cur_rows
from tests.system.test_kills import kill
from tests.system.world import DAY, Tenant, World
from tests.waiting import wait_until

NOVEMBER = date(2025, 11, 1)
DAYS = [DAY - timedelta(days=back) for back in range(6, -1, -1)]
SERVICES = ("Amazon Elastic Compute Cloud - Compute", "Amazon Simple Storage Service", "Tax")


def customer(world: World) -> tuple[Tenant, Account]:
    """A tenant that has stored a role of an account of its own."""
    tenant = world.onboard()
    account = Account.new(world.stack.environment()["AWS_ENDPOINT_URL"])
    answer = world.http.post(
        f"/api/v1/tenants/{tenant.tenant_id}/credentials",
        headers=tenant.headers,
        json={
            "provider": "AWS",
            "name": "billing",
            "credentials": account.role_for(tenant.tenant_id),
        },
    )
    assert answer.status_code == 201, answer.text
    return tenant, account


def ended(world: World, tenant: Tenant, template: str, **body: Any) -> dict[str, Any]:
    return world.finished(tenant, world.start(tenant, template, **body), timeout=120)


def costs(factor: int) -> list[dict[str, Any]]:
    """Two pages of a week, three services a day, amounts of ten decimals and more."""
    days = [
        a_day(
            day,
            *(
                a_group(
                    "444455556666",
                    service,
                    UnblendedCost=f"{factor * number}.00000000{number}1",
                    AmortizedCost=f"{number}.5",
                    UsageQuantity="12.0000277778",
                )
                for number, service in enumerate(SERVICES, start=1)
            ),
            estimated=day == DAY,
        )
        for day in DAYS
    ]
    names = [{"Value": "444455556666", "Attributes": {"description": "Production"}}]
    return [
        a_page(*days[:3], token="more"),
        a_page(*days[3:], DimensionValueAttributes=names),
    ]


def daily(world: World, tenant: Tenant) -> list[Any]:
    table = f"{tenant.tenant_id}_aws_silver_cost.cost_explorer_daily"
    return world.query(
        "SELECT usage_date, currency, COUNT(*) AS n, SUM(unblended_cost) AS cost,"
        f" LOGICAL_OR(estimated) AS estimated FROM `{table}` GROUP BY 1, 2 ORDER BY 1"
    )


def test_daily_costs_arrive_whole_and_once(world: World) -> None:
    tenant, account = customer(world)
    account.answer_costs(*costs(1))

    first = ended(world, tenant, "aws/cost/cost_explorer")

    assert first["status"] == "COMPLETED", first["error"]
    found = daily(world, tenant)
    assert [row.usage_date for row in found] == DAYS
    assert {(row.n, row.currency) for row in found} == {(3, "USD")}
    assert {row.cost for row in found} == {Decimal("6.0000000063")}
    assert [row.estimated for row in found] == [False] * 6 + [True]

    again = ended(world, tenant, "aws/cost/cost_explorer")

    assert again["status"] == "COMPLETED", again["error"]
    assert [row.values() for row in daily(world, tenant)] == [row.values() for row in found]


def test_an_answer_that_is_not_whole_fails_the_run_with_a_mail_and_changes_nothing(
    world: World,
) -> None:
    tenant, account = customer(world)
    groups = a_group("444455556666", SERVICES[0], UnblendedCost="1", AmortizedCost="1")
    account.answer_costs(a_page(*(a_day(day, groups) for day in DAYS)))

    run = ended(world, tenant, "aws/cost/cost_explorer")

    assert run["status"] == "FAILED"
    assert "UsageQuantity.Amount is missing" in run["error"]
    datasets = {dataset.dataset_id for dataset in world.bigquery.list_datasets()}
    assert f"{tenant.tenant_id}_aws_silver_cost" not in datasets
    (mail,) = wait_until(
        lambda: [m for m in world.mails(tenant.admin_email) if "AWS costs failed" in m["subject"]],
        message="the mail",
        timeout=60,
    )
    assert "UsageQuantity.Amount is missing" in mail["text"]


def test_a_killed_executor_changes_nothing_about_the_result(world: World) -> None:
    """kill -9 in the middle of the step: the next delivery finds what is done and does the rest."""
    tenant, account = customer(world)
    account.answer_costs(*costs(2))
    run_id = world.start(tenant, "aws/cost/cost_explorer")
    log = f"{tenant.tenant_id}.x_meta_step_logs_log"
    wait_until(
        lambda: world.query(f"SELECT 1 FROM `{log}` WHERE step_id = 'fetch_costs'"),
        message="the begin of the step",
        timeout=60,
    )
    kill(world, "step-aws")

    run = world.finished(tenant, run_id, timeout=180)

    assert run["status"] == "COMPLETED", run["error"]
    assert {(row.n, row.cost) for row in daily(world, tenant)} == {(3, Decimal("12.0000000063"))}


def test_without_a_credential_the_run_says_where_to_store_one(world: World) -> None:
    tenant = world.onboard()
    run = ended(world, tenant, "aws/cost/cost_explorer")
    assert run["status"] == "FAILED"
    assert f"POST /api/v1/tenants/{tenant.tenant_id}/credentials" in run["error"]


def test_line_items_are_those_of_the_newest_delivery(world: World) -> None:
    tenant, account = customer(world)
    export = Export(account, f"acme-{uuid.uuid4().hex[:12]}")
    body = {
        "export_bucket": export.bucket,
        "export_prefix": export.prefix,
        "export_name": export.name,
        "lookback_days": 0,
    }
    for seed, execution in ((1, "20251116T01-x"), (2, "20251117T01-y")):
        tables = [cur_rows(NOVEMBER, 400, seed=seed), cur_rows(NOVEMBER, 50, seed=seed + 10)]
        export.deliver(NOVEMBER, tables, execution)

        run = ended(world, tenant, "aws/cost/cur", **body)

        assert run["status"] == "COMPLETED", run["error"]
        expected = sum(
            (
                Decimal(repr(cost))
                for table in tables
                for cost in table["line_item_unblended_cost"].to_pylist()
            ),
            Decimal(0),
        )
        (found,) = world.query(
            "SELECT COUNT(*) AS n, SUM(line_item_unblended_cost) AS cost"
            f" FROM `{tenant.tenant_id}_aws_bronze_cost.cur_line_items`"
        )
        assert (found.n, found.cost) == (450, expected)
    assert_no_secret(world, tenant)


def assert_no_secret(world: World, tenant: Tenant) -> None:
    """Neither logs nor tables of the tenant hold its external ID."""
    for table in ("x_meta_pipeline_runs", "x_meta_step_logs", "x_meta_dq_results"):
        rows = world.query(f"SELECT * FROM `{tenant.tenant_id}.{table}`")
        assert EXTERNAL_ID not in json.dumps([dict(row) for row in rows], default=str)
