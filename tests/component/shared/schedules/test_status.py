"""The scheduler's status: every figure follows what happens, in one query."""

import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from shared.engine.dead_letters import receive_dead_letter
from shared.engine.delivery import Delivery
from shared.engine.expiry import expire
from shared.engine.launch import launch
from shared.engine.prepare import RunRequest, TemplatePath, prepare
from shared.schedules import orphans, status, waiting
from shared.schedules.requests import RunRequestMessage
from shared.schedules.status import SchedulerStatus
from shared.warehouse import rows
from shared.warehouse.rows import Row
from tests.api_processes import one_day
from tests.component.conftest import Cloud
from tests.component.shared.engine.templates import CHAIN, templates
from tests.component.shared.post import Post
from tests.component.shared.schedules.overdue import onboarded, overdue_run

pytestmark = pytest.mark.usefixtures("central")


@pytest.fixture(autouse=True)
def _templates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    one_day(seconds=20)
    with templates(tmp_path / "configs", monkeypatch, chain=CHAIN):
        yield


@pytest.fixture
def now() -> datetime:
    """The moment that a test looks at all the time: no other deadline passes meanwhile."""
    return datetime.now(UTC)


@pytest.fixture
def before(central: None, now: datetime) -> SchedulerStatus:
    """How things stand before the test does anything; other tests of this process left it so."""
    return status.read(now)


def test_status_is_one_query_whatever_the_number_of_tenants(cloud: Cloud, central: None) -> None:
    calls = cloud.calls()

    status.read()

    spent = {name: n - calls.get(name, 0) for name, n in cloud.calls().items()}
    assert {name: n for name, n in spent.items() if n} == {"jobs.query": 1}


def test_runs_are_counted_while_they_run_and_when_they_have_completed(
    before: SchedulerStatus,
    now: datetime,
    tenant: str,
    post: Post,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    profile = onboarded(tenant)
    pipeline, run = prepare(RunRequest(TemplatePath("gcp", "test", "chain")), profile)
    launch(pipeline, run)
    assert status.read(now) == replace(before, running=before.running + 1)

    post.deliver_all()
    done = replace(before, completed_today=before.completed_today + 1)
    assert status.read(now) == done

    late = overdue_run(profile, monkeypatch).pipeline_logging_id
    assert status.read(now) == replace(done, overdue=before.overdue + 1)
    own = [run for run in orphans.find_overdue(now)[0] if run.run_id == late]
    expire(tenant, profile, own)
    assert status.read(now) == done


def a_request(tenant_id: str, priority: int, age: timedelta) -> RunRequestMessage:
    return RunRequestMessage(
        tenant_id=tenant_id,
        pipeline_logging_id=str(uuid.uuid4()),
        provider="gcp",
        domain="test",
        pipeline_template="chain",
        date=date(2025, 11, 15),
        priority=priority,
        requested_at=datetime.now(UTC) - age,
    )


def test_waiting_runs_are_counted_by_priority_with_the_age_of_the_oldest(
    before: SchedulerStatus, now: datetime, fresh: Callable[[], str]
) -> None:
    ages = ((9, timedelta(minutes=1)), (9, timedelta(hours=20)), (7, timedelta(seconds=1)))
    own = [a_request(fresh(), priority, age) for priority, age in ages]

    waiting.enqueue(own, reason="test")

    found = status.read(now)
    assert found.waiting == before.waiting + 3
    assert found.waiting_by_priority[9] == before.waiting_by_priority.get(9, 0) + 2
    assert found.waiting_by_priority[7] == before.waiting_by_priority.get(7, 0) + 1
    assert list(found.waiting_by_priority) == sorted(found.waiting_by_priority, reverse=True)
    assert found.oldest_waiting_seconds is not None
    assert found.oldest_waiting_seconds >= timedelta(hours=19).total_seconds()

    rows.append("tenants.pipeline_execution_queue_log", [_left(one) for one in own])
    left = status.read(now)
    assert (left.waiting, left.waiting_by_priority) == (before.waiting, before.waiting_by_priority)


def _left(request: RunRequestMessage) -> Row:
    return waiting.row(request, "LAUNCHED", None)


def test_active_and_due_schedules_are_counted(
    before: SchedulerStatus, now: datetime, fresh: Callable[[], str]
) -> None:
    tenant_id = fresh()
    for active, due in ((True, -1), (True, 1), (False, -1)):
        config_id = str(uuid.uuid4())
        values = {
            "tenant_id": tenant_id,
            "config_id": config_id,
            "change": "CREATED",
            "revision": 1,
            "provider": "gcp",
            "domain": "test",
            "pipeline_template": "chain",
            "schedule_cron": "0 2 * * *",
            "timezone": "UTC",
            "is_active": active,
            "next_run_time": now + timedelta(hours=due),
            "created_at": now,
            "recorded_by": "test",
            **rows.stamp(),
        }
        rows.append("tenants.tenant_pipeline_configs_log", [Row(config_id, values)])

    found = status.read(now)

    assert found.active_schedules == before.active_schedules + 2
    assert found.due_now == before.due_now + 1


def test_dead_letter_is_counted_once_however_often_it_comes(
    before: SchedulerStatus, now: datetime
) -> None:
    source = {
        "CloudPubSubDeadLetterSourceDeliveryCount": "20",
        "CloudPubSubDeadLetterSourceSubscription": "step-gcp",
    }
    letter = Delivery(
        data=b"rubbish",
        attributes=source,
        message_id=str(uuid.uuid4()),
        subscription="dead-letter",
        attempt=1,
    )

    receive_dead_letter(letter)
    receive_dead_letter(letter.model_copy(update={"attempt": 2}))

    assert status.read(now).dead_lettered_today == before.dead_lettered_today + 1
