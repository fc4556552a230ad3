"""A local Cloud KMS and Google's client for it."""

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest
from google.cloud import kms_v1
from google.cloud.kms_v1.services.key_management_service.transports import (
    KeyManagementServiceGrpcTransport,
)

from infra.local.kms.server import start

LOCATION = "projects/convergence-local/locations/us"


def client_of(port: int) -> kms_v1.KeyManagementServiceClient:
    channel = grpc.insecure_channel(f"127.0.0.1:{port}")
    transport = KeyManagementServiceGrpcTransport(channel=channel)
    return kms_v1.KeyManagementServiceClient(transport=transport)


@pytest.fixture(scope="session")
def kms() -> Iterator[kms_v1.KeyManagementServiceClient]:
    service = start(host="127.0.0.1", port=0, state=None)
    with client_of(service.port) as client:
        yield client
    service.stop()


@pytest.fixture
def ring(kms: kms_v1.KeyManagementServiceClient) -> str:
    made = kms.create_key_ring(parent=LOCATION, key_ring_id=f"r{uuid.uuid4().hex}", key_ring={})
    return made.name


@pytest.fixture
def key(kms: kms_v1.KeyManagementServiceClient, ring: str) -> str:
    made = kms.create_crypto_key(
        parent=ring, crypto_key_id="tenant-secrets", crypto_key={"purpose": "ENCRYPT_DECRYPT"}
    )
    return made.name


@pytest.fixture
def on_disk(
    tmp_path: Path,
) -> Iterator[Callable[[], kms_v1.KeyManagementServiceClient]]:
    """Each call starts the service over the same state, after stopping the one before."""
    running = []

    def restart() -> kms_v1.KeyManagementServiceClient:
        while running:
            running.pop().stop()
        running.append(start(host="127.0.0.1", port=0, state=tmp_path / "kms"))
        return client_of(running[-1].port)

    yield restart
    while running:
        running.pop().stop()
