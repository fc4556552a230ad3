"""Schedules over the whole stack: due, triggered by Cloud Scheduler, run, waiting, cancelled."""

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from tests.api_processes import one_day
from tests.system.world import ADMIN_KEY, Tenant, World
from tests.waiting import wait_until

HOUR = timedelta(hours=1)
LOG = "tenants.tenant_pipeline_configs_log"


def a_due_schedule(world: World, tenant: Tenant) -> str:
    """The ID of a schedule that the API took and that is due since the full hour."""
    answer = world.http.post(
        f"/api/v1/scheduler/customer/{tenant.tenant_id}/pipelines",
        headers=tenant.headers,
        json={
            "provider": "GCP",
            "domain": "COST",
            "pipeline_template": "cost_billing",
            "schedule_cron": "0 * * * *",
        },
    )
    assert answer.status_code == 201, answer.text
    schedule: dict[str, Any] = answer.json()
    due = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    known = ("tenant_id", "config_id", "provider", "domain", "pipeline_template", "timezone")
    repeated = ("schedule_cron", "catch_up", "priority", "max_jitter_seconds", "created_at")
    edited = {
        **{name: schedule[name] for name in (*known, *repeated)},
        "is_active": True,
        "change": "EDITED",
        "revision": 2,
        "next_run_time": due.isoformat(),
        "recorded_at": datetime.now(UTC).isoformat(),
        "sequence": 0,
    }
    assert world.bigquery.insert_rows_json(LOG, [edited]) == []
    return str(schedule["config_id"])


def run_job(world: World, name: str) -> None:
    """Let Cloud Scheduler run a job of the topology now."""
    port = world.stack.ports["cloud-scheduler"]
    answer = httpx.post(f"http://127.0.0.1:{port}/jobs/{name}:run", timeout=60)
    assert answer.is_success, answer.text


def runs_of(world: World, tenant: Tenant, config_id: str) -> list[dict[str, Any]]:
    path = f"/api/v1/scheduler/customer/{tenant.tenant_id}/pipelines/{config_id}/runs"
    answer = world.http.get(path, headers=tenant.headers)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["runs"]
    return found


def in_state(world: World, tenant: Tenant, config_id: str, state: str) -> dict[str, Any]:
    """The schedule's one run, once it is in this state."""

    def found() -> dict[str, Any] | None:
        runs = runs_of(world, tenant, config_id)
        return runs[0] if runs and runs[0]["state"] == state else None

    run = wait_until(found, timeout=90, every=0.2, message=f"{state} of {config_id}")
    assert run is not None
    return run


def hold_every_slot(world: World, tenant: Tenant) -> list[dict[str, Any]]:
    """Let three runs of nobody hold what a STARTER may have at once; their rows."""
    now = datetime.now(UTC)
    held = [
        {
            "tenant_id": tenant.tenant_id,
            "slot": slot,
            "pipeline_logging_id": str(uuid.uuid4()),
            "event": "ADMITTED",
            "usage_date": now.date().isoformat(),
            "deadline": (now + HOUR).isoformat(),
            "recorded_at": now.isoformat(),
        }
        for slot in (1, 2, 3)
    ]
    assert world.bigquery.insert_rows_json("tenants.usage_ledger", held) == []
    return held


def test_a_due_schedule_runs_to_its_end_and_is_due_later(world: World) -> None:
    tenant = world.onboard(billing_account_ids=[])
    config_id = a_due_schedule(world, tenant)

    run_job(world, "trigger")

    run = in_state(world, tenant, config_id, "COMPLETED")
    times = ("scheduled_time", "admitted_at", "started_at", "completed_at")
    moments = [datetime.fromisoformat(run[name]) for name in times]
    assert moments == sorted(moments)
    status = world.status(tenant, run["pipeline_logging_id"])
    assert (status["status"], status["trigger_type"]) == ("COMPLETED", "scheduled")
    path = f"/api/v1/scheduler/customer/{tenant.tenant_id}/pipelines/{config_id}"
    schedule = world.http.get(path, headers=tenant.headers).json()
    assert datetime.fromisoformat(schedule["next_run_time"]) == moments[0] + HOUR
    assert datetime.fromisoformat(schedule["last_run_time"]) == moments[0]


def test_over_the_concurrency_limit_runs_wait_are_cancelled_or_run_later(world: World) -> None:
    tenant = world.onboard(billing_account_ids=[])
    held = hold_every_slot(world, tenant)
    waits, cancelled = a_due_schedule(world, tenant), a_due_schedule(world, tenant)
    admin = {"X-Admin-Key": ADMIN_KEY}
    answer = world.http.post("/api/v1/scheduler/trigger", headers=admin)
    assert answer.status_code == 200, answer.text
    assert set(answer.json()) == {
        "triggered_count",
        "queued_count",
        "skipped_count",
        "duration_ms",
    }

    run = in_state(world, tenant, waits, "QUEUED")
    other = in_state(world, tenant, cancelled, "QUEUED")
    assert run["reason"].startswith("Concurrent pipeline limit reached.")
    wait_until(
        lambda: (
            world.http.get(
                f"/api/v1/pipelines/runs/{other['pipeline_logging_id']}", headers=tenant.headers
            ).is_success
        ),
        timeout=60,
        message="the waiting run's status",
    )
    assert world.status(tenant, other["pipeline_logging_id"])["status"] == "QUEUED"
    path = f"/api/v1/pipelines/runs/{other['pipeline_logging_id']}"
    answer = world.http.post(f"{path}/cancel", headers=tenant.headers)
    assert answer.status_code == 200, answer.text

    released = [{**row, "event": "RELEASED", "deadline": None} for row in held]
    assert world.bigquery.insert_rows_json("tenants.usage_ledger", released) == []
    answer = world.http.post("/api/v1/scheduler/process-queue", headers=admin)
    assert answer.status_code == 200, answer.text

    assert in_state(world, tenant, waits, "COMPLETED")["admitted_at"]
    assert in_state(world, tenant, cancelled, "CANCELLED")["admitted_at"] is None
    assert world.status(tenant, other["pipeline_logging_id"])["status"] == "CANCELLED"
    waiting = world.query(
        "SELECT * FROM `tenants.pipeline_execution_queue` WHERE tenant_id = @tenant_id",
        tenant_id=tenant.tenant_id,
    )
    assert waiting == []


def use_up(world: World, tenant: Tenant, *, daily: int, monthly: int) -> None:
    """Give the tenant such a plan, and let one run of today have been."""
    now = datetime.now(UTC).isoformat()
    plan = {
        "tenant_id": tenant.tenant_id,
        "subscription_id": str(uuid.uuid4()),
        "plan_name": "TEST",
        "status": "ACTIVE",
        "daily_limit": daily,
        "monthly_limit": monthly,
        "concurrent_limit": 3,
        "recorded_at": now,
        "sequence": 0,
    }
    assert world.bigquery.insert_rows_json("tenants.tenant_subscriptions_log", [plan]) == []
    run = {
        "tenant_id": tenant.tenant_id,
        "slot": 1,
        "pipeline_logging_id": str(uuid.uuid4()),
        "usage_date": now[:10],
        "recorded_at": now,
    }
    ledger = [{**run, "event": "ADMITTED", "deadline": now}, {**run, "event": "RELEASED"}]
    assert world.bigquery.insert_rows_json("tenants.usage_ledger", ledger) == []


def occurrence(world: World, config_id: str) -> Any:
    """What became of the schedule's one occurrence, once something has."""

    def found() -> Any:
        rows = world.query(
            "SELECT state, reason FROM `tenants.scheduled_pipeline_runs`"
            " WHERE config_id = @config_id AND state != 'TRIGGERED'",
            config_id=config_id,
        )
        return rows[0] if rows else None

    return wait_until(found, timeout=90, every=0.2, message=f"the occurrence of {config_id}")


def test_limits_and_suspension_hold_for_scheduled_runs_as_for_manual_ones(world: World) -> None:
    one_day(seconds=60)
    daily, monthly, busy, suspended = (world.onboard(billing_account_ids=[]) for _ in range(4))
    schedules = [a_due_schedule(world, one) for one in (daily, monthly, busy, suspended)]
    use_up(world, daily, daily=1, monthly=9)
    use_up(world, monthly, daily=9, monthly=1)
    hold_every_slot(world, busy)
    path = f"/api/v1/tenants/{suspended.tenant_id}/suspend"
    admin = {"X-Admin-Key": ADMIN_KEY}
    answer = world.http.post(path, headers=admin, json={"reason": "unpaid"})
    assert answer.status_code == 200, answer.text

    refusals = [world.request_run(one) for one in (daily, monthly, busy, suspended)]
    run_job(world, "trigger")

    assert [answer.status_code for answer in refusals] == [429, 429, 429, 403]
    seen = [occurrence(world, config_id) for config_id in schedules]
    assert [row.state for row in seen] == ["SKIPPED", "SKIPPED", "QUEUED", "SKIPPED"]
    for row, answer in zip(seen[:3], refusals, strict=False):
        assert row.reason == answer.json()["detail"]
    assert "SUSPENDED" in seen[3].reason
    for tenant in (daily, monthly, suspended):
        table = f"{tenant.tenant_id}.x_meta_pipeline_runs"
        sql = f"SELECT * FROM `{table}` WHERE trigger_type = 'scheduled'"
        assert world.query(sql) == []


def test_only_operators_and_cloud_scheduler_trigger(world: World) -> None:
    tenant = world.onboard()
    for path in ("trigger", "process-queue"):
        for headers in ({}, tenant.headers, {"Authorization": "Bearer a.b.c"}):
            answer = world.http.post(f"/api/v1/scheduler/{path}", headers=headers)
            assert answer.status_code == 401, answer.text
            assert answer.headers["content-type"] == "application/problem+json"


def test_the_api_describes_what_the_scheduler_answers(world: World) -> None:
    described = world.http.get("/openapi.json").json()["paths"]

    for path in ("trigger", "process-queue", "reset-daily-quotas", "cleanup-orphaned-pipelines"):
        assert "post" in described[f"/api/v1/scheduler/{path}"]
