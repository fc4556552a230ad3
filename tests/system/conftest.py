"""The whole thing: bundles as processes behind the gateway, on a local cloud of its own."""

import os
from collections.abc import Iterator
from pathlib import Path

import grpc
import httpx
import pytest
import yaml
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery, pubsub_v1
from google.pubsub_v1.services.publisher.transports import PublisherGrpcTransport

from infra.local import running, sample_data
from infra.local.sample_data.generate import Shape
from tests.receiver import certificate
from tests.system.world import PROJECT, World


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A stack whose messages come again quickly, with a small export loaded."""
    folder = tmp_path_factory.mktemp("topology")
    receivers = certificate(folder, "127.0.0.1")
    topology = _impatient_topology(folder / "topology.yaml", receivers)
    with running.running(topology=topology, ephemeral=True, free_ports=True) as stack:
        environment = stack.environment()
        client = bigquery.Client(
            project=PROJECT,
            credentials=AnonymousCredentials(),
            client_options={"api_endpoint": environment["BIGQUERY_EMULATOR_HOST"]},
        )
        sample_data.write(client, shape=Shape(rows=5_000))
        sample_data.write(client, shape=Shape(rows=5_000), detailed=True)
        yield World(
            stack=stack,
            http=httpx.Client(base_url=stack.urls["gateway"], timeout=60),
            mailbox=httpx.Client(base_url=stack.urls["mailbox"], timeout=10),
            bigquery=client,
            publisher=_publisher(environment["PUBSUB_EMULATOR_HOST"]),
            certificate=receivers,
        )


def _impatient_topology(path: Path, receivers: Path) -> Path:
    """The deployed topology with short backoffs: a redelivery takes tenths of a second.

    Notifications trust the certificate of the tests' receivers, as they do those of the world.

    Scheduled jobs run when a test says so (`POST /jobs/{name}:run` of the local Cloud Scheduler).
    `LIMITS=1 make system` holds BigQuery's published rates and delays, too.
    """
    content = yaml.safe_load(Path("infra/topology.yaml").read_text(encoding="utf-8"))
    for subscription in content["subscriptions"].values():
        subscription["minimum_backoff_seconds"] = 0.2
        subscription["maximum_backoff_seconds"] = 1
    notifications = content["functions"]["step-shared"]["local"]["environment"]
    notifications["SSL_CERT_FILE"] = str(receivers)
    content["local"]["pause_scheduler_jobs"] = True
    content["local"]["enforce_bigquery_limits"] = os.environ.get("LIMITS") == "1"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


def _publisher(host: str) -> pubsub_v1.PublisherClient:
    return pubsub_v1.PublisherClient(
        transport=PublisherGrpcTransport(channel=grpc.insecure_channel(host))
    )
