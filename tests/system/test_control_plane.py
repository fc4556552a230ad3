"""A tenant's life over HTTPS: keys, runs, upgrade, suspension, end."""

import uuid
from typing import Any

import httpx
import pytest

from tests.system.world import ADMIN_KEY, DAY, FINAL, PROJECT, Tenant, World
from tests.waiting import wait_until

ADMIN = {"X-Admin-Key": ADMIN_KEY, "X-User-ID": "operator-1"}


@pytest.fixture(scope="module")
def tenant(world: World) -> Tenant:
    return world.onboard(subscription_plan="SCALE", company_name="Control Ltd")


def path(tenant: Tenant, rest: str = "") -> str:
    return f"/api/v1/tenants/{tenant.tenant_id}{rest}"


def new_key(world: World, tenant: Tenant, *scopes: str) -> dict[str, Any]:
    body = {"name": "a test's", "scopes": list(scopes)} if scopes else {"name": "a test's"}
    answer = world.http.post(path(tenant, "/api-keys"), headers=tenant.headers, json=body)
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


def audited(world: World, tenant: Tenant, action: str) -> list[Any]:
    return world.query(
        "SELECT outcome, actor_type, actor_id, user_id, resource_id, reason, request_id,"
        " source_address FROM `tenants.audit_log` WHERE tenant_id = @t AND action = @a"
        " ORDER BY recorded_at",
        t=tenant.tenant_id,
        a=action,
    )


def test_ready_names_the_services(world: World) -> None:
    """Asked again while it says no, as whoever routes traffic does: a cold client may take 2 s."""

    def ready() -> httpx.Response | None:
        answer = httpx.get(f"{world.stack.urls['api']}/ready", timeout=30)
        return answer if answer.status_code == 200 else None

    answer = wait_until(ready, timeout=90, message="/ready", every=0.5)
    assert answer is not None
    assert answer.json()["checks"] == {"bigquery": "ok", "pubsub": "ok", "kms": "ok"}


def test_profile_shows_plan_and_limits(world: World, tenant: Tenant) -> None:
    profile = world.http.get(path(tenant), headers=tenant.headers).json()
    assert profile["company_name"] == "Control Ltd"
    assert profile["status"] == "ACTIVE"
    assert profile["limits"]["daily_limit"] == 100
    assert world.http.get(path(tenant), headers=ADMIN).json() == profile
    missing = world.http.get("/api/v1/tenants/nobody_here", headers=ADMIN)
    assert missing.status_code == 404


def test_patch_merges_and_the_plan_is_the_operators(world: World) -> None:
    tenant = world.onboard(company_name="Before Ltd")
    headers = tenant.headers
    renamed = world.http.patch(path(tenant), headers=headers, json={"company_name": "After Ltd"})
    assert renamed.status_code == 200, renamed.text
    assert renamed.json()["company_name"] == "After Ltd"
    assert renamed.json()["admin_email"] == tenant.admin_email
    refused = world.http.patch(path(tenant), headers=headers, json={"subscription_plan": "SCALE"})
    assert refused.status_code == 403
    assert refused.json()["type"].endswith("operator-only")
    upgraded = world.http.patch(path(tenant), headers=ADMIN, json={"subscription_plan": "scale"})
    assert upgraded.status_code == 200, upgraded.text
    assert upgraded.json()["limits"]["concurrent_limit"] == 10
    assert upgraded.json()["company_name"] == "After Ltd"
    quota = world.http.get(path(tenant, "/quota"), headers=headers).json()
    assert quota["daily_limit"] == 100
    assert [(e.outcome, e.actor_type) for e in audited(world, tenant, "tenant.update")] == [
        ("ALLOWED", "api_key"),
        ("DENIED", "api_key"),
        ("ALLOWED", "admin"),
    ]


def test_scopes_are_enforced_on_every_route(world: World, tenant: Tenant) -> None:
    reader = {"X-API-Key": new_key(world, tenant, "read")["api_key"]}
    assert world.http.get(path(tenant), headers=reader).status_code == 200
    for method, url in (
        ("POST", f"/api/v1/pipelines/run/{tenant.tenant_id}/gcp/cost/dryrun"),
        ("POST", path(tenant, "/api-keys")),
        ("PATCH", path(tenant)),
    ):
        answer = world.http.request(method, url, headers=reader, json={"name": "x"})
        assert answer.status_code == 403, (url, answer.text)
        assert answer.json()["type"].endswith("insufficient-scope")
    manager = {"X-API-Key": new_key(world, tenant, "manage")["api_key"]}
    body = {"name": "more than mine", "scopes": ["run"]}
    escalated = world.http.post(path(tenant, "/api-keys"), headers=manager, json=body)
    assert escalated.status_code == 403
    assert escalated.json()["type"].endswith("scope-escalation")


def test_a_key_is_listed_rotated_and_revoked(world: World, tenant: Tenant) -> None:
    made = new_key(world, tenant)
    keys = path(tenant, "/api-keys")
    rotated = world.http.post(
        f"{keys}/{made['api_key_id']}/rotate",
        headers=tenant.headers,
        json={"grace_period_hours": 1},
    )
    assert rotated.status_code == 201, rotated.text
    for secret in (made["api_key"], rotated.json()["api_key"]):
        assert world.http.get(path(tenant), headers={"X-API-Key": secret}).status_code == 200
    again = world.http.post(f"{keys}/{made['api_key_id']}/rotate", headers=tenant.headers, json={})
    assert again.status_code == 409
    listed = world.http.get(keys, headers=tenant.headers)
    shown = {key["api_key_id"]: key for key in listed.json()["api_keys"]}
    assert shown[made["api_key_id"]]["replaced_by"] == rotated.json()["api_key_id"]
    assert shown[made["api_key_id"]]["last_used_at"]
    assert made["api_key"] not in listed.text
    revoked = world.http.delete(f"{keys}/{made['api_key_id']}", headers=tenant.headers)
    assert revoked.status_code == 200
    assert revoked.json()["is_active"] is False
    answer = world.http.get(path(tenant), headers={"X-API-Key": made["api_key"]})
    assert answer.status_code == 401
    assert answer.json()["detail"] == "Invalid API key. Send a valid key in X-API-Key."
    outcomes = [e.outcome for e in audited(world, tenant, "api_key.rotate")]
    assert outcomes == ["ALLOWED", "FAILED"]


def test_runs_are_listed_page_by_page_newest_first(world: World) -> None:
    tenant = world.onboard(subscription_plan="SCALE", billing_account_ids=[])
    started = [world.start(tenant, "gcp/cost/dryrun") for _ in range(3)]
    for run_id in started:
        world.finished(tenant, run_id)
    url = path(tenant, "/metadata/executions")
    found: list[str] = []
    cursor = None
    for _ in range(5):
        params = {
            "limit": 2,
            "pipeline": "gcp/cost/dryrun",
            **({"cursor": cursor} if cursor else {}),
        }
        answer = world.http.get(url, headers=tenant.headers, params=params)
        assert answer.status_code == 200, answer.text
        found += [run["pipeline_logging_id"] for run in answer.json()["executions"]]
        cursor = answer.json()["next_cursor"]
        if not cursor:
            break
    assert found == list(reversed(started))
    none = world.http.get(
        url, headers=tenant.headers, params={"status": "FAILED", "from": "2020-01-01"}
    )
    assert none.json() == {"executions": [], "next_cursor": None}
    for bad in (
        {"status": "DONE"},
        {"limit": 0},
        {"from": "15.11.2025"},
        {"cursor": "x"},
        {"a": 1},
    ):
        answer = world.http.get(url, headers=tenant.headers, params=bad)
        assert answer.status_code == 422, bad
        assert [e["pointer"] for e in answer.json()["errors"]] == list(bad)


def test_execute_takes_the_template_from_the_body(world: World, tenant: Tenant) -> None:
    answer = world.http.post(
        path(tenant, "/pipelines/execute"),
        headers={**tenant.headers, "Idempotency-Key": "once"},
        json={"pipeline": "GCP/cost/dryrun", "date": str(DAY)},
    )
    assert answer.status_code == 202, answer.text
    run = world.finished(tenant, answer.json()["pipeline_logging_id"])
    assert run["status"] == "COMPLETED"
    (entry,) = [
        e
        for e in audited(world, tenant, "pipeline.run")
        if e.resource_id == run["pipeline_logging_id"]
    ]
    assert (entry.outcome, entry.user_id) == ("ALLOWED", "tester")
    assert entry.source_address
    assert entry.request_id == answer.headers["X-Request-ID"]


def test_explained_sql_is_what_a_run_executes(world: World) -> None:
    tenant = world.onboard(billing_account_ids=[])
    url = f"/api/v1/pipelines/explain/{tenant.tenant_id}/gcp/cost/cost_billing"
    answer = world.http.post(url, headers=tenant.headers, json={"date": str(DAY)})
    assert answer.status_code == 200, answer.text
    explained = answer.json()
    step = explained["steps"][0]
    assert step["refusal"] is None
    assert step["query"]["tables_read"] == [f"{PROJECT}.billing_export.gcp_billing_export_v1"]
    written = f"{PROJECT}.{tenant.tenant_id}_gcp_silver_cost.billing_cost_daily"
    assert step["tables_written"] == [written]
    assert step["query"]["bytes_estimated"] > 0
    origins = {variable["name"]: variable["origin"] for variable in explained["variables"]}
    assert origins["late_arrival_days"] == "template"
    assert origins["tenant_id"] == "built-in"
    assert origins["date"] == "body"
    assert explained["quota_left"]["today"] == 6
    assert (
        world.http.get(
            path(tenant, "/metadata/executions?pipeline=gcp/cost/cost_billing"),
            headers=tenant.headers,
        ).json()["executions"]
        == []
    )
    datasets = {dataset.dataset_id for dataset in world.bigquery.list_datasets(PROJECT)}
    assert f"{tenant.tenant_id}_gcp_silver_cost" not in datasets

    run = world.finished(tenant, world.start(tenant))
    rows = world.query(
        f"SELECT job_id FROM `{tenant.tenant_id}.x_meta_step_logs`"
        " WHERE pipeline_logging_id = @r AND job_id IS NOT NULL",
        r=run["pipeline_logging_id"],
    )
    job = world.bigquery.get_job(rows[0].job_id)
    assert job.query == step["query"]["sql"]


def test_explain_tells_the_refusal_a_run_would_meet(world: World, tenant: Tenant) -> None:
    other = world.onboard()
    url = f"/api/v1/pipelines/explain/{tenant.tenant_id}/gcp/cost/cost_billing"
    table = f"{PROJECT}.{other.tenant_id}.x_meta_step_logs_log"
    answer = world.http.post(
        url, headers=tenant.headers, json={"date": str(DAY), "source_billing_table": table}
    )
    assert answer.status_code == 200, answer.text
    refusal = answer.json()["steps"][0]["refusal"]
    assert refusal["code"] in {"foreign-table", "warehouse-refused"}


def test_templates_tell_their_variables(world: World, tenant: Tenant) -> None:
    listed = world.http.get("/api/v1/pipelines/templates", headers=tenant.headers).json()
    assert "gcp/cost/cost_billing" in [t["template"] for t in listed["templates"]]
    one = world.http.get(
        "/api/v1/pipelines/templates/gcp/cost/billing", headers=tenant.headers
    ).json()
    days = next(v for v in one["variables"] if v["name"] == "late_arrival_days")
    assert (days["type"], days["default"], days["required"]) == ("integer", 45, False)
    assert days["origin"].startswith("inherited from configs/gcp/cost/cost_billing")
    near = world.http.get("/api/v1/pipelines/templates/gcp/cost/biling", headers=ADMIN)
    assert near.status_code == 404
    assert "billing" in near.json()["detail"]


def test_a_failed_run_is_retried_at_its_failed_step(world: World) -> None:
    tenant = world.onboard(billing_account_ids=[])
    missing = f"{PROJECT}.{tenant.tenant_id}.not_there_yet"
    failed = world.finished(tenant, world.start(tenant, source_billing_table=missing))
    assert failed["status"] == "FAILED", failed
    world.bigquery.query(
        f"CREATE TABLE `{tenant.tenant_id}.not_there_yet` LIKE"
        " `billing_export.gcp_billing_export_v1`"
    ).result()
    url = f"/api/v1/pipelines/runs/{failed['pipeline_logging_id']}/retry"
    retried = world.http.post(url, headers={**tenant.headers, "Idempotency-Key": "again"})
    assert retried.status_code == 202, retried.text
    assert retried.json()["first_step"] == "extract_billing_costs"
    same = world.http.post(url, headers={**tenant.headers, "Idempotency-Key": "again"})
    assert same.json()["pipeline_logging_id"] == retried.json()["pipeline_logging_id"]
    run = world.finished(tenant, retried.json()["pipeline_logging_id"])
    assert run["status"] == "COMPLETED", run
    assert run["parent_run_id"] == failed["pipeline_logging_id"]
    assert run["trigger_type"] == "retry"
    done = world.http.post(url, headers=tenant.headers)
    assert done.status_code == 409
    assert done.json()["type"].endswith("not-retryable")
    final = world.http.post(
        f"/api/v1/pipelines/runs/{run['pipeline_logging_id']}/cancel", headers=tenant.headers
    )
    assert final.status_code == 409
    unknown = world.http.post(
        f"/api/v1/pipelines/runs/{uuid.uuid4()}/retry", headers=tenant.headers
    )
    assert unknown.status_code == 404


def test_a_cancelled_run_ends_and_its_on_failure_steps_do_not_run(world: World) -> None:
    tenant = world.onboard(billing_account_ids=[])
    fault = {"method": "jobs.insert", "times": 50, "status": 0, "delay_seconds": 1.5}
    httpx.post(f"{world.stack.urls['bigquery']}/_local/faults", json=fault).raise_for_status()
    try:
        run_id = world.start(tenant)
        url = f"/api/v1/pipelines/runs/{run_id}/cancel"
        answer = world.http.post(url, headers=tenant.headers)
    finally:
        httpx.delete(f"{world.stack.urls['bigquery']}/_local/faults").raise_for_status()
    assert answer.status_code == 200, answer.text
    assert answer.json()["status"] == "CANCELLED"
    assert "tester" in answer.json()["error"]
    quota = world.http.get(path(tenant, "/quota"), headers=tenant.headers).json()
    assert quota["concurrent_pipelines_running"] == 0
    later = world.finished(tenant, world.start(tenant, "gcp/cost/dryrun"))
    assert later["status"] == "COMPLETED"
    assert world.status(tenant, run_id)["status"] == "CANCELLED"
    subjects = [mail["subject"] for mail in world.mails(tenant.admin_email)]
    assert not [subject for subject in subjects if "failed" in subject]


def test_a_suspended_tenant_runs_nothing_until_it_is_resumed(world: World) -> None:
    tenant = world.onboard(billing_account_ids=[])
    refused = world.http.post(path(tenant, "/suspend"), headers=tenant.headers, json={})
    assert refused.status_code == 401
    suspended = world.http.post(
        path(tenant, "/suspend"), headers=ADMIN, json={"reason": "invoice unpaid"}
    )
    assert suspended.status_code == 200, suspended.text
    assert suspended.json()["status"] == "SUSPENDED"
    assert suspended.json()["status_reason"] == "invoice unpaid"
    answer = world.request_run(tenant, "gcp/cost/dryrun")
    assert answer.status_code == 403, answer.text
    assert world.http.get(path(tenant), headers=tenant.headers).json()["status"] == "SUSPENDED"
    resumed = world.http.post(path(tenant, "/resume"), headers=ADMIN)
    assert resumed.json()["status"] == "ACTIVE"
    assert world.finished(tenant, world.start(tenant, "gcp/cost/dryrun"))["status"] == "COMPLETED"
    entries = audited(world, tenant, "tenant.suspend")
    assert [(e.outcome, e.actor_type) for e in entries] == [
        ("DENIED", "anonymous"),
        ("ALLOWED", "admin"),
    ]


def test_an_offboarded_tenant_leaves_its_profile_and_audit_entries_only(world: World) -> None:
    tenant = world.onboard(billing_account_ids=[])
    neighbour = world.onboard(tenant_id=f"{tenant.tenant_id}_x")
    world.finished(tenant, world.start(tenant))
    unsure = world.http.delete(path(tenant), headers=ADMIN)
    assert unsure.status_code == 422
    assert unsure.json()["errors"][0]["pointer"] == "confirm"
    gone = world.http.delete(path(tenant), headers=ADMIN, params={"confirm": tenant.tenant_id})
    assert gone.status_code == 200, gone.text
    assert gone.json()["datasets_deleted"] == [
        tenant.tenant_id,
        f"{tenant.tenant_id}_gcp_silver_cost",
    ]
    assert gone.json()["api_keys_revoked"] == 1
    assert world.http.get(path(tenant), headers=tenant.headers).status_code == 401
    assert world.http.get(path(tenant), headers=ADMIN).json()["status"] == "OFFBOARDED"
    datasets = {dataset.dataset_id for dataset in world.bigquery.list_datasets(PROJECT)}
    assert neighbour.tenant_id in datasets
    assert not {d for d in datasets if d.startswith(f"{tenant.tenant_id}_gcp")}
    assert audited(world, tenant, "tenant.offboard")[-1].outcome == "ALLOWED"
    again = world.http.delete(path(tenant), headers=ADMIN, params={"confirm": tenant.tenant_id})
    assert again.status_code == 200
    assert again.json()["datasets_deleted"] == []
    reborn = world.http.post("/api/v1/tenants/onboard", json={"tenant_id": tenant.tenant_id})
    assert reborn.status_code == 409
    assert "not given again" in reborn.json()["detail"]


def test_tenants_are_listed_for_the_operator_page_by_page(world: World, tenant: Tenant) -> None:
    assert world.http.get("/api/v1/tenants", headers=tenant.headers).status_code == 401
    found: list[str] = []
    cursor = None
    while True:
        params = {"limit": 3, "status": "ACTIVE", **({"cursor": cursor} if cursor else {})}
        answer = world.http.get("/api/v1/tenants", headers=ADMIN, params=params)
        assert answer.status_code == 200, answer.text
        found += [t["tenant_id"] for t in answer.json()["tenants"]]
        cursor = answer.json()["next_cursor"]
        if not cursor:
            break
    assert found == sorted(set(found))
    assert tenant.tenant_id in found


def test_a_browser_is_let_in_from_an_allowed_origin_only(world: World, tenant: Tenant) -> None:
    asks = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "x-api-key"}
    url = f"/api/v1/pipelines/run/{tenant.tenant_id}/gcp/cost/dryrun"
    allowed = world.http.options(url, headers={**asks, "Origin": "http://localhost:3000"})
    assert allowed.status_code == 204
    assert allowed.headers["access-control-allow-origin"] == "http://localhost:3000"
    assert "POST" in allowed.headers["access-control-allow-methods"]
    other = world.http.options(url, headers={**asks, "Origin": "https://elsewhere.example"})
    assert other.status_code == 403
    assert "access-control-allow-origin" not in other.headers


def test_the_operator_names_the_tenant_of_a_run(world: World, tenant: Tenant) -> None:
    run_id = world.start(tenant, "gcp/cost/dryrun")
    url = f"/api/v1/pipelines/runs/{run_id}"
    assert world.http.get(url, headers=ADMIN).status_code == 422
    answer = world.http.get(url, headers=ADMIN, params={"tenant_id": tenant.tenant_id})
    assert answer.status_code == 200

    def ended() -> bool:
        return world.status(tenant, run_id)["status"] in FINAL

    wait_until(ended, timeout=90, message="the end of the run")
