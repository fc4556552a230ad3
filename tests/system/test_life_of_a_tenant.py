"""One tenant from its first day to its last, through HTTPS only, as its people see it."""

import os
import signal
import uuid
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import httpx

from infra.local.sample_data.organizations import ACCOUNTS
from tests.credential_samples import (
    CLIENT_SECRET,
    EXTERNAL_ID,
    aws_role,
    azure_secret,
    service_account,
)
from tests.system.world import ADMIN_KEY, DAY, FINAL, PROJECT, World
from tests.waiting import wait_until

ACCOUNT = ACCOUNTS[3].billing_account_id
"""One that no other test's tenant keeps."""
OPERATOR = {"X-Admin-Key": ADMIN_KEY, "X-User-ID": "operator-7"}
TEMPLATE = "gcp/cost/cost_billing"


class Person:
    """Somebody at the tenant, with the key that the tenant has now."""

    def __init__(self, http: httpx.Client, tenant_id: str, key: str) -> None:
        self._http = http
        self.tenant_id = tenant_id
        self.key = key
        self.tenant = f"/api/v1/tenants/{tenant_id}"
        self.schedules = f"/api/v1/scheduler/customer/{tenant_id}/pipelines"

    def ask(self, status: int, method: str, path: str, **options: Any) -> dict[str, Any]:
        """The body of an answer, which must have this status."""
        headers = {"X-API-Key": self.key, "X-User-ID": "alice", **options.pop("headers", {})}
        answer = self._http.request(method, path, headers=headers, **options)
        assert answer.status_code == status, (method, path, answer.text)
        content: dict[str, Any] = answer.json()
        return content

    def start(self, **body: Any) -> str:
        path = f"/api/v1/pipelines/run/{self.tenant_id}/{TEMPLATE}"
        run: str = self.ask(202, "POST", path, json=body)["pipeline_logging_id"]
        return run

    def ended(self, run_id: str) -> dict[str, Any]:
        path = f"/api/v1/pipelines/runs/{run_id}"

        def look() -> dict[str, Any] | None:
            run = self.ask(200, "GET", path)
            return run if run["status"] in FINAL else None

        found = wait_until(look, timeout=90, message=f"the end of run {run_id}", every=0.1)
        assert found is not None
        return found


def test_a_tenant_lives(world: World) -> None:
    person = onboarded(world)
    stores_credentials(person)
    schedules(person)
    runs(world, person)
    cancels(world, person)
    retries(world, person)
    rotates_its_key(world, person)
    is_upgraded(world, person)
    is_suspended_and_resumed(world, person)
    leaves(world, person)


def onboarded(world: World) -> Person:
    tenant_id = f"life_{uuid.uuid4().hex[:10]}"
    body = {
        "tenant_id": tenant_id,
        "company_name": "Life Ltd",
        "admin_email": f"{tenant_id}@example.com",
        "billing_account_ids": [ACCOUNT],
    }
    answer = world.http.post("/api/v1/tenants/onboard", json=body)
    assert answer.status_code == 201, answer.text
    made = answer.json()
    assert made["dataset_created"] is True
    assert "x_meta_pipeline_runs" in made["tables_created"]
    person = Person(world.http, tenant_id, made["api_key"])
    profile = person.ask(200, "GET", person.tenant)
    assert (profile["status"], profile["limits"]["daily_limit"]) == ("ACTIVE", 6)
    welcome = wait_until(lambda: world.mails(body["admin_email"]), timeout=60, message="a welcome")
    assert "Welcome" in welcome[0]["subject"]
    assert person.key not in str(welcome)
    return person


def stores_credentials(person: Person) -> None:
    path = f"{person.tenant}/credentials"
    made = person.ask(201, "POST", path, json={"provider": "GCP", "credentials": service_account()})
    assert made["action"] == "CREATED"
    person.ask(
        201, "POST", path, json={"provider": "AWS", "credentials": aws_role(person.tenant_id)}
    )
    checked = person.ask(200, "POST", f"{path}/{made['credential_id']}/validate")
    assert (checked["checked"], checked["validation_status"]) == ("provider", "VALID")
    queued = person.ask(
        202, "POST", f"{path}/queue", json={"provider": "AZURE", "credentials": azure_secret()}
    )

    def stored() -> dict[str, Any] | None:
        found = person.ask(200, "GET", f"{path}/queue/{queued['request_id']}")
        return found if found["status"] != "PENDING" else None

    done = wait_until(stored, timeout=60, message="the queued credential", every=0.1)
    assert done is not None
    assert (done["status"], done["error"]) == ("COMPLETED", None)
    listed = person.ask(200, "GET", path)["credentials"]
    assert {one["provider"] for one in listed} == {"GCP", "AWS", "AZURE"}
    assert not any(secret in str(listed) for secret in (CLIENT_SECRET, EXTERNAL_ID))


def schedules(person: Person) -> None:
    body = {
        "provider": "GCP",
        "domain": "COST",
        "pipeline_template": "billing_cost",
        "schedule_cron": "0 2 * * *",
        "timezone": "America/New_York",
    }
    key = {"Idempotency-Key": "nightly"}
    made = person.ask(201, "POST", person.schedules, json=body, headers=key)
    assert person.ask(201, "POST", person.schedules, json=body, headers=key) == made
    later = {**body, "schedule_cron": "0 3 * * *"}
    person.ask(409, "POST", person.schedules, json=later, headers=key)
    wrong = person.ask(422, "POST", person.schedules, json={**body, "schedule_cron": "0 25 * * *"})
    assert [error["pointer"] for error in wrong["errors"]] == ["/schedule_cron"]
    next_run = datetime.fromisoformat(made["next_run_time"])
    assert next_run > datetime.now(UTC)
    assert next_run.astimezone(ZoneInfo("America/New_York")).hour in {2, 3}  # 3 where 2 is skipped
    path = f"{person.schedules}/{made['config_id']}"
    assert len(person.ask(200, "GET", f"{path}/occurrences")["occurrences"]) == 5
    assert person.ask(200, "POST", f"{path}/pause")["next_run_time"] is None
    assert person.ask(200, "POST", f"{path}/resume")["is_active"] is True


def runs(world: World, person: Person) -> None:
    """The bill of the day is the export's own, and what it used is counted."""
    run = person.ended(person.start(date=str(DAY)))
    assert run["status"] == "COMPLETED", run
    assert {step["status"] for step in run["steps"]} == {"COMPLETED"}
    (written,) = world.query(
        "SELECT COUNT(*) AS rows_, SUM(gross_cost) AS cost"
        f" FROM `{person.tenant_id}_gcp_silver_cost.billing_cost_daily` WHERE usage_date = @day",
        day=DAY,
    )
    (exported,) = world.query(
        "SELECT SUM(CAST(cost AS NUMERIC)) AS cost FROM `billing_export.gcp_billing_export_v1`"
        " WHERE DATE(usage_start_time) = @day AND billing_account_id = @account",
        day=DAY,
        account=ACCOUNT,
    )
    assert written.rows_ == run["rows_processed"] > 0
    assert written.cost == exported.cost
    quota = person.ask(200, "GET", f"{person.tenant}/quota")
    assert (quota["pipelines_run_today"], quota["concurrent_pipelines_running"]) == (1, 0)


def cancels(world: World, person: Person) -> None:
    group = world.stack.function_processes()["step-gcp"]
    os.killpg(group, signal.SIGSTOP)  # no step begins: the run is surely not over
    try:
        run_id = person.start(date=str(DAY))
        cancelled = person.ask(200, "POST", f"/api/v1/pipelines/runs/{run_id}/cancel")
    finally:
        os.killpg(group, signal.SIGCONT)
    assert cancelled["status"] == "CANCELLED"
    assert person.ended(run_id)["status"] == "CANCELLED"
    quota = person.ask(200, "GET", f"{person.tenant}/quota")
    assert quota["concurrent_pipelines_running"] == 0


def retries(world: World, person: Person) -> None:
    """A run fails and its administrator is told; mended, it goes on under a new ID."""
    missing = f"{PROJECT}.{person.tenant_id}.late_export"
    failed = person.ended(person.start(date=str(DAY), source_billing_table=missing))
    assert failed["status"] == "FAILED"
    address = f"{person.tenant_id}@example.com"
    alert = wait_until(
        lambda: [mail for mail in world.mails(address) if "[ALERT]" in mail["subject"]],
        timeout=60,
        message="the alert",
    )
    assert failed["pipeline_logging_id"] in alert[0]["text"]
    world.bigquery.query(
        f"CREATE TABLE `{missing}` LIKE `billing_export.gcp_billing_export_v1`"
    ).result()
    path = f"/api/v1/pipelines/runs/{failed['pipeline_logging_id']}/retry"
    retried = person.ask(202, "POST", path)
    assert retried["first_step"] == "extract_billing_costs"
    run = person.ended(retried["pipeline_logging_id"])
    assert (run["status"], run["parent_run_id"]) == ("COMPLETED", failed["pipeline_logging_id"])
    path = f"{person.tenant}/metadata/executions"
    history = person.ask(200, "GET", path, params={"pipeline": TEMPLATE})["executions"]
    states = [one["status"] for one in history]
    assert states == ["COMPLETED", "FAILED", "CANCELLED", "COMPLETED"]  # newest first


def rotates_its_key(world: World, person: Person) -> None:
    path = f"{person.tenant}/api-keys"
    (first,) = person.ask(200, "GET", path)["api_keys"]
    old = person.key
    assert old.startswith(first["key_prefix"])
    rotated = person.ask(
        201, "POST", f"{path}/{first['api_key_id']}/rotate", json={"grace_period_hours": 0}
    )
    person.key = rotated["api_key"]
    dead = world.http.get(person.tenant, headers={"X-API-Key": old})
    assert dead.status_code == 401
    assert dead.json()["detail"] == "Invalid API key. Send a valid key in X-API-Key."
    assert person.ask(200, "GET", person.tenant)["tenant_id"] == person.tenant_id


def is_upgraded(world: World, person: Person) -> None:
    """The tenant asks, the operator does it; it holds at once."""
    body = {"subscription_plan": "PROFESSIONAL"}
    assert person.ask(403, "PATCH", person.tenant, json=body)["type"].endswith("operator-only")
    changed = person.ask(200, "PATCH", person.tenant, json=body, headers=OPERATOR)
    assert changed == person.ask(200, "GET", person.tenant)
    quota = person.ask(200, "GET", f"{person.tenant}/quota")
    assert (quota["plan_name"], quota["daily_limit"]) == ("PROFESSIONAL", 25)
    assert quota["pipelines_run_today"] == 4


def is_suspended_and_resumed(world: World, person: Person) -> None:
    """It may look at everything and change what is its own, but nothing runs."""
    reason = "invoice 2025-10 is unpaid"
    path = f"{person.tenant}/suspend"
    person.ask(200, "POST", path, json={"reason": reason}, headers=OPERATOR)
    for path in looks(world, person):
        person.ask(200, "GET", path)
    run = f"/api/v1/pipelines/run/{person.tenant_id}/{TEMPLATE}"
    refused = person.ask(403, "POST", run, json={"date": str(DAY)})
    assert "SUSPENDED" in refused["detail"]
    profile = person.ask(200, "GET", person.tenant)
    assert (profile["status"], profile["status_reason"]) == ("SUSPENDED", reason)
    quota = person.ask(200, "GET", f"{person.tenant}/quota")
    assert quota["subscription_status"] == "SUSPENDED"
    person.ask(200, "POST", f"{person.tenant}/resume", headers=OPERATOR)
    assert person.ended(person.start(date=str(DAY)))["status"] == "COMPLETED"


def looks(world: World, person: Person) -> list[str]:
    """Every GET of the API that a tenant's key opens, with what this tenant has."""
    (schedule,) = person.ask(200, "GET", person.schedules)["schedules"]
    credential = person.ask(200, "GET", f"{person.tenant}/credentials")["credentials"][0]
    queued = person.ask(
        202,
        "POST",
        f"{person.tenant}/credentials/queue",
        json={"provider": "AZURE", "credentials": azure_secret()},
    )
    executions = person.ask(200, "GET", f"{person.tenant}/metadata/executions")["executions"]
    provider, domain, template = TEMPLATE.split("/")
    known = {
        "tenant_id": person.tenant_id,
        "run_id": executions[0]["pipeline_logging_id"],
        "credential_id": credential["credential_id"],
        "request_id": queued["request_id"],
        "config_id": schedule["config_id"],
        "provider": provider,
        "domain": domain,
        "template": template,
    }
    paths = []
    for path, item in world.http.get("/openapi.json").json()["paths"].items():
        opened_by = {name for way in item.get("get", {}).get("security", []) for name in way}
        names = {part[1:-1] for part in path.split("/") if part.startswith("{")}
        if "ApiKey" in opened_by and names <= known.keys():
            paths.append(path.format(**known))
    assert len(paths) >= 12
    return paths


def leaves(world: World, person: Person) -> None:
    unsure = person.ask(422, "DELETE", person.tenant, headers=OPERATOR)
    assert unsure["errors"][0]["pointer"] == "confirm"
    gone = person.ask(
        200, "DELETE", person.tenant, params={"confirm": person.tenant_id}, headers=OPERATOR
    )
    assert (gone["status"], gone["credentials_destroyed"]) == ("OFFBOARDED", 3)
    own = {person.tenant_id, f"{person.tenant_id}_gcp_silver_cost"}
    assert set(gone["datasets_deleted"]) == own
    assert not own & {dataset.dataset_id for dataset in world.bigquery.list_datasets(PROJECT)}
    answer = world.http.get(person.tenant, headers={"X-API-Key": person.key})
    assert answer.status_code == 401
    again = world.http.post("/api/v1/tenants/onboard", json={"tenant_id": person.tenant_id})
    assert again.status_code == 409

    record = world.query(
        "SELECT action, outcome, actor_type, user_id FROM tenants.audit_log"
        " WHERE tenant_id = @t ORDER BY recorded_at",
        t=person.tenant_id,
    )
    allowed = [row.action for row in record if row.outcome == "ALLOWED"]
    assert [action for action in allowed if action.startswith(("tenant.", "api_key."))] == [
        "tenant.onboard",
        "api_key.rotate",
        "tenant.update",
        "tenant.suspend",
        "tenant.resume",
        "tenant.offboard",
    ]
    assert {row.user_id for row in record if row.actor_type == "admin"} == {"operator-7"}
    assert {row.user_id for row in record if row.actor_type == "api_key"} == {"alice"}
