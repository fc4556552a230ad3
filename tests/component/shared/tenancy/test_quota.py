"""From the request to the quota and back: admitted, shown, released, upgraded, published again."""

from typing import Any

import pytest
from flask.testing import FlaskClient
from pytest_mock import MockerFixture

from shared.engine import launch, outcomes
from shared.errors import Retryable
from shared.http import rate_limits
from shared.processors.contract import RunIdentity
from shared.tenancy import quota
from shared.warehouse import rows
from shared.warehouse.queries import query
from tests.api_processes import Customer, a_customer, one_day, runs_of, subscribe

pytestmark = pytest.mark.usefixtures("central")


@pytest.fixture(autouse=True)
def _within_a_day() -> None:
    one_day(seconds=10)


@pytest.fixture
def api() -> FlaskClient:
    from functions.api.main import application

    rate_limits._counts.cache_clear()
    return application().test_client()


@pytest.fixture
def customer() -> Customer:
    return a_customer(daily=4, monthly=9, concurrent=2)


def quota_of(api: FlaskClient, customer: Customer) -> dict[str, Any]:
    answer = api.get(f"/api/v1/tenants/{customer.tenant_id}/quota", headers=customer.headers)
    assert answer.status_code == 200, answer.text
    content: dict[str, Any] = answer.get_json()
    return content


def start(api: FlaskClient, customer: Customer, key: str | None = None) -> Any:
    path = f"/api/v1/pipelines/run/{customer.tenant_id}/gcp/cost/cost_billing"
    headers = customer.headers | ({"Idempotency-Key": key} if key else {})
    return api.post(path, headers=headers, json={"date": "2025-11-15"})


@pytest.fixture
def published(mocker: MockerFixture) -> list[RunIdentity]:
    """The runs of the messages that were published, in order."""
    runs: list[RunIdentity] = []
    mocker.patch.object(
        launch, "publish_step", side_effect=lambda message: runs.append(message.run)
    )
    return runs


def test_quota_shows_use_limits_what_remains_and_when_it_resets(
    api: FlaskClient, customer: Customer, published: list[RunIdentity]
) -> None:
    assert quota_of(api, customer)["remaining_today"] == 4
    for _ in range(2):
        assert start(api, customer).status_code == 202
    outcomes.record_run(published[0], "COMPLETED")

    found = quota_of(api, customer)

    usage = quota.read(customer.tenant_id)
    assert found == {
        "tenant_id": customer.tenant_id,
        "plan_name": "TEST",
        "subscription_status": "ACTIVE",
        "usage_date": usage.today.isoformat(),
        "pipelines_run_today": 2,
        "daily_limit": 4,
        "remaining_today": 2,
        "pipelines_run_month": 2,
        "monthly_limit": 9,
        "remaining_month": 7,
        "concurrent_pipelines_running": 1,
        "concurrent_limit": 2,
        "remaining_concurrent": 1,
        "resets_at": quota.day_ends(usage.at).isoformat().replace("+00:00", "Z"),
        "month_resets_at": quota.month_ends(usage.at).isoformat().replace("+00:00", "Z"),
    }


def test_quota_of_another_tenant_is_not_shown(api: FlaskClient, customer: Customer) -> None:
    answer = api.get("/api/v1/tenants/acme_corp/quota", headers=customer.headers)

    assert answer.status_code == 403


def test_run_over_a_limit_is_refused_and_leaves_no_trace(
    api: FlaskClient, customer: Customer, published: list[RunIdentity]
) -> None:
    for _ in range(2):
        start(api, customer)
    before = runs_of(customer)

    answer = start(api, customer)

    assert answer.status_code == 429
    assert answer.content_type == "application/problem+json"
    assert answer.json["type"] == "urn:convergence:problem:quota-exceeded"
    assert answer.json["detail"] == (
        "Concurrent pipeline limit reached. Wait for running pipelines to complete."
    )
    assert answer.headers["Retry-After"] == "30"
    assert len(published) == 2
    assert runs_of(customer) == before


@pytest.mark.parametrize("end", ["COMPLETED", "FAILED", "CANCELLED", "TIMED_OUT"])
def test_end_of_a_run_lets_the_next_one_in_at_once(
    end: str, api: FlaskClient, customer: Customer, published: list[RunIdentity]
) -> None:
    for _ in range(2):
        start(api, customer)
    assert start(api, customer).status_code == 429

    outcomes.record_run(published[0], end)

    assert start(api, customer).status_code == 202
    assert start(api, customer).status_code == 429


def test_upgrade_lets_the_next_request_in(
    api: FlaskClient, customer: Customer, published: list[RunIdentity]
) -> None:
    for _ in range(2):
        start(api, customer)
    assert start(api, customer).status_code == 429

    subscribe(customer.tenant_id, daily=25, monthly=750, concurrent=5)

    assert start(api, customer).status_code == 202
    assert quota_of(api, customer)["daily_limit"] == 25


def test_run_whose_message_was_not_published_goes_on_with_the_same_key(
    api: FlaskClient, customer: Customer, published: list[RunIdentity], mocker: MockerFixture
) -> None:
    broken = mocker.patch.object(launch, "publish_step", side_effect=Retryable("Pub/Sub is away"))
    assert start(api, customer, "key").status_code == 503
    assert quota_of(api, customer)["pipelines_run_today"] == 1
    mocker.stop(broken)
    mocker.patch.object(
        launch, "publish_step", side_effect=lambda message: published.append(message.run)
    )

    answer = start(api, customer, "key")

    assert answer.status_code == 202
    assert [run.slot for run in published] == [1]
    assert runs_of(customer) == {answer.json["pipeline_logging_id"]}
    assert quota_of(api, customer)["pipelines_run_today"] == 1


def test_repetition_after_the_end_starts_nothing(
    api: FlaskClient, customer: Customer, published: list[RunIdentity]
) -> None:
    first = start(api, customer, "key")
    outcomes.record_run(published[0], "COMPLETED")

    again = start(api, customer, "key")

    assert (again.status_code, again.json) == (202, first.json)
    assert len(published) == 1
    assert quota_of(api, customer)["concurrent_pipelines_running"] == 0


def test_slot_travels_with_the_run_and_stands_in_its_row(
    api: FlaskClient, customer: Customer, published: list[RunIdentity]
) -> None:
    start(api, customer)
    start(api, customer)

    assert [run.slot for run in published] == [1, 2]
    assert {run.usage_date for run in published} == {quota.read(customer.tenant_id).today}
    log = f"{customer.tenant_id}.x_meta_pipeline_runs_log"
    found = rows.read(query(f"SELECT slot, deadline FROM `{log}`"))
    assert sorted(row["slot"] for row in found) == [1, 2]
    assert all(row["deadline"] for row in found)
