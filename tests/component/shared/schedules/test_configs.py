"""Schedules on a real local BigQuery: what is recorded, what the view shows, changes at once."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from threading import Event
from typing import Any

import pytest
from pytest_mock import MockerFixture

from shared.engine.idempotency import KeyReusedError
from shared.errors import InvalidInputError, NotFoundError
from shared.schedules import configs, cron, revisions, runs
from shared.schedules.configs import DeletedSinceError, TooManySchedulesError
from shared.schedules.definitions import Definition, Schedule
from shared.tenancy.quota import QuotaExceededError
from shared.tenancy.tenants import TenantProfile, TenantStatus
from shared.warehouse import rows
from shared.warehouse.queries import query
from shared.warehouse.rows import Row
from tests.api_processes import subscribe
from tests.component.conftest import Cloud
from tests.component.shared.post import Post

pytestmark = pytest.mark.usefixtures("central")


def profile(tenant_id: str) -> TenantProfile:
    return TenantProfile(
        tenant_id=tenant_id,
        admin_email="admin@acmecorp.com",
        status=TenantStatus.ACTIVE,
        billing_account_ids=("01ABCD-234567-89EFAB",),
        created_at=datetime.now(UTC),
    )


@pytest.fixture
def someone(fresh: Callable[[], str]) -> TenantProfile:
    """A tenant without a dataset."""
    return profile(fresh())


def a_definition(**changes: Any) -> Definition:
    values: dict[str, Any] = {
        "provider": "GCP",
        "domain": "COST",
        "pipeline_template": "billing_cost",
        "schedule_cron": "0 2 * * *",
        "timezone": "America/New_York",
    }
    return Definition(**(values | changes))


def a_schedule(tenant: TenantProfile, **changes: Any) -> Schedule:
    return configs.create(tenant, a_definition(**changes), created_by="alice")


def log(config_id: str) -> list[dict[str, Any]]:
    return rows.read(
        query(
            f"SELECT * FROM `{revisions.CONFIGS_LOG}` WHERE config_id = @config_id"
            " ORDER BY recorded_at, sequence",
            config_id=config_id,
        )
    )


def advance(schedule: Schedule, to: datetime) -> None:
    """What the fan-out appends after it has triggered an occurrence."""
    values = {
        **schedule.model_dump(include={"tenant_id", "config_id", "revision"}),
        **schedule.model_dump(include={"provider", "domain", "pipeline_template"}),
        "change": "ADVANCED",
        "next_run_time": to,
        "last_run_time": schedule.next_run_time,
        **rows.stamp(),
    }
    rows.append(revisions.CONFIGS_LOG, [Row(f"{schedule.config_id}-{to.isoformat()}", values)])


# --- one after the other ------------------------------------------------------------------------


def test_a_schedule_reads_as_it_was_created(someone: TenantProfile) -> None:
    given = {
        "priority": 9,
        "parameters": {"late_arrival_days": 7},
        "catch_up": True,
        "max_jitter_seconds": 600,
        "description": "Cost of the night",
    }

    created = a_schedule(someone, **given)

    assert configs.get(someone.tenant_id, created.config_id.upper()) == created
    assert created.model_dump(include=set(given)) == given
    assert (created.provider, created.domain) == ("gcp", "cost")
    assert created.revision == 1
    assert created.created_by == created.updated_by == "alice"
    now = created.created_at
    assert now is not None
    jitter = timedelta(seconds=cron.jitter_seconds(created.config_id, 600))
    occurrence = cron.next_after("0 2 * * *", "America/New_York", now - jitter)
    assert created.next_run_time == occurrence + jitter


def test_a_key_creates_one_schedule_however_often_it_is_sent(someone: TenantProfile) -> None:
    def create(**changes: Any) -> Schedule:
        return configs.create(
            someone, a_definition(**changes), created_by="alice", idempotency_key="nightly"
        )

    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda _: create(), range(4)))
    (shown,) = configs.listed(someone.tenant_id).schedules
    assert {one.config_id for one in made} == {shown.config_id}

    configs.pause(someone.tenant_id, shown.config_id, changed_by="alice")
    assert not create().is_active  # the schedule as it is now
    with pytest.raises(KeyReusedError):
        create(schedule_cron="0 3 * * *")
    another = configs.create(someone, a_definition(), created_by="alice", idempotency_key="another")
    assert another.config_id != shown.config_id

    configs.delete(someone.tenant_id, shown.config_id, deleted_by="alice")
    with pytest.raises(DeletedSinceError):
        create()


def test_a_schedule_of_nobody_and_of_somebody_else_does_not_exist(
    someone: TenantProfile, fresh: Callable[[], str]
) -> None:
    created = a_schedule(someone)

    for tenant_id, config_id in (
        (fresh(), created.config_id),
        (someone.tenant_id, "00000000-0000-4000-8000-000000000000"),
        (someone.tenant_id, "' OR TRUE --"),
    ):
        with pytest.raises(NotFoundError):
            configs.get(tenant_id, config_id)
        with pytest.raises(NotFoundError):
            configs.delete(tenant_id, config_id, deleted_by="mallory")
        with pytest.raises(NotFoundError):
            configs.pause(tenant_id, config_id, changed_by="mallory")
    assert configs.get(someone.tenant_id, created.config_id) == created


def test_a_replacement_keeps_the_history_and_who_created_it(someone: TenantProfile) -> None:
    created = a_schedule(someone, priority=9, parameters={"late_arrival_days": 7})

    replaced = configs.replace(
        someone, created.config_id, a_definition(schedule_cron="0 9 * * MON"), changed_by="bob"
    )

    assert configs.get(someone.tenant_id, created.config_id) == replaced
    assert (replaced.priority, replaced.parameters) == (5, {})
    assert (replaced.created_by, replaced.updated_by) == ("alice", "bob")
    assert replaced.created_at == created.created_at
    history = log(created.config_id)
    assert [row["change"] for row in history] == ["CREATED", "EDITED"]
    assert [row["revision"] for row in history] == [1, 2]
    assert [row["schedule_cron"] for row in history] == ["0 2 * * *", "0 9 * * MON"]
    assert [row["recorded_by"] for row in history] == ["alice", "bob"]


def test_putting_what_is_there_writes_nothing(someone: TenantProfile, cloud: Cloud) -> None:
    created = a_schedule(someone)

    same = configs.replace(someone, created.config_id, a_definition(), changed_by="bob")

    assert same == created
    assert len(log(created.config_id)) == 1


def test_an_occurrence_that_is_due_survives_an_edit_of_something_else(
    someone: TenantProfile,
) -> None:
    created = a_schedule(someone)
    due = datetime.now(UTC).replace(second=0, microsecond=0) + timedelta(days=30)
    advance(created, due)

    edited = configs.replace(
        someone, created.config_id, a_definition(description="new words"), changed_by="bob"
    )

    assert edited.next_run_time == due
    assert configs.get(someone.tenant_id, created.config_id).next_run_time == due
    assert edited.last_run_time == created.next_run_time


def test_new_times_forget_what_was_due_and_what_a_late_advance_says(
    someone: TenantProfile,
) -> None:
    created = a_schedule(someone)
    edited = configs.replace(
        someone, created.config_id, a_definition(schedule_cron="30 4 * * *"), changed_by="bob"
    )
    advance(created, datetime.now(UTC) + timedelta(days=30))

    now = edited.updated_at
    assert now is not None
    expected = cron.next_after("30 4 * * *", "America/New_York", now)
    assert configs.get(someone.tenant_id, created.config_id).next_run_time == expected


def test_a_paused_schedule_has_no_next_run_until_it_is_resumed(someone: TenantProfile) -> None:
    created = a_schedule(someone)

    paused = configs.pause(someone.tenant_id, created.config_id, changed_by="bob")
    assert (paused.is_active, paused.next_run_time) == (False, None)
    assert configs.get(someone.tenant_id, created.config_id) == paused
    assert configs.pause(someone.tenant_id, created.config_id, changed_by="eve") == paused

    resumed = configs.resume(someone, created.config_id, changed_by="bob")
    assert resumed.is_active
    assert resumed.next_run_time == created.next_run_time
    assert configs.get(someone.tenant_id, created.config_id) == resumed
    assert len(log(created.config_id)) == 3


def test_a_deleted_schedule_is_gone_and_stays_in_the_log(someone: TenantProfile) -> None:
    created = a_schedule(someone)

    deleted = configs.delete(someone.tenant_id, created.config_id, deleted_by="bob")

    assert not deleted.is_active
    with pytest.raises(NotFoundError):
        configs.get(someone.tenant_id, created.config_id)
    with pytest.raises(NotFoundError):
        configs.replace(someone, created.config_id, a_definition(priority=1), changed_by="late")
    assert configs.listed(someone.tenant_id).schedules == []
    last = log(created.config_id)[-1]
    assert (last["change"], last["recorded_by"]) == ("DELETED", "bob")


def test_pages_show_every_schedule_once_newest_first(someone: TenantProfile) -> None:
    made = [a_schedule(someone, priority=number) for number in range(1, 8)]
    configs.pause(someone.tenant_id, made[2].config_id, changed_by="bob")

    seen: list[str] = []
    cursor: str | None = None
    while True:
        page = configs.listed(someone.tenant_id, limit=3, cursor=cursor)
        seen += [schedule.config_id for schedule in page.schedules]
        a_schedule(someone, priority=10)  # newer ones do not move the pages behind them
        cursor = page.next_cursor
        if cursor is None:
            break

    assert seen == [schedule.config_id for schedule in reversed(made)]
    inactive = configs.listed(someone.tenant_id, is_active=False).schedules
    assert [schedule.config_id for schedule in inactive] == [made[2].config_id]
    active = configs.listed(someone.tenant_id, is_active=True).schedules
    assert made[2].config_id not in {schedule.config_id for schedule in active}


def test_a_cursor_of_another_list_is_refused(someone: TenantProfile) -> None:
    for cursor in ("x", "WyJhIiwiYiJd", "WyIyMDI2LTAxLTAxVDAwOjAwOjAwIiwiYiJd"):
        with pytest.raises(InvalidInputError):
            configs.listed(someone.tenant_id, cursor=cursor)


def test_a_tenant_has_no_more_active_schedules_than_it_may(
    someone: TenantProfile, mocker: MockerFixture
) -> None:
    mocker.patch.object(configs, "MAX_ACTIVE", 2)
    first, _ = a_schedule(someone), a_schedule(someone)

    with pytest.raises(TooManySchedulesError, match="has 2 active schedules, the most"):
        a_schedule(someone)
    paused = a_schedule(someone, is_active=False)
    with pytest.raises(TooManySchedulesError):
        configs.resume(someone, paused.config_id, changed_by="bob")
    with pytest.raises(TooManySchedulesError):
        configs.replace(someone, paused.config_id, a_definition(), changed_by="bob")
    configs.replace(someone, first.config_id, a_definition(priority=1), changed_by="bob")

    configs.pause(someone.tenant_id, first.config_id, changed_by="bob")
    configs.resume(someone, paused.config_id, changed_by="bob")


# --- at once ------------------------------------------------------------------------------------


def test_of_replacements_at_once_the_last_revision_holds_and_all_are_kept(
    someone: TenantProfile,
) -> None:
    created = a_schedule(someone)
    expressions = [f"{minute} 3 * * *" for minute in range(12)]

    def put(expression: str) -> Schedule:
        definition = a_definition(schedule_cron=expression)
        return configs.replace(someone, created.config_id, definition, changed_by="crowd")

    with ThreadPoolExecutor(6) as crowd:
        answers = list(crowd.map(put, expressions))

    history = log(created.config_id)
    edits = [row for row in history if row["change"] == "EDITED"]
    assert sorted(row["schedule_cron"] for row in edits) == sorted(expressions)
    numbers = [row["revision"] for row in history]
    assert len(set(numbers)) == len(numbers)
    last = max(answers, key=lambda answer: answer.revision)
    assert configs.get(someone.tenant_id, created.config_id) == last


def test_a_pause_waits_for_the_replacement_that_is_being_written(
    someone: TenantProfile, mocker: MockerFixture
) -> None:
    created = a_schedule(someone)
    claimed, refused = Event(), Event()
    append, claim = revisions.append, revisions.claim

    def slow_append(change: str, schedule: Schedule, stamp: dict[str, Any]) -> None:
        if schedule.updated_by == "slow":
            claimed.set()
            assert refused.wait(10)
        append(change, schedule, stamp)

    def watched_claim(config_id: str, revision: int) -> bool:
        won = claim(config_id, revision)
        if not won:
            refused.set()
        return won

    mocker.patch.object(revisions, "append", slow_append)
    mocker.patch.object(revisions, "claim", watched_claim)
    with ThreadPoolExecutor(1) as other:
        definition = a_definition(schedule_cron="5 3 * * *")
        replacing = other.submit(
            configs.replace, someone, created.config_id, definition, changed_by="slow"
        )
        assert claimed.wait(10)
        paused = configs.pause(someone.tenant_id, created.config_id, changed_by="bob")
        replacing.result()

    assert (paused.schedule_cron, paused.is_active) == ("5 3 * * *", False)
    assert configs.get(someone.tenant_id, created.config_id) == paused


def test_a_deletion_beside_replacements_stays(someone: TenantProfile) -> None:
    created = a_schedule(someone)

    def put(minute: int) -> bool:
        definition = a_definition(schedule_cron=f"{minute} 3 * * *")
        try:
            configs.replace(someone, created.config_id, definition, changed_by="crowd")
        except NotFoundError:
            return False
        return True

    with ThreadPoolExecutor(4) as crowd:
        puts = [crowd.submit(put, minute) for minute in range(6)]
        configs.delete(someone.tenant_id, created.config_id, deleted_by="bob")
        for done in puts:
            done.result()

    with pytest.raises(NotFoundError):
        configs.get(someone.tenant_id, created.config_id)


def test_an_author_who_died_with_a_number_stops_nobody(
    someone: TenantProfile, mocker: MockerFixture
) -> None:
    mocker.patch.object(configs, "_SETTLE_SECONDS", 0.2)
    created = a_schedule(someone)
    assert revisions.claim(created.config_id, 2)

    paused = configs.pause(someone.tenant_id, created.config_id, changed_by="bob")

    assert paused.revision == 3
    assert configs.get(someone.tenant_id, created.config_id) == paused


def test_the_cloud_is_asked_little(someone: TenantProfile, cloud: Cloud) -> None:
    created = a_schedule(someone)
    before = cloud.calls()

    configs.replace(someone, created.config_id, a_definition(priority=8), changed_by="bob")

    made = {
        method: count - before.get(method, 0)
        for method, count in cloud.calls().items()
        if count != before.get(method, 0)
    }
    assert made["tabledata.insertAll"] == 1
    assert sum(made.values()) <= 4


# --- running now --------------------------------------------------------------------------------


def test_run_now_starts_a_manual_run_of_the_zones_last_day(tenant: str, post: Post) -> None:
    subscribe(tenant, 10, 10, 10)
    owner = profile(tenant)
    schedule = a_schedule(owner, timezone="Pacific/Kiritimati", parameters={"late_arrival_days": 7})

    run = runs.run_now(owner, schedule, user_id="alice", idempotency_key="once")
    again = runs.run_now(owner, schedule, user_id="alice", idempotency_key="once")
    other = runs.run_now(owner, a_schedule(owner), user_id="alice", idempotency_key="once")

    assert again.pipeline_logging_id == run.pipeline_logging_id
    assert other.pipeline_logging_id != run.pipeline_logging_id
    assert run.date == cron.date_of_run("Pacific/Kiritimati", datetime.now(UTC))
    messages = {message.run.pipeline_logging_id: message for message in post.steps()}
    assert messages.keys() == {run.pipeline_logging_id, other.pipeline_logging_id}
    sent = messages[run.pipeline_logging_id].run
    assert (sent.trigger_type, sent.user_id) == ("manual", "alice")
    assert sent.trigger_by == f"schedule/{schedule.config_id}"
    assert sent.parameters == {"late_arrival_days": 7}
    assert sent.config_id == schedule.config_id
    assert configs.get(tenant, schedule.config_id) == schedule


def test_a_key_of_run_now_is_not_taken_for_a_schedule_that_has_changed(
    tenant: str, post: Post
) -> None:
    subscribe(tenant, 10, 10, 10)
    owner = profile(tenant)
    schedule = a_schedule(owner)
    run = runs.run_now(owner, schedule, idempotency_key="once")
    changed = configs.replace(
        owner,
        schedule.config_id,
        a_definition(parameters={"late_arrival_days": 7}),
        changed_by="bob",
    )

    with pytest.raises(KeyReusedError):
        runs.run_now(owner, changed, idempotency_key="once")

    assert {message.run.pipeline_logging_id for message in post.steps()} == {
        run.pipeline_logging_id
    }


def test_run_now_counts_against_the_quota(tenant: str, post: Post) -> None:
    subscribe(tenant, 1, 10, 10)
    owner = profile(tenant)
    schedule = a_schedule(owner)
    runs.run_now(owner, schedule)

    with pytest.raises(QuotaExceededError, match="Daily pipeline quota exceeded"):
        runs.run_now(owner, schedule)
