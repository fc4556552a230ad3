"""The queue of waiting runs on real local servers: whose turn it is, at once, late, for ever."""

import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from shared.engine.cancel import cancel
from shared.engine.launch import launch
from shared.engine.prepare import RunRequest, TemplatePath, prepare
from shared.engine.status import run_status
from shared.schedules import compaction, waiting
from shared.schedules.requests import RunRequestMessage, backfill_run_id, scheduled_run_id
from shared.schedules.waiting import ITS_TURN, enqueue, process_queue
from shared.tenancy import admission, quota
from shared.tenancy.tenants import TenantStatus
from shared.warehouse import rows
from shared.warehouse.rows import Row
from tests.component.conftest import Cloud
from tests.component.shared.schedules.scheduling import (
    DUE,
    RunRequests,
    a_due_schedule,
    an_active_tenant,
    become,
    deliver,
    history_of,
    left_queue,
    queue_of,
)

pytestmark = pytest.mark.usefixtures("central", "chain", "within_a_day")
DAY = date(2025, 11, 15)
LATER = timedelta(hours=1)


@pytest.fixture
def published() -> Iterator[Callable[..., RunRequests]]:
    """What is published for the tenants that a test names."""
    with ExitStack() as opened:

        def open_for(*tenant_ids: str) -> RunRequests:
            made = RunRequests(*tenant_ids)
            opened.callback(made.close)
            return made

        yield open_for


def a_waiting_run(tenant_id: str, *, age: int = 0, **changes: Any) -> RunRequestMessage:
    """A run of a schedule that has waited for `age` seconds."""
    config_id = str(uuid.uuid4())
    values: dict[str, Any] = {
        "tenant_id": tenant_id,
        "pipeline_logging_id": scheduled_run_id(config_id, DUE),
        "provider": "gcp",
        "domain": "test",
        "pipeline_template": "chain",
        "date": DAY,
        "config_id": config_id,
        "scheduled_time": DUE,
        "requested_at": datetime.now(UTC) - timedelta(seconds=age),
    }
    request = RunRequestMessage(**(values | changes))
    enqueue([request], reason="Concurrent pipeline limit reached.")
    return request


def a_backfill(tenant_id: str, dates: int, max_concurrency: int) -> list[RunRequestMessage]:
    backfill_id = str(uuid.uuid4())
    runs = [
        RunRequestMessage(
            tenant_id=tenant_id,
            pipeline_logging_id=backfill_run_id(backfill_id, DAY + timedelta(days=n)),
            provider="gcp",
            domain="test",
            pipeline_template="chain",
            date=DAY - timedelta(days=n),
            trigger_type="backfill",
            priority=0,
            backfill_id=backfill_id,
            max_concurrency=max_concurrency,
            requested_at=datetime.now(UTC) - timedelta(seconds=dates - n),
        )
        for n in range(dates)
    ]
    enqueue(runs, reason="Backfill.", expires_at=datetime.now(UTC) + timedelta(days=30))
    return runs


def hold_a_slot(tenant_id: str) -> Callable[[], None]:
    """Let a run of somebody hold one; what is returned gives it back."""
    run_id = str(uuid.uuid4())
    held = admission.admit(tenant_id, run_id, deadline=datetime.now(UTC) + LATER)
    return lambda: admission.release(tenant_id, run_id, held.slot, held.usage_date)


def ids(requests: list[RunRequestMessage]) -> list[str]:
    return [request.pipeline_logging_id for request in requests]


# --- whose turn it is ---------------------------------------------------------------------------


def test_the_highest_priority_and_then_the_oldest_comes_first(
    tenant: str, run_requests: RunRequests
) -> None:
    an_active_tenant(tenant, concurrent=3)
    young = a_waiting_run(tenant, age=10)
    old = a_waiting_run(tenant, age=500)
    a_waiting_run(tenant, age=5)
    urgent = a_waiting_run(tenant, age=1, priority=9)

    process_queue()

    found = run_requests.received()
    assert sorted(ids(found)) == sorted(ids([urgent, old, young]))
    assert all(request.waited and request.retry_count == 1 for request in found)
    assert queue_of(tenant)[0]["pipeline_logging_id"] == urgent.pipeline_logging_id


def test_only_as_many_as_there_is_room_for(tenant: str, run_requests: RunRequests) -> None:
    an_active_tenant(tenant, concurrent=3)
    give_back = hold_a_slot(tenant)
    for age in range(4):
        a_waiting_run(tenant, age=age)

    before = process_queue()
    first = run_requests.received()
    process_queue()
    in_flight = run_requests.received()
    assert before.launched_count >= 2
    assert before.waiting_count >= 2
    give_back()
    process_queue()

    assert len(first) == 2
    assert in_flight == []
    assert len(run_requests.received()) == 1


def test_a_published_run_that_nobody_hears_of_is_published_again(
    tenant: str, run_requests: RunRequests
) -> None:
    an_active_tenant(tenant, concurrent=1)
    request = a_waiting_run(tenant)
    process_queue()
    run_requests.received()

    process_queue(now=datetime.now(UTC) + timedelta(minutes=6))

    (again,) = run_requests.received()
    assert (again.pipeline_logging_id, again.retry_count) == (request.pipeline_logging_id, 2)


def test_a_run_that_found_no_room_after_all_has_its_turn_again_at_once(
    tenant: str, run_requests: RunRequests
) -> None:
    an_active_tenant(tenant, concurrent=1)
    request = a_waiting_run(tenant)
    process_queue()
    give_back = hold_a_slot(tenant)
    run_requests.dispatch_all()
    (row,) = queue_of(tenant)
    assert row["reason"] != ITS_TURN
    give_back()

    process_queue()
    run_requests.dispatch_all()

    assert run_status(tenant, request.pipeline_logging_id).status == "PENDING"
    assert queue_of(tenant) == []
    assert left_queue(tenant) == {request.pipeline_logging_id: "LAUNCHED"}


def test_two_calls_at_once_start_each_run_once(tenant: str, run_requests: RunRequests) -> None:
    an_active_tenant(tenant, concurrent=2)
    for age in range(4):
        a_waiting_run(tenant, age=age)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda _: process_queue(), range(2)))
    run_requests.dispatch_all(copies=2)

    assert quota.read(tenant).running == 2
    assert quota.read(tenant).run_today == 2
    assert len(queue_of(tenant)) == 2


def test_hundreds_of_one_tenant_do_not_stand_before_the_one_of_another(
    fresh: Callable[[], str], published: Callable[..., RunRequests]
) -> None:
    many, others = fresh(), [fresh() for _ in range(5)]
    for tenant_id in (many, *others):
        an_active_tenant(tenant_id)
    old = [
        RunRequestMessage(
            tenant_id=many,
            pipeline_logging_id=str(uuid.uuid4()),
            provider="gcp",
            domain="test",
            pipeline_template="chain",
            date=DAY,
            priority=10,
            requested_at=datetime.now(UTC) - LATER,
        )
        for _ in range(300)
    ]
    enqueue(old, reason="Concurrent pipeline limit reached.")
    for tenant_id in others:
        a_waiting_run(tenant_id)

    order = [
        row["tenant_id"]
        for row in waiting.picked(datetime.now(UTC))[0]
        if row["tenant_id"] in {many, *others}
    ]

    assert len(order) == 305
    assert set(order[:6]) == {many, *others}
    published(many)
    process_queue()


def test_calls_of_bigquery_do_not_depend_on_how_many_wait(
    fresh: Callable[[], str], cloud: Cloud
) -> None:
    def calls_for(count: int) -> dict[str, int]:
        for _ in range(count):
            tenant_id = fresh()
            an_active_tenant(tenant_id)
            a_waiting_run(tenant_id)
        before = cloud.calls()
        process_queue()
        return {
            method: number - before.get(method, 0)
            for method, number in cloud.calls().items()
            if number != before.get(method, 0)
        }

    compaction._since.forget("")
    process_queue()  # remembers the last compaction
    assert calls_for(1) == calls_for(20) == {"jobs.query": 2, "tabledata.insertAll": 1}


# --- backfills ----------------------------------------------------------------------------------


def test_a_backfill_has_no_more_at_once_than_it_asked_for(
    tenant: str, run_requests: RunRequests
) -> None:
    an_active_tenant(tenant, concurrent=10)
    runs = a_backfill(tenant, dates=6, max_concurrency=2)

    process_queue()
    first = run_requests.dispatch_all()
    process_queue()

    assert ids(first) == ids(runs[:2])
    assert run_requests.received() == []
    for request in first:
        own = quota.read(tenant, [request.pipeline_logging_id]).own[request.pipeline_logging_id]
        admission.release(tenant, own.run_id, own.slot, own.usage_date)
    process_queue()
    assert ids(run_requests.received()) == ids(runs[2:4])


def test_runs_of_schedules_come_before_those_of_a_backfill(
    tenant: str, run_requests: RunRequests
) -> None:
    an_active_tenant(tenant, concurrent=2)
    a_backfill(tenant, dates=5, max_concurrency=5)
    scheduled = a_waiting_run(tenant, priority=1)

    process_queue()

    found = run_requests.received()
    assert len(found) == 2
    assert scheduled.pipeline_logging_id in ids(found)


def test_a_backfill_waits_for_the_next_day_where_a_scheduled_run_is_skipped(
    tenant: str, run_requests: RunRequests
) -> None:
    an_active_tenant(tenant, daily=1, concurrent=5)
    hold_a_slot(tenant)
    a_backfill(tenant, dates=2, max_concurrency=2)
    scheduled = a_waiting_run(tenant)

    process_queue()
    run_requests.dispatch_all()

    assert left_queue(tenant) == {scheduled.pipeline_logging_id: "CANCELLED"}
    (run,) = history_of(tenant, str(scheduled.config_id))
    assert run.state == "SKIPPED"
    assert (run.reason or "").startswith("Daily pipeline quota exceeded.")
    assert len(queue_of(tenant)) == 2


# --- leaving ------------------------------------------------------------------------------------


def test_runs_of_a_suspended_tenant_and_expired_ones_leave_with_a_reason(
    fresh: Callable[[], str], tenant: str, published: Callable[..., RunRequests]
) -> None:
    suspended = fresh()
    an_active_tenant(suspended, concurrent=1)
    an_active_tenant(tenant, concurrent=1)
    hold_a_slot(tenant)
    of_suspended = a_waiting_run(suspended)
    become(suspended, TenantStatus.SUSPENDED)
    expired = a_waiting_run(tenant, expires_at=datetime.now(UTC) - LATER)
    received = published(tenant, suspended)

    process_queue()
    received.dispatch_all()

    assert left_queue(suspended) == {of_suspended.pipeline_logging_id: "CANCELLED"}
    assert left_queue(tenant) == {expired.pipeline_logging_id: "EXPIRED"}
    assert history_of(suspended, str(of_suspended.config_id))[0].state == "SKIPPED"
    assert history_of(tenant, str(expired.config_id))[0].state == "TIMED_OUT"
    assert queue_of(tenant) == queue_of(suspended) == []


def test_a_cancelled_run_has_no_turn(tenant: str, run_requests: RunRequests) -> None:
    an_active_tenant(tenant, concurrent=1)
    give_back = hold_a_slot(tenant)
    config_id = a_due_schedule(tenant, DUE)
    request = a_waiting_run(tenant, config_id=config_id)
    run_requests.received()
    deliver(request)
    cancel(tenant, request.pipeline_logging_id, cancelled_by="alice")
    give_back()

    process_queue()

    assert request.pipeline_logging_id not in ids(run_requests.received())


def test_a_manual_run_that_comes_between_keeps_the_limit(
    tenant: str, run_requests: RunRequests
) -> None:
    profile = an_active_tenant(tenant, concurrent=1)
    a_waiting_run(tenant)
    process_queue()
    request = RunRequest(TemplatePath("gcp", "test", "chain"), date=DAY)
    launch(*prepare(request, profile))

    run_requests.dispatch_all()

    assert quota.read(tenant).running == 1
    assert len(queue_of(tenant)) == 1


def test_a_request_that_nobody_can_read_holds_up_nobody_else(
    tenant: str, run_requests: RunRequests
) -> None:
    an_active_tenant(tenant)
    unreadable = a_waiting_run(tenant, age=60)
    row = waiting.row(unreadable, "QUEUED", "x")
    rows.append(waiting.QUEUE_LOG, [Row("other", {**row.values, "request": {"tenant_id": 1}})])
    readable = a_waiting_run(tenant)

    process_queue()

    assert ids(run_requests.received()) == [readable.pipeline_logging_id]


def test_a_compaction_keeps_what_waits_and_nothing_else(tenant: str) -> None:
    an_active_tenant(tenant)
    stays, leaves = a_waiting_run(tenant, age=50), a_waiting_run(tenant)
    rows.append(waiting.QUEUE_LOG, [waiting.row(leaves, "LAUNCHED", None)])
    (before,) = queue_of(tenant)
    moment = datetime(2013, 1, 1, tzinfo=UTC) + timedelta(days=uuid.uuid4().int % 3000)

    compaction.compact_schedules(moment)

    (after,) = queue_of(tenant)
    assert after["pipeline_logging_id"] == stays.pipeline_logging_id
    assert {**after, "recorded_at": 0, "sequence": 0} == {**before, "recorded_at": 0, "sequence": 0}
