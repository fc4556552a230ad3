"""FOCUS from three clouds: the templates, on data of the providers' published shapes."""

import uuid
from collections import Counter
from datetime import date
from decimal import Decimal
from typing import Any

from google.cloud import bigquery

from tests import aws, azure, focus
from tests.system.test_aws import customer as aws_customer
from tests.system.test_azure import customer as azure_customer
from tests.system.test_kills import kill
from tests.system.world import PROJECT, Tenant, World
from tests.waiting import wait_until

NOVEMBER = date(2025, 11, 1)


def completed(world: World, tenant: Tenant, template: str, **body: Any) -> dict[str, Any]:
    run = world.finished(tenant, world.start(tenant, template, **body), timeout=240)
    assert run["status"] == "COMPLETED", run["error"]
    return run


def rows(world: World, table: str) -> list[str]:
    found = world.query(f"SELECT TO_JSON_STRING(t) AS text FROM `{table}` AS t")
    return sorted(row.text for row in found)


def billed(world: World, table: str) -> dict[str, Decimal]:
    sql = f"SELECT BillingCurrency AS c, SUM(BilledCost) AS cost FROM `{table}` GROUP BY 1"
    return {row.c: row.cost for row in world.query(sql)}


def failed_rules(world: World, tenant: Tenant) -> list[str]:
    sql = f"SELECT rule_id FROM `{tenant.tenant_id}.x_meta_dq_results` WHERE status != 'PASSED'"
    return [row.rule_id for row in world.query(sql)]


def test_a_day_of_google_cloud_is_in_focus_once_whatever_dies(world: World) -> None:
    digits = uuid.uuid4().hex.upper()
    account = f"{digits[:6]}-{digits[6:12]}-{digits[12:18]}"
    tenant = world.onboard(billing_account_ids=[account])
    dataset = bigquery.Dataset(f"{PROJECT}.{tenant.tenant_id}_gcp_bronze_export")
    dataset.labels = {"tenant_id": tenant.tenant_id}
    world.bigquery.create_dataset(dataset)
    export = f"{PROJECT}.{dataset.dataset_id}.gcp_billing_export_resource_v1"
    lines = [row | {"billing_account_id": account} for row in focus.gcp_rows()]
    others = [focus.gcp_row(1000.0, billing_account_id="somebody-else")]
    focus.gcp_export(world.bigquery, export, lines + others)
    body = {"source_billing_table": export}

    run_id = world.start(tenant, "gcp/cost/focus", **body)
    log = f"{tenant.tenant_id}.x_meta_step_logs_log"
    wait_until(
        lambda: world.query(f"SELECT 1 FROM `{log}` WHERE step_id = 'normalize'"),
        message="the begin of the step",
        timeout=120,
    )
    kill(world, "step-gcp")
    run = world.finished(tenant, run_id, timeout=240)

    assert run["status"] == "COMPLETED", run["error"]
    table = f"{tenant.tenant_id}_gcp_gold_focus.cost_and_usage"
    assert billed(world, table) == {"USD": Decimal("9.9839999"), "EUR": Decimal("0.3")}
    kinds = world.query(f"SELECT ChargeCategory AS kind FROM `{table}`")
    assert Counter(row.kind for row in kinds) == {
        "Usage": 6, "Purchase": 1, "Tax": 1, "Credit": 1, "Adjustment": 1,
    }  # fmt: skip
    assert failed_rules(world, tenant) == []
    once = rows(world, table)
    completed(world, tenant, "gcp/cost/focus", **body)
    assert rows(world, table) == once


def test_a_month_of_aws_is_in_focus(world: World) -> None:
    tenant, account = aws_customer(world)
    export = aws.Export(account, f"acme-{uuid.uuid4().hex[:12]}")
    export.deliver(NOVEMBER, [aws.cur_rows(NOVEMBER, 200)])
    body = {"export_bucket": export.bucket, "export_prefix": export.prefix,
            "export_name": export.name, "lookback_days": 0}  # fmt: skip
    completed(world, tenant, "aws/cost/cur", **body)

    completed(world, tenant, "aws/cost/focus")

    (items,) = world.query(
        "SELECT COUNT(*) AS n, SUM(line_item_unblended_cost) AS cost"
        f" FROM `{tenant.tenant_id}_aws_bronze_cost.cur_line_items`"
    )
    table = f"{tenant.tenant_id}_aws_gold_focus.cost_and_usage"
    once = rows(world, table)
    assert (len(once), billed(world, table)) == (items.n, {"USD": items.cost})
    assert failed_rules(world, tenant) == []
    completed(world, tenant, "aws/cost/focus")
    assert rows(world, table) == once


def test_a_month_of_azure_is_in_focus_in_two_versions(world: World) -> None:
    tenant, _ = azure_customer(world)
    export = azure.Export(world.stack.environment())
    items = azure.focus_rows(NOVEMBER, 200)
    export.deliver(NOVEMBER, {"part_0_0001.csv": (azure.as_csv(items), len(items))})
    body = {"storage_account": export.account, "container": export.container,
            "directory": export.directory, "export_name": export.name,
            "lookback_days": 0}  # fmt: skip
    completed(world, tenant, "azure/cost/export", **body)
    expected = {
        currency: sum(Decimal(r["BilledCost"]) for r in items if r["BillingCurrency"] == currency)
        for currency in ("EUR", "USD")
    }

    older = {"focus_version": "1.2", "destination_table": "cost_and_usage_1_2"}
    for more, name in (({}, "cost_and_usage"), (older, older["destination_table"])):
        completed(world, tenant, "azure/cost/focus", **more)

        table = f"{tenant.tenant_id}_azure_gold_focus.{name}"
        once = rows(world, table)
        assert (len(once), billed(world, table)) == (200, expected)
        completed(world, tenant, "azure/cost/focus", **more)
        assert rows(world, table) == once


def test_a_table_that_is_no_export_fails_the_run_with_a_mail(world: World) -> None:
    tenant = world.onboard()
    world.query(f"CREATE TABLE `{tenant.tenant_id}.costs` (day DATE, cost NUMERIC)")

    run = world.finished(
        tenant,
        world.start(tenant, "aws/cost/focus", source_table=f"{PROJECT}.{tenant.tenant_id}.costs"),
        timeout=240,
    )

    assert run["status"] == "FAILED"
    assert "has no column bill_payer_account_id" in run["error"]
    (mail,) = wait_until(
        lambda: [m for m in world.mails(tenant.admin_email) if "FOCUS for AWS" in m["subject"]],
        message="the mail",
        timeout=60,
    )
    assert "cost_and_usage is as it was before the run" in " ".join(mail["text"].split())
