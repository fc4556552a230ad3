"""The server of Secret Manager: `google.cloud.secretmanager.v1.SecretManagerService` over gRPC."""

from pathlib import Path
from typing import Any

from google.cloud.secretmanager_v1.types import resources, service
from google.protobuf.empty_pb2 import Empty

from infra.local.grpc_server import GrpcService, Handler
from infra.local.records import Records
from infra.local.secrets.secret_store import SecretStore
from infra.local.service import RunningService

SERVICE = "google.cloud.secretmanager.v1.SecretManagerService"


def _methods(store: SecretStore) -> dict[str, tuple[Handler, Any, Any]]:
    def delete_secret(request: Any) -> Empty:
        store.delete_secret(request)
        return Empty()

    secret, version = resources.Secret, resources.SecretVersion
    answers = {
        "CreateSecret": (store.create_secret, secret),
        "GetSecret": (store.get_secret, secret),
        "ListSecrets": (store.list_secrets, service.ListSecretsResponse),
        "UpdateSecret": (store.update_secret, secret),
        "DeleteSecret": (delete_secret, Empty),
        "AddSecretVersion": (store.add_secret_version, version),
        "GetSecretVersion": (store.get_secret_version, version),
        "ListSecretVersions": (store.list_secret_versions, service.ListSecretVersionsResponse),
        "AccessSecretVersion": (store.access_secret_version, service.AccessSecretVersionResponse),
        "EnableSecretVersion": (store.enable_secret_version, version),
        "DisableSecretVersion": (store.disable_secret_version, version),
        "DestroySecretVersion": (store.destroy_secret_version, version),
    }
    return {
        method: (handler, getattr(service, f"{method}Request"), response)
        for method, (handler, response) in answers.items()
    }


def start(*, host: str, port: int, state: Path | None) -> RunningService:
    """Serve Secret Manager until `stop`.

    Raises:
        StartupError: the port is taken, or the state cannot be used.
    """
    records = Records(state)
    try:
        return GrpcService(
            SERVICE,
            _methods(SecretStore(records)),
            host=host,
            port=port,
            on_stop=records.close,
        )
    except BaseException:
        records.close()
        raise
