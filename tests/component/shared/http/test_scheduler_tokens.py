"""Routes of Cloud Scheduler's jobs: the OIDC token opens them, and whatever is like it does not."""

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from google.auth import crypt, jwt

from infra.local.oidc import TokenIssuer
from shared.http import oidc
from shared.http.routes import Route, serve
from shared.models import Model
from shared.settings import settings
from shared.tenancy import audit
from shared.warehouse import rows
from shared.warehouse.queries import query

EMAIL = "cloud-scheduler@convergence-local.iam.gserviceaccount.com"
AUDIENCE = "convergence-scheduler"


class Done(Model):
    done: bool


class Certificates:
    """A server that answers as https://www.googleapis.com/oauth2/v1/certs does."""

    def __init__(self) -> None:
        self.issuer = TokenIssuer()
        self.asked = 0
        certificates = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                certificates.asked += 1
                body = json.dumps(certificates.issuer.certificates).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}/certs"

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def certificates(monkeypatch: pytest.MonkeyPatch, _environment: None) -> Iterator[Certificates]:
    started = Certificates()
    monkeypatch.setenv("OIDC_CERTS_URL", started.url)
    monkeypatch.setenv("SCHEDULER_AUDIENCE", AUDIENCE)
    monkeypatch.setenv("SCHEDULER_SERVICE_ACCOUNT", EMAIL)
    settings.cache_clear()
    yield started
    started.stop()


@pytest.fixture
def client(certificates: Certificates) -> FlaskClient:
    app = Flask("toy", static_folder=None)
    work = Route(
        "POST",
        "/work",
        lambda: Done(done=True),
        "Work",
        Done,
        auth="admin_or_scheduler",
        action="toy.work",
    )
    admin = Route("POST", "/admin", lambda: Done(done=True), "Admin", Done, auth="admin")
    tenant = Route("GET", "/mine", lambda: Done(done=True), "Mine", Done)
    serve(app, (work, admin, tenant))
    return app.test_client()


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def signed(issuer: TokenIssuer, **changes: Any) -> str:
    """A token whose claims are right but for `changes`."""
    now = int(datetime.now(UTC).timestamp())
    claims = {
        "aud": AUDIENCE,
        "email": EMAIL,
        "email_verified": True,
        "iat": now,
        "exp": now + 3600,
        "iss": "https://accounts.google.com",
        "sub": "1",
    }
    token: bytes = jwt.encode(issuer._signer, claims | changes)
    return token.decode()


def test_the_token_of_the_jobs_opens_their_routes_and_is_audited(
    client: FlaskClient, certificates: Certificates, central: None
) -> None:
    token = certificates.issuer.token(EMAIL, AUDIENCE)

    answers = [client.post("/work", headers=bearer(token)) for _ in range(3)]

    assert [answer.status_code for answer in answers] == [200] * 3
    assert certificates.asked == 1
    request_id = answers[0].headers["X-Request-ID"]
    (entry,) = rows.read(
        query(f"SELECT * FROM `{audit.TABLE}` WHERE request_id = @id", id=request_id)
    )
    assert (entry["actor_type"], entry["actor_id"], entry["outcome"]) == (
        "system",
        EMAIL,
        "ALLOWED",
    )


@pytest.mark.parametrize("path", ["/admin", "/mine"])
def test_it_opens_nothing_else(path: str, client: FlaskClient, certificates: Certificates) -> None:
    token = certificates.issuer.token(EMAIL, AUDIENCE)
    method = client.post if path == "/admin" else client.get

    assert method(path, headers=bearer(token)).status_code == 401


@pytest.mark.parametrize(
    "changes",
    [
        {"aud": "https://elsewhere.example"},
        {"email": "somebody@convergence-local.iam.gserviceaccount.com"},
        {"email_verified": False},
        {"email_verified": "true"},
        {"iss": "https://accounts.example.com"},
        {"iat": 1_600_000_000, "exp": 1_600_003_600},
        {"iat": 4_000_000_000, "exp": 4_000_003_600},
    ],
    ids=["audience", "account", "unverified", "verified in words", "issuer", "expired", "early"],
)
def test_a_token_with_one_wrong_claim_is_refused(
    changes: dict[str, Any], client: FlaskClient, certificates: Certificates
) -> None:
    answer = client.post("/work", headers=bearer(signed(certificates.issuer, **changes)))

    assert answer.status_code == 401
    assert answer.get_json()["type"] == "urn:convergence:problem:unauthenticated"


@pytest.mark.parametrize("token", ["", "x", "a.b.c", "e30.e30.", "ä.b.c", "x" * 5000])
def test_what_is_no_token_is_refused(token: str, client: FlaskClient) -> None:
    header = {"Authorization": f"Bearer {token}".encode().decode("latin-1")}

    assert client.post("/work", headers=header).status_code == 401


def test_a_token_of_another_key_under_a_known_key_id_is_refused(
    client: FlaskClient, certificates: Certificates
) -> None:
    forger = TokenIssuer()
    forger.key_id = certificates.issuer.key_id

    assert client.post("/work", headers=bearer(signed(forger))).status_code == 401


@pytest.mark.parametrize("algorithm", ["none", "HS256", "ES256"])
def test_another_algorithm_is_refused(
    algorithm: str, client: FlaskClient, certificates: Certificates
) -> None:
    issuer = certificates.issuer
    token = jwt.encode(issuer._signer, {"aud": AUDIENCE}, header={"alg": algorithm}).decode()
    assert isinstance(issuer._signer, crypt.RSASigner)

    assert client.post("/work", headers=bearer(token)).status_code == 401


def test_neither_token_nor_admin_key_is_refused_and_the_admin_key_opens(
    client: FlaskClient,
) -> None:
    assert client.post("/work").status_code == 401
    assert client.post("/work", headers={"X-CloudScheduler": "true"}).status_code == 401
    assert client.post("/work", headers={"X-Admin-Key": "wrong"}).status_code == 401
    assert client.post("/work", headers={"X-Admin-Key": "local-admin-key"}).status_code == 200


def test_a_new_key_is_looked_for_once_in_a_while_only(
    client: FlaskClient, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.post("/work", headers=bearer(signed(certificates.issuer)))
    certificates.issuer = TokenIssuer()
    token = signed(certificates.issuer)

    soon = [client.post("/work", headers=bearer(token)).status_code for _ in range(5)]
    asked_soon = certificates.asked
    monkeypatch.setattr(oidc, "_LOOK_AGAIN_SECONDS", 0.0)
    later = client.post("/work", headers=bearer(token)).status_code

    assert (soon, asked_soon) == ([401] * 5, 1)
    assert (later, certificates.asked) == (200, 2)


def test_certificates_that_cannot_be_read_are_our_trouble_not_the_callers(
    client: FlaskClient, certificates: Certificates
) -> None:
    token = signed(certificates.issuer)
    certificates.stop()

    assert client.post("/work", headers=bearer(token)).status_code == 503
