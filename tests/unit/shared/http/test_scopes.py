"""Which key opens what: scopes of a tenant's keys, and the operator's key that opens everything."""

from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from pytest_mock import MockerFixture

from shared.errors import NotFoundError, UnauthenticatedError
from shared.http import auth
from shared.http.routes import Auth, Route, Scope, serve
from shared.models import Model
from shared.settings import settings
from shared.tenancy.api_keys import ApiKey

ADMIN = {"X-Admin-Key": "operator"}


class Seen(Model):
    """An answer."""

    tenant_id: str


@pytest.fixture(autouse=True)
def _keys(monkeypatch: pytest.MonkeyPatch, mocker: MockerFixture) -> None:
    """A key is written `{tenant}:{scope}+{scope}`; the tenant `nobody` does not exist."""

    def verify(secret: str) -> ApiKey:
        tenant, colon, scopes = secret.partition(":")
        if not colon:
            raise UnauthenticatedError
        names = tuple(filter(None, scopes.split("+")))
        return ApiKey(api_key_id="k", tenant_id=tenant, key_hash="h", is_active=True, scopes=names)

    def profile(tenant_id: str) -> None:
        if tenant_id == "nobody":
            raise NotFoundError("Tenant", tenant_id)

    monkeypatch.setenv("ADMIN_API_KEY_SECRET", "projects/p/secrets/s/versions/latest")
    settings.cache_clear()
    mocker.patch.object(auth, "accepted_values", return_value=(b"operator",))
    mocker.patch.object(auth.api_keys, "verify", side_effect=verify)
    mocker.patch.object(auth.tenants, "profile", side_effect=profile)
    mocker.patch("shared.tenancy.audit.record")


def client(method: Any, scope: Scope | None = None, kind: Auth = "api_key") -> FlaskClient:
    app = Flask("toy", static_folder=None)
    serve(
        app,
        (
            Route(
                method, "/of/{tenant_id}", lambda tenant_id: Seen(tenant_id=tenant_id), "See", Seen,
                scope=scope, auth=kind,
            ),
            Route(
                method, "/mine", lambda: Seen(tenant_id=auth.caller().tenant_id), "See", Seen,
                scope=scope, auth=kind,
            ),
            Route(
                method, "/all", lambda: Seen(tenant_id=auth.authenticated().tenant_id), "See", Seen,
                scope=scope, auth=kind,
            ),
        ),
    )  # fmt: skip
    return app.test_client()


@pytest.mark.parametrize(
    ("method", "scope", "needed"),
    [
        ("GET", None, "read"),
        ("POST", None, "manage"),
        ("PATCH", None, "manage"),
        ("DELETE", None, "manage"),
        ("POST", "run", "run"),
    ],
)
def test_route_is_opened_by_its_scope_only(method: str, scope: Scope | None, needed: str) -> None:
    toy = client(method, scope)
    for granted in ("read", "run", "manage"):
        for path in ("/of/acme", "/mine", "/all"):
            answer = toy.open(path, method=method, headers={"X-API-Key": f"acme:{granted}"})
            assert answer.status_code == (200 if granted == needed else 403)
            if granted != needed:
                assert answer.json["type"] == "urn:convergence:problem:insufficient-scope"
                assert repr(needed) in answer.json["detail"]


@pytest.mark.parametrize("scopes", ["", "read+run+manage"])
def test_key_without_or_with_all_scopes_opens_everything(scopes: str) -> None:
    for method in ("GET", "POST", "DELETE"):
        answer = client(method).open(
            "/mine", method=method, headers={"X-API-Key": f"acme:{scopes}"}
        )
        assert answer.json == {"tenant_id": "acme"}


def test_other_tenants_are_refused_before_the_scope_is_looked_at() -> None:
    answer = client("POST").post("/of/zenith", headers={"X-API-Key": "acme:read"})

    assert answer.json["type"] == "urn:convergence:problem:other-tenant"


def test_operator_opens_every_tenant_that_exists() -> None:
    toy = client("POST")

    assert toy.post("/of/acme", headers=ADMIN).json == {"tenant_id": "acme"}
    assert toy.post("/of/nobody", headers=ADMIN).status_code == 404


def test_operator_names_the_tenant_where_the_path_does_not() -> None:
    toy = client("GET")

    assert toy.get("/mine?tenant_id=acme", headers=ADMIN).json == {"tenant_id": "acme"}
    missing = toy.get("/mine", headers=ADMIN)
    assert missing.status_code == 422
    assert missing.json["errors"][0]["pointer"] == "tenant_id"
    assert toy.get("/mine?tenant_id=nobody", headers=ADMIN).status_code == 404
    assert toy.get("/all", headers=ADMIN).status_code == 200


def test_tenant_of_the_query_means_nothing_to_a_tenants_key() -> None:
    answer = client("GET").get("/mine?tenant_id=zenith", headers={"X-API-Key": "acme:read"})

    assert answer.json == {"tenant_id": "acme"}


@pytest.mark.parametrize("sent", ["wrong", "operator ", "x" * 1000])
def test_wrong_admin_key_is_refused_also_beside_a_good_key(sent: str) -> None:
    headers = {"X-Admin-Key": sent, "X-API-Key": "acme:read"}

    assert client("GET").get("/of/acme", headers=headers).status_code == 401


@pytest.mark.parametrize("key", ["acme:read+run+manage", "acme:", ""])
def test_no_tenants_key_opens_a_route_of_the_operator(key: str) -> None:
    toy = client("POST", kind="admin")

    assert toy.post("/of/acme", headers={"X-API-Key": key}).status_code == 401
    assert toy.post("/of/acme", headers=ADMIN).status_code == 200


def test_body_is_not_looked_at_before_the_key() -> None:
    app = Flask("toy", static_folder=None)
    serve(app, (Route("POST", "/x", lambda body: body, "X", Seen, body=Seen),))

    assert app.test_client().post("/x", json={"bad": 1}).status_code == 401
