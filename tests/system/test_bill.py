"""A tenant's bill, from onboarding to the last digit."""

from decimal import Decimal

from tests.system.world import ACCOUNTS, DAY, PROJECT, World
from tests.waiting import wait_until


def control_totals(world: World, accounts: list[str]) -> dict[str, Decimal]:
    rows = world.query(
        "SELECT currency, SUM(CAST(cost AS NUMERIC)) + SUM(IFNULL((SELECT SUM(CAST(c.amount AS"
        " NUMERIC)) FROM UNNEST(credits) AS c), 0)) AS net"
        " FROM `billing_export.gcp_billing_export_v1` WHERE DATE(usage_start_time) = @day"
        " AND billing_account_id IN UNNEST(@accounts) GROUP BY currency",
        day=DAY,
        accounts=accounts,
    )
    return {row.currency: row.net for row in rows}


def totals(world: World, dataset: str) -> dict[str, Decimal]:
    rows = world.query(
        f"SELECT currency, SUM(net_cost) AS net FROM `{dataset}.billing_cost_daily`"
        " WHERE usage_date = @day GROUP BY currency",
        day=DAY,
    )
    return {row.currency: row.net for row in rows}


def test_a_tenant_without_accounts_gets_an_empty_bill(world: World) -> None:
    tenant = world.onboard(billing_account_ids=[])
    run = world.finished(tenant, world.start(tenant))
    assert run["status"] == "COMPLETED", run
    assert run["rows_processed"] == 0


def test_totals_equal_the_export_and_isolation_holds(world: World) -> None:
    owners = {account: world.onboard(billing_account_ids=[account]) for account in ACCOUNTS[:2]}
    runs = {account: world.start(tenant) for account, tenant in owners.items()}
    for account, tenant in owners.items():
        run = world.finished(tenant, runs[account])
        assert run["status"] == "COMPLETED", run
        dataset = f"{tenant.tenant_id}_gcp_silver_cost"
        assert totals(world, dataset) == control_totals(world, [account])
        found = world.query(
            f"SELECT DISTINCT billing_account_id FROM `{dataset}.billing_cost_daily`"
        )
        assert [row.billing_account_id for row in found] == [account]
        count = world.query(f"SELECT COUNT(*) AS n FROM `{dataset}.billing_cost_daily`")[0].n
        assert run["rows_processed"] == count > 0
    body = {"tenant_id": "somebody_else", "billing_account_ids": [ACCOUNTS[0]]}
    again = world.http.post("/api/v1/tenants/onboard", json=body)
    assert again.status_code == 422
    assert again.json()["errors"][0]["pointer"] == "/billing_account_ids"

    tenant = owners[ACCOUNTS[1]]
    dataset = f"{tenant.tenant_id}_gcp_silver_cost"
    before = world.query(
        f"SELECT * FROM `{dataset}.billing_cost_daily` ORDER BY 1, 2, 3, 5, 7, 9, 15"
    )
    rerun = world.finished(tenant, world.start(tenant, "gcp/cost/billing"))
    assert rerun["status"] == "COMPLETED"
    after = world.query(
        f"SELECT * FROM `{dataset}.billing_cost_daily` ORDER BY 1, 2, 3, 5, 7, 9, 15"
    )
    assert [row.values() for row in after] == [row.values() for row in before]


def test_the_users_guide_works_as_written(world: World) -> None:
    """Documents of the user: aliases, ids, answers."""
    answer = world.http.post(
        "/api/v1/customers/onboard",
        content='{"tenant_id":"acmeinc_23xv2","admin_email":"admin@acmeinc.com"}',
        headers={"Content-Type": "application/x-www-form-urlencoded"},
    )
    assert answer.status_code == 201, answer.text
    content = answer.json()
    assert content["api_key"].startswith("acmeinc_23xv2_api_")
    assert content["dataset_created"] is True
    assert content["tables_created"] == [
        "x_meta_pipeline_runs",
        "x_meta_step_logs",
        "x_meta_dq_results",
    ]
    started = world.http.post(
        "/api/v1/pipelines/run/acmeinc_23xv2/gcp/cost/billing_cost",
        headers={"X-API-Key": content["api_key"], "X-User-ID": "alice_uuid_123"},
        json={"date": "2025-11-14", "trigger_by": "finance_team"},
    )
    assert started.status_code == 202
    assert started.json()["pipeline_id"] == "acmeinc_23xv2-gcp-cost-billing_cost"
    assert started.json()["status"] == "PENDING"
    run_id = started.json()["pipeline_logging_id"]
    path = f"/api/v1/pipelines/status/acmeinc_23xv2/{run_id}"
    by_tenant = world.http.get(path, headers={"X-API-Key": content["api_key"]}).json()
    assert by_tenant["user_id"] == "alice_uuid_123"
    assert by_tenant["trigger_by"] == "finance_team"
    rows = world.query(
        "SELECT pipeline_logging_id, pipeline_id, tenant_id, user_id, status, start_time,"
        " duration_ms FROM `acmeinc_23xv2.x_meta_pipeline_runs` ORDER BY start_time DESC LIMIT 10"
    )
    assert run_id in {row.pipeline_logging_id for row in rows}


def test_dryrun_moves_no_data(world: World) -> None:
    tenant = world.onboard(billing_account_ids=[])
    run = world.finished(tenant, world.start(tenant, "gcp/cost/dryrun"))
    assert run["status"] == "COMPLETED"
    datasets = {dataset.dataset_id for dataset in world.bigquery.list_datasets(PROJECT)}
    assert tenant.tenant_id in datasets
    assert f"{tenant.tenant_id}_gcp_silver_cost" not in datasets


def test_the_welcome_mail_arrives_once(world: World) -> None:
    tenant = world.onboard(company_name="Welcome Ltd")
    (mail,) = wait_until(lambda: world.mails(tenant.admin_email), message="the welcome mail")
    assert "Welcome" in mail["subject"]
    assert tenant.api_key not in mail["text"]
