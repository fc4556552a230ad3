"""Every schema file describes a table or a view, and the views mean what they promise."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from itertools import count
from typing import Any

import pytest

from shared.errors import NotFoundError
from shared.warehouse import schemas
from shared.warehouse.schemas import Column, SchemaFileError, TableSchema, ViewSchema
from tests.googlesql import Warehouse, at, values

FOLDERS = sorted({path.partition("/")[0] for path in schemas.known_paths()})
RELATIONS = [
    pytest.param(folder, relation, id=f"{folder}/{relation.name}")
    for folder in FOLDERS
    for relation in schemas.load_folder(folder)
]
TABLES = [p for p in RELATIONS if isinstance(p.values[1], TableSchema)]
VIEWS = [p for p in RELATIONS if isinstance(p.values[1], ViewSchema)]
OF_NO_TENANT = {"schedule_compactions"}
QUERIED_BY_USERS = {
    "tenant_profiles", "tenant_api_keys", "tenant_subscriptions", "tenant_usage_quotas",
    "tenant_cloud_credentials", "tenant_pipeline_configs", "scheduled_pipeline_runs",
    "pipeline_execution_queue",
}  # fmt: skip
TODAY = datetime.now(UTC).date()
SEQUENCE = count(1)


@pytest.fixture
def warehouse() -> Iterator[Warehouse]:
    """A warehouse with the central dataset and the one of acme_corp."""
    made = Warehouse()
    for folder, dataset in (("tenants", "tenants"), ("tenant", "acme_corp")):
        for relation in schemas.load_folder(folder):
            made.create(dataset, relation)
    yield made
    made.connection.close()


# --- the files ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("folder", "table"), TABLES)
def test_partitioning_and_clustering_name_columns(folder: str, table: TableSchema) -> None:
    kinds = {column.name: column.type for column in table.fields}
    assert len(kinds) == len(table.fields), "two columns of one name"
    assert table.time_partitioning is not None
    assert kinds[str(table.time_partitioning.field)] in {"DATE", "TIMESTAMP"}
    assert set(table.clustering) <= kinds.keys()


@pytest.mark.parametrize(("folder", "table"), TABLES)
def test_query_results_can_be_written(folder: str, table: TableSchema) -> None:
    """A query's columns are never REQUIRED, so a table that queries write may not ask for it."""
    if folder in {"tenants", "tenant"}:
        wanted = {"recorded_at"} if table.name in OF_NO_TENANT else {"recorded_at", "tenant_id"}
        assert wanted <= {column.name for column in table.fields}
        return
    assert [c.name for c in _all_columns(table.fields) if c.mode == "REQUIRED"] == []


@pytest.mark.parametrize(("folder", "view"), VIEWS)
def test_views_read_only_their_own_dataset(folder: str, view: ViewSchema) -> None:
    names = {relation.name for relation in schemas.load_folder(folder)}
    assert view.references <= names
    text = view.query(project="my-project-1", dataset="acme_corp")
    assert "{" not in text
    assert text.count("`my-project-1.acme_corp.") == view.sql.count("`") / 2


def test_users_find_the_eight_names_they_query() -> None:
    views = {r.name for r in schemas.load_folder("tenants") if isinstance(r, ViewSchema)}
    assert views == QUERIED_BY_USERS


@pytest.mark.parametrize("folder", ["tenants", "tenant"])
def test_every_log_is_read_through_a_view_of_its_name(folder: str) -> None:
    relations = {relation.name: relation for relation in schemas.load_folder(folder)}
    logs = {name for name in relations if name.endswith("_log")} - {"audit_log"}
    assert {name.removesuffix("_log") for name in logs} <= relations.keys()


@pytest.mark.parametrize("name", ["a`b", "a.b", "", "x y", "a;b", "ä"])
def test_only_identifiers_go_into_a_view(name: str) -> None:
    view = schemas.load_view("tenant/x_meta_step_logs.sql")
    with pytest.raises(SchemaFileError, match="cannot stand"):
        view.query(project="my-project", dataset=name)


@pytest.mark.parametrize("path", ["../pyproject.toml", "/etc/passwd", "gcp/../gcp/x", "gcp/none"])
def test_paths_outside_of_the_folder_do_not_exist(path: str) -> None:
    with pytest.raises(NotFoundError):
        schemas.load_table(path)


def test_an_unknown_schema_names_those_that_look_alike() -> None:
    with pytest.raises(NotFoundError) as caught:
        schemas.load_table("gcp/billing_costs_daily")
    assert caught.value.near[0] == "gcp/billing_cost_daily"


def test_a_view_brings_the_log_that_it_reads() -> None:
    relations = schemas.load_relations("tenant", ("x_meta_step_logs.sql",))
    assert values([vars(r) for r in relations], "name") == [
        "x_meta_step_logs_log",
        "x_meta_step_logs",
    ]


# --- runs and steps ----------------------------------------------------------------------------


def _run(warehouse: Warehouse, status: str, recorded: str, **more: Any) -> None:
    row = {
        "pipeline_logging_id": "run-1",
        "pipeline_id": "acme_corp-gcp-cost-billing",
        "tenant_id": "acme_corp",
        "status": status,
        "start_time": at("02:00:00"),
        "recorded_at": at(recorded),
        "sequence": next(SEQUENCE),
        **more,
    }
    warehouse.append("acme_corp.x_meta_pipeline_runs_log", row)


def _runs(warehouse: Warehouse) -> list[dict[str, Any]]:
    return warehouse.query("SELECT * FROM `test-project.acme_corp.x_meta_pipeline_runs`")


def test_a_late_running_does_not_hide_completed(warehouse: Warehouse) -> None:
    _run(warehouse, "PENDING", "02:00:00")
    _run(warehouse, "COMPLETED", "02:00:09", end_time=at("02:00:09"))
    _run(warehouse, "RUNNING", "02:00:30")
    (run,) = _runs(warehouse)
    assert run["status"] == "COMPLETED"
    assert run["duration_ms"] == 9_000


def test_the_first_final_state_stands(warehouse: Warehouse) -> None:
    _run(warehouse, "COMPLETED", "02:00:09", rows_processed=832)
    _run(warehouse, "FAILED", "02:10:00", error="no attempt could process the message")
    assert values(_runs(warehouse), "status", "rows_processed", "error") == [
        ("COMPLETED", 832, None)
    ]


def test_two_concurrent_deliveries_leave_one_row(warehouse: Warehouse) -> None:
    for _ in range(2):
        _run(warehouse, "RUNNING", "02:00:01")
        _run(warehouse, "COMPLETED", "02:00:09")
    assert values(_runs(warehouse), "status") == ["COMPLETED"]


def test_running_comes_after_pending_whatever_the_clocks_say(warehouse: Warehouse) -> None:
    _run(warehouse, "RUNNING", "02:00:00")
    _run(warehouse, "PENDING", "02:00:01")
    _run(warehouse, "QUEUED", "02:00:02")
    assert values(_runs(warehouse), "status") == ["RUNNING"]


def test_what_only_the_first_row_knows_is_shown(warehouse: Warehouse) -> None:
    _run(warehouse, "PENDING", "02:00:00", parameters='{"date": "2025-11-14"}', slot=7)
    _run(warehouse, "COMPLETED", "02:00:09", start_time=at("02:00:05"))
    (run,) = _runs(warehouse)
    assert run["parameters"] == '{"date": "2025-11-14"}'
    assert (run["slot"], run["start_time"]) == (7, at("02:00:00"))


def _step(warehouse: Warehouse, status: str, recorded: str, attempt: int = 1, **more: Any) -> None:
    row = {
        "pipeline_logging_id": "run-1",
        "tenant_id": "acme_corp",
        "step_id": "extract",
        "attempt": attempt,
        "status": status,
        "start_time": at("02:00:00"),
        "recorded_at": at(recorded),
        "sequence": next(SEQUENCE),
        **more,
    }
    warehouse.append("acme_corp.x_meta_step_logs_log", row)


def test_a_step_delivered_twice_is_one_row(warehouse: Warehouse) -> None:
    _step(warehouse, "RUNNING", "02:00:01")
    _step(warehouse, "COMPLETED", "02:00:04", rows_processed=10, end_time=at("02:00:04"))
    _step(warehouse, "RUNNING", "02:00:05")
    _step(warehouse, "COMPLETED", "02:00:06", rows_processed=10, end_time=at("02:00:06"))
    steps = warehouse.query("SELECT * FROM acme_corp.x_meta_step_logs")
    assert values(steps, "status", "rows_processed", "duration_ms", "is_latest_attempt") == [
        ("COMPLETED", 10, 4_000, True)
    ]


def test_every_attempt_is_a_row_and_the_latest_is_marked(warehouse: Warehouse) -> None:
    _step(warehouse, "FAILED", "02:00:04", attempt=1)
    _step(warehouse, "COMPLETED", "02:00:40", attempt=2)
    steps = warehouse.query("SELECT * FROM acme_corp.x_meta_step_logs ORDER BY attempt")
    assert values(steps, "attempt", "status", "is_latest_attempt") == [
        (1, "FAILED", False),
        (2, "COMPLETED", True),
    ]


def test_a_quality_rule_shows_its_latest_result(warehouse: Warehouse) -> None:
    row = {
        "pipeline_logging_id": "run-1", "tenant_id": "acme_corp", "step_id": "check",
        "attempt": 1, "rule_id": "no_negative_usage",
    }  # fmt: skip
    for status, recorded in (("FAILED", "02:00:01"), ("PASSED", "02:00:02")):
        state = {"status": status, "recorded_at": at(recorded), "sequence": 1}
        warehouse.append("acme_corp.x_meta_dq_results_log", {**row, **state})
    results = warehouse.query("SELECT * FROM acme_corp.x_meta_dq_results")
    assert values(results, "status") == ["PASSED"]


# --- tenants -----------------------------------------------------------------------------------


def _record(warehouse: Warehouse, log: str, recorded: str, **row: Any) -> None:
    stamp = {"tenant_id": "acme_corp", "recorded_at": at(recorded), "sequence": next(SEQUENCE)}
    warehouse.append(f"tenants.{log}", {**stamp, **row})


def test_a_profile_is_its_latest_row(warehouse: Warehouse) -> None:
    for status, recorded in (("ACTIVE", "02:00:05"), ("ONBOARDING", "02:00:00")):
        _record(warehouse, "tenant_profiles_log", recorded, status=status)
    _record(warehouse, "tenant_profiles_log", "02:00:00", status="ACTIVE", tenant_id="other")
    profiles = warehouse.query("SELECT * FROM tenants.tenant_profiles ORDER BY tenant_id")
    assert values(profiles, "tenant_id", "status") == [("acme_corp", "ACTIVE"), ("other", "ACTIVE")]


def test_equal_times_are_ordered_by_sequence(warehouse: Warehouse) -> None:
    for status in ("ONBOARDING", "FAILED", "ACTIVE"):
        _record(warehouse, "tenant_profiles_log", "02:00:00", status=status)
    assert values(warehouse.query("SELECT * FROM tenants.tenant_profiles"), "status") == ["ACTIVE"]


def test_revoked_and_expired_keys_are_not_active(warehouse: Warehouse) -> None:
    def key(key_id: str, recorded: str, **more: Any) -> None:
        state = {"api_key_id": key_id, "key_hash": key_id * 4, "is_active": True, **more}
        _record(warehouse, "tenant_api_keys_log", recorded, **state)

    key("good", "02:00:00")
    key("late", "02:00:00", expires_at=at("02:00:01"))
    key("gone", "02:00:05", is_active=False, revoked_at=at("02:00:05"))
    key("gone", "02:00:09")
    keys = warehouse.query("SELECT * FROM tenants.tenant_api_keys ORDER BY api_key_id")
    assert values(keys, "api_key_id", "is_active") == [
        ("gone", False),
        ("good", True),
        ("late", False),
    ]


def test_a_deleted_credential_is_not_shown(warehouse: Warehouse) -> None:
    for number, deleted in (("one", None), ("two", at("03:00:00"))):
        for when in (None, deleted):
            _record(
                warehouse, "tenant_cloud_credentials_log", "02:00:00",
                credential_id=number, provider="GCP", is_active=True, deleted_at=when,
            )  # fmt: skip
    shown = warehouse.query("SELECT * FROM tenants.tenant_cloud_credentials")
    assert values(shown, "credential_id") == ["one"]


# --- quota -------------------------------------------------------------------------------------


def _subscribed(warehouse: Warehouse) -> None:
    _record(
        warehouse, "tenant_subscriptions_log", "02:00:00", subscription_id="s", plan_name="STARTER",
        status="ACTIVE", daily_limit=6, monthly_limit=180, concurrent_limit=3,
    )  # fmt: skip


def _slot(
    warehouse: Warehouse,
    slot: int,
    event: str,
    day: date = TODAY,
    hours: int = 1,
    run: str | None = None,
) -> None:
    row = {
        "tenant_id": "acme_corp",
        "slot": slot,
        "pipeline_logging_id": run,
        "event": event,
        "usage_date": day,
        "deadline": datetime.now(UTC) + timedelta(hours=hours),
        "recorded_at": datetime.now(UTC),
    }
    warehouse.append("tenants.usage_ledger", row)


def _quota(warehouse: Warehouse, day: date = TODAY) -> tuple[int, int, int] | None:
    rows = warehouse.query(
        "SELECT * FROM tenants.tenant_usage_quotas WHERE usage_date = @day", day=day
    )
    names = ("pipelines_run_today", "pipelines_run_month", "concurrent_pipelines_running")
    found = values(rows, *names)
    assert len(found) <= 1
    return found[0] if found else None


def test_a_new_day_starts_at_zero_by_itself(warehouse: Warehouse) -> None:
    _subscribed(warehouse)
    assert _quota(warehouse) == (0, 0, 0)
    _slot(warehouse, 1, "ADMITTED", TODAY - timedelta(days=40))
    assert _quota(warehouse) == (0, 0, 0)
    assert _quota(warehouse, TODAY - timedelta(days=40)) == (1, 1, 0)


def test_admitted_released_and_refunded_slots(warehouse: Warehouse) -> None:
    _subscribed(warehouse)
    for slot in (1, 2, 3, 4):
        _slot(warehouse, slot, "ADMITTED")
    _slot(warehouse, 1, "ADMITTED")  # the same row twice
    _slot(warehouse, 2, "RELEASED")
    _slot(warehouse, 3, "REFUNDED")
    _slot(warehouse, 5, "ADMITTED", hours=-1)  # past its deadline
    _slot(warehouse, 6, "REFUNDED")  # a hole
    assert _quota(warehouse) == (4, 4, 2)


def test_a_refund_on_the_next_day_undoes_the_admission(warehouse: Warehouse) -> None:
    _subscribed(warehouse)
    _slot(warehouse, 1, "ADMITTED", TODAY - timedelta(days=1))
    _slot(warehouse, 1, "REFUNDED", TODAY)
    assert _quota(warehouse, TODAY - timedelta(days=1)) == (0, 0, 0)
    assert _quota(warehouse) == (0, 0, 0)


def test_a_run_admitted_under_two_slots_counts_once(warehouse: Warehouse) -> None:
    _subscribed(warehouse)
    _slot(warehouse, 1, "ADMITTED", run="twin")
    _slot(warehouse, 2, "ADMITTED", run="twin")
    assert _quota(warehouse) == (1, 1, 1)
    _slot(warehouse, 2, "RELEASED", run="twin")
    assert _quota(warehouse) == (1, 1, 0)


# --- schedules ---------------------------------------------------------------------------------


def _config(warehouse: Warehouse, change: str, revision: int, recorded: str, **more: Any) -> None:
    path = {"provider": "gcp", "domain": "cost", "pipeline_template": "billing_cost"}
    _record(
        warehouse, "tenant_pipeline_configs_log", recorded,
        config_id="c", change=change, revision=revision, **path, **more,
    )  # fmt: skip


def _configs(warehouse: Warehouse) -> list[Any]:
    found = warehouse.query("SELECT * FROM tenants.tenant_pipeline_configs")
    return values(found, "schedule_cron", "next_run_time")


def test_an_advance_does_not_undo_an_edit_made_meanwhile(warehouse: Warehouse) -> None:
    _config(warehouse, "CREATED", 1, "02:00:00", schedule_cron="0 2 * * *",
            next_run_time=at("02:00:00"))  # fmt: skip
    _config(warehouse, "ADVANCED", 1, "02:00:05", next_run_time=at("03:00:00"))
    assert _configs(warehouse) == [("0 2 * * *", at("03:00:00"))]
    _config(warehouse, "EDITED", 2, "02:00:06", schedule_cron="0 9 * * *",
            next_run_time=at("09:00:00"))  # fmt: skip
    _config(warehouse, "ADVANCED", 1, "02:00:07", next_run_time=at("23:00:00"))
    assert _configs(warehouse) == [("0 9 * * *", at("09:00:00"))]
    _config(warehouse, "DELETED", 3, "02:00:08")
    _config(warehouse, "ADVANCED", 2, "02:00:09", next_run_time=at("10:00:00"))
    assert _configs(warehouse) == []


def test_the_queue_shows_only_what_still_waits(warehouse: Warehouse) -> None:
    for run, states in (("a", ["QUEUED"]), ("b", ["QUEUED", "LAUNCHED", "QUEUED"])):
        for state in states:
            _record(
                warehouse, "pipeline_execution_queue_log", "02:00:00",
                pipeline_logging_id=run, state=state, priority=1,
            )  # fmt: skip
    waiting = warehouse.query("SELECT * FROM tenants.pipeline_execution_queue")
    assert values(waiting, "pipeline_logging_id") == ["a"]


def test_an_occurrence_ends_once(warehouse: Warehouse) -> None:
    for state, recorded in (
        ("TRIGGERED", "02:00:00"),
        ("SKIPPED", "02:00:01"),
        ("QUEUED", "02:00:02"),
        ("FAILED", "02:00:03"),
    ):
        _record(
            warehouse, "scheduled_pipeline_runs_log", recorded, config_id="c",
            pipeline_logging_id="r", scheduled_time=at("02:00:00"), state=state,
        )  # fmt: skip
    found = warehouse.query("SELECT * FROM tenants.scheduled_pipeline_runs")
    assert values(found, "state") == ["SKIPPED"]


# --- what the users' guides query --------------------------------------------------------------

DOCUMENTED = {
    "runs": """
        SELECT pipeline_logging_id, pipeline_id, tenant_id, user_id, status, start_time, duration_ms
        FROM `acme_corp.x_meta_pipeline_runs`
        ORDER BY start_time DESC LIMIT 10""",
    "steps": """
        SELECT pipeline_logging_id, step_name, status, rows_processed, duration_ms
        FROM `acme_corp.x_meta_step_logs`
        WHERE pipeline_logging_id = 'f47ac10b'
        ORDER BY start_time""",
    "quota": """
        SELECT tenant_id, pipelines_run_today, daily_limit,
               (daily_limit - pipelines_run_today) as remaining
        FROM `tenants.tenant_usage_quotas`
        WHERE tenant_id = 'acme_corp' AND usage_date = CURRENT_DATE()""",
    "key": "SELECT tenant_id, is_active FROM tenants.tenant_api_keys WHERE tenant_id='acme_corp'",
    "due": """
        SELECT config_id, provider, domain, pipeline_template, schedule_cron, timezone, priority
        FROM tenants.tenant_pipeline_configs
        WHERE is_active AND next_run_time <= CURRENT_TIMESTAMP()""",
    "queue": """
        SELECT pipeline_logging_id FROM tenants.pipeline_execution_queue
        WHERE state = 'QUEUED' ORDER BY priority DESC, enqueued_at""",
}


@pytest.mark.parametrize("name", DOCUMENTED)
def test_documented_queries_run(warehouse: Warehouse, name: str) -> None:
    _subscribed(warehouse)
    rows = warehouse.query(DOCUMENTED[name])
    assert [row["remaining"] for row in rows] == ([6] if name == "quota" else [])


def _all_columns(columns: tuple[Column, ...]) -> Iterator[Column]:
    for column in columns:
        yield column
        yield from _all_columns(column.fields)
