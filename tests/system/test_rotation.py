"""Each secret of the service is replaced while callers go on, as docs/key-rotation.md says."""

import secrets
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
import yaml
from google.cloud.kms_v1 import CryptoKeyVersion, KeyManagementServiceClient
from google.cloud.kms_v1.services.key_management_service.transports import (
    KeyManagementServiceGrpcTransport,
)
from google.cloud.secretmanager_v1 import SecretManagerServiceClient
from google.cloud.secretmanager_v1.services.secret_manager_service.transports import (
    SecretManagerServiceGrpcTransport,
)

from infra.local import running
from tests.waiting import wait_until

pytestmark = pytest.mark.xdist_group("rotation")
FUNCTIONS = ("api", "scheduler", "step-shared")
LIFETIME_SECONDS = 1
PROJECT = "convergence-local"


@dataclass
class Service:
    """A stack of its own, whose functions remember a secret for a second."""

    http: httpx.Client
    mailbox: httpx.Client
    kms: KeyManagementServiceClient
    _secrets: SecretManagerServiceClient

    def value(self, secret: str) -> str:
        name = f"projects/{PROJECT}/secrets/{secret}/versions/latest"
        return str(self._secrets.access_secret_version(name=name).payload.data.decode())

    def add_version(self, secret: str, *lines: str) -> None:
        """A new version, and the wait until every process has it: the procedure's minute."""
        self._secrets.add_secret_version(
            parent=f"projects/{PROJECT}/secrets/{secret}",
            payload={"data": "".join(f"{line}\n" for line in lines).encode()},
        )
        threading.Event().wait(LIFETIME_SECONDS + 0.5)

    def accept_passwords(self, *passwords: str) -> None:
        answer = self.mailbox.post("/_local/passwords", json={"accepted": passwords})
        answer.raise_for_status()

    def onboard(self) -> tuple[str, str]:
        """A fresh tenant and its key."""
        tenant_id = f"t_{secrets.token_hex(6)}"
        body = {"tenant_id": tenant_id, "admin_email": f"{tenant_id}@example.com"}
        answer = self.http.post("/api/v1/tenants/onboard", json=body)
        assert answer.status_code == 201, answer.text
        return tenant_id, answer.json()["api_key"]

    def as_tenant(self, tenant_id: str, api_key: str) -> int:
        """What the api function answers to this key."""
        path = f"/api/v1/tenants/{tenant_id}/api-keys"
        return self.http.get(path, headers={"X-API-Key": api_key}).status_code

    def as_operator(self, admin_key: str) -> set[int]:
        """What both functions that know the operator answer, each a process of its own."""
        headers = {"X-Admin-Key": admin_key}
        paths = ("/api/v1/scheduler/status", "/api/v1/tenants")
        return {self.http.get(path, headers=headers).status_code for path in paths}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    topology = tmp_path_factory.mktemp("rotation") / "topology.yaml"
    topology.write_text(yaml.safe_dump(_small_topology()), encoding="utf-8")
    with running.running(topology=topology) as stack:
        channel = grpc.insecure_channel(stack.environment()["SECRET_MANAGER_EMULATOR_HOST"])
        to_kms = grpc.insecure_channel(stack.environment()["KMS_EMULATOR_HOST"])
        with (
            httpx.Client(base_url=stack.urls["gateway"], timeout=60) as http,
            httpx.Client(base_url=stack.urls["mailbox"], timeout=30) as mailbox,
        ):
            transport = SecretManagerServiceGrpcTransport(channel=channel)
            kms = KeyManagementServiceClient(
                transport=KeyManagementServiceGrpcTransport(channel=to_kms)
            )
            yield Service(http, mailbox, kms, SecretManagerServiceClient(transport=transport))


def _small_topology() -> dict[str, Any]:
    content = yaml.safe_load(Path("infra/topology.yaml").read_text(encoding="utf-8"))
    content["functions"] = {name: content["functions"][name] for name in FUNCTIONS}
    content["subscriptions"] = {"step-shared": content["subscriptions"]["step-shared"]}
    content["subscriptions"]["step-shared"] |= {
        "minimum_backoff_seconds": 0.2,
        "maximum_backoff_seconds": 1,
    }
    content["scheduler_jobs"] = {}
    content["environment"]["SECRET_LIFETIME_SECONDS"] = str(LIFETIME_SECONDS)
    mail = content["functions"]["step-shared"]
    mail["local"]["environment"]["SMTP_USERNAME"] = "convergence"
    return dict(content)


@contextmanager
def callers(**calls: Callable[[], Any]) -> Iterator[dict[str, Counter[Any]]]:
    """Make each of the calls over and over meanwhile; what they came to, by name."""
    seen: dict[str, Counter[Any]] = {name: Counter() for name in calls}
    stop = threading.Event()

    def go_on(name: str) -> None:
        while not stop.wait(0.1):
            seen[name][str(calls[name]())] += 1

    threads = [threading.Thread(target=go_on, args=(name,)) for name in calls]
    for thread in threads:
        thread.start()
    try:
        yield seen
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def test_the_admin_key_is_replaced_and_the_old_one_ends(service: Service) -> None:
    new = secrets.token_hex(32)
    old = service.value("admin-api-key").strip()
    with callers(old=lambda: service.as_operator(old)) as seen:
        assert service.as_operator(new) == {401}
        service.add_version("admin-api-key", new, old)
        for _ in range(5):
            assert service.as_operator(new) == {200}
    assert set(seen["old"]) == {"{200}"}
    assert seen["old"].total() > 2

    with callers(new=lambda: service.as_operator(new)) as seen:
        service.add_version("admin-api-key", new)
        wait_until(lambda: service.as_operator(old) == {401}, message="the end of the old key")
    assert set(seen["new"]) == {"{200}"}


def test_the_checksum_secret_is_replaced_and_no_key_fails_before_its_end(service: Service) -> None:
    tenant_id, before = service.onboard()
    old, new = service.value("api-key-checksum").strip(), secrets.token_hex(32)
    made: list[str] = []

    def make_and_use() -> int:
        """A new key, used at once, by whichever checksum holds at the moment."""
        path = f"/api/v1/tenants/{tenant_id}/api-keys"
        body = {"name": "made meanwhile"}
        answer = service.http.post(path, headers={"X-API-Key": before}, json=body)
        assert answer.status_code == 201, answer.text
        made.append(answer.json()["api_key"])
        # A route of another process than the one that made it.
        path = "/api/v1/scheduler/backfills"
        return service.http.get(path, headers={"X-API-Key": made[-1]}).status_code

    with callers(before=lambda: service.as_tenant(tenant_id, before), made=make_and_use) as seen:
        service.add_version("api-key-checksum", old, new)
        service.add_version("api-key-checksum", new, old)
        of_the_new = len(made)
        wait_until(lambda: len(made) > of_the_new + 2, message="keys with the new checksum")
    assert {name: set(counts) for name, counts in seen.items()} == {
        "before": {"200"},
        "made": {"200"},
    }

    successor = made[-1]
    with callers(successor=lambda: service.as_tenant(tenant_id, successor)) as seen:
        service.add_version("api-key-checksum", new)
        wait_until(
            lambda: service.as_tenant(tenant_id, before) == 401, message="the end of the old keys"
        )
    assert set(seen["successor"]) == {"200"}


def test_the_password_of_the_mail_server_is_replaced_and_every_mail_arrives(
    service: Service,
) -> None:
    old, new = service.value("smtp-password").strip(), secrets.token_hex(16)
    service.accept_passwords(old)
    told: list[str] = []

    def tell_somebody() -> None:
        told.append(service.onboard()[0])

    with callers(mails=tell_somebody):
        wait_until(lambda: len(told) > 2, message="mails with the old password")
        service.accept_passwords(old, new)
        service.add_version("smtp-password", new)
        service.accept_passwords(new)
        of_the_new = len(told)
        wait_until(lambda: len(told) > of_the_new + 2, message="mails with the new password")

    def missing() -> list[str]:
        mails = service.mailbox.get("/messages").json()
        arrived = {address for mail in mails for address in mail["to"]}
        return [one for one in told if f"{one}@example.com" not in arrived]

    wait_until(lambda: not missing(), message=f"a mail for each of {len(told)} tenants")
    last = service.mailbox.get("/messages", params={"to": f"{told[-1]}@example.com"}).json()
    assert len(last) == 1


def test_the_kms_key_is_rotated_and_its_old_version_retired(service: Service) -> None:
    tenant_id, api_key = service.onboard()
    admin = {"X-Admin-Key": service.value("admin-api-key").split()[0]}

    def make_and_use() -> int:
        """Encrypts, under whichever version is the primary one."""
        path = f"/api/v1/tenants/{tenant_id}/api-keys"
        body = {"name": "made meanwhile"}
        answer = service.http.post(path, headers={"X-API-Key": api_key}, json=body)
        assert answer.status_code == 201, answer.text
        return service.as_tenant(tenant_id, answer.json()["api_key"])

    def rewrapped() -> bool:
        answer = service.http.post("/api/v1/admin/keys/rewrap", headers=admin, json={"limit": 100})
        assert answer.status_code == 200, answer.text
        assert answer.json()["unreadable"] == []
        return answer.json()["remaining"] == 0

    key = f"projects/{PROJECT}/locations/us/keyRings/convergence/cryptoKeys/tenant-secrets"
    old = service.kms.get_crypto_key(name=key).primary.name
    with callers(made=make_and_use) as seen:
        new = service.kms.create_crypto_key_version(parent=key, crypto_key_version={})
        version = new.name.rpartition("/")[2]
        service.kms.update_crypto_key_primary_version(name=key, crypto_key_version_id=version)
        under_the_old = seen["made"].total()  # and one that is being made
        wait_until(lambda: seen["made"].total() > under_the_old + 1, message="work with both")
        wait_until(rewrapped, message="the end of what the old version wraps")
        service.kms.update_crypto_key_version(
            crypto_key_version={
                "name": old,
                "state": CryptoKeyVersion.CryptoKeyVersionState.DISABLED,
            },
            update_mask={"paths": ["state"]},
        )
        assert rewrapped()
        without_it = seen["made"].total()
        wait_until(lambda: seen["made"].total() > without_it + 2, message="work without it")
    assert set(seen["made"]) == {"200"}
