"""Key rings, crypto keys and their versions, with the life cycle that Cloud KMS gives them."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

from google.cloud.kms_v1.types import resources, service
from google.protobuf.field_mask_pb2 import FieldMask

from infra.local.grpc_server import (
    already_exists,
    failed_precondition,
    invalid_argument,
    not_found,
    page,
)
from infra.local.kms.ciphertexts import new_material
from infra.local.records import Records

State = resources.CryptoKeyVersion.CryptoKeyVersionState
ENCRYPT_DECRYPT = resources.CryptoKey.CryptoKeyPurpose.ENCRYPT_DECRYPT
GOOGLE_SYMMETRIC = resources.CryptoKeyVersion.CryptoKeyVersionAlgorithm.GOOGLE_SYMMETRIC_ENCRYPTION

_LOCATION = re.compile(r"projects/[^/]+/locations/[^/]+")
_ID = re.compile(r"[a-zA-Z0-9_-]{1,63}")
_LARGEST_PAGE = 1000
# Default of CryptoKey.destroy_scheduled_duration.
_DESTROY_AFTER = timedelta(days=30)
_UPDATABLE = {"labels", "next_rotation_time", "rotation_period", "version_template"}


class KeyStore:
    """The resources of the API; every method is one call of it."""

    def __init__(self, records: Records) -> None:
        self._records = records

    def create_key_ring(self, request: Any) -> Any:
        if not _LOCATION.fullmatch(request.parent):
            raise invalid_argument(f"The resource name '{request.parent}' is not a location.")
        name = f"{request.parent}/keyRings/{_checked_id(request.key_ring_id)}"
        with self._records.transaction():
            if self._records.get(name) is not None:
                raise already_exists(f"KeyRing {name} already exists.")
            ring = resources.KeyRing(name=name, create_time=_now())
            self._records.put(name, f"{request.parent}/keyRings", resources.KeyRing.serialize(ring))
        return ring

    def get_key_ring(self, request: Any) -> Any:
        body = self._records.get(request.name)
        if body is None:
            raise not_found(f"KeyRing {request.name} not found.")
        return resources.KeyRing.deserialize(body)

    def list_key_rings(self, request: Any) -> Any:
        bodies = self._children(request, f"{request.parent}/keyRings")
        some, token = page(bodies, request.page_size, request.page_token, largest=_LARGEST_PAGE)
        return service.ListKeyRingsResponse(
            key_rings=[resources.KeyRing.deserialize(body) for body in some],
            next_page_token=token,
            total_size=len(bodies),
        )

    def create_crypto_key(self, request: Any) -> Any:
        self._require_ring(request.parent)
        name = f"{request.parent}/cryptoKeys/{_checked_id(request.crypto_key_id)}"
        key: Any = resources.CryptoKey(request.crypto_key)
        if key.purpose != ENCRYPT_DECRYPT:
            raise invalid_argument(
                "crypto_key.purpose must be ENCRYPT_DECRYPT: the local KMS has no other keys."
            )
        key.name, key.create_time, key.primary = name, _now(), None
        key.version_template.algorithm = GOOGLE_SYMMETRIC
        key.version_template.protection_level = resources.ProtectionLevel.SOFTWARE
        key.destroy_scheduled_duration = key.destroy_scheduled_duration or _DESTROY_AFTER
        with self._records.transaction():
            if self._records.get(name) is not None:
                raise already_exists(f"CryptoKey {name} already exists.")
            if not request.skip_initial_version_creation:
                key.primary = self._add_version(name)
            self._put_key(key)
        return key

    def get_crypto_key(self, request: Any) -> Any:
        return self.key(request.name)

    def list_crypto_keys(self, request: Any) -> Any:
        self._require_ring(request.parent)
        bodies = self._children(request, f"{request.parent}/cryptoKeys")
        some, token = page(bodies, request.page_size, request.page_token, largest=_LARGEST_PAGE)
        return service.ListCryptoKeysResponse(
            crypto_keys=[self._with_primary(resources.CryptoKey.deserialize(b)) for b in some],
            next_page_token=token,
            total_size=len(bodies),
        )

    def update_crypto_key(self, request: Any) -> Any:
        paths = _masked(request.update_mask, _UPDATABLE)
        with self._records.transaction():
            key = self.key(request.crypto_key.name)
            for path in paths:
                setattr(key, path, getattr(request.crypto_key, path))
            self._put_key(key)
        return key

    def update_crypto_key_primary_version(self, request: Any) -> Any:
        with self._records.transaction():
            key = self.key(request.name)
            name = f"{request.name}/cryptoKeyVersions/{request.crypto_key_version_id}"
            key.primary = self.enabled(self.version(name))
            self._put_key(key)
        return key

    def create_crypto_key_version(self, request: Any) -> Any:
        with self._records.transaction():
            self.key(request.parent)
            return self._add_version(request.parent)

    def get_crypto_key_version(self, request: Any) -> Any:
        return self.version(request.name)

    def list_crypto_key_versions(self, request: Any) -> Any:
        self.key(request.parent)
        bodies = self._children(request, f"{request.parent}/cryptoKeyVersions")
        some, token = page(bodies, request.page_size, request.page_token, largest=_LARGEST_PAGE)
        versions = [resources.CryptoKeyVersion.deserialize(body) for body in some]
        return service.ListCryptoKeyVersionsResponse(
            crypto_key_versions=[self._as_of_now(version) for version in versions],
            next_page_token=token,
            total_size=len(bodies),
        )

    def update_crypto_key_version(self, request: Any) -> Any:
        _masked(request.update_mask, {"state"})
        wanted = request.crypto_key_version.state
        if wanted not in (State.ENABLED, State.DISABLED):
            raise invalid_argument("crypto_key_version.state must be ENABLED or DISABLED.")
        with self._records.transaction():
            version = self.version(request.crypto_key_version.name)
            _require_state(version, State.ENABLED, State.DISABLED)
            version.state = wanted
            self._put_version(version, self.material(version.name))
        return version

    def destroy_crypto_key_version(self, request: Any) -> Any:
        with self._records.transaction():
            version = self.version(request.name)
            _require_state(version, State.ENABLED, State.DISABLED)
            key = self.key(_parent(version.name))
            version.state = State.DESTROY_SCHEDULED
            version.destroy_time = _now() + key.destroy_scheduled_duration
            self._put_version(version, self.material(version.name))
        return version

    def restore_crypto_key_version(self, request: Any) -> Any:
        with self._records.transaction():
            version = self.version(request.name)
            _require_state(version, State.DESTROY_SCHEDULED)
            version.state, version.destroy_time = State.DISABLED, None
            self._put_version(version, self.material(version.name))
        return version

    def key(self, name: str) -> Any:
        """The crypto key with its primary version as it is now."""
        body = self._records.get(name) if "/cryptoKeys/" in name else None
        if body is None or "/cryptoKeyVersions/" in name:
            raise not_found(f"CryptoKey {name} not found.")
        return self._with_primary(resources.CryptoKey.deserialize(body))

    def version(self, name: str) -> Any:
        """The key version as it is now."""
        body = self._records.get(name) if "/cryptoKeyVersions/" in name else None
        if body is None:
            raise not_found(f"CryptoKeyVersion {name} not found.")
        return self._as_of_now(resources.CryptoKeyVersion.deserialize(body))

    def primary(self, key_name: str) -> Any:
        """The version that encrypts."""
        key = self.key(key_name)
        if not key.primary.name:
            raise failed_precondition(f"CryptoKey {key_name} has no primary version.")
        return key.primary

    def number_of_versions(self, key_name: str) -> int:
        """How many versions the key ever had; they are numbered from 1."""
        return self._records.count(f"{key_name}/cryptoKeyVersions")

    def enabled(self, version: Any) -> Any:
        """`version`, if it may be used."""
        if version.state != State.ENABLED:
            raise failed_precondition(
                f"{version.name} is not enabled, current state is: {version.state.name}."
            )
        return version

    def material(self, version_name: str) -> bytes:
        """Key material of a version; empty once destroyed."""
        return self._records.hidden(version_name) or b""

    def _children(self, request: Any, parent: str) -> list[bytes]:
        if request.filter or request.order_by:
            raise invalid_argument("The local KMS lists without filter and order_by.")
        return self._records.children(parent)

    def _require_ring(self, name: str) -> None:
        if self._records.get(name) is None:
            raise not_found(f"KeyRing {name} not found.")

    def _add_version(self, key_name: str) -> Any:
        parent = f"{key_name}/cryptoKeyVersions"
        now = _now()
        version = resources.CryptoKeyVersion(
            name=f"{parent}/{self._records.count(parent) + 1}",
            state=State.ENABLED,
            protection_level=resources.ProtectionLevel.SOFTWARE,
            algorithm=GOOGLE_SYMMETRIC,
            create_time=now,
            generate_time=now,
        )
        self._put_version(version, new_material())
        return version

    def _put_version(self, version: Any, material: bytes) -> None:
        body = resources.CryptoKeyVersion.serialize(version)
        self._records.put(version.name, version.name.rpartition("/")[0], body, material)

    def _put_key(self, key: Any) -> None:
        body = resources.CryptoKey.serialize(key)
        self._records.put(key.name, key.name.rpartition("/")[0], body)

    def _with_primary(self, key: Any) -> Any:
        if key.primary.name:
            key.primary = self.version(key.primary.name)
        return key

    def _as_of_now(self, version: Any) -> Any:
        if version.state == State.DESTROY_SCHEDULED and version.destroy_time <= _now():
            version.destroy_event_time = version.destroy_time
            version.state, version.destroy_time = State.DESTROYED, None
            self._put_version(version, b"")
        return version


def _now() -> datetime:
    return datetime.now(UTC)


def _parent(version_name: str) -> str:
    return version_name.partition("/cryptoKeyVersions/")[0]


def _checked_id(identifier: str) -> str:
    if not _ID.fullmatch(identifier):
        raise invalid_argument(
            f"Resource id '{identifier}' does not match the pattern [a-zA-Z0-9_-]{{1,63}}."
        )
    return identifier


def _masked(mask: FieldMask, known: set[str]) -> list[str]:
    paths = [path.split(".")[0] for path in mask.paths]
    if not paths or not known.issuperset(paths):
        raise invalid_argument(
            f"update_mask must name fields among {', '.join(sorted(known))}; "
            f"it names: {', '.join(paths) or 'none'}."
        )
    return paths


def _require_state(version: Any, *states: Any) -> None:
    if version.state not in states:
        raise failed_precondition(
            f"The request cannot be fulfilled. Resource {version.name} has value "
            f"{version.state.name} in field crypto_key_version.state."
        )
