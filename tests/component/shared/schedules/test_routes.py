"""Maintenance, status and backfills over HTTP: who may ask, and what is answered."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from shared.schedules import backfill_progress
from shared.tenancy import api_keys
from shared.tenancy.tenants import TenantProfile
from tests.api_processes import one_day
from tests.component.shared.engine.templates import CHAIN, templates
from tests.component.shared.schedules.overdue import onboarded, overdue_run

pytestmark = pytest.mark.usefixtures("central")
SCHEDULER = "/api/v1/scheduler"
ADMIN = {"X-Admin-Key": "local-admin-key"}
OCTOBER = {
    "provider": "GCP",
    "domain": "TEST",
    "pipeline_template": "chain",
    "start_date": "2025-10-01",
    "end_date": "2025-10-31",
}


@pytest.fixture(autouse=True)
def _templates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with templates(tmp_path / "configs", monkeypatch, chain=CHAIN):
        yield


@pytest.fixture
def http(_environment: None, monkeypatch: pytest.MonkeyPatch) -> FlaskClient:
    monkeypatch.setenv("SCHEDULER_AUDIENCE", "convergence-scheduler")
    monkeypatch.setenv("SCHEDULER_SERVICE_ACCOUNT", "scheduler@convergence.local")
    from functions.scheduler.main import application  # reads the environment

    return application().test_client()


@pytest.fixture
def profile(tenant: str) -> TenantProfile:
    return onboarded(tenant)


def key_of(tenant: TenantProfile, *scopes: str) -> dict[str, str]:
    minted = api_keys.mint(tenant.tenant_id, name="test", created_by="test", scopes=scopes)
    return {"X-API-Key": minted.secret, "X-User-ID": "alice"}


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "cleanup-orphaned-pipelines"),
        ("POST", "reset-daily-quotas"),
        ("GET", "status"),
    ],
)
def test_only_the_operator_and_cloud_scheduler_look_after_all_tenants(
    method: str, path: str, http: FlaskClient, profile: TenantProfile
) -> None:
    url = f"{SCHEDULER}/{path}"
    for headers in ({}, {"X-Admin-Key": "wrong"}, key_of(profile)):
        assert http.open(url, method=method, headers=headers).status_code == 401
    assert http.open(url, method=method, headers=ADMIN).status_code == 200


def test_cleanup_answers_what_it_did(
    http: FlaskClient, profile: TenantProfile, monkeypatch: pytest.MonkeyPatch
) -> None:
    http.post(f"{SCHEDULER}/cleanup-orphaned-pipelines", headers=ADMIN)
    overdue_run(profile, monkeypatch)

    answer = http.post(f"{SCHEDULER}/cleanup-orphaned-pipelines", headers=ADMIN).json

    assert (answer["cleaned_count"], answer["remaining_count"]) == (1, 0)
    assert answer["released_count"] >= 1
    assert {"refunded_count", "duration_ms"} < answer.keys()


def test_status_has_the_documented_figures(http: FlaskClient) -> None:
    answer = http.get(f"{SCHEDULER}/status", headers=ADMIN).json

    documented = {
        "total_active_pipelines",
        "pipelines_due_now",
        "pipelines_queued",
        "pipelines_completed_today",
    }
    assert documented < answer.keys()
    assert all(isinstance(answer[name], int) for name in documented)


def test_change_of_the_day_may_be_asked_for_again(http: FlaskClient) -> None:
    one_day(seconds=10)
    first, second = (
        http.post(f"{SCHEDULER}/reset-daily-quotas", headers=ADMIN).json for _ in range(2)
    )

    for answer in (first, second):
        answer.pop("duration_ms")
    assert first == second
    assert first["drift"] == []


def started(http: FlaskClient, headers: dict[str, str], **changes: Any) -> Any:
    return http.post(f"{SCHEDULER}/backfill", json=OCTOBER | changes, headers=headers)


def test_tenant_backfills_for_itself_and_follows_it(
    http: FlaskClient, profile: TenantProfile
) -> None:
    headers = key_of(profile) | {"Idempotency-Key": "october"}
    answer = started(http, headers)
    again = started(http, headers)

    assert answer.status_code == again.status_code == 202
    assert again.json == answer.json
    accepted = answer.json
    assert (accepted["tenant_id"], accepted["runs_total"]) == (profile.tenant_id, 31)
    path = f"{SCHEDULER}/backfills/{accepted['backfill_id']}"
    found = http.get(path, headers=headers).json
    assert found["progress"]["waiting"] == len(found["runs"]) == 31
    assert found["created_by"] == "alice"
    cancelled = http.post(f"{path}/cancel", headers=headers)
    assert (cancelled.status_code, cancelled.json["cancelled_count"]) == (200, 31)
    (listed,) = http.get(f"{SCHEDULER}/backfills", headers=headers).json["backfills"]
    assert (listed["progress"]["cancelled"], listed["is_finished"]) == (31, True)
    other = started(http, headers, end_date="2025-10-30")
    assert (other.status_code, other.json["type"].rpartition(":")[2]) == (
        409,
        "idempotency-key-reused",
    )


def test_operator_names_the_tenant(http: FlaskClient, profile: TenantProfile) -> None:
    tenant_id = profile.tenant_id
    assert started(http, ADMIN).status_code == 422
    assert started(http, ADMIN, tenant_id="nobody_here").status_code == 404

    accepted = started(http, ADMIN, tenant_id=tenant_id).json

    assert backfill_progress.get(tenant_id, accepted["backfill_id"]).runs_total == 31
    path = f"{SCHEDULER}/backfills/{accepted['backfill_id']}"
    assert http.get(path, headers=ADMIN).status_code == 422
    found = http.get(path, headers=ADMIN, query_string={"tenant_id": tenant_id})
    assert found.json["tenant_id"] == tenant_id


def test_a_key_opens_no_other_tenant_and_no_more_than_its_scopes(
    http: FlaskClient, profile: TenantProfile
) -> None:
    assert started(http, key_of(profile), tenant_id="somebody_else").status_code == 403
    assert started(http, key_of(profile, "read")).status_code == 403
    assert started(http, key_of(profile, "run"), tenant_id=profile.tenant_id).status_code == 202


@pytest.mark.parametrize(
    ("changes", "pointers"),
    [
        ({"start_date": 20251001, "end_date": "tomorrow"}, {"/start_date", "/end_date"}),
        ({"end_date": "2025-09-30"}, {"/end_date"}),
        ({"max_concurrency": 0}, {"/max_concurrency"}),
        ({"parameters": {"date": "2025-10-01"}}, {"/parameters"}),
        ({"parameters": {"source": "x" * 20_000}}, {"/parameters"}),
        ({"pipeline_template": "nothing"}, {"/pipeline_template"}),
        ({"surprise": 1}, {"/surprise"}),
    ],
)
def test_bad_fields_are_named(
    changes: dict[str, Any], pointers: set[str], http: FlaskClient, profile: TenantProfile
) -> None:
    answer = started(http, key_of(profile), **changes)

    assert answer.status_code == 422, answer.text
    assert {problem["pointer"] for problem in answer.json["errors"]} == pointers
