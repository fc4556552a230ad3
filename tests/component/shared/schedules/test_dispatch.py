"""Run requests on real local servers: delivered twice, at once and late; refused and waiting."""

import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from shared.engine.cancel import cancel
from shared.engine.dead_letters import receive_dead_letter
from shared.engine.delivery import Delivery
from shared.engine.execute import execute
from shared.engine.executions import Wanted, executions
from shared.engine.messages import StepMessage
from shared.engine.status import run_status
from shared.schedules import dispatch, requests
from shared.schedules.requests import RunRequestMessage, scheduled_run_id
from shared.tenancy import admission, quota
from shared.tenancy.tenants import TenantStatus
from shared.warehouse.failures import WarehouseError
from tests.component.conftest import Cloud
from tests.component.shared.post import Post
from tests.component.shared.post import deliver as deliver_step
from tests.component.shared.schedules.scheduling import (
    DUE,
    a_due_schedule,
    an_active_tenant,
    become,
    deliver,
    history_of,
    left_queue,
    queue_of,
)

pytestmark = pytest.mark.usefixtures("central", "chain", "within_a_day")
CONCURRENT = "Concurrent pipeline limit reached. Wait for running pipelines to complete."


def a_request(tenant_id: str, **changes: Any) -> RunRequestMessage:
    config_id = changes.pop("config_id", str(uuid.uuid4()))
    occurrence = changes.pop("scheduled_time", DUE)
    values: dict[str, Any] = {
        "tenant_id": tenant_id,
        "pipeline_logging_id": scheduled_run_id(config_id, occurrence),
        "provider": "gcp",
        "domain": "test",
        "pipeline_template": "chain",
        "date": date(2025, 11, 15),
        "trigger_by": f"schedule/{config_id}",
        "config_id": config_id,
        "scheduled_time": occurrence,
        "requested_at": datetime.now(UTC),
    }
    return RunRequestMessage(**(values | changes))


def occurrence_of(request: RunRequestMessage) -> Any:
    assert request.config_id
    (run,) = history_of(request.tenant_id, request.config_id)
    return run


def take_the_only_slot(tenant_id: str) -> Callable[[], None]:
    """Let a run of somebody hold it; what is returned gives it back."""
    run_id = str(uuid.uuid4())
    held = admission.admit(tenant_id, run_id, deadline=datetime.now(UTC) + timedelta(hours=1))
    return lambda: admission.release(tenant_id, run_id, held.slot, held.usage_date)


# --- started ------------------------------------------------------------------------------------


def test_a_request_starts_its_run_and_the_history_follows_it_to_its_end(
    tenant: str, post: Post
) -> None:
    an_active_tenant(tenant)
    config_id = a_due_schedule(tenant, DUE)
    request = a_request(tenant, config_id=config_id, parameters={"wanted": 2})

    deliver(request)

    run = run_status(tenant, request.pipeline_logging_id)
    assert run.status == "PENDING"
    assert (run.trigger_type, run.date) == ("scheduled", date(2025, 11, 15))
    assert run.trigger_by == f"schedule/{config_id}"
    assert run.parameters == {"wanted": 2}
    post.deliver_all()
    assert run_status(tenant, request.pipeline_logging_id).status == "COMPLETED"


def test_the_history_shows_when_a_run_was_admitted_began_and_ended(tenant: str, post: Post) -> None:
    from shared.schedules import history

    an_active_tenant(tenant)
    request = a_request(tenant)
    history.record(request, "TRIGGERED")

    deliver(request)
    during = occurrence_of(request)
    post.deliver_all()
    after = occurrence_of(request)

    assert (during.state, during.completed_at) == ("RUNNING", None)
    assert during.admitted_at is not None
    assert after.state == "COMPLETED"
    assert after.scheduled_time < after.admitted_at < after.started_at < after.completed_at


def test_copies_of_a_request_at_once_and_late_start_one_run(tenant: str, post: Post) -> None:
    an_active_tenant(tenant)
    request = a_request(tenant)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(deliver, [request] * 4))
    post.deliver_all()
    deliver(request)

    assert post.received() == []
    assert len(executions(tenant, Wanted()).runs) == 1
    assert quota.read(tenant).run_today == 1
    assert quota.read(tenant).running == 0


@pytest.mark.parametrize("insert", [1, 2])
def test_a_dispatcher_that_dies_between_its_effects_starts_one_run(
    insert: int, tenant: str, post: Post, cloud: Cloud
) -> None:
    """The first insertAll admits, the second records PENDING."""
    an_active_tenant(tenant)
    request = a_request(tenant)
    cloud.fail("tabledata.insertAll", times=insert - 1)  # lets so many pass
    cloud.fail("tabledata.insertAll", status=400, reason="invalid")
    with pytest.raises(WarehouseError):
        dispatch.handle(request)

    deliver(request)
    deliver(request)

    post.deliver_all()
    assert run_status(tenant, request.pipeline_logging_id).status == "COMPLETED"
    assert quota.read(tenant).run_today == 1


def test_a_run_given_up_before_it_had_a_row_gets_its_end_from_the_next_delivery(
    tenant: str, post: Post
) -> None:
    an_active_tenant(tenant)
    request = a_request(tenant)
    run_id = request.pipeline_logging_id
    admitted = admission.admit(tenant, run_id, deadline=datetime.now(UTC))  # and its process died
    admission.release(tenant, run_id, admitted.slot, admitted.usage_date, status="TIMED_OUT")

    deliver(request)
    deliver(request)

    run = run_status(tenant, run_id)
    assert (run.status, run.error_code) == ("TIMED_OUT", "timed-out")
    assert post.steps() == []
    assert occurrence_of(request).state == "TIMED_OUT"


def test_a_run_costs_five_calls_to_start(tenant: str, post: Post, cloud: Cloud) -> None:
    an_active_tenant(tenant)
    deliver(a_request(tenant))
    before = cloud.calls()

    deliver(a_request(tenant))

    made = {
        method: count - before.get(method, 0)
        for method, count in cloud.calls().items()
        if count > before.get(method, 0)
    }
    assert made == {"jobs.query": 2, "jobs.insert": 1, "tabledata.insertAll": 2}


# --- refused ------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [TenantStatus.SUSPENDED, TenantStatus.OFFBOARDED])
def test_a_tenant_that_may_not_run_skips(status: TenantStatus, tenant: str, post: Post) -> None:
    an_active_tenant(tenant)
    become(tenant, status)
    request = a_request(tenant)

    deliver(request)

    run = occurrence_of(request)
    assert run.state == "SKIPPED"
    assert run.reason == f"Tenant {tenant!r} is {status}; it cannot run pipelines."
    assert post.received() == []


def test_a_tenant_without_a_dataset_or_a_profile_skips(fresh: Callable[[], str]) -> None:
    request = a_request(fresh())

    deliver(request)

    assert occurrence_of(request).state == "SKIPPED"


@pytest.mark.parametrize(
    ("limits", "sentence"),
    [
        ({"daily": 1}, "Daily pipeline quota exceeded. Upgrade or wait until tomorrow."),
        ({"monthly": 1}, "Monthly pipeline quota exceeded. Upgrade or wait until next month."),
    ],
    ids=["daily", "monthly"],
)
def test_a_used_up_quota_skips_with_its_sentence(
    limits: dict[str, int], sentence: str, tenant: str
) -> None:
    an_active_tenant(tenant, **limits)
    deliver(a_request(tenant))
    request = a_request(tenant)

    deliver(request)

    run = occurrence_of(request)
    assert (run.state, run.reason) == ("SKIPPED", sentence)
    assert len(executions(tenant, Wanted()).runs) == 1
    assert queue_of(tenant) == []


@pytest.mark.parametrize(
    ("changes", "code", "word"),
    [
        ({"pipeline_template": "gone"}, "not-found", "gone"),
        ({"parameters": {"unheard_of": 1}}, "invalid-input", "unheard_of"),
    ],
    ids=["template gone", "parameter refused"],
)
def test_what_cannot_be_resolved_fails_with_the_reason_and_tells_the_administrator(
    changes: dict[str, Any], code: str, word: str, tenant: str, post: Post, cloud: Cloud
) -> None:
    an_active_tenant(tenant)
    request = a_request(tenant, **changes)

    deliver(request)
    deliver(request)

    run = run_status(tenant, request.pipeline_logging_id)
    assert (run.status, run.error_code) == ("FAILED", code)
    assert word in (run.error or "")
    assert occurrence_of(request).state == "FAILED"
    assert word in occurrence_of(request).reason
    assert quota.read(tenant).run_today == 0
    for step in post.steps():
        deliver_step(step)
    (mail,) = cloud.mails(f"{tenant}@acme.example")
    assert mail["subject"].startswith("[ALERT] gcp/test/")
    assert request.pipeline_logging_id in mail["text"]


# --- waiting ------------------------------------------------------------------------------------


def test_over_the_concurrency_limit_a_run_waits_and_is_seen_to(tenant: str, post: Post) -> None:
    an_active_tenant(tenant, concurrent=1)
    give_back = take_the_only_slot(tenant)
    request = a_request(tenant, priority=7)

    deliver(request)
    deliver(request)

    assert run_status(tenant, request.pipeline_logging_id).status == "QUEUED"
    (waiting,) = queue_of(tenant)
    assert waiting["pipeline_logging_id"] == request.pipeline_logging_id
    assert (waiting["priority"], waiting["reason"]) == (7, CONCURRENT)
    assert waiting["enqueued_at"] == request.requested_at
    run = occurrence_of(request)
    assert (run.state, run.reason) == ("QUEUED", CONCURRENT)
    assert post.received() == []
    give_back()
    deliver(request)  # late, when there is room again
    assert run_status(tenant, request.pipeline_logging_id).status == "PENDING"
    assert queue_of(tenant) == []
    assert left_queue(tenant) == {request.pipeline_logging_id: "LAUNCHED"}
    assert occurrence_of(request).state == "RUNNING"


def test_a_waiting_run_can_be_cancelled(tenant: str, post: Post) -> None:
    an_active_tenant(tenant, concurrent=1)
    give_back = take_the_only_slot(tenant)
    request = a_request(tenant)
    deliver(request)

    cancelled = cancel(tenant, request.pipeline_logging_id, cancelled_by="alice")

    assert cancelled.status == "CANCELLED"
    assert queue_of(tenant) == []
    run = occurrence_of(request)
    assert (run.state, run.reason) == ("CANCELLED", "cancelled by alice")
    give_back()
    deliver(request)
    deliver(request.model_copy(update={"waited": True}))
    assert run_status(tenant, request.pipeline_logging_id).status == "CANCELLED"
    assert post.received() == []


def test_a_run_cancelled_while_it_is_admitted_gives_its_slot_back(tenant: str, post: Post) -> None:
    an_active_tenant(tenant, concurrent=1)
    give_back = take_the_only_slot(tenant)
    request = a_request(tenant)
    deliver(request)
    give_back()
    known = dispatch.look(request)
    cancel(tenant, request.pipeline_logging_id, cancelled_by="alice")
    dispatch.go_on(request, known)
    (step,) = post.steps()
    assert quota.read(tenant).running == 1

    execute(step)

    assert quota.read(tenant).running == 0
    assert run_status(tenant, request.pipeline_logging_id).status == "CANCELLED"
    assert post.received() == []


def test_a_waiting_run_that_has_expired_is_given_up(tenant: str) -> None:
    an_active_tenant(tenant, concurrent=1)
    take_the_only_slot(tenant)
    request = a_request(tenant)
    deliver(request)

    past = datetime.now(UTC) - timedelta(minutes=1)
    deliver(request.model_copy(update={"waited": True, "expires_at": past}))

    run = run_status(tenant, request.pipeline_logging_id)
    assert (run.status, run.error_code) == ("TIMED_OUT", "expired")
    assert left_queue(tenant) == {request.pipeline_logging_id: "EXPIRED"}
    assert occurrence_of(request).state == "TIMED_OUT"


@pytest.mark.parametrize("appends", [0, 1, 2])
def test_what_was_cut_short_after_a_run_ended_is_completed_by_the_next_delivery(
    appends: int, tenant: str, cloud: Cloud
) -> None:
    """Of ending a run that waits: its own row, the history, the queue."""
    an_active_tenant(tenant, concurrent=1)
    take_the_only_slot(tenant)
    request = a_request(tenant).model_copy(update={"waited": True})
    deliver(request)
    become(tenant, TenantStatus.SUSPENDED)
    cloud.fail("tabledata.insertAll", times=appends)  # lets so many pass
    cloud.fail("tabledata.insertAll", status=400, reason="invalid")
    with pytest.raises(WarehouseError):
        dispatch.handle(request)

    deliver(request)

    run = run_status(tenant, request.pipeline_logging_id)
    assert (run.status, run.error_code) == ("CANCELLED", "tenant-inactive")
    assert occurrence_of(request).state == "SKIPPED"
    assert left_queue(tenant) == {request.pipeline_logging_id: "CANCELLED"}


# --- dead letters -------------------------------------------------------------------------------


def dead(request: RunRequestMessage) -> Delivery:
    return Delivery(
        data=request.model_dump_json().encode(),
        attributes={
            "CloudPubSubDeadLetterSourceSubscription": "run-requests",
            "CloudPubSubDeadLetterSourceDeliveryCount": "20",
        },
        message_id=str(uuid.uuid4()),
        subscription="dead-letter",
        attempt=1,
    )


def test_a_dead_request_fails_its_run_and_tells_tenant_and_operator(
    tenant: str, post: Post, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    from shared.settings import settings

    operator = f"operator-{tenant}@example.com"
    monkeypatch.setenv("OPERATOR_EMAIL", operator)
    settings.cache_clear()
    an_active_tenant(tenant)
    request = a_request(tenant)

    for _ in range(2):
        receive_dead_letter(dead(request), {requests.TOPIC: dispatch.bury})
    deliver(request)

    run = run_status(tenant, request.pipeline_logging_id)
    assert (run.status, run.error_code) == ("FAILED", "request-dead-lettered")
    assert "20 deliveries" in (occurrence_of(request).reason or "")
    for step in post.steps():
        deliver_step(step)
    assert len(cloud.mails(operator)) == len(cloud.mails(f"{tenant}@acme.example")) == 1


def test_a_dead_request_gives_back_the_slot_that_its_dispatcher_took(tenant: str) -> None:
    an_active_tenant(tenant)
    request = a_request(tenant)
    run_id = request.pipeline_logging_id
    admission.admit(tenant, run_id, deadline=datetime.now(UTC) + timedelta(hours=1))

    dispatch.bury(dead(request), "20")

    assert quota.read(tenant).running == 0
    assert run_status(tenant, run_id).status == "FAILED"


def test_a_dead_request_of_a_run_that_began_all_the_same_changes_nothing(
    tenant: str, post: Post
) -> None:
    an_active_tenant(tenant)
    request = a_request(tenant)
    deliver(request)
    post.deliver_all()

    dispatch.bury(dead(request), "20")

    assert run_status(tenant, request.pipeline_logging_id).status == "COMPLETED"


def test_a_dead_letter_that_nobody_can_read_ends_in_the_log() -> None:
    unreadable = dead(a_request("acme_corp")).model_copy(update={"data": b"{"})

    dispatch.bury(unreadable, "20")


def test_steps_of_a_dispatched_run_carry_its_schedule(tenant: str, post: Post) -> None:
    an_active_tenant(tenant)
    request = a_request(tenant)

    deliver(request)

    (step,) = post.steps()
    assert isinstance(step, StepMessage)
    assert step.run.config_id == request.config_id
    assert step.run.pipeline_logging_id == request.pipeline_logging_id
