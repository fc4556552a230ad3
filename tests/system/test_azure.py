"""Azure from the credential to the last digit: the templates on data of its published shape."""

import gzip
import json
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from tests.azure import Export, Subscription, a_cost, as_csv, as_parquet, focus_rows
from tests.credential_samples import CLIENT_SECRET
from tests.system.test_kills import kill
from tests.system.world import DAY, Tenant, World
from tests.waiting import wait_until

DAYS = [DAY - timedelta(days=back) for back in range(6, -1, -1)]
SERVICES = ("Virtual Machines", "Storage", "Bandwidth")


def customer(world: World) -> tuple[Tenant, Subscription]:
    """A tenant that has stored an application which reads a subscription of its own."""
    tenant = world.onboard()
    subscription = Subscription(world.stack.environment()["AZURE_MANAGEMENT_URL"])
    answer = world.http.post(
        f"/api/v1/tenants/{tenant.tenant_id}/credentials",
        headers=tenant.headers,
        json={"provider": "AZURE", "name": "billing", "credentials": subscription.credential},
    )
    assert answer.status_code == 201, answer.text
    return tenant, subscription


def ended(world: World, tenant: Tenant, template: str, **body: Any) -> dict[str, Any]:
    return world.finished(tenant, world.start(tenant, template, **body), timeout=180)


def costs(factor: int) -> list[dict[str, Any]]:
    """A week, three services a day, amounts with the digits that a double has."""
    return [
        a_cost(day, service, f"{factor * number}.000000000000{number}1")
        for day in DAYS
        for number, service in enumerate(SERVICES, start=1)
    ]


def daily(world: World, tenant: Tenant) -> list[Any]:
    table = f"{tenant.tenant_id}_azure_silver_cost.cost_management_daily"
    return world.query(
        "SELECT usage_date, currency, COUNT(*) AS n, SUM(cost) AS cost"
        f" FROM `{table}` GROUP BY 1, 2 ORDER BY 1"
    )


def test_daily_costs_arrive_whole_and_once(world: World) -> None:
    tenant, subscription = customer(world)
    subscription.costs_are(*costs(1), page_size=10)

    first = ended(world, tenant, "azure/cost/cost_management")

    assert first["status"] == "COMPLETED", first
    found = daily(world, tenant)
    assert [row.usage_date for row in found] == DAYS
    assert {(row.n, row.currency) for row in found} == {(3, "EUR")}
    assert {row.cost for row in found} == {Decimal("6.00000000000063")}

    again = ended(world, tenant, "azure/cost/cost_management")

    assert again["status"] == "COMPLETED", again
    assert [row.values() for row in daily(world, tenant)] == [row.values() for row in found]
    for table in ("x_meta_pipeline_runs", "x_meta_step_logs", "x_meta_dq_results"):
        rows = world.query(f"SELECT * FROM `{tenant.tenant_id}.{table}`")
        assert CLIENT_SECRET not in json.dumps([dict(row) for row in rows], default=str)


def test_a_killed_executor_changes_nothing_about_the_result(world: World) -> None:
    """kill -9 in the middle of the step: the next delivery finds what is done and does the rest."""
    tenant, subscription = customer(world)
    subscription.costs_are(*costs(2), page_size=4)
    run_id = world.start(tenant, "azure/cost/cost_management")
    log = f"{tenant.tenant_id}.x_meta_step_logs_log"
    wait_until(
        lambda: world.query(f"SELECT 1 FROM `{log}` WHERE step_id = 'fetch_costs'"),
        message="the begin of the step",
        timeout=60,
    )
    kill(world, "step-azure")

    run = world.finished(tenant, run_id, timeout=180)

    assert run["status"] == "COMPLETED", run
    assert {(row.n, row.cost) for row in daily(world, tenant)} == {
        (3, Decimal("12.00000000000063"))
    }


def test_a_scope_that_azure_does_not_know_fails_the_run_with_a_mail(world: World) -> None:
    tenant, _ = customer(world)

    run = ended(world, tenant, "azure/cost/cost_management")

    assert run["status"] == "FAILED"
    assert "refused the request (404 NotFound)" in run["error"]
    (mail,) = wait_until(
        lambda: [
            m for m in world.mails(tenant.admin_email) if "Azure costs failed" in m["subject"]
        ],
        message="the mail",
        timeout=60,
    )
    assert "404 NotFound" in mail["text"]


def test_line_items_are_those_of_the_newest_run(world: World) -> None:
    tenant, _ = customer(world)
    export = Export(world.stack.environment())
    november = date(2025, 11, 1)
    body = {
        "storage_account": export.account,
        "container": export.container,
        "directory": export.directory,
        "export_name": export.name,
        "lookback_days": 0,
    }
    # The export is changed from CSV to Parquet between two of its runs.
    first, second = focus_rows(november, 300, seed=1), focus_rows(november, 200, seed=2)
    runs = {
        "a-first": ({"part_0_0001.csv.gz": (gzip.compress(as_csv(first)), 300)}, first),
        "b-second": ({"part_0_0001.snappy.parquet": (as_parquet(second), 200)}, second),
    }
    for run_of_export, (files, items) in runs.items():
        export.deliver(november, files, run_of_export)

        run = ended(world, tenant, "azure/cost/export", **body)

        assert run["status"] == "COMPLETED", run
        expected = sum((Decimal(row["BilledCost"]) for row in items), Decimal(0))
        (found,) = world.query(
            "SELECT COUNT(*) AS n, SUM(BilledCost) AS cost"
            f" FROM `{tenant.tenant_id}_azure_bronze_cost.focus_line_items`"
        )
        assert (found.n, found.cost) == (len(items), expected)
