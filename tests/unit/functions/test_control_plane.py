"""Bodies and parameters of the control plane's routes; nothing behind them is asked."""

from typing import Any

import pytest
from flask.testing import FlaskClient
from pytest_mock import MockerFixture

from shared.settings import settings
from shared.tenancy.tenants import TenantStatus

TENANT = "/api/v1/tenants/acme"


@pytest.fixture(autouse=True)
def _open(monkeypatch: pytest.MonkeyPatch, mocker: MockerFixture) -> None:
    """No tenant's key asked for; the operator's is `operator`."""
    monkeypatch.setenv("DISABLE_AUTH", "true")
    monkeypatch.setenv("ADMIN_API_KEY_SECRET", "projects/p/secrets/s/versions/latest")
    settings.cache_clear()
    mocker.patch("shared.http.auth.accepted_values", return_value=(b"operator",))


def refused(answer: Any) -> list[str]:
    """The pointers of a 422."""
    assert answer.status_code == 422, answer.text
    return [error["pointer"] for error in answer.json["errors"]]


@pytest.mark.parametrize(
    ("body", "pointers"),
    [
        ({}, ["/name"]),
        ({"name": ""}, ["/name"]),
        ({"name": "x" * 101}, ["/name"]),
        ({"name": "a\nb"}, ["/name"]),
        ({"name": "x", "scopes": []}, ["/scopes"]),
        ({"name": "x", "scopes": ["read", "root"]}, ["/scopes/1"]),
        ({"name": "x", "expires_at": "2020-01-01T00:00:00Z"}, ["/expires_at"]),
        ({"name": "x", "expires_at": "2099-01-01T00:00:00"}, ["/expires_at"]),
        ({"name": "x", "expires_at": "2099-01-01"}, ["/expires_at"]),
        ({"name": "x", "expires_at": 4070908800}, ["/expires_at"]),
        ({"name": "x", "expires": "2099-01-01T00:00:00Z"}, ["/expires"]),
    ],
)
def test_bad_fields_of_a_new_key_are_named(
    body: dict[str, Any], pointers: list[str], api: FlaskClient
) -> None:
    assert refused(api.post(f"{TENANT}/api-keys", json=body)) == pointers


@pytest.mark.parametrize("hours", [-1, 745, "a day", 1.5])
def test_bad_grace_period_is_named(hours: Any, api: FlaskClient) -> None:
    answer = api.post(f"{TENANT}/api-keys/k/rotate", json={"grace_period_hours": hours})

    assert refused(answer) == ["/grace_period_hours"]


@pytest.mark.parametrize(
    ("body", "pointers"),
    [
        ({"admin_email": "nobody"}, ["/admin_email"]),
        ({"company_name": ""}, ["/company_name"]),
        ({"subscription_plan": "GOLD"}, ["/subscription_plan"]),
        ({"subscription_plan": None}, ["/subscription_plan"]),
        ({"status": "ACTIVE"}, ["/status"]),
        ({"tenant_id": "other"}, ["/tenant_id"]),
        ({"billing_account_ids": []}, ["/billing_account_ids"]),
    ],
)
def test_bad_fields_of_a_patch_are_named(
    body: dict[str, Any], pointers: list[str], api: FlaskClient
) -> None:
    assert refused(api.patch(TENANT, json=body)) == pointers


@pytest.mark.parametrize("pipeline", ["cost_billing", "gcp/cost", "gcp//x", "a/b/c/d", "", 7])
def test_execute_wants_a_template_of_three_parts(pipeline: Any, api: FlaskClient) -> None:
    answer = api.post(f"{TENANT}/pipelines/execute", json={"pipeline": pipeline})

    assert refused(answer) == ["/pipeline"]


@pytest.mark.parametrize("confirm", ["", "?confirm=", "?confirm=acme_corp", "?confirm=ACME"])
def test_offboarding_wants_the_id_twice(confirm: str, api: FlaskClient) -> None:
    answer = api.delete(f"{TENANT}{confirm}", headers={"X-Admin-Key": "operator"})

    assert refused(answer) == ["confirm"]
    assert "?confirm=acme" in answer.json["detail"]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/v1/tenants"),
        ("DELETE", f"{TENANT}?confirm=acme"),
        ("POST", f"{TENANT}/suspend"),
        ("POST", f"{TENANT}/resume"),
    ],
)
@pytest.mark.parametrize("headers", [{}, {"X-API-Key": "any"}, {"X-Admin-Key": "wrong"}])
def test_what_only_the_operator_may_do_asks_for_the_admin_key(
    method: str, path: str, headers: dict[str, str], api: FlaskClient
) -> None:
    answer = api.open(path, method=method, headers=headers, json={})

    assert answer.status_code == 401
    assert "X-Admin-Key" in answer.json["detail"]


def test_plan_is_the_operators_to_change(api: FlaskClient) -> None:
    answer = api.patch(TENANT, json={"subscription_plan": "SCALE"})

    assert answer.status_code == 403
    assert answer.json["type"] == "urn:convergence:problem:operator-only"


@pytest.mark.parametrize("query", ["status=ON", "limit=0", "limit=201", "cursor=x", "page=2"])
def test_bad_parameters_of_the_list_of_tenants_are_named(query: str, api: FlaskClient) -> None:
    answer = api.get(f"/api/v1/tenants?{query}", headers={"X-Admin-Key": "operator"})

    assert refused(answer) == [query.partition("=")[0]]


@pytest.mark.parametrize("action", ["cancel", "retry"])
def test_run_that_cannot_exist_is_not_found(
    action: str, api: FlaskClient, mocker: MockerFixture
) -> None:
    active = mocker.patch("shared.tenancy.tenants.profile").return_value
    active.tenant_id, active.status = "acme", TenantStatus.ACTIVE

    answer = api.post(f"/api/v1/pipelines/runs/no-uuid/{action}?tenant_id=acme")

    assert answer.status_code == 404
    assert "Run 'no-uuid'" in answer.json["detail"]


def test_templates_need_no_store(api: FlaskClient) -> None:
    listed = api.get("/api/v1/pipelines/templates")
    one = api.get("/api/v1/pipelines/templates/gcp/cost/cost_billing")

    names = [template["template"] for template in listed.json["templates"]]
    assert "gcp/cost/cost_billing" in names
    assert "customer/onboarding" not in names
    assert one.json["description"] == "Google Cloud cost of {tenant_id} on {date}"
    assert [step["step_id"] for step in one.json["steps"]] == [
        "extract_billing_costs",
        "check_billing_costs",
        "notify_on_failure",
    ]


def test_unknown_template_lists_near_names(api: FlaskClient) -> None:
    answer = api.get("/api/v1/pipelines/templates/gcp/cost/cost_biling")

    assert answer.status_code == 404
    assert "cost_billing" in answer.json["detail"]
