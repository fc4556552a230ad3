"""One entry for each attempt to change something, with who, what, whence and how it ended."""

from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from pydantic import Field
from pytest_mock import MockerFixture

from shared.errors import ConflictError, Retryable, TooManyRequestsError, UnauthenticatedError
from shared.http import auth
from shared.http.routes import Route, serve
from shared.models import Model
from shared.tenancy import audit
from shared.tenancy.api_keys import ApiKey


class Order(Model):
    """A body."""

    name: str = Field(min_length=1, max_length=5)


class Taken(Model):
    """An answer."""

    order_id: str


class Shop:
    """What the handler does next."""

    error: Exception | None = None

    def take(self, tenant_id: str, body: Order) -> Taken:
        if self.error:
            raise self.error
        return Taken(order_id=f"{body.name}-1")


@pytest.fixture
def shop() -> Shop:
    return Shop()


@pytest.fixture
def client(shop: Shop, mocker: MockerFixture) -> FlaskClient:
    """`POST /tenants/{tenant_id}/orders`, for holders of a key of acme with `run`."""

    def verify(secret: str) -> ApiKey:
        if secret not in {"runs", "reads"}:
            raise UnauthenticatedError
        scope = secret.removesuffix("s").removesuffix("un") + ("un" if secret == "runs" else "")
        return ApiKey(
            api_key_id="key-1", tenant_id="acme", key_hash="h", is_active=True, scopes=(scope,)
        )

    mocker.patch.object(auth.api_keys, "verify", side_effect=verify)
    app = Flask("toy", static_folder=None)
    path = "/tenants/{tenant_id}/orders"
    serve(
        app,
        (
            Route(
                "POST", path, shop.take, "Order", Taken, 201, Order,
                scope="run", action="order.take", resource="order_id",
            ),
            Route("GET", path, lambda tenant_id: Taken(order_id="1"), "Look", Taken),
        ),
    )  # fmt: skip
    return app.test_client()


@pytest.fixture
def entries(mocker: MockerFixture) -> list[audit.Entry]:
    found: list[audit.Entry] = []
    mocker.patch.object(audit, "record", side_effect=found.append)
    return found


def order(client: FlaskClient, key: str = "runs", tenant: str = "acme", **changes: Any) -> int:
    headers = {"X-API-Key": key, "X-User-ID": "alice", "X-Request-ID": "r-1"}
    options: dict[str, Any] = {"json": {"name": "tea"}, "headers": headers} | changes
    return client.post(f"/tenants/{tenant}/orders", **options).status_code


def test_what_was_done_is_recorded_once_with_who_and_whence(
    client: FlaskClient, entries: list[audit.Entry]
) -> None:
    assert order(client, environ_base={"REMOTE_ADDR": "203.0.113.7"}) == 201

    (entry,) = entries
    assert (entry.action, entry.outcome, entry.reason) == ("order.take", "ALLOWED", None)
    assert (entry.actor_type, entry.actor_id, entry.user_id) == ("api_key", "key-1", "alice")
    assert (entry.tenant_id, entry.resource_type, entry.resource_id) == ("acme", "order", "tea-1")
    assert (entry.request_id, entry.source_address) == ("r-1", "203.0.113.7")
    assert entry.trace_id
    assert len(entry.trace_id) == 32
    assert entry.details == {"method": "POST", "path": "/tenants/acme/orders", "status": 201}


@pytest.mark.parametrize(
    ("request_changes", "status", "outcome", "actor", "reason"),
    [
        ({"key": "forged"}, 401, "DENIED", "anonymous", "unauthenticated: "),
        ({"key": "reads"}, 403, "DENIED", "api_key", "insufficient-scope: "),
        ({"tenant": "zenith"}, 403, "DENIED", "api_key", "other-tenant: "),
        ({"json": {"name": "hunter2-secret"}}, 422, "FAILED", "api_key", "invalid-input: /name"),
        (
            {"content_type": "text/xml", "json": None, "data": "x"},
            415, "FAILED", "api_key", "http-415",
        ),
    ],
)  # fmt: skip
def test_refusals_are_recorded_too(
    request_changes: dict[str, Any],
    status: int,
    outcome: str,
    actor: str,
    reason: str,
    client: FlaskClient,
    entries: list[audit.Entry],
) -> None:
    assert order(client, **request_changes) == status

    (entry,) = entries
    assert (entry.outcome, entry.actor_type) == (outcome, actor)
    assert (entry.reason or "").startswith(reason)
    assert entry.tenant_id == request_changes.get("tenant", "acme")
    assert "hunter2" not in str(entry)


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (ConflictError("exists"), "FAILED"),
        (Retryable("later"), "FAILED"),
        (RuntimeError("bug"), "FAILED"),
        (auth.TenantInactiveError("suspended"), "DENIED"),
    ],
)
def test_what_could_not_be_done_is_recorded(
    error: Exception, outcome: str, client: FlaskClient, shop: Shop, entries: list[audit.Entry]
) -> None:
    shop.error = error

    order(client)

    assert [entry.outcome for entry in entries] == [outcome]


def test_too_many_requests_cost_no_write(
    client: FlaskClient, shop: Shop, entries: list[audit.Entry]
) -> None:
    shop.error = TooManyRequestsError("slow down", retry_after_seconds=1)

    assert order(client) == 429

    assert entries == []


def test_looking_and_wrong_addresses_are_not_recorded(
    client: FlaskClient, entries: list[audit.Entry]
) -> None:
    client.get("/tenants/acme/orders", headers={"X-API-Key": "reads"})
    client.post("/nowhere", json={})
    client.put("/tenants/acme/orders", json={})

    assert entries == []
