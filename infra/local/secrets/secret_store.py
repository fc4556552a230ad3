"""Secrets and their versions, with the rules of Secret Manager."""

import hashlib
import re
from datetime import UTC, datetime
from typing import Any

import google_crc32c
from google.cloud.secretmanager_v1.types import resources, service

from infra.local.grpc_server import (
    RpcError,
    already_exists,
    failed_precondition,
    invalid_argument,
    not_found,
    page,
)
from infra.local.records import Records

State = resources.SecretVersion.State

# SecretPayload.data (Secret Manager quotas, "Secret payload").
MAX_PAYLOAD_BYTES = 64 * 1024
_MAX_ALIASES = 50
_LARGEST_PAGE = 25_000
_ID = re.compile(r"[A-Za-z0-9_-]{1,255}")
_ALIAS = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,62}")
_UPDATABLE = {"annotations", "labels", "rotation", "topics", "version_aliases"}
_UNSUPPORTED = ("expire_time", "ttl", "version_destroy_ttl", "customer_managed_encryption")


class SecretStore:
    """The resources of the API; every method is one call of it."""

    def __init__(self, records: Records) -> None:
        self._records = records

    def create_secret(self, request: Any) -> Any:
        if not _ID.fullmatch(request.secret_id):
            raise invalid_argument(
                f"Secret id [{request.secret_id}] does not match [A-Za-z0-9_-]{{1,255}}."
            )
        secret = resources.Secret(request.secret)
        if "automatic" not in secret.replication and "user_managed" not in secret.replication:
            raise invalid_argument("Secret.replication is a required field.")
        for field in _UNSUPPORTED:
            if field in secret:
                raise invalid_argument(f"Secret.{field} is not supported by the local server.")
        _check_labels(secret.labels)
        secret.name = f"{request.parent}/secrets/{request.secret_id}"
        secret.create_time = _now()
        with self._records.transaction():
            if self._records.get(secret.name) is not None:
                raise already_exists(f"Secret [{secret.name}] already exists.")
            if secret.version_aliases:
                raise invalid_argument("Secret.version_aliases: the secret has no versions yet.")
            return self._put_secret(secret)

    def get_secret(self, request: Any) -> Any:
        return self._secret(request.name)

    def list_secrets(self, request: Any) -> Any:
        if request.filter:
            raise invalid_argument("The local Secret Manager lists secrets without filter.")
        bodies = self._records.children(f"{request.parent}/secrets")[::-1]
        some, token = page(bodies, request.page_size, request.page_token, largest=_LARGEST_PAGE)
        return service.ListSecretsResponse(
            secrets=[resources.Secret.deserialize(body) for body in some],
            next_page_token=token,
            total_size=len(bodies),
        )

    def update_secret(self, request: Any) -> Any:
        paths = [path.split(".")[0] for path in request.update_mask.paths]
        if not paths or not _UPDATABLE.issuperset(paths):
            raise invalid_argument(
                f"update_mask must name fields among {', '.join(sorted(_UPDATABLE))}; "
                f"it names: {', '.join(paths) or 'none'}."
            )
        with self._records.transaction():
            secret = self._secret(request.secret.name)
            _check_etag(request.secret.etag, secret)
            _check_labels(request.secret.labels)
            for path in paths:
                setattr(secret, path, getattr(request.secret, path))
            self._check_aliases(secret)
            return self._put_secret(secret)

    def delete_secret(self, request: Any) -> None:
        with self._records.transaction():
            _check_etag(request.etag, self._secret(request.name))
            self._records.delete(f"{request.name}/versions")
            self._records.delete(request.name)

    def add_secret_version(self, request: Any) -> Any:
        data = request.payload.data
        checksum = request.payload.data_crc32c if "data_crc32c" in request.payload else None
        if not data:
            raise invalid_argument("Secret Payload cannot be empty.")
        if len(data) > MAX_PAYLOAD_BYTES:
            raise invalid_argument(
                f"The secret payload is {len(data)} bytes long; "
                f"it must be at most {MAX_PAYLOAD_BYTES} bytes."
            )
        if checksum is not None and checksum != google_crc32c.value(data):
            raise invalid_argument(
                "The checksum in field payload.data_crc32c did not match the data in field"
                " payload.data."
            )
        with self._records.transaction():
            secret = self._secret(request.parent)
            parent = f"{secret.name}/versions"
            version = resources.SecretVersion(
                name=f"{parent}/{self._records.count(parent) + 1}",
                create_time=_now(),
                state=State.ENABLED,
                replication_status=_replication_status(secret),
                client_specified_payload_checksum=checksum is not None,
            )
            return self._put_version(version, data)

    def get_secret_version(self, request: Any) -> Any:
        return self._version(request.name)

    def list_secret_versions(self, request: Any) -> Any:
        self._secret(request.parent)
        bodies = self._records.children(f"{request.parent}/versions")[::-1]
        versions = [resources.SecretVersion.deserialize(body) for body in bodies]
        if request.filter:
            state = _state_filter(request.filter)
            versions = [version for version in versions if version.state == state]
        some, token = page(versions, request.page_size, request.page_token, largest=_LARGEST_PAGE)
        return service.ListSecretVersionsResponse(
            versions=some, next_page_token=token, total_size=len(versions)
        )

    def access_secret_version(self, request: Any) -> Any:
        version = self._version(request.name)
        if version.state != State.ENABLED:
            raise _wrong_state(version)
        data = self._records.hidden(version.name) or b""
        return service.AccessSecretVersionResponse(
            name=version.name,
            payload=resources.SecretPayload(data=data, data_crc32c=google_crc32c.value(data)),
        )

    def enable_secret_version(self, request: Any) -> Any:
        return self._move(request, State.ENABLED)

    def disable_secret_version(self, request: Any) -> Any:
        return self._move(request, State.DISABLED)

    def destroy_secret_version(self, request: Any) -> Any:
        return self._move(request, State.DESTROYED)

    def _move(self, request: Any, state: Any) -> Any:
        with self._records.transaction():
            version = self._version(request.name)
            _check_etag(request.etag, version)
            if version.state == State.DESTROYED:
                raise _wrong_state(version)
            version.state = state
            if state == State.DESTROYED:
                version.destroy_time = _now()
                return self._put_version(version, b"")
            return self._put_version(version, self._records.hidden(version.name) or b"")

    def _secret(self, name: str) -> Any:
        body = None if "/versions/" in name else self._records.get(name)
        if body is None:
            raise not_found(f"Secret [{name}] not found.")
        return resources.Secret.deserialize(body)

    def _version(self, name: str) -> Any:
        """The version of that number or alias, or the latest one."""
        secret_name, _, wanted = name.partition("/versions/")
        secret = self._records.get(secret_name)
        newest = self._records.count(f"{secret_name}/versions") if secret is not None else 0
        if secret is None or (wanted == "latest" and not newest):
            raise not_found(f"Secret [{secret_name}] not found or has no versions.")
        aliases = {**resources.Secret.deserialize(secret).version_aliases, "latest": newest}
        number = aliases.get(wanted, wanted)
        body = self._records.get(f"{secret_name}/versions/{number}")
        if body is None:
            raise not_found(f"Secret Version [{name}] not found.")
        return resources.SecretVersion.deserialize(body)

    def _check_aliases(self, secret: Any) -> None:
        if len(secret.version_aliases) > _MAX_ALIASES:
            raise invalid_argument(f"A secret has at most {_MAX_ALIASES} version aliases.")
        for alias, number in secret.version_aliases.items():
            if not _ALIAS.fullmatch(alias) or alias in ("latest", "NEW"):
                raise invalid_argument(f"Secret.version_aliases: [{alias}] is not a valid alias.")
            if self._records.get(f"{secret.name}/versions/{number}") is None:
                raise invalid_argument(
                    f"Secret.version_aliases: [{alias}] refers to version {number}, "
                    "which does not exist."
                )

    def _put_secret(self, secret: Any) -> Any:
        secret.etag = _etag(secret)
        self._records.put(
            secret.name, secret.name.rpartition("/")[0], resources.Secret.serialize(secret)
        )
        return secret

    def _put_version(self, version: Any, data: bytes) -> Any:
        version.etag = _etag(version)
        body = resources.SecretVersion.serialize(version)
        self._records.put(version.name, version.name.rpartition("/")[0], body, data)
        return version


def _now() -> datetime:
    return datetime.now(UTC)


def _etag(resource: Any) -> str:
    resource.etag = ""
    digest = hashlib.sha256(type(resource).serialize(resource) + str(_now()).encode())
    return f'"{digest.hexdigest()[:14]}"'


def _check_etag(given: str, resource: Any) -> None:
    if given and given != resource.etag:
        raise failed_precondition(
            f"The provided etag {given} does not match the etag of [{resource.name}]."
        )


def _check_labels(labels: Any) -> None:
    if len(labels) > 64:
        raise invalid_argument(f"A resource has at most 64 labels; there are {len(labels)}.")
    for key, value in labels.items():
        if not re.fullmatch(r"[a-z][a-z0-9_-]{0,62}", key):
            raise invalid_argument(f"Label key [{key}] is not valid.")
        if not re.fullmatch(r"[a-z0-9_-]{0,63}", value):
            raise invalid_argument(f"Label value [{value}] is not valid.")


def _wrong_state(version: Any) -> RpcError:
    return failed_precondition(f"Secret Version [{version.name}] is in {version.state.name} state.")


def _state_filter(text: str) -> Any:
    matched = re.fullmatch(r"\s*state\s*[:=]\s*(ENABLED|DISABLED|DESTROYED)\s*", text)
    if not matched:
        raise invalid_argument(
            f"The local Secret Manager knows filters such as state:ENABLED only, not [{text}]."
        )
    return getattr(State, matched.group(1))


def _replication_status(secret: Any) -> Any:
    status = resources.ReplicationStatus
    if "automatic" in secret.replication:
        return status(automatic=status.AutomaticStatus())
    return status(
        user_managed=status.UserManagedStatus(
            replicas=[
                status.UserManagedStatus.ReplicaStatus(location=replica.location)
                for replica in secret.replication.user_managed.replicas
            ]
        )
    )
