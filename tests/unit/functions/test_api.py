"""Bodies and headers of the API's own routes; nothing behind them is asked."""

from typing import Any

import pytest
from flask.testing import FlaskClient
from pytest_mock import MockerFixture

from shared.errors import NotFoundError, UnauthenticatedError
from shared.settings import settings
from shared.tenancy.api_keys import ApiKey
from shared.tenancy.tenants import TenantStatus

RUN = "/api/v1/pipelines/run/acme/gcp/cost/cost_billing"
ONBOARD = "/api/v1/tenants/onboard"


def problems(answer: Any) -> dict[str, str]:
    """Pointer to what is wrong there, of a 422."""
    assert answer.status_code == 422, answer.text
    return {error["pointer"]: error["detail"] for error in answer.json["errors"]}


@pytest.fixture
def _open(monkeypatch: pytest.MonkeyPatch, mocker: MockerFixture) -> None:
    """No keys asked for, and a tenant store that knows nobody."""
    monkeypatch.setenv("DISABLE_AUTH", "true")
    monkeypatch.setenv("OPEN_ONBOARDING", "true")
    settings.cache_clear()
    mocker.patch("shared.tenancy.tenants.profile", side_effect=NotFoundError("Tenant", "acme"))


def test_health_needs_no_key_and_no_cloud(api: FlaskClient) -> None:
    answer = api.get("/health")

    assert (answer.status_code, answer.json) == (200, {"status": "ok"})


@pytest.mark.usefixtures("_open")
@pytest.mark.parametrize(
    "date",
    [
        "2025-01-01' OR '1'='1",
        "2025-1-1",
        "15.11.2025",
        "tomorrow",
        "1763164800",
        "\uff12\uff10\uff12\uff15-11-15",
        "2025-02-30",
        "2025-11-15T00:00:00Z",
        "2025-11-15\n",
        "",
        1763164800,
        20251115,
        True,
        ["2025-11-15"],
    ],
)
def test_malformed_date_is_refused_before_anything_is_asked(date: Any, api: FlaskClient) -> None:
    assert list(problems(api.post(RUN, json={"date": date}))) == ["/date"]


@pytest.mark.usefixtures("_open")
@pytest.mark.parametrize("body", [{}, {"date": None}, {"date": "2025-11-15", "any": {"x": [1]}}])
def test_good_bodies_get_as_far_as_the_tenant(body: dict[str, Any], api: FlaskClient) -> None:
    answer = api.post(RUN, json=body)

    assert answer.status_code == 404
    assert "Tenant 'acme'" in answer.get_json()["detail"]


@pytest.mark.usefixtures("_open")
def test_every_bad_field_of_a_run_is_named_at_once(api: FlaskClient) -> None:
    found = problems(api.post(RUN, json={"date": "x", "trigger_by": "a\nb"}))

    assert set(found) == {"/date", "/trigger_by"}
    assert found["/date"] == "must be a date written YYYY-MM-DD, such as 2025-11-15"


@pytest.mark.parametrize("key", [None, "", "acme_api_forged", "x" * 5000])
def test_run_without_a_good_key_is_refused(key: str | None, api: FlaskClient) -> None:
    answer = api.post(RUN, json={}, headers={} if key is None else {"X-API-Key": key})

    assert answer.status_code == 401
    assert "WWW-Authenticate" in answer.headers


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/pipelines/status/acme/0b7e5a0e-0000-4000-8000-000000000000",
        "/api/v1/pipelines/runs/0b7e5a0e-0000-4000-8000-000000000000",
    ],
)
def test_status_without_a_key_is_refused(path: str, api: FlaskClient) -> None:
    assert api.get(path).status_code == 401


def test_key_of_another_tenant_is_refused(api: FlaskClient, mocker: MockerFixture) -> None:
    key = ApiKey(api_key_id="k", tenant_id="zenith", key_hash="h", is_active=True)
    mocker.patch("shared.tenancy.api_keys.verify", return_value=key)

    answer = api.post(RUN, json={}, headers={"X-API-Key": "zenith's"})

    assert answer.status_code == 403
    assert answer.get_json()["type"] == "urn:convergence:problem:other-tenant"


@pytest.mark.usefixtures("_open")
def test_every_bad_field_of_an_onboarding_is_named_at_once(api: FlaskClient) -> None:
    found = problems(
        api.post(
            ONBOARD,
            json={
                "tenant_id": "Acme-Corp",
                "admin_email": "nobody",
                "subscription_plan": "GOLD",
                "billing_account_ids": ["01ABCD-234567-89EFAB", "mine"],
                "company_name": "",
                "surprise": 1,
            },
        )
    )

    assert set(found) == {
        "/tenant_id",
        "/admin_email",
        "/subscription_plan",
        "/billing_account_ids/1",
        "/company_name",
        "/surprise",
    }
    assert found["/subscription_plan"] == "must be one of STARTER, PROFESSIONAL, SCALE"
    assert "such as acme_corp" in found["/tenant_id"]


@pytest.mark.usefixtures("_open")
@pytest.mark.parametrize("path", [ONBOARD, "/api/v1/customers/onboard"])
def test_onboarding_without_a_tenant_id_says_so_on_both_paths(path: str, api: FlaskClient) -> None:
    assert problems(api.post(path, json={})) == {"/tenant_id": "is required"}


def test_onboarding_asks_for_the_admin_key_where_it_is_not_open(
    api: FlaskClient, mocker: MockerFixture
) -> None:
    refuse = mocker.patch(
        "shared.http.auth.require_admin", side_effect=UnauthenticatedError("Invalid admin key.")
    )

    answer = api.post(ONBOARD, json={"tenant_id": "acme_corp"})

    refuse.assert_called_once()
    assert answer.status_code == 401


@pytest.mark.usefixtures("_open")
@pytest.mark.parametrize("key", ["", "x" * 256, "é"])
def test_malformed_idempotency_key_is_refused(
    key: str, api: FlaskClient, mocker: MockerFixture
) -> None:
    mocker.patch("shared.tenancy.tenants.profile").return_value.status = TenantStatus.ACTIVE

    answer = api.post(RUN, json={}, headers={"Idempotency-Key": key})

    assert list(problems(answer)) == ["Idempotency-Key"]
