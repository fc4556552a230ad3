"""Bad input gets an error that names the field, the value and the fix, and changes nothing."""

import json
from typing import Any

import pytest

from tests.system.world import DAY, PROJECT, Tenant, World

ONBOARD = "/api/v1/tenants/onboard"


@pytest.fixture(scope="module")
def tenant(world: World) -> Tenant:
    return world.onboard()


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "/tenant_id"),
        ({"tenant_id": "Acme-Corp"}, "/tenant_id"),
        ({"tenant_id": "a"}, "/tenant_id"),
        ({"tenant_id": "tenants"}, "/tenant_id"),
        ({"tenant_id": "acme_gcp_silver_cost"}, "/tenant_id"),
        ({"tenant_id": "acme`; DROP TABLE x"}, "/tenant_id"),
        ({"tenant_id": 7}, "/tenant_id"),
        ({"tenant_id": "good_one", "admin_email": "nobody"}, "/admin_email"),
        ({"tenant_id": "good_one", "admin_email": "a@b.c\r\nBcc: x@y.z"}, "/admin_email"),
        ({"tenant_id": "good_one", "subscription_plan": "GOLD"}, "/subscription_plan"),
        ({"tenant_id": "good_one", "company_name": "x\ny"}, "/company_name"),
        ({"tenant_id": "good_one", "compny_name": "x"}, "/compny_name"),
        ({"tenant_id": "good_one", "billing_account_ids": ["mine"]}, "/billing_account_ids/0"),
    ],
)
def test_onboarding_names_the_bad_field(world: World, body: dict[str, Any], pointer: str) -> None:
    answer = world.http.post(ONBOARD, json=body)
    assert answer.status_code == 422, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]


@pytest.mark.parametrize("content", ["{", "[1]", '"x"', "null", "\xff", '{"tenant_id": }'])
def test_a_body_that_is_no_json_object_is_refused(world: World, content: str) -> None:
    headers = {"Content-Type": "application/json"}
    answer = world.http.post(ONBOARD, content=content.encode("latin-1"), headers=headers)
    assert answer.status_code == 422, answer.text
    assert answer.json()["errors"]


def test_a_body_over_one_megabyte_is_refused(world: World) -> None:
    answer = world.http.post(ONBOARD, content=json.dumps({"company_name": "x" * 1_100_000}))
    assert answer.status_code == 413
    assert answer.headers["content-type"] == "application/problem+json"


def test_an_existing_tenant_is_left_alone(world: World, tenant: Tenant) -> None:
    answer = world.http.post(ONBOARD, json={"tenant_id": tenant.tenant_id, "company_name": "Other"})
    assert answer.status_code == 409
    rows = world.query(
        "SELECT company_name FROM `tenants.tenant_profiles` WHERE tenant_id = @t",
        t=tenant.tenant_id,
    )
    assert [row.company_name for row in rows] == [None]
    keys = world.query(
        "SELECT key_hash FROM `tenants.tenant_api_keys` WHERE tenant_id = @t", t=tenant.tenant_id
    )
    assert len(keys) == 1


@pytest.mark.parametrize(
    ("template", "near"),
    [
        ("gcp/cost/cost_biling", "cost_billing"),
        ("gpc/cost/cost_billing", "gcp"),
        ("gcp/costs/cost_billing", "cost"),
    ],
)
def test_an_unknown_template_lists_near_names(
    world: World, tenant: Tenant, template: str, near: str
) -> None:
    answer = world.request_run(tenant, template)
    assert answer.status_code == 404, answer.text
    assert near in answer.json()["detail"]


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"date": "2025-01-01' OR '1'='1"}, "/date"),
        ({"date": "15.11.2025"}, "/date"),
        ({"date": "2025-02-30"}, "/date"),
        ({"date": 20251115}, "/date"),
        ({"date": "2999-01-01"}, "/date"),
        ({"tenant_id": "other"}, "/tenant_id"),
        ({"provider": "aws"}, "/provider"),
        ({"pipeline_id": "x"}, "/pipeline_id"),
        ({"run_date": "2025-01-01"}, "/run_date"),
        ({"billing_account_ids": ["03C4D5-E6F7A8-B9C0D1"]}, "/billing_account_ids"),
        ({"admin_email": "not-a-mail"}, "/admin_email"),
        ({"source_billing_tabel": "x"}, "/source_billing_tabel"),
        ({"source_billing_table": "x`; DROP TABLE y"}, "/source_billing_table"),
        ({"late_arrival_days": "many"}, "/late_arrival_days"),
    ],
)
def test_a_run_names_the_bad_field_and_nothing_runs(
    world: World, tenant: Tenant, body: dict[str, Any], pointer: str
) -> None:
    before = run_count(world, tenant)
    answer = world.request_run(tenant, **body)
    assert answer.status_code == 422, answer.text
    assert pointer in [error["pointer"] for error in answer.json()["errors"]]
    assert run_count(world, tenant) == before


def run_count(world: World, tenant: Tenant) -> int:
    sql = f"SELECT COUNT(*) AS n FROM `{tenant.tenant_id}.x_meta_pipeline_runs`"
    count: int = world.query(sql)[0].n
    return count


def test_keys_open_their_own_tenant_only(world: World, tenant: Tenant) -> None:
    other = world.onboard()
    path = f"/api/v1/pipelines/run/{tenant.tenant_id}/gcp/cost/cost_billing"
    forged = f"{tenant.tenant_id}_api_{'x' * 40}"
    for key, status in ((None, 401), ("", 401), ("rubbish", 401), (forged, 401)):
        headers = {} if key is None else {"X-API-Key": key}
        answer = world.http.post(path, headers=headers, json={"date": str(DAY)})
        assert answer.status_code == status
        assert answer.json()["detail"] == "Invalid API key. Send a valid key in X-API-Key."
    foreign = world.http.post(path, headers=other.headers, json={})
    nobody = world.http.post(
        "/api/v1/pipelines/run/no_such_tenant/gcp/cost/cost_billing", headers=other.headers, json={}
    )
    assert foreign.status_code == nobody.status_code == 403
    assert foreign.json()["detail"] == nobody.json()["detail"]


def test_another_tenants_run_is_not_found(world: World, tenant: Tenant) -> None:
    other = world.onboard()
    run_id = world.start(other, "gcp/cost/dryrun")
    answer = world.http.get(f"/api/v1/pipelines/runs/{run_id}", headers=tenant.headers)
    assert answer.status_code == 404
    status = f"/api/v1/pipelines/status/{other.tenant_id}/{run_id}"
    assert world.http.get(status, headers=tenant.headers).status_code == 403
    assert world.finished(other, run_id)["status"] == "COMPLETED"


@pytest.mark.parametrize(
    "table",
    [
        "{project}.{victim}.x_meta_pipeline_runs",
        "{victim}.x_meta_step_logs_log",
        "{project}.tenants.tenant_api_keys",
        "tenants.tenant_profiles_log",
        "{project}.{victim}.INFORMATION_SCHEMA.TABLES",
    ],
)
def test_a_table_of_somebody_else_fails_the_run_unread(
    world: World, tenant: Tenant, table: str
) -> None:
    victim = world.onboard()
    source = table.format(project=PROJECT, victim=victim.tenant_id)
    answer = world.request_run(tenant, source_billing_table=source)
    if answer.status_code == 422:
        assert answer.json()["errors"][0]["pointer"] == "/source_billing_table"
        return
    run = world.finished(tenant, answer.json()["pipeline_logging_id"])
    assert run["status"] == "FAILED"
    assert run["failed_step"] == "extract_billing_costs"
    assert run["error_code"] in {"foreign-table", "warehouse-refused"}, run
    assert run["bytes_processed"] == 0


def test_unknown_paths_and_methods_answer_as_problems(world: World) -> None:
    for method, path, status in (
        ("GET", "/api/v1/nothing", 404),
        ("PUT", "/api/v1/tenants/onboard", 405),
        ("GET", "/elsewhere", 404),
    ):
        answer = world.http.request(method, path)
        assert answer.status_code == status
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["status"] == status
