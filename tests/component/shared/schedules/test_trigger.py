"""The fan-out on real local servers: what is published, recorded and due afterwards."""

import subprocess
import sys
import uuid
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from google.cloud.bigquery import QueryJobConfig

from shared.clients import bigquery_client
from shared.engine.executions import Wanted, executions
from shared.errors import Retryable
from shared.schedules import compaction, configs, cron, due, requests
from shared.schedules.requests import scheduled_run_id
from shared.schedules.trigger import trigger
from shared.tenancy import quota
from shared.tenancy.tenants import TenantStatus
from shared.warehouse import rows
from shared.warehouse.failures import WarehouseBusyError, WarehouseError
from shared.warehouse.queries import query
from shared.warehouse.rows import Row
from tests.component.conftest import Cloud
from tests.component.shared.post import Post
from tests.component.shared.schedules.scheduling import (
    DUE,
    NOW,
    RunRequests,
    a_due_schedule,
    an_active_tenant,
    become,
    deliver,
    history_of,
)

pytestmark = pytest.mark.usefixtures("central", "within_a_day")
ROOT = Path(__file__).parents[4]
HOUR = timedelta(hours=1)


def test_a_due_schedule_is_published_recorded_and_due_later(
    tenant: str, run_requests: RunRequests
) -> None:
    an_active_tenant(tenant)
    occurrence = DUE
    config_id = a_due_schedule(tenant, occurrence, parameters={"wanted": 7}, priority=8)

    done = trigger(NOW)

    (request,) = run_requests.received()
    assert done.triggered_count >= 1
    assert request.pipeline_logging_id == scheduled_run_id(config_id, occurrence)
    assert (request.provider, request.domain, request.pipeline_template) == ("gcp", "test", "chain")
    assert request.parameters == {"wanted": 7}
    assert request.date == cron.date_of_run("UTC", occurrence)
    assert request.scheduled_time == occurrence
    assert (request.priority, request.config_id) == (8, config_id)
    assert request.trigger_by == f"schedule/{config_id}"
    schedule = configs.get(tenant, config_id)
    assert schedule.next_run_time == occurrence + HOUR
    assert schedule.last_run_time == occurrence
    assert schedule.parameters == {"wanted": 7}
    assert schedule.revision == 1
    (run,) = history_of(tenant, config_id)
    assert (run.state, run.scheduled_time, run.reason) == ("TRIGGERED", occurrence, None)
    assert run.date == request.date


def test_a_triggered_schedule_is_not_due_again(tenant: str, run_requests: RunRequests) -> None:
    an_active_tenant(tenant)
    a_due_schedule(tenant, DUE)

    trigger(NOW)
    trigger(NOW)

    assert len(run_requests.received()) == 1


def test_paused_and_deleted_schedules_are_not_due(tenant: str, run_requests: RunRequests) -> None:
    profile = an_active_tenant(tenant)
    paused, deleted, edited = (a_due_schedule(tenant, DUE) for _ in range(3))
    configs.pause(tenant, paused, changed_by="alice")
    configs.delete(tenant, deleted, deleted_by="alice")

    trigger(NOW)

    assert [request.config_id for request in run_requests.received()] == [edited]
    assert profile.status is TenantStatus.ACTIVE


def test_missed_occurrences_collapse_into_the_latest(
    tenant: str, run_requests: RunRequests
) -> None:
    an_active_tenant(tenant)
    latest = DUE
    config_id = a_due_schedule(tenant, latest - 6 * HOUR)

    trigger(NOW)

    (request,) = run_requests.received()
    assert request.scheduled_time == latest
    (run,) = history_of(tenant, config_id)
    assert run.reason
    assert run.reason.startswith("Stands for the occurrences missed since")
    assert configs.get(tenant, config_id).next_run_time == latest + HOUR


def test_with_catch_up_each_missed_occurrence_runs(tenant: str, run_requests: RunRequests) -> None:
    an_active_tenant(tenant)
    latest = DUE
    config_id = a_due_schedule(tenant, latest - 5 * HOUR, catch_up=True)

    trigger(NOW)

    times = [request.scheduled_time for request in run_requests.received()]
    assert sorted(t for t in times if t) == [latest - n * HOUR for n in range(5, -1, -1)]
    assert [run.state for run in history_of(tenant, config_id)] == ["TRIGGERED"] * 6
    assert configs.get(tenant, config_id).next_run_time == latest + HOUR


def test_what_one_call_does_not_catch_up_the_next_one_does(
    tenant: str, run_requests: RunRequests
) -> None:
    an_active_tenant(tenant)
    latest = DUE
    first = latest - (due.MOST_CAUGHT_UP + 2) * HOUR
    a_due_schedule(tenant, first, catch_up=True)

    trigger(NOW)
    before = len(run_requests.received())
    trigger(NOW)
    trigger(NOW)

    assert before == due.MOST_CAUGHT_UP
    assert before + len(run_requests.received()) == due.MOST_CAUGHT_UP + 3


def test_jitter_moves_the_run_but_not_its_identity(tenant: str, run_requests: RunRequests) -> None:
    an_active_tenant(tenant)
    occurrence = DUE - HOUR
    config_id = str(uuid.uuid4())
    wait = timedelta(seconds=cron.jitter_seconds(config_id, 1800))
    a_due_schedule(tenant, occurrence + wait, config_id=config_id, max_jitter_seconds=1800)

    trigger(now=occurrence + wait)

    (request,) = run_requests.received()
    assert request.pipeline_logging_id == scheduled_run_id(config_id, occurrence)
    assert configs.get(tenant, config_id).next_run_time == occurrence + HOUR + wait


@pytest.mark.parametrize("status", [TenantStatus.SUSPENDED, TenantStatus.OFFBOARDED])
def test_schedules_of_tenants_that_may_not_run_are_skipped_and_advanced(
    status: TenantStatus, tenant: str, run_requests: RunRequests
) -> None:
    an_active_tenant(tenant)
    become(tenant, status)
    occurrence = DUE
    config_id = a_due_schedule(tenant, occurrence)

    done = trigger(NOW)

    assert done.skipped_count >= 1
    assert run_requests.received() == []
    (run,) = history_of(tenant, config_id)
    assert run.state == "SKIPPED"
    assert run.reason == f"Tenant {tenant!r} is {status}; it cannot run pipelines."
    assert run.completed_at is not None
    assert configs.get(tenant, config_id).next_run_time == occurrence + HOUR


def test_an_expression_that_nobody_can_read_holds_up_nobody_else(
    tenant: str, run_requests: RunRequests
) -> None:
    an_active_tenant(tenant)
    broken = a_due_schedule(tenant, DUE, schedule_cron="0 0 31 2 *")
    lost = a_due_schedule(tenant, DUE, timezone="Atlantis/Capital")
    good = a_due_schedule(tenant, DUE)

    trigger(NOW)

    assert [request.config_id for request in run_requests.received()] == [good]
    for config_id in (broken, lost):
        configs.delete(tenant, config_id, deleted_by="test")


def test_calls_of_bigquery_do_not_depend_on_how_many_are_due(
    fresh: Callable[[], str], cloud: Cloud
) -> None:
    def calls_for(count: int) -> dict[str, int]:
        for _ in range(count):
            tenant_id = fresh()
            an_active_tenant(tenant_id)
            a_due_schedule(tenant_id, DUE)
        before = cloud.calls()
        done = trigger(NOW)
        assert done.triggered_count >= count
        return {
            method: number - before.get(method, 0)
            for method, number in cloud.calls().items()
            if number != before.get(method, 0)
        }

    compaction._since.forget("")
    trigger(NOW)  # remembers the last compaction
    few, more = calls_for(1), calls_for(40)

    assert few == more == {"jobs.query": 1, "tabledata.insertAll": 2}


def test_when_pubsub_takes_nothing_nothing_is_advanced(
    tenant: str, run_requests: RunRequests, monkeypatch: pytest.MonkeyPatch
) -> None:
    an_active_tenant(tenant)
    config_id = a_due_schedule(tenant, DUE)
    with monkeypatch.context() as patch:
        patch.setattr(requests, "TOPIC", "no-such-topic")
        with pytest.raises(Retryable):
            trigger(NOW)
    assert configs.get(tenant, config_id).next_run_time == DUE

    trigger(NOW)

    assert len(run_requests.received()) == 1


@pytest.mark.usefixtures("chain")
def test_a_call_that_dies_after_publishing_repeats_the_same_runs(
    tenant: str, run_requests: RunRequests, post: Post, cloud: Cloud
) -> None:
    an_active_tenant(tenant)
    config_id = a_due_schedule(tenant, DUE)
    trigger_until_the_history(cloud)

    trigger(NOW)

    first, second = run_requests.received()
    assert first.pipeline_logging_id == second.pipeline_logging_id
    for request in (first, second):
        deliver(request)
    assert len({step.run.pipeline_logging_id for step in post.steps()}) == 1
    assert quota.read(tenant).run_today == 1
    assert len(history_of(tenant, config_id)) == 1


def trigger_until_the_history(cloud: Cloud) -> None:
    """Publish, and fail to record."""
    cloud.fail("tabledata.insertAll", times=1, status=400, reason="invalid")
    with pytest.raises(WarehouseError):
        trigger(NOW)


_CALL = """
import datetime, sys
from shared.schedules.trigger import trigger
trigger(datetime.datetime.fromisoformat(sys.argv[1]))
"""


@pytest.mark.usefixtures("chain")
def test_two_processes_at_once_give_one_run_per_tenant_and_occurrence(
    fresh: Callable[[], str], cloud: Cloud
) -> None:
    from shared.warehouse import tables
    from shared.warehouse.schemas import load_folder

    names = [fresh() for _ in range(4)]
    for tenant_id in names:
        tables.ensure_dataset(tenant_id, labels={tables.OWNER_LABEL: tenant_id})
        tables.ensure(tenant_id, load_folder("tenant"))
        an_active_tenant(tenant_id)
        a_due_schedule(tenant_id, DUE)
    published = RunRequests(*names)
    environment = {**cloud.environment, "PATH": "/usr/bin:/bin", "LOG_LEVEL": "ERROR"}
    callers = [
        subprocess.Popen(
            [sys.executable, "-c", _CALL, NOW.isoformat()],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
        )
        for _ in range(2)
    ]
    for caller in callers:
        caller.communicate(timeout=60)
        assert caller.returncode == 0

    published.dispatch_all(copies=2)
    published.close()

    for tenant_id in names:
        assert len(executions(tenant_id, Wanted()).runs) == 1
        assert quota.read(tenant_id).run_today == 1


# --- compaction ---------------------------------------------------------------------------------


def test_a_compaction_repeats_every_active_schedule_and_changes_none(tenant: str) -> None:
    profile = an_active_tenant(tenant)
    coming = datetime.now(UTC).replace(microsecond=0) + timedelta(days=40)
    config_id = a_due_schedule(
        tenant, coming, parameters={"wanted": 3}, catch_up=True, max_jitter_seconds=60
    )
    paused = a_due_schedule(tenant, coming)
    configs.pause(tenant, paused, changed_by="alice")
    before = [configs.get(tenant, config_id), configs.get(tenant, paused)]
    days = timedelta(days=uuid.uuid4().int % 3000)
    moment = datetime(2005, 1, 1, 12, tzinfo=UTC) + days  # a day that no other test compacts

    first, second = compaction.compact_schedules(moment), compaction.compact_schedules(moment)

    assert first == second >= 1
    assert [configs.get(tenant, config_id), configs.get(tenant, paused)] == before
    written = rows.read(
        query(
            "SELECT * FROM `tenants.tenant_pipeline_configs_log`"
            " WHERE tenant_id = @tenant_id AND recorded_by = 'compaction'",
            tenant_id=tenant,
        )
    )
    assert [(row["config_id"], row["revision"]) for row in written] == [(config_id, 1)]
    assert written[0]["next_run_time"] == coming
    assert written[0]["parameters"] == {"wanted": 3}
    assert profile.tenant_id == tenant


def test_rows_from_before_a_compaction_are_not_needed(tenant: str) -> None:
    an_active_tenant(tenant)
    occurrence = DUE
    config_id = a_due_schedule(tenant, occurrence, recorded_at=datetime(2003, 5, 5, tzinfo=UTC))
    compacted_on = datetime(2003, 5, 6, tzinfo=UTC) + timedelta(days=uuid.uuid4().int % 500)
    compaction.compact_schedules(compacted_on)

    since = compacted_on - HOUR
    found = due.due_schedules(NOW, since=since)

    (schedule,) = [row for row in found if row["config_id"] == config_id]
    assert schedule["due_at"] == occurrence
    assert (schedule["schedule_cron"], schedule["revision"]) == ("0 * * * *", 1)
    assert schedule["max_jitter_seconds"] == 0
    trigger(NOW)


def test_what_is_scanned_does_not_grow_with_the_history(tenant: str) -> None:
    an_active_tenant(tenant)
    since = NOW - timedelta(days=1)

    def scanned() -> int:
        config = QueryJobConfig(
            dry_run=True,
            use_query_cache=False,
            query_parameters=query("", since=since, now=NOW, most=1).bigquery_parameters(),
        )
        return int(bigquery_client().query(due.DUE, config).total_bytes_processed)

    def grow(count: int, recorded_at: datetime) -> None:
        config_id = a_due_schedule(tenant, NOW + HOUR)
        (row,) = rows.read(
            query(
                "SELECT * FROM `tenants.tenant_pipeline_configs_log` WHERE config_id = @config_id",
                config_id=config_id,
            )
        )
        values = {**row, "change": "ADVANCED", "recorded_at": recorded_at}
        repeated = [Row(f"{config_id}-{n}", values) for n in range(count)]
        rows.append("tenants.tenant_pipeline_configs_log", repeated)

    grow(100, NOW)
    before = scanned()
    grow(500, NOW - timedelta(days=90))
    after_a_quarter = scanned()
    grow(500, NOW)

    assert after_a_quarter < 1.1 * before  # an estimate, by the average row
    assert scanned() > 2 * before


def test_a_compaction_that_bigquery_refuses_for_now_is_asked_for_again(cloud: Cloud) -> None:
    moment = datetime(1990, 1, 1, tzinfo=UTC) + timedelta(days=uuid.uuid4().int % 3000)
    cloud.fail("jobs.insert", times=1, status=503, reason="backendError")

    try:
        compaction.compact_schedules(moment)
    except WarehouseBusyError:
        compaction.compact_schedules(moment)

    assert compaction.rows_needed_since(datetime.now(UTC)).date() >= date(1989, 12, 31)
