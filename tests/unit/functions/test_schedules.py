"""The routes of schedules: bodies, names of bad fields, who may do what. The store is in memory."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from flask.testing import FlaskClient
from pytest_mock import MockerFixture

from shared.schedules.definitions import Schedule
from shared.settings import settings
from shared.tenancy.api_keys import ApiKey
from shared.tenancy.tenants import TenantProfile, TenantStatus

PIPELINES = "/api/v1/scheduler/customer/acme/pipelines"
CONFIGS = "/api/v1/scheduler/configs"
# The curl example of the users' guide, to the letter.
DOCUMENTED = {
    "provider": "GCP",
    "domain": "COST",
    "pipeline_template": "billing_cost",
    "schedule_cron": "0 2 * * *",
    "timezone": "America/New_York",
    "is_active": True,
}
SHORT = {"pipeline_config": "gcp/cost/cost_billing", "schedule": "0 2 * * *"}


class Store:
    """Revisions as the view shows them."""

    def __init__(self) -> None:
        self.schedules: dict[str, Schedule] = {}
        self.changes: list[tuple[str, Schedule]] = []

    def append(self, change: str, schedule: Schedule, stamp: dict[str, Any]) -> None:
        self.changes.append((change, schedule))
        self.schedules[schedule.config_id] = schedule
        if change == "DELETED":
            del self.schedules[schedule.config_id]

    def find(self, tenant_id: str, config_id: str) -> Schedule | None:
        found = self.schedules.get(config_id)
        return found if found and found.tenant_id == tenant_id else None

    def newest(
        self, tenant_id: str, *, is_active: bool | None, cursor: str | None, count: int
    ) -> list[Schedule]:
        assert cursor is None
        mine = [one for one in self.schedules.values() if one.tenant_id == tenant_id]
        return [one for one in reversed(mine) if is_active in {None, one.is_active}][:count]


@pytest.fixture
def store(mocker: MockerFixture) -> Store:
    """Schedules in memory, and the tenant acme."""
    made = Store()
    for name in ("append", "find", "newest"):
        mocker.patch(f"shared.schedules.revisions.{name}", getattr(made, name))
    mocker.patch("shared.schedules.revisions.claim", return_value=True)
    mocker.patch("shared.schedules.revisions.count_active", return_value=0)
    mocker.patch("shared.tenancy.audit.record")
    profile = TenantProfile(
        tenant_id="acme",
        admin_email="admin@acmecorp.com",
        status=TenantStatus.ACTIVE,
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
    )
    mocker.patch("shared.tenancy.tenants.profile", return_value=profile)
    return made


def key_with(mocker: MockerFixture, *scopes: str, tenant_id: str = "acme") -> dict[str, str]:
    """Headers of a key with these scopes."""
    key = ApiKey(
        api_key_id="key-1", tenant_id=tenant_id, key_hash="h", is_active=True, scopes=scopes
    )
    mocker.patch("shared.tenancy.api_keys.verify", return_value=key)
    return {"X-API-Key": "k", "X-User-ID": "alice"}


@pytest.fixture
def headers(store: Store, mocker: MockerFixture) -> dict[str, str]:
    """Headers of a key that may do everything."""
    return key_with(mocker)


def problems(answer: Any) -> dict[str, str]:
    """Pointer to what is wrong there, of a 422."""
    assert answer.status_code == 422, answer.text
    return {error["pointer"]: error["detail"] for error in answer.json["errors"]}


def created(api: FlaskClient, headers: dict[str, str], **changes: Any) -> dict[str, Any]:
    answer = api.post(PIPELINES, json=DOCUMENTED | changes, headers=headers)
    assert answer.status_code == 201, answer.text
    body: dict[str, Any] = answer.json
    return body


def test_the_documented_request_creates_a_schedule(
    api: FlaskClient, headers: dict[str, str], store: Store
) -> None:
    body = created(api, headers)

    assert body["config_id"] in store.schedules
    assert body["next_run_time"].endswith("Z")
    expected = DOCUMENTED | {"provider": "gcp", "domain": "cost", "priority": 5, "parameters": {}}
    assert expected.items() <= body.items()
    assert (body["tenant_id"], body["created_by"]) == ("acme", "alice")


def test_curl_may_forget_the_content_type(api: FlaskClient, headers: dict[str, str]) -> None:
    answer = api.post(
        PIPELINES,
        data=json.dumps(DOCUMENTED),
        content_type="application/x-www-form-urlencoded",
        headers=headers,
    )

    assert answer.status_code == 201, answer.text


def test_every_bad_field_is_named_at_once(api: FlaskClient, headers: dict[str, str]) -> None:
    bad = {"schedule_cron": "0 25 * * *", "timezone": "America/NewYork", "priority": 11}

    found = problems(api.post(PIPELINES, json=DOCUMENTED | bad, headers=headers))

    assert set(found) == {"/schedule_cron", "/timezone", "/priority"}
    assert found["/schedule_cron"].startswith("hour is '25': 25 is not between 0 and 23.")
    assert "America/New_York" in found["/timezone"]


def test_unfit_parameters_are_refused_when_the_schedule_is_saved(
    api: FlaskClient, headers: dict[str, str], store: Store
) -> None:
    body = DOCUMENTED | {"parameters": {"late_arrival_days": "soon", "project_id": "x"}}

    found = problems(api.post(PIPELINES, json=body, headers=headers))

    assert set(found) == {"/parameters/late_arrival_days", "/parameters/project_id"}
    assert store.changes == []


def test_a_template_that_does_not_exist_is_a_bad_field(
    api: FlaskClient, headers: dict[str, str]
) -> None:
    body = DOCUMENTED | {"pipeline_template": "biling_cost"}

    found = problems(api.post(PIPELINES, json=body, headers=headers))

    assert "Did you mean billing_cost" in found["/pipeline_template"]


@pytest.mark.parametrize("body", [SHORT, DOCUMENTED])
def test_the_short_route_takes_both_forms_for_the_tenant_of_the_key(
    body: dict[str, Any], api: FlaskClient, headers: dict[str, str]
) -> None:
    answer = api.post(CONFIGS, json=body, headers=headers)

    assert answer.status_code == 201, answer.text
    assert answer.json["tenant_id"] == "acme"
    assert answer.json["schedule_cron"] == "0 2 * * *"
    assert "pipeline_config" not in answer.json


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"pipeline_config": "gcp/cost/cost_biling"}, "/pipeline_config"),
        ({"pipeline_config": "gpc/cost/cost_billing"}, "/pipeline_config"),
        ({"pipeline_config": "cost_billing"}, "/pipeline_config"),
        ({"schedule": "0 25 * * *"}, "/schedule"),
        ({"schedule_cron": "0 3 * * *"}, "/schedule"),
        ({"parameters": {"surprise": 1}}, "/parameters/surprise"),
    ],
)
def test_the_short_route_names_the_fields_it_was_sent(
    changes: dict[str, Any], pointer: str, api: FlaskClient, headers: dict[str, str]
) -> None:
    assert list(problems(api.post(CONFIGS, json=SHORT | changes, headers=headers))) == [pointer]


def test_the_list_pages_and_filters(api: FlaskClient, headers: dict[str, str]) -> None:
    first, second = created(api, headers), created(api, headers, is_active=False)

    page = api.get(PIPELINES, headers=headers).json
    assert [one["config_id"] for one in page["schedules"]] == [
        second["config_id"],
        first["config_id"],
    ]
    assert page["next_cursor"] is None
    active = api.get(f"{PIPELINES}?is_active=true&limit=1", headers=headers).json
    assert [one["config_id"] for one in active["schedules"]] == [first["config_id"]]
    found = problems(api.get(f"{PIPELINES}?limit=201&order=up", headers=headers))
    assert set(found) == {"limit", "order"}


def test_a_schedule_lives_through_its_routes(
    api: FlaskClient, headers: dict[str, str], store: Store
) -> None:
    one = f"{PIPELINES}/{created(api, headers)['config_id']}"

    changed = DOCUMENTED | {"schedule_cron": "0 9 * * MON"}
    replaced = api.put(one, json=changed, headers=headers).json
    assert (replaced["revision"], replaced["schedule_cron"]) == (2, "0 9 * * MON")
    paused = api.post(f"{one}/pause", headers=headers).json
    assert (paused["is_active"], paused["next_run_time"]) == (False, None)
    times = api.get(f"{one}/occurrences", headers=headers).json
    assert len(times["occurrences"]) == 5
    assert all("T09:00:00-0" in found["local_time"] for found in times["occurrences"])
    resumed = api.post(f"{one}/resume", headers=headers).json
    assert resumed["next_run_time"] == times["occurrences"][0]["run_time"]
    assert api.get(one, headers=headers).json == resumed
    deleted = api.delete(one, headers=headers)
    assert (deleted.status_code, deleted.json["is_active"]) == (200, False)
    assert api.get(one, headers=headers).status_code == 404
    assert [change for change, _ in store.changes] == [
        "CREATED", "EDITED", "EDITED", "EDITED", "DELETED",
    ]  # fmt: skip


def test_run_now_starts_a_manual_run(
    api: FlaskClient, headers: dict[str, str], mocker: MockerFixture
) -> None:
    mocker.patch("shared.engine.idempotency.claim_key")
    launched = mocker.patch("shared.engine.launch.launch")
    body = created(api, headers, parameters={"late_arrival_days": 7}, is_active=False)
    url = f"{PIPELINES}/{body['config_id']}/run"

    first = api.post(url, headers=headers | {"Idempotency-Key": "k"})
    again = api.post(url, headers=headers | {"Idempotency-Key": "k"})

    assert first.status_code == 202
    assert first.json["status"] == "PENDING"
    assert first.json["pipeline_id"] == "acme-gcp-cost-billing_cost"
    assert again.json == first.json
    run = launched.call_args.args[1]
    assert (run.trigger_type, run.user_id) == ("manual", "alice")
    assert run.parameters == {"late_arrival_days": 7}


def test_a_suspended_tenant_runs_nothing(
    api: FlaskClient, headers: dict[str, str], mocker: MockerFixture
) -> None:
    body = created(api, headers)
    launched = mocker.patch("shared.engine.launch.launch")
    profile = TenantProfile(
        tenant_id="acme",
        status=TenantStatus.SUSPENDED,
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
    )
    mocker.patch("shared.tenancy.tenants.profile", return_value=profile)

    answer = api.post(f"{PIPELINES}/{body['config_id']}/run", headers=headers)

    assert answer.status_code == 403
    assert answer.json["type"] == "urn:convergence:problem:tenant-inactive"
    launched.assert_not_called()


def test_the_last_schedule_is_refused_with_what_to_do(
    api: FlaskClient, headers: dict[str, str], mocker: MockerFixture
) -> None:
    mocker.patch("shared.schedules.revisions.count_active", return_value=500)

    answer = api.post(PIPELINES, json=DOCUMENTED, headers=headers)

    assert answer.status_code == 409
    assert answer.json["detail"] == (
        "Tenant 'acme' has 500 active schedules, the most there may be. Pause or delete one first."
    )


WRITES = [
    ("POST", ""),
    ("PUT", "/{id}"),
    ("DELETE", "/{id}"),
    ("POST", "/{id}/pause"),
    ("POST", "/{id}/resume"),
]
READS = [("GET", ""), ("GET", "/{id}"), ("GET", "/{id}/occurrences")]


@pytest.mark.parametrize(
    ("scope", "method", "path"),
    [
        *(("manage", *route) for route in WRITES),
        *(("read", *route) for route in READS),
        ("run", "POST", "/{id}/run"),
    ],
)
def test_each_route_asks_for_its_scope(
    scope: str,
    method: str,
    path: str,
    api: FlaskClient,
    headers: dict[str, str],
    mocker: MockerFixture,
) -> None:
    mocker.patch("shared.engine.launch.launch")
    url = PIPELINES + path.replace("{id}", created(api, headers)["config_id"])
    body = DOCUMENTED if method in {"POST", "PUT"} else None

    others = {"read", "run", "manage"} - {scope}
    refused = api.open(url, method=method, json=body, headers=key_with(mocker, *sorted(others)))
    assert refused.status_code == 403
    assert refused.json["type"] == "urn:convergence:problem:insufficient-scope"
    allowed = api.open(url, method=method, json=body, headers=key_with(mocker, scope))
    assert allowed.status_code < 300, allowed.text


@pytest.mark.parametrize(("method", "path"), [*WRITES, *READS, ("POST", "/{id}/run")])
def test_no_route_opens_for_another_tenant_or_nobody(
    method: str, path: str, api: FlaskClient, headers: dict[str, str], mocker: MockerFixture
) -> None:
    url = PIPELINES + path.replace("{id}", created(api, headers)["config_id"])

    stranger = api.open(url, method=method, headers=key_with(mocker, tenant_id="zenith"))
    assert stranger.status_code == 403
    assert stranger.json["type"] == "urn:convergence:problem:other-tenant"


@pytest.mark.usefixtures("store")
def test_without_a_key_nothing_is_shown(api: FlaskClient) -> None:
    assert api.get(PIPELINES).status_code == 401
    assert api.post(CONFIGS, json=SHORT).status_code == 401


@pytest.mark.usefixtures("store")
def test_on_a_laptop_without_keys_anybody_may(
    api: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DISABLE_AUTH", "true")
    settings.cache_clear()

    assert api.post(PIPELINES, json=DOCUMENTED).status_code == 201
