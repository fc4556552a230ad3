"""Every template, started by its own curl line: executors die under it, and the tables are right.

Data is of the providers' published shapes. The first run meets `kill -9` of its executors; a second
one for the same date, undisturbed, leaves the same tables. What the figures are is held by the
tests of each provider.
"""

import os
import random
import re
import subprocess
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from google.cloud import bigquery

from tests import aws, azure
from tests.system.test_aws import costs as aws_costs
from tests.system.test_azure import costs as azure_costs
from tests.system.test_kills import kill
from tests.system.world import DAY, PROJECT, Tenant, World
from tests.waiting import wait_until

CONFIGS = Path("configs")
NOVEMBER = date(2025, 11, 1)
ACCOUNTS = {"own": "0A1B2C-3D4E5F-6A7B8C", "other": "04D5E6-F7A8B9-C0D1E2"}
STORAGE = "devstoreaccount1"
"""The one storage account that Azurite has."""
DICE = random.Random(20251115)


def curl_line(template: str) -> str:
    """The command in the template's leading comment that runs it."""
    text = (CONFIGS / f"{template}.yml").read_text(encoding="utf-8")
    comment = "\n".join(
        line.removeprefix("#") for line in text.splitlines() if line.startswith("#")
    )
    command = rf"curl -X POST \S+/pipelines/run/acme_corp/{template} \\\n.*?-d '[^']*'"
    (found,) = re.findall(command, comment, re.DOTALL)
    return str(found)


def started(world: World, tenant: Tenant, template: str) -> str:
    """The run that the template's curl line starts."""
    line = curl_line(template).replace("http://127.0.0.1:8080", world.stack.urls["gateway"])
    ran = subprocess.run(
        ["bash", "-c", line.replace("acme_corp", tenant.tenant_id).replace("acmebilling", STORAGE)],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "API_KEY": tenant.api_key},
    )
    found = re.search(r'"pipeline_logging_id":\s*"([^"]+)"', ran.stdout)
    assert found, ran.stdout
    return found[1]


def nothing(world: World) -> Tenant:
    return world.onboard()


def google(world: World) -> Tenant:
    """A tenant with an account in both exports: a copy of another one's lines of the day."""
    for name in ("gcp_billing_export_v1", "gcp_billing_export_resource_v1"):
        table = f"{PROJECT}.billing_export.{name}"
        lines = f"FROM `{table}` WHERE billing_account_id = @other"
        if world.query(f"SELECT 1 {lines} LIMIT 1", other=ACCOUNTS["own"]):
            continue
        days = world.query(
            f"SELECT DISTINCT FORMAT_TIMESTAMP('%Y%m%d', _PARTITIONTIME) AS day {lines}"
            " AND DATE(usage_start_time) = @day",
            other=ACCOUNTS["other"],
            day=DAY,
        )
        for row in days:
            config = bigquery.QueryJobConfig(
                destination=f"{table}${row.day}",
                write_disposition="WRITE_APPEND",
                query_parameters=[
                    bigquery.ScalarQueryParameter(name, "STRING", value)
                    for name, value in {**ACCOUNTS, "partition": row.day}.items()
                ],
            )
            world.bigquery.query(
                f"SELECT * REPLACE (@own AS billing_account_id) {lines}"
                " AND FORMAT_TIMESTAMP('%Y%m%d', _PARTITIONTIME) = @partition",
                job_config=config,
            ).result()
    if not _google:
        own = [ACCOUNTS["own"]]
        _google.append(world.onboard(billing_account_ids=own, subscription_plan="SCALE"))
    return _google[0]


_google: list[Tenant] = []


def anomalous(world: World) -> Tenant:
    """Four weeks of a cost, and the day on which it is three times as high."""
    tenant = world.onboard()
    dataset = f"{tenant.tenant_id}_gcp_silver_cost"
    run = world.finished(tenant, world.start(tenant))
    assert run["status"] == "COMPLETED", run
    past = ", ".join(
        f"(DATE '{DAY - timedelta(weeks=week)}', 'Compute Engine', 'web', 'USD', 100 + {week})"
        for week in range(1, 5)
    )
    world.query(
        f"INSERT `{dataset}.billing_cost_daily`"
        " (usage_date, service_description, project_id, currency, net_cost)"
        f" VALUES {past}, (DATE '{DAY}', 'Compute Engine', 'web', 'USD', 300)"
    )
    return tenant


def amazon(world: World) -> tuple[Tenant, aws.Account]:
    tenant = world.onboard()
    account = aws.Account.new(world.stack.environment()["AWS_ENDPOINT_URL"])
    credential(world, tenant, "AWS", account.role_for(tenant.tenant_id))
    return tenant, account


def amazon_costs(world: World) -> Tenant:
    tenant, account = amazon(world)
    account.answer_costs(*aws_costs(1))
    return tenant


def amazon_export(world: World) -> Tenant:
    tenant, account = amazon(world)
    export = aws.Export(account, "acme-billing", prefix="exports")
    export.deliver(NOVEMBER, [aws.cur_rows(NOVEMBER, 300), aws.cur_rows(NOVEMBER, 40, seed=2)])
    return tenant


def microsoft(world: World) -> tuple[Tenant, azure.Subscription]:
    tenant = world.onboard()
    subscription = azure.Subscription(world.stack.environment()["AZURE_MANAGEMENT_URL"])
    credential(world, tenant, "AZURE", subscription.credential)
    return tenant, subscription


def microsoft_costs(world: World) -> Tenant:
    tenant, subscription = microsoft(world)
    subscription.costs_are(*azure_costs(1), page_size=10)
    return tenant


def microsoft_export(world: World) -> Tenant:
    tenant, _ = microsoft(world)
    place = {"container": "exports", "directory": "focus"}
    export = azure.Export(world.stack.environment(), account=STORAGE, **place)
    rows = azure.focus_rows(NOVEMBER, 200)
    export.deliver(NOVEMBER, {"part_0_0001.csv": (azure.as_csv(rows), len(rows))})
    return tenant


def credential(world: World, tenant: Tenant, provider: str, secret: dict[str, Any]) -> None:
    answer = world.http.post(
        f"/api/v1/tenants/{tenant.tenant_id}/credentials",
        headers=tenant.headers,
        json={"provider": provider, "name": "billing", "credentials": secret},
    )
    assert answer.status_code == 201, answer.text


TEMPLATES: dict[str, tuple[Callable[[World], Tenant], str | None]] = {
    "gcp/cost/cost_billing": (google, "gcp_silver_cost.billing_cost_daily"),
    "gcp/cost/cost_usage": (google, "gcp_silver_cost.cost_usage_daily"),
    "gcp/cost/dryrun": (nothing, None),
    "gcp/compute/vm_usage": (google, "gcp_silver_compute.vm_usage_daily"),
    "aws/cost/cost_explorer": (amazon_costs, "aws_silver_cost.cost_explorer_daily"),
    "aws/cost/cur": (amazon_export, "aws_bronze_cost.cur_line_items"),
    "azure/cost/cost_management": (microsoft_costs, "azure_silver_cost.cost_management_daily"),
    "azure/cost/export": (microsoft_export, "azure_bronze_cost.focus_line_items"),
    "shared/cost/anomalies": (anomalous, "cost_anomalies"),
}
"""What each needs before it, and the table that it is for."""
OTHER_NAMES = ["gcp/cost/billing", "gcp/cost/billing_cost"]
FOCUS = ["aws/cost/focus", "azure/cost/focus", "gcp/cost/focus"]
"""Killed and run twice by test_focus.py; here, their curl lines."""


def test_no_template_is_left_out() -> None:
    there = {file.relative_to(CONFIGS).with_suffix("").as_posix() for file in CONFIGS.glob("*/*/*")}
    assert there == {*TEMPLATES, *OTHER_NAMES, *FOCUS}


@pytest.mark.parametrize("template", TEMPLATES)
def test_a_template_leaves_the_same_tables_killed_or_not(world: World, template: str) -> None:
    prepare, table = TEMPLATES[template]
    tenant = prepare(world)
    families = families_of(template)

    run_id = started(world, tenant, template)
    for rows in sorted(DICE.sample(range(1, 6), 2)):
        wait_until(
            lambda rows=rows: is_over(world, tenant, run_id) or logged(world, tenant) >= rows,
            message="the run to go on",
            timeout=120,
        )
        kill(world, DICE.choice(families))
    killed = world.finished(tenant, run_id, timeout=180)
    assert killed["status"] == "COMPLETED", killed
    left = content(world, tenant)

    undisturbed = world.finished(tenant, started(world, tenant, template), timeout=180)

    assert undisturbed["status"] == "COMPLETED", undisturbed
    assert content(world, tenant) == left
    if table is not None:
        joint = "." if "." not in table else "_"
        assert left[f"{tenant.tenant_id}{joint}{table}"]


@pytest.mark.parametrize("template", FOCUS)
def test_a_curl_line_for_focus_is_taken(world: World, template: str) -> None:
    tenant = nothing(world)
    assert world.finished(tenant, started(world, tenant, template), timeout=180)


@pytest.mark.parametrize("template", OTHER_NAMES)
def test_a_template_of_another_name_runs(world: World, template: str) -> None:
    tenant = google(world)
    run = world.finished(tenant, started(world, tenant, template), timeout=180)
    assert run["status"] == "COMPLETED", run
    assert run["rows_processed"] > 0


def test_changed_columns_are_told_once_and_stop_nothing(world: World) -> None:
    tenant, account = amazon(world)
    export = aws.Export(account, f"acme-{tenant.tenant_id.removeprefix('t_')}")
    body = {
        "export_bucket": export.bucket,
        "export_prefix": export.prefix,
        "export_name": export.name,
        "lookback_days": 0,
    }
    plain = aws.cur_rows(NOVEMBER, 3)
    grown = plain.append_column("line_item_mood", pa.array(["a", "b", "c"]))
    changed = grown.drop_columns(["line_item_product_code"])
    for number, table in enumerate((plain, changed, changed)):
        export.deliver(NOVEMBER, [table], f"2025111{number}")
        run = world.finished(tenant, world.start(tenant, "aws/cost/cur", **body), timeout=180)
        assert run["status"] == "COMPLETED", run["error"]

    told = [m for m in world.mails(tenant.admin_email) if m["subject"].startswith("[SCHEMA]")]

    (mail,) = told
    text = " ".join(mail["text"].split())
    assert "column line_item_mood is new in the source" in text
    assert "column line_item_product_code is no longer in the source" in text


def test_the_documented_query_tells_what_each_template_costs_a_tenant(world: World) -> None:
    tenant = google(world)
    assert world.finished(tenant, world.start(tenant))["status"] == "COMPLETED"
    page = Path("docs/cost-per-tenant.md").read_text(encoding="utf-8")
    (documented,) = re.findall(r"```sql\n(.*?)```", page, re.DOTALL)

    bill = [row for row in world.query(documented) if row.tenant_id == tenant.tenant_id]

    (row,) = [row for row in bill if row.template == "gcp-cost-cost_billing"]
    assert row.jobs >= 3  # the day, and both scans of its quality
    assert row.bytes_billed >= row.jobs * 10 * 1024 * 1024


def families_of(template: str) -> list[str]:
    """The executors that its steps run in."""
    text = (CONFIGS / f"{template}.yml").read_text(encoding="utf-8")
    provider = template.partition("/")[0]
    own = f"step-{provider if provider != 'shared' else 'gcp'}"
    return [own, own, "step-shared"] if "shared.data_quality" in text else [own]


def is_over(world: World, tenant: Tenant, run_id: str) -> bool:
    answer = world.http.get(f"/api/v1/pipelines/runs/{run_id}", headers=tenant.headers)
    return answer.status_code == 200 and answer.json()["status"] in {"COMPLETED", "FAILED"}


def logged(world: World, tenant: Tenant) -> int:
    """How far the tenant's runs are: rows in the log of their steps."""
    log = f"{tenant.tenant_id}.x_meta_step_logs_log"
    (found,) = world.query(f"SELECT COUNT(*) AS n FROM `{log}`")
    return int(found.n)


def content(world: World, tenant: Tenant) -> dict[str, list[str]]:
    """Every row of every table that pipelines have written, by table."""
    found = {}
    for dataset in world.bigquery.list_datasets():
        name = dataset.dataset_id
        if name != tenant.tenant_id and not name.startswith(f"{tenant.tenant_id}_"):
            continue
        for table in world.bigquery.list_tables(name):
            if not table.table_id.startswith("x_meta_"):
                path = f"{name}.{table.table_id}"
                rows = world.query(f"SELECT TO_JSON_STRING(t) AS text FROM `{path}` AS t")
                found[path] = sorted(row.text for row in rows)
    return found
