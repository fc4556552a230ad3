"""Runs that nobody ends any more, and runs for a range of dates: on the whole stack."""

import uuid
from datetime import UTC, date, datetime, timedelta
from typing import Any

from tests.system.world import ADMIN_KEY, DAY, Tenant, World
from tests.waiting import wait_until

SCHEDULER = "/api/v1/scheduler"
ADMIN = {"X-Admin-Key": ADMIN_KEY}


def abandoned_run(world: World, tenant: Tenant) -> str:
    """A run that was admitted and recorded two hours ago, and whose message was never published."""
    run_id = str(uuid.uuid4())
    then = datetime.now(UTC) - timedelta(hours=2)
    common = {
        "tenant_id": tenant.tenant_id,
        "pipeline_logging_id": run_id,
        "trigger_type": "manual",
        "deadline": (then + timedelta(hours=1)).isoformat(),
        "recorded_at": then.isoformat(),
        "slot": 1,
    }
    admitted = {**common, "event": "ADMITTED", "usage_date": str(then.date())}
    pending = {
        **common,
        "pipeline_id": f"{tenant.tenant_id}-gcp-cost-billing",
        "status": "PENDING",
        "start_time": then.isoformat(),
        "provider": "gcp",
        "domain": "cost",
        "template_name": "cost_billing",
        "date": str(DAY),
        "run_date": str(then.date()),
        "sequence": 1,
    }
    for table, row in (
        ("tenants.usage_ledger", admitted),
        (f"{tenant.tenant_id}.x_meta_pipeline_runs_log", pending),
    ):
        # By load jobs: a tenant's tables are too young to be streamed into.
        found = world.bigquery.get_table(f"{world.bigquery.project}.{table}")
        world.bigquery.load_table_from_json([row], found).result()
    return run_id


def test_run_whose_message_never_came_is_ended_and_told(world: World) -> None:
    tenant = world.onboard()
    run_id = abandoned_run(world, tenant)
    assert world.status(tenant, run_id)["status"] == "PENDING"

    for _ in range(2):
        answer = world.http.post(f"{SCHEDULER}/cleanup-orphaned-pipelines", headers=ADMIN)
        assert answer.status_code == 200, answer.text

    run = world.status(tenant, run_id)
    assert (run["status"], run["error_code"]) == ("TIMED_OUT", "timed-out")

    def mails() -> list[dict[str, Any]]:
        return [m for m in world.mails(tenant.admin_email) if run_id in m["text"]]

    (mail,) = wait_until(mails, timeout=60, message="the alert")
    assert mail["subject"].startswith("[ALERT]")
    assert run["error"] in " ".join(mail["text"].split())
    quota = world.http.get(f"/api/v1/tenants/{tenant.tenant_id}/quota", headers=tenant.headers)
    assert quota.json()["concurrent_pipelines_running"] == 0
    held = world.query(
        "SELECT event, status FROM `tenants.usage_ledger` WHERE tenant_id = @t"
        " ORDER BY recorded_at",
        t=tenant.tenant_id,
    )
    assert tuple(held[-1].values()) == ("RELEASED", "TIMED_OUT")


def test_backfill_of_five_dates_completes_with_its_progress(world: World) -> None:
    tenant = world.onboard()
    first = DAY - timedelta(days=4)
    body = {
        "provider": "GCP",
        "domain": "COST",
        "pipeline_template": "cost_billing",
        "start_date": str(first),
        "end_date": str(DAY),
        "max_concurrency": 2,
    }
    headers = {**tenant.headers, "Idempotency-Key": "november"}
    answers = [world.http.post(f"{SCHEDULER}/backfill", json=body, headers=headers) for _ in "ab"]
    assert [answer.status_code for answer in answers] == [202, 202], answers[0].text
    assert answers[0].json() == answers[1].json()
    path = f"{SCHEDULER}/backfills/{answers[0].json()['backfill_id']}"

    def finished() -> dict[str, Any] | None:
        processed = world.http.post(f"{SCHEDULER}/process-queue", headers=ADMIN)
        assert processed.status_code == 200, processed.text
        found: dict[str, Any] = world.http.get(path, headers=tenant.headers).json()
        return found if found["is_finished"] else None

    found = wait_until(finished, timeout=120, message="the end of the backfill", every=0.3)

    assert found is not None
    assert found["progress"]["completed"] == found["runs_total"] == 5
    dates = [date.fromisoformat(run["date"]) for run in found["runs"]]
    assert dates == [first + timedelta(days=n) for n in range(5)]
    for run in found["runs"]:
        status = world.status(tenant, run["pipeline_logging_id"])
        assert (status["status"], status["date"], status["trigger_type"]) == (
            "COMPLETED",
            run["date"],
            "backfill",
        )
