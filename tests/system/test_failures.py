"""What happens when a step fails, a message cannot be processed, or comes more than once."""

import json
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tests.system.world import DAY, Tenant, World
from tests.waiting import wait_until

FOREIGN = "convergence-local.tenants.tenant_profiles_log"


def alerts(world: World, tenant: Tenant) -> list[dict[str, Any]]:
    return [m for m in world.mails(tenant.admin_email) if m["subject"].startswith("[ALERT]")]


def test_a_failed_step_is_recorded_and_told(world: World) -> None:
    tenant = world.onboard()
    run_id = world.start(tenant, source_billing_table=FOREIGN)
    run = world.finished(tenant, run_id)
    assert run["status"] == "FAILED"
    assert FOREIGN in run["error"]
    (mail,) = wait_until(lambda: alerts(world, tenant), message="the alert")
    assert run_id in mail["text"]
    assert run["error"] in " ".join(mail["text"].split())

    def notified() -> bool:
        steps = {s["step_id"]: s["status"] for s in world.status(tenant, run_id)["steps"]}
        return steps == {"extract_billing_costs": "FAILED", "notify_on_failure": "COMPLETED"}

    wait_until(notified, message="both steps in the log")


def captured_message(world: World, tenant: Tenant, **changes: Any) -> dict[str, Any]:
    """A step message as the api publishes it, built from one that a run left in the log."""
    run_id = str(uuid.uuid4())
    run = {
        "pipeline_logging_id": run_id,
        "pipeline_id": f"{tenant.tenant_id}-test",
        "tenant_id": tenant.tenant_id,
        "provider": "gcp",
        "domain": "cost",
        "template_name": "cost_billing",
        "date": str(DAY),
        "run_date": str(DAY),
        "trigger_type": "manual",
        "started_at": "2025-11-16T00:00:00+00:00",
    }
    mail = {
        "step_id": "tell",
        "name": "Tell",
        "ps_type": "shared.email_notification",
        "family": "shared",
        "trigger": "on_success",
        "timeout_seconds": 60,
        "retry": {"max_attempts": 3, "backoff_seconds": 1},
        "config": {
            "to_emails": [tenant.admin_email],
            "subject": "once",
            "message": f"run {run_id}",
        },
    }
    alert = {
        **mail,
        "step_id": "alert",
        "trigger": "on_failure",
        "config": {
            "to_emails": [tenant.admin_email],
            "subject": "[ALERT] failed",
            "message": {"$late": [{"ref": "error_message"}]},
        },
    }
    message = {"version": 1, "run": run, "steps": [mail, alert], "sources": [], "position": 0}
    return {**message, **changes}


def test_a_message_delivered_many_times_gives_one_result_and_one_mail(world: World) -> None:
    tenant = world.onboard()
    message = captured_message(world, tenant)
    run_id = message["run"]["pipeline_logging_id"]
    data = json.dumps(message).encode()
    with ThreadPoolExecutor(10) as pool:
        list(pool.map(lambda _: world.publish("step-shared", data), range(10)))
    assert world.finished(tenant, run_id)["status"] == "COMPLETED"
    for _ in range(3):
        world.publish("step-shared", data)
    marker = captured_message(world, tenant)
    world.publish("step-shared", json.dumps(marker).encode())
    assert world.finished(tenant, marker["run"]["pipeline_logging_id"])["status"] == "COMPLETED"

    runs = f"SELECT status FROM `{tenant.tenant_id}.x_meta_pipeline_runs`"
    rows = world.query(f"{runs} WHERE pipeline_logging_id = @r", r=run_id)
    assert [row.status for row in rows] == ["COMPLETED"]
    steps = f"SELECT step_id, status FROM `{tenant.tenant_id}.x_meta_step_logs`"
    rows = world.query(f"{steps} WHERE pipeline_logging_id = @r", r=run_id)
    assert [tuple(row.values()) for row in rows] == [("tell", "COMPLETED")]
    mails = [m for m in world.mails(tenant.admin_email) if run_id in m["text"]]
    assert len(mails) == 1


def test_a_message_that_no_attempt_can_process_ends_its_run(world: World) -> None:
    """Every delivery of this one crashes; after the twentieth Pub/Sub dead-letters it."""
    tenant = world.onboard()
    message = captured_message(world, tenant)
    message["steps"][0]["timeout_seconds"] = 10**13  # a time that no clock shows
    run_id = message["run"]["pipeline_logging_id"]
    world.publish("step-shared", json.dumps(message).encode())

    run = world.finished(tenant, run_id, timeout=90)
    assert run["status"] == "FAILED"
    assert run["error_code"] == "dead-lettered"
    assert "20 deliveries" in run["error"]
    (mail,) = wait_until(lambda: alerts(world, tenant), message="the alert of the dead letter")
    assert run["error"] in " ".join(mail["text"].split())


def test_rubbish_on_a_topic_hinders_nobody(world: World) -> None:
    tenant = world.onboard()
    for data in (b"rubbish", b"{}", json.dumps({"version": 1, "run": {}, "steps": []}).encode()):
        world.publish("step-shared", data)
        world.publish("dead-letter", data)
    message = captured_message(world, tenant)
    world.publish("step-shared", json.dumps(message).encode())
    assert world.finished(tenant, message["run"]["pipeline_logging_id"])["status"] == "COMPLETED"
