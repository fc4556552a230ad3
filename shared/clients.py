"""Google's clients, one of each per process, imported on first use.

Endpoints come from the environment alone: with a `*_EMULATOR_HOST` variable a client speaks to that
host without credentials, otherwise to Google with the function's own. All four clients are
thread-safe, which functions with more than one request at a time rely on.
"""

from functools import cache
from typing import TYPE_CHECKING, Any

from shared.settings import settings

if TYPE_CHECKING:
    from google.api_core.retry import Retry
    from google.cloud.bigquery import Client as BigQueryClient
    from google.cloud.kms_v1 import KeyManagementServiceClient
    from google.cloud.pubsub_v1 import PublisherClient
    from google.cloud.secretmanager_v1 import SecretManagerServiceClient


@cache
def bigquery_client() -> "BigQueryClient":
    """The warehouse's client, in the settings' project and location."""
    from google.auth.credentials import AnonymousCredentials
    from google.cloud import bigquery

    here = settings()
    credentials = AnonymousCredentials() if here.BIGQUERY_EMULATOR_HOST else None  # type: ignore[no-untyped-call]
    client = bigquery.Client(
        project=here.GCP_PROJECT_ID, location=here.BIGQUERY_LOCATION, credentials=credentials
    )
    _widen_pool(client._http)
    return client


def _widen_pool(session: Any) -> None:
    """Let as many threads as a function runs keep a connection; the default keeps ten."""
    from requests.adapters import HTTPAdapter

    for scheme in ("http://", "https://"):
        session.mount(scheme, HTTPAdapter(pool_maxsize=80))


@cache
def publisher_client() -> "PublisherClient":
    """The publisher; `publish(...).result(timeout)` before a handler returns."""
    from google.cloud import pubsub_v1

    return pubsub_v1.PublisherClient()


@cache
def bulk_publisher_client() -> "PublisherClient":
    """A publisher for many messages at once, in batches nearly as large as Pub/Sub takes them.

    A publish request takes 1,000 messages and 10 MB (Pub/Sub quotas).
    """
    from google.cloud.pubsub_v1 import PublisherClient
    from google.cloud.pubsub_v1.types import BatchSettings

    return PublisherClient(
        batch_settings=BatchSettings(max_messages=1000, max_bytes=5_000_000, max_latency=0.05)
    )


@cache
def kms_client() -> "KeyManagementServiceClient":
    """Cloud KMS."""
    from google.cloud import kms_v1
    from google.cloud.kms_v1.services.key_management_service.transports import (
        KeyManagementServiceGrpcTransport,
    )

    host = settings().KMS_EMULATOR_HOST
    if not host:
        return kms_v1.KeyManagementServiceClient()
    transport = KeyManagementServiceGrpcTransport(channel=_plain_channel(host))
    return kms_v1.KeyManagementServiceClient(transport=transport)


@cache
def secret_manager_client() -> "SecretManagerServiceClient":
    """Secret Manager."""
    from google.cloud import secretmanager_v1
    from google.cloud.secretmanager_v1.services.secret_manager_service.transports import (
        SecretManagerServiceGrpcTransport,
    )

    host = settings().SECRET_MANAGER_EMULATOR_HOST
    if not host:
        return secretmanager_v1.SecretManagerServiceClient()
    transport = SecretManagerServiceGrpcTransport(channel=_plain_channel(host))
    return secretmanager_v1.SecretManagerServiceClient(transport=transport)


def brief_retry(seconds: float) -> "Retry":
    """Repeat a gRPC call that meets a passing error, for `seconds` in all.

    The clients' own retries go on for a minute, whatever timeout a call has.
    """
    from google.api_core import exceptions, retry

    passing = retry.if_exception_type(exceptions.ServerError, exceptions.TooManyRequests)
    return retry.Retry(predicate=passing, initial=0.2, maximum=2.0, timeout=seconds)


def _plain_channel(host: str) -> Any:
    import grpc

    return grpc.insecure_channel(host)
