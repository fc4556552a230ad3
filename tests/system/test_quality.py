"""Data quality through the whole stack: rules, reconciliation, anomalies, and who is told."""

import json
import uuid
from datetime import timedelta
from typing import Any

from tests.system.world import ACCOUNTS, DAY, PROJECT, Tenant, World
from tests.waiting import wait_until

SILVER = "gcp_silver_cost"


def dq_results(world: World, tenant: Tenant, **filters: Any) -> dict[str, Any]:
    path = f"/api/v1/tenants/{tenant.tenant_id}/metadata/dq-results"
    answer = world.http.get(path, headers=tenant.headers, params=filters)
    assert answer.status_code == 200, answer.text
    content: dict[str, Any] = answer.json()
    return content


def publish(world: World, tenant: Tenant, *steps: dict[str, Any]) -> str:
    """Send the steps on their way as the api does; the run's ID."""
    run_id = str(uuid.uuid4())
    run = {
        "pipeline_logging_id": run_id, "pipeline_id": f"{tenant.tenant_id}-test",
        "tenant_id": tenant.tenant_id, "provider": "gcp", "domain": "cost",
        "template_name": "test", "date": str(DAY), "run_date": str(DAY),
        "trigger_type": "manual", "started_at": "2025-11-16T06:00:00+00:00",
    }  # fmt: skip
    shared = {
        "trigger": "on_success", "timeout_seconds": 120,
        "retry": {"max_attempts": 3, "backoff_seconds": 1},
    }  # fmt: skip
    whole = [{**shared, "name": step["step_id"], **step} for step in steps]
    message = {"version": 1, "run": run, "steps": whole, "sources": [], "position": 0}
    world.publish(f"step-{whole[0]['family']}", json.dumps(message).encode())
    return run_id


def billed(world: World) -> Tenant:
    """A tenant whose costs of the day are there."""
    tenant = world.onboard(billing_account_ids=[])
    dataset = f"{tenant.tenant_id}_{SILVER}"
    assert world.finished(tenant, world.start(tenant))["status"] == "COMPLETED"
    values = ", ".join(
        f"(DATE '{DAY}', '{sku}', '{unit}', {cost}, {cost}, 0, 1)"
        for sku, unit, cost in (("a", "USD", "1.5"), ("b", "USD", "2.25"), ("c", "EUR", "7"))
    )
    world.query(
        f"INSERT `{dataset}.billing_cost_daily` (usage_date, sku_id, currency, net_cost,"
        f" gross_cost, credit_total, line_items) VALUES {values}"
    )
    return tenant


def test_a_bill_is_checked_and_the_results_are_listed(world: World) -> None:
    tenant, other = world.onboard(billing_account_ids=[ACCOUNTS[2]]), world.onboard()
    run_id = world.start(tenant)
    run = world.finished(tenant, run_id)
    assert run["status"] == "COMPLETED", run
    assert {step["step_id"] for step in world.status(tenant, run_id)["steps"]} == {
        "extract_billing_costs", "check_billing_costs",
    }  # fmt: skip

    found = dq_results(world, tenant, pipeline_logging_id=run_id)
    rules = {row["rule_id"]: row for row in found["results"]}
    assert {row["status"] for row in rules.values()} == {"PASSED"}
    assert set(rules) == {
        "usage_date_present", "currency_present", "parts_add_up", "one_row_each", "rows_as_usual",
        "net_cost_of_the_export",
    }  # fmt: skip
    assert rules["one_row_each"]["rows_checked"] == run["rows_processed"] > 0
    assert rules["net_cost_of_the_export"]["expected"] not in {None, "0"}

    pages, cursor = [], None
    while True:
        page = dq_results(world, tenant, limit=4, **({"cursor": cursor} if cursor else {}))
        pages.append([row["rule_id"] for row in page["results"]])
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert [len(page) for page in pages] == [4, 2]
    assert sorted(name for page in pages for name in page) == sorted(rules)
    for filters, count in (
        ({"status": "FAILED"}, 0), ({"severity": "warn"}, 1), ({"date": str(DAY)}, 6),
        ({"table": "billing_cost_daily"}, 6), ({"table": "other.billing_cost_daily"}, 0),
        ({"table": f"{tenant.tenant_id}_{SILVER}.billing_cost_daily", "rule": "one_row_each"}, 1),
        ({"from": "2020-01-01", "to": "2020-12-31"}, 0), ({"date": "2025-11-14"}, 0),
    ):  # fmt: skip
        assert len(dq_results(world, tenant, **filters)["results"]) == count, filters

    path = f"/api/v1/tenants/{tenant.tenant_id}/metadata/dq-results"
    assert world.http.get(path, headers=other.headers).status_code == 403
    for bad in ("status=OK", "limit=0", "cursor=x", "from=1", "date=x"):
        answer = world.http.get(f"{path}?{bad}", headers=tenant.headers)
        assert answer.status_code == 422, bad
        assert answer.json()["errors"][0]["pointer"] == bad.partition("=")[0]

    # Restated twice: the second time no date is written, and the check holds against what is there.
    for _ in range(2):
        run_id = world.start(tenant, restate="changed_since_last_run")
        run = world.finished(tenant, run_id)
        assert run["status"] == "COMPLETED", run
    again = dq_results(world, tenant, pipeline_logging_id=run_id)["results"]
    assert {row["status"] for row in again if row["severity"] == "fail"} == {"PASSED"}


def test_a_warning_is_recorded_and_a_failure_ends_the_run_with_its_reason(world: World) -> None:
    tenant = billed(world)
    check = {
        "step_id": "check", "ps_type": "shared.data_quality", "family": "shared",
        "config": {
            "dataset_type": SILVER, "table": "billing_cost_daily", "keys": ["sku_id"],
            "rules": [
                {"name": "small", "check": "range", "column": "net_cost", "maximum": 5,
                 "severity": "warn"},
                {"name": "present", "check": "not_null", "column": "currency"},
            ],
        },
    }  # fmt: skip
    broken = json.loads(json.dumps(check))
    broken["step_id"] = "break"
    broken["config"]["rules"][0]["severity"] = "fail"
    after = {
        "step_id": "after", "ps_type": "shared.email_notification", "family": "shared",
        "config": {"to_emails": [tenant.admin_email], "subject": "passed", "message": "all well"},
    }  # fmt: skip
    alert = {
        **after, "step_id": "alert", "trigger": "on_failure",
        "config": {"to_emails": [tenant.admin_email], "subject": "broken",
                   "message": {"$late": [{"ref": "error_message"}]}},
    }  # fmt: skip

    run_id = publish(world, tenant, check, broken, after, alert)
    run = world.finished(tenant, run_id)

    assert (run["status"], run["failed_step"], run["error_code"]) == (
        "FAILED", "break", "data-quality",
    )  # fmt: skip
    told = 'small: 1 of 3 rows break it, such as {"sku_id": "c", "net_cost": 7}'
    assert told in run["error"]
    (mail,) = wait_until(
        lambda: [m for m in world.mails(tenant.admin_email) if m["subject"] == "broken"],
        message="the alert",
    )
    assert told in " ".join(mail["text"].split())
    assert not [m for m in world.mails(tenant.admin_email) if m["subject"] == "passed"]
    failed = dq_results(world, tenant, status="FAILED", pipeline_logging_id=run_id)["results"]
    assert {(row["step_id"], row["rule_id"], row["severity"]) for row in failed} == {
        ("check", "small", "warn"), ("break", "small", "fail"),
    }  # fmt: skip
    assert failed[0]["details"] == {"samples": [{"sku_id": "c", "net_cost": 7}]}


def test_what_does_not_reconcile_leaves_the_partition_as_it_was(world: World) -> None:
    tenant = billed(world)
    dataset = f"{tenant.tenant_id}_{SILVER}"
    public = f"SELECT * FROM `{dataset}.billing_cost_daily` ORDER BY sku_id"
    before = [row.values() for row in world.query(public)]
    assert len(before) == 3
    own = f"SELECT * REPLACE ({{cost}} AS net_cost) FROM `{dataset}.billing_cost_daily`"

    def steps(cost: str) -> list[dict[str, Any]]:
        stage = {
            "step_id": "stage", "ps_type": "gcp.bigquery_to_bigquery", "family": "gcp",
            "config": {
                "source": {"query": {"sql": own.format(cost=cost)}},
                "destination": {"dataset_type": SILVER, "table": "billing_staging",
                                "schema_template": "gcp/billing_cost_daily"},
            },
        }  # fmt: skip
        control = (
            "SELECT usage_date AS period, currency, COUNT(*) AS row_count, SUM(gross_cost) AS cost"
            f" FROM `{dataset}.billing_cost_daily` GROUP BY 1, 2"
        )
        reconcile = {
            "step_id": "reconcile", "ps_type": "shared.reconcile", "family": "shared",
            "config": {
                "dataset_type": SILVER, "table": "billing_staging",
                "promote_to": "billing_cost_daily", "period": "usage_date",
                "currency": "currency", "cost": "net_cost", "row_count": "line_items",
                "control": {"query": {"sql": control}},
            },
        }  # fmt: skip
        return [stage, reconcile]

    damaged = "IF(currency = 'EUR', net_cost - NUMERIC '0.000000001', net_cost)"
    run = world.finished(tenant, publish(world, tenant, *steps(damaged)))
    assert (run["status"], run["failed_step"], run["error_code"]) == (
        "FAILED", "reconcile", "not-reconciled",
    )  # fmt: skip
    assert f"{DAY} EUR: cost 6.999999999 where the source has 7 (-0.000000001)" in run["error"], (
        run["error"]
    )
    assert [row.values() for row in world.query(public)] == before

    run = world.finished(tenant, publish(world, tenant, *steps("net_cost")))
    assert run["status"] == "COMPLETED", run
    assert [row.values() for row in world.query(public)] == before


def test_spikes_are_found_and_told(world: World) -> None:
    tenant = billed(world)
    table = f"{PROJECT}.{tenant.tenant_id}_{SILVER}.billing_cost_daily"
    past = ", ".join(
        f"(DATE '{DAY - timedelta(weeks=week)}', 'Compute Engine', 'web', 'USD', 100 + {week})"
        for week in range(1, 5)
    )
    world.query(
        f"INSERT `{table}` (usage_date, service_description, project_id, currency, net_cost)"
        f" VALUES {past}, (DATE '{DAY}', 'Compute Engine', 'web', 'USD', 300)"
    )

    run = world.finished(tenant, world.start(tenant, "shared/cost/anomalies"))
    assert run["status"] == "COMPLETED", run
    (mail,) = wait_until(
        lambda: [m for m in world.mails(tenant.admin_email) if m["subject"].startswith("[COST]")],
        message="the mail about the spike",
    )
    assert mail["subject"] == f"[COST] 1 spikes - {tenant.tenant_id} - {DAY}"
    assert "Compute Engine in web: 300 USD instead of 102.5 (+197.5, 2.9 times" in mail["text"]
    rows = world.query(f"SELECT service, baseline FROM `{tenant.tenant_id}.cost_anomalies`")
    assert [tuple(row.values()) for row in rows] == [("Compute Engine", 102.5)]

    quiet = world.start(tenant, "shared/cost/anomalies", minimum_increase=500)
    assert world.finished(tenant, quiet)["status"] == "COMPLETED"
    steps = {s["step_id"]: s["status"] for s in world.status(tenant, quiet)["steps"]}
    assert steps["tell_spikes"] == "SKIPPED"
    assert world.query(f"SELECT * FROM `{tenant.tenant_id}.cost_anomalies`") == []
