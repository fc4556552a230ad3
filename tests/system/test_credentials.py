"""Credentials over HTTPS: at once and by way of the queue; the secret is seen nowhere after."""

from typing import Any

import httpx
import pytest

from tests.credential_samples import (
    CLIENT_SECRET,
    EXTERNAL_ID,
    SECRET_KEY,
    aws_keys,
    aws_role,
    azure_secret,
    private_key,
    service_account,
)
from tests.system.world import ADMIN_KEY, Tenant, World
from tests.waiting import wait_until

SECRETS = (CLIENT_SECRET, EXTERNAL_ID, SECRET_KEY, private_key()[100:160], private_key()[30:60])


@pytest.fixture(scope="module")
def tenant(world: World) -> Tenant:
    """The tenant of these tests."""
    return world.onboard()


class Desk:
    """A tenant's credentials as a frontend sees them; nothing it is told may be a secret."""

    def __init__(self, world: World, tenant: Tenant) -> None:
        self._http = world.http
        self._headers = tenant.headers
        self._path = f"/api/v1/tenants/{tenant.tenant_id}/credentials"

    def ask(self, method: str, path: str = "", **options: Any) -> httpx.Response:
        headers = self._headers | options.pop("headers", {})
        answer = self._http.request(method, self._path + path, headers=headers, **options)
        for secret in SECRETS:
            assert secret not in answer.text
        return answer

    def content(self, status: int, method: str, path: str = "", **options: Any) -> dict[str, Any]:
        answer = self.ask(method, path, **options)
        assert answer.status_code == status, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def ended(self, request_id: str) -> dict[str, Any]:
        def look() -> dict[str, Any] | None:
            found = self.content(200, "GET", f"/queue/{request_id}")
            return found if found["status"] != "PENDING" else None

        found = wait_until(look, timeout=60, message=f"the end of {request_id}", every=0.1)
        assert found is not None
        return found


@pytest.fixture
def desk(world: World, tenant: Tenant) -> Desk:
    return Desk(world, tenant)


def test_credential_lives_through_its_routes(world: World, tenant: Tenant, desk: Desk) -> None:
    body = {"provider": "gcp", "name": "life", "credentials": service_account()}
    made = desk.content(201, "POST", json=body)
    assert {
        "tenant_id": tenant.tenant_id,
        "provider": "GCP",
        "action": "CREATED",
        "dataset_status": "EXISTS",
    }.items() <= made.items()
    one = f"/{made['credential_id']}"

    again = desk.content(201, "POST", json=body)
    assert (again["action"], again["credential_id"]) == ("UPDATED", made["credential_id"])
    shown = desk.content(200, "GET", one)
    assert shown["context"]["project_id"] == "acme-billing-1"
    assert shown in desk.content(200, "GET")["credentials"]
    valid = desk.content(200, "POST", f"{one}/validate")
    assert (valid["checked"], valid["validation_status"], valid["problems"]) == (
        "provider",
        "VALID",
        [],
    )
    assert desk.content(200, "GET", one)["last_validated_at"] == valid["last_validated_at"]
    off = desk.content(200, "PUT", one, json=body | {"is_active": False})
    assert (off["is_active"], off["validation_status"]) == (False, "UNCHECKED")
    assert desk.content(200, "DELETE", one)["action"] == "DELETED"
    assert desk.ask("GET", one).status_code == 404
    assert desk.ask("DELETE", one).status_code == 404

    actions = world.query(
        "SELECT action, outcome, resource_id, TO_JSON_STRING(t) AS entry FROM tenants.audit_log t"
        " WHERE tenant_id = @tenant AND resource_id = @id",
        tenant=tenant.tenant_id,
        id=made["credential_id"],
    )
    assert {row.action for row in actions} == {
        "credential.create",
        "credential.validate",
        "credential.update",
        "credential.delete",
    }
    assert not any(secret in row.entry for row in actions for secret in SECRETS)


def test_queued_credential_is_stored_by_the_worker(desk: Desk) -> None:
    body = {"provider": "AWS", "name": "queued", "credentials": aws_keys()}
    headers = {"Idempotency-Key": "once"}

    first = desk.content(202, "POST", "/queue", json=body, headers=headers)
    again = desk.content(202, "POST", "/queue", json=body, headers=headers)

    assert again["request_id"] == first["request_id"]
    ended = desk.ended(first["request_id"])
    assert (ended["status"], ended["error"]) == ("COMPLETED", None)
    assert desk.content(200, "GET", f"/{ended['credential_id']}")["name"] == "queued"
    assert desk.ask("GET", "/queue/no-such-request").status_code == 404


@pytest.mark.parametrize("path", ["", "/queue"])
@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "/provider"),
        ({"provider": "AWS", "credentials": SECRET_KEY}, "/credentials"),
        ({"provider": "AWS", "credentials": aws_keys(), "secret": SECRET_KEY}, "/secret"),
        ({"provider": SECRET_KEY, "credentials": {}}, "/provider"),
        ([SECRET_KEY], ""),
        (
            {"provider": "AWS", "credentials": aws_keys(region=SECRET_KEY)},
            "/credentials/region",
        ),
        (
            {"provider": "AZURE", "credentials": azure_secret(client_id=CLIENT_SECRET)},
            "/credentials/client_id",
        ),
        (
            {"provider": "GCP", "credentials": service_account(token_uri="https://evil.example")},
            "/credentials/token_uri",
        ),
    ],
)
def test_bad_body_names_the_field_and_repeats_nothing(
    path: str, body: Any, pointer: str, desk: Desk
) -> None:
    answer = desk.content(422, "POST", path, json=body)

    assert pointer in {found["pointer"] for found in answer["errors"]}
    assert all(found["value"] is None for found in answer["errors"])


def test_scopes_and_tenants_are_kept_apart(world: World, tenant: Tenant, desk: Desk) -> None:
    keys = f"/api/v1/tenants/{tenant.tenant_id}/api-keys"
    key = world.http.post(
        keys, headers=tenant.headers, json={"name": "reader", "scopes": ["read"]}
    ).json()["api_key"]
    reader = {"X-API-Key": key}

    assert desk.ask("GET", headers=reader).status_code == 200
    body = {"provider": "AWS", "credentials": aws_role()}
    for method, path in (("POST", ""), ("POST", "/queue"), ("PUT", "/x"), ("DELETE", "/x"),
                         ("POST", "/x/validate")):  # fmt: skip
        refused = desk.ask(method, path, headers=reader, json=body)
        assert refused.status_code == 403, (method, path)
    stranger = {"X-API-Key": world.onboard().api_key}
    for method, path in (("GET", ""), ("POST", ""), ("GET", "/queue/x"), ("GET", "/x")):
        assert desk.ask(method, path, headers=stranger, json=body).status_code == 403


def test_role_of_another_tenant_is_refused(world: World, desk: Desk) -> None:
    theirs = aws_role(world.onboard().tenant_id)
    for method, path in (("POST", ""), ("POST", "/queue")):
        answer = desk.ask(method, path, json={"provider": "AWS", "credentials": theirs})
        assert answer.status_code == 422, answer.text
        (problem,) = answer.json()["errors"]
        assert problem["pointer"] == "/credentials/external_id"
        assert "must begin with" in problem["detail"]
        assert EXTERNAL_ID not in answer.text


def test_no_secret_is_in_the_warehouse(world: World, tenant: Tenant, desk: Desk) -> None:
    for credentials in (aws_role(tenant.tenant_id), aws_keys()):
        desk.content(201, "POST", json={"provider": "AWS", "credentials": credentials})
    desk.content(201, "POST", json={"provider": "AZURE", "credentials": azure_secret()})

    rows = world.query(
        "SELECT TO_JSON_STRING(t) AS text, SAFE_CONVERT_BYTES_TO_STRING(encrypted_credentials) AS b"
        " FROM tenants.tenant_cloud_credentials_log t WHERE tenant_id = @tenant",
        tenant=tenant.tenant_id,
    )
    assert len(rows) >= 3
    assert not any(secret in f"{row.text}{row.b}" for row in rows for secret in SECRETS)


@pytest.mark.parametrize("function", ["api", "credential-worker"])
def test_no_secret_is_in_a_log(function: str, world: World, desk: Desk) -> None:
    body = {"provider": "AWS", "name": "logged", "credentials": aws_keys()}
    desk.content(201, "POST", json=body)
    desk.ended(desk.content(202, "POST", "/queue", json=body)["request_id"])
    desk.ask("POST", json={"provider": "AWS", "credentials": SECRET_KEY})

    text = world.stack.log(function)
    assert text
    assert not any(secret in text for secret in SECRETS)


def test_offboarding_destroys_the_credentials(world: World) -> None:
    leaving = world.onboard()
    desk = Desk(world, leaving)
    role = aws_role(leaving.tenant_id)
    made = desk.content(201, "POST", json={"provider": "AWS", "credentials": role})

    path = f"/api/v1/tenants/{leaving.tenant_id}"
    admin = {"X-Admin-Key": ADMIN_KEY}
    gone = world.http.delete(path, params={"confirm": leaving.tenant_id}, headers=admin)

    assert gone.json()["credentials_destroyed"] == 1
    assert desk.ask("GET", f"/{made['credential_id']}", headers=admin).status_code == 404
    body = {"provider": "AWS", "credentials": role}
    assert desk.ask("POST", headers=admin, json=body).status_code == 409
