"""A local Secret Manager and Google's client for it."""

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest
from google.cloud import secretmanager_v1
from google.cloud.secretmanager_v1.services.secret_manager_service.transports import (
    SecretManagerServiceGrpcTransport,
)

from infra.local.secrets.server import start

Client = secretmanager_v1.SecretManagerServiceClient


def client_of(port: int) -> Client:
    channel = grpc.insecure_channel(f"127.0.0.1:{port}")
    return Client(transport=SecretManagerServiceGrpcTransport(channel=channel))


@pytest.fixture(scope="session")
def secrets() -> Iterator[Client]:
    service = start(host="127.0.0.1", port=0, state=None)
    with client_of(service.port) as client:
        yield client
    service.stop()


@pytest.fixture
def project() -> str:
    return f"projects/p{uuid.uuid4().hex[:12]}"


@pytest.fixture
def secret(secrets: Client, project: str) -> str:
    made = secrets.create_secret(
        parent=project, secret_id="smtp-password", secret={"replication": {"automatic": {}}}
    )
    return made.name


@pytest.fixture
def on_disk(tmp_path: Path) -> Iterator[Callable[[], Client]]:
    """Each call starts the service over the same state, after stopping the one before."""
    running = []

    def restart() -> Client:
        while running:
            running.pop().stop()
        running.append(start(host="127.0.0.1", port=0, state=tmp_path / "secrets"))
        return client_of(running[-1].port)

    yield restart
    while running:
        running.pop().stop()
