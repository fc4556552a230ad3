"""Tokens of Entra ID for a federated application: Google's word for the service's own account."""

import json
import threading
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from shared.errors import Retryable
from shared.processors.azure import entra
from shared.processors.azure.entra import MANAGEMENT, OUR_ISSUER
from shared.settings import settings
from tests.credential_samples import azure_federated


@pytest.fixture
def metadata(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Google's metadata server; the audiences that it was asked tokens for."""
    from google.auth.compute_engine import _metadata

    asked: list[str] = []
    claims = urlsafe_b64encode(json.dumps({"exp": 4102444800}).encode()).decode().rstrip("=")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            url = urlsplit(self.path)
            body, kind = json.dumps({"email": "step-azure@x", "scopes": []}), "application/json"
            if url.path.endswith("/identity"):
                asked.extend(parse_qs(url.query)["audience"])
                body, kind = f"e30.{claims}.c2ln", "text/html"
            self.send_response(200)
            self.send_header("Metadata-Flavor", "Google")
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        host = f"127.0.0.1:{server.server_address[1]}"
        monkeypatch.setattr(_metadata, "_GCE_METADATA_HOST", host)
        yield asked
        server.shutdown()


def federated() -> dict[str, Any]:
    trusted = {"issuer": OUR_ISSUER, "subject": "1", "audience": "api://AzureADTokenExchange"}
    return azure_federated(federated_token=trusted)


def test_googles_token_for_the_services_account_is_exchanged(metadata: list[str]) -> None:
    assert entra.ask(federated(), MANAGEMENT).token
    assert metadata == ["api://AzureADTokenExchange"]


def test_an_entra_that_is_away_is_asked_again_later(
    metadata: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AZURE_AUTHORITY_URL", "http://127.0.0.1:9")
    settings.cache_clear()
    with pytest.raises(Retryable, match="does not answer"):
        entra.ask(federated(), MANAGEMENT)
