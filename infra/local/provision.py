"""Makes what Terraform makes in the cloud: key, secrets, topics and subscriptions.

Run by the stack as `python -m infra.local.provision JSON`, with the environment of Google's
clients; the JSON object is `{"topology": path, "endpoints": {function: URL}}`. May run any number
of times over the same state: what exists is kept, a push subscription is brought up to date.
"""

import contextlib
import json
import os
import secrets
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
from google.api_core.exceptions import AlreadyExists, GoogleAPICallError
from google.protobuf.field_mask_pb2 import FieldMask

from infra import topology
from infra.topology import Kms, Secret, Subscription, Topology

_TIMEOUT_SECONDS = 10


def provision(deployed: Topology, project: str, endpoints: dict[str, str]) -> None:
    """Everything, by Google's clients."""
    _keys(deployed.kms, project)
    _secrets(deployed.secrets, project)
    _topics(deployed, project)
    _subscriptions(deployed, project, endpoints)


def _keys(kms: Kms, project: str) -> None:
    from google.cloud import kms_v1
    from google.cloud.kms_v1.services.key_management_service.transports import (
        KeyManagementServiceGrpcTransport,
    )

    channel = grpc.insecure_channel(os.environ["KMS_EMULATOR_HOST"])
    client = kms_v1.KeyManagementServiceClient(
        transport=KeyManagementServiceGrpcTransport(channel=channel)
    )
    location = f"projects/{project}/locations/{kms.location}"
    _keep_existing(client.create_key_ring, parent=location, key_ring_id=kms.key_ring, key_ring={})
    for name in kms.keys:
        _keep_existing(
            client.create_crypto_key,
            parent=f"{location}/keyRings/{kms.key_ring}",
            crypto_key_id=name,
            crypto_key={"purpose": kms_v1.CryptoKey.CryptoKeyPurpose.ENCRYPT_DECRYPT},
        )


def _secrets(wanted: dict[str, Secret], project: str) -> None:
    from google.cloud import secretmanager_v1
    from google.cloud.secretmanager_v1.services.secret_manager_service.transports import (
        SecretManagerServiceGrpcTransport,
    )

    channel = grpc.insecure_channel(os.environ["SECRET_MANAGER_EMULATOR_HOST"])
    client = secretmanager_v1.SecretManagerServiceClient(
        transport=SecretManagerServiceGrpcTransport(channel=channel)
    )
    for name, secret in wanted.items():
        _keep_existing(
            client.create_secret,
            parent=f"projects/{project}",
            secret_id=name,
            secret={"replication": {"automatic": {}}},
        )
        parent = f"projects/{project}/secrets/{name}"
        if not list(client.list_secret_versions(parent=parent, timeout=_TIMEOUT_SECONDS)):
            payload = secretmanager_v1.SecretPayload(data=_first_value(secret))
            client.add_secret_version(parent=parent, payload=payload, timeout=_TIMEOUT_SECONDS)


def _first_value(secret: Secret) -> bytes:
    if secret.local.random_bytes:
        return secrets.token_hex(secret.local.random_bytes).encode()
    return (secret.local.value or "").encode()


def _topics(deployed: Topology, project: str) -> None:
    from google.cloud.pubsub_v1 import PublisherClient

    with PublisherClient() as client:
        for topic in deployed.topics:
            _keep_existing(client.create_topic, name=f"projects/{project}/topics/{topic}")


def _subscriptions(deployed: Topology, project: str, endpoints: dict[str, str]) -> None:
    from google.cloud.pubsub_v1 import SubscriberClient

    with SubscriberClient() as client:
        for name, subscription in deployed.subscriptions.items():
            endpoint = endpoints[subscription.function]
            request = _subscription(name, subscription, project, endpoint)
            try:
                client.create_subscription(request=request, timeout=_TIMEOUT_SECONDS)
            except AlreadyExists:
                paths = [key for key in request if key not in ("name", "topic", "filter")]
                paths.remove("enable_message_ordering")
                client.update_subscription(
                    request={"subscription": request, "update_mask": FieldMask(paths=paths)},
                    timeout=_TIMEOUT_SECONDS,
                )


def _subscription(
    name: str, subscription: Subscription, project: str, endpoint: str
) -> dict[str, Any]:
    request: dict[str, Any] = {
        "name": f"projects/{project}/subscriptions/{name}",
        "topic": f"projects/{project}/topics/{subscription.topic}",
        "push_config": {"push_endpoint": endpoint},
        "ack_deadline_seconds": subscription.ack_deadline_seconds,
        "filter": subscription.filter,
        "enable_message_ordering": subscription.enable_message_ordering,
        "retry_policy": {
            "minimum_backoff": timedelta(seconds=subscription.minimum_backoff_seconds),
            "maximum_backoff": timedelta(seconds=subscription.maximum_backoff_seconds),
        },
    }
    if subscription.dead_letter_topic:
        request["dead_letter_policy"] = {
            "dead_letter_topic": f"projects/{project}/topics/{subscription.dead_letter_topic}",
            "max_delivery_attempts": subscription.max_delivery_attempts or 5,
        }
    return request


def _keep_existing(create: Any, **request: Any) -> None:
    with contextlib.suppress(AlreadyExists):
        create(request=request, timeout=_TIMEOUT_SECONDS)


def main() -> int:
    """The command; 0, or 1 after one line on stderr."""
    wanted = json.loads(sys.argv[1])
    try:
        provision(
            topology.load(Path(wanted["topology"])),
            os.environ["GCP_PROJECT_ID"],
            wanted["endpoints"],
        )
    except GoogleAPICallError as error:
        print(f"provisioning failed: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
