"""A local cloud for the tests of one worker: real servers on free ports, in memory."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from infra import topology
from infra.local import provision
from infra.local.serving import start_service
from tests.conformance.bigquery.servers import start_server

PROJECT = "convergence-local"
_KEYS = f"projects/{PROJECT}/locations/us/keyRings/convergence/cryptoKeys"
_SECRETS = f"projects/{PROJECT}/secrets"


@dataclass(frozen=True)
class Cloud:
    """Where the servers are and what a function's environment says of them."""

    bigquery_url: str
    mailbox_url: str
    environment: dict[str, str]
    _http: httpx.Client = field(default_factory=httpx.Client)

    def fail(self, method: str, **fault: Any) -> None:
        """Let the next `times` calls of a BigQuery method meet a fault: status, reason, delay."""
        body = {"method": method, "times": 1, **fault}
        self._http.post(f"{self.bigquery_url}/_local/faults", json=body).raise_for_status()

    def forget_faults(self) -> None:
        """Nothing fails any more."""
        self._http.delete(f"{self.bigquery_url}/_local/faults").raise_for_status()
        self._http.delete(f"{self.mailbox_url}/_local/faults").raise_for_status()

    def calls(self) -> dict[str, int]:
        """Calls of BigQuery so far, by method."""
        found: dict[str, Any] = self._http.get(f"{self.bigquery_url}/_local/calls").json()
        return {method: count for method, count in found.items() if isinstance(count, int)}

    def fail_mail(self, smtp_code: int | None, *, times: int = 1, delay: float = 0.0) -> None:
        """Let the mailbox answer the next mails with this code, or keep them only after a while."""
        body = {"times": times, "smtp_code": smtp_code, "delay_seconds": delay}
        self._http.post(f"{self.mailbox_url}/_local/faults", json=body).raise_for_status()

    @contextmanager
    def mail_passwords(self, *accepted: str) -> Iterator[None]:
        """Let the mailbox ask whoever logs in for one of these."""
        url = f"{self.mailbox_url}/_local/passwords"
        self._http.post(url, json={"accepted": accepted}).raise_for_status()
        try:
            yield
        finally:
            self._http.post(url, json={"accepted": None}).raise_for_status()

    def mails(self, to: str) -> list[dict[str, Any]]:
        """The mails that arrived for an address, newest first."""
        answer = self._http.get(f"{self.mailbox_url}/messages", params={"to": to})
        found: list[dict[str, Any]] = answer.json()
        return found

    def close(self) -> None:
        """Close the connections that the calls above keep."""
        self._http.close()


@pytest.fixture(scope="session")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """BigQuery as a process of its own, the other services as threads; provisioned."""
    with ExitStack() as running:
        bigquery = start_server()
        running.callback(bigquery.stop)
        trusted = tmp_path_factory.mktemp("azure") / "trusted.pem"
        services = {}
        for name in ("pubsub", "kms", "secrets", "mailbox", "identity", "azure", "azure-blob"):
            more = {"trusted": str(trusted)} if name == "azure-blob" else {}
            services[name] = start_service(name, host="127.0.0.1", port=0, state=None, **more)
            running.callback(services[name].stop)
        address = {name: f"127.0.0.1:{service.port}" for name, service in services.items()}
        smtp_port: int = services["mailbox"].smtp_port  # type: ignore[attr-defined]
        started = Cloud(
            bigquery_url=bigquery.url,
            mailbox_url=f"http://{address['mailbox']}",
            environment={
                "GCP_PROJECT_ID": PROJECT,
                "BIGQUERY_EMULATOR_HOST": bigquery.url,
                "PUBSUB_EMULATOR_HOST": address["pubsub"],
                "KMS_EMULATOR_HOST": address["kms"],
                "SECRET_MANAGER_EMULATOR_HOST": address["secrets"],
                "KMS_KEY_NAME": f"{_KEYS}/tenant-secrets",
                "API_KEY_CHECKSUM_SECRET": f"{_SECRETS}/api-key-checksum/versions/latest",
                "ADMIN_API_KEY_SECRET": f"{_SECRETS}/admin-api-key/versions/latest",
                "GOOGLE_TOKEN_URL": f"http://{address['identity']}/token",
                "AZURE_AUTHORITY_URL": f"http://{address['identity']}",
                "AZURE_MANAGEMENT_URL": f"http://{address['azure']}",
                "AZURE_BLOB_URL": f"https://{address['azure-blob']}/{{account}}",
                "REQUESTS_CA_BUNDLE": str(trusted),
                "OPEN_ONBOARDING": "true",
                "SMTP_HOST": "127.0.0.1",
                "SMTP_PORT": str(smtp_port),
                "SMTP_STARTTLS": "false",
                "SMTP_FROM": "Convergence <no-reply@convergence.local>",
            },
        )
        running.callback(started.close)
        _provision(started.environment)
        yield started


def _provision(environment: dict[str, str]) -> None:
    """Key, secrets and topics of the topology; no subscription, tests pull for themselves."""
    deployed = topology.load(topology.DEFAULT_PATH).model_copy(update={"subscriptions": {}})
    before = dict(os.environ)
    os.environ.update(environment)
    try:
        provision.provision(deployed, PROJECT, {})
    finally:
        os.environ.clear()
        os.environ.update(before)
