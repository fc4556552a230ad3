"""The server of Cloud KMS: `google.cloud.kms.v1.KeyManagementService` over gRPC."""

import secrets
from pathlib import Path
from typing import Any

import google_crc32c
from google.cloud.kms_v1.types import resources, service

from infra.local.grpc_server import GrpcService, Handler, invalid_argument
from infra.local.kms import ciphertexts
from infra.local.kms.key_store import KeyStore
from infra.local.records import Records
from infra.local.service import RunningService

SERVICE = "google.cloud.kms.v1.KeyManagementService"
# EncryptRequest.plaintext and additional_authenticated_data, keys of protection level SOFTWARE.
MAX_BYTES = 64 * 1024
_WRONG_KEY = "Decryption failed: verify that 'name' refers to the correct CryptoKey."


class Cryptography:
    """The calls that use key material."""

    def __init__(self, keys: KeyStore) -> None:
        self._keys = keys

    def encrypt(self, request: Any) -> Any:
        _check_size("plaintext", request.plaintext)
        _check_size("additional_authenticated_data", request.additional_authenticated_data)
        verified = _verified(request, "plaintext", "additional_authenticated_data")
        version = self._keys.enabled(self._version_to_encrypt(request.name))
        ciphertext = ciphertexts.seal(
            self._keys.material(version.name),
            int(version.name.rpartition("/")[2]),
            request.plaintext,
            request.additional_authenticated_data,
        )
        return service.EncryptResponse(
            name=version.name,
            ciphertext=ciphertext,
            ciphertext_crc32c=google_crc32c.value(ciphertext),
            verified_plaintext_crc32c=verified["plaintext"],
            verified_additional_authenticated_data_crc32c=verified["additional_authenticated_data"],
            protection_level=resources.ProtectionLevel.SOFTWARE,
        )

    def decrypt(self, request: Any) -> Any:
        _check_size("additional_authenticated_data", request.additional_authenticated_data)
        _verified(request, "ciphertext", "additional_authenticated_data")
        key = self._keys.key(request.name)
        try:
            number = ciphertexts.version_of(request.ciphertext)
        except ciphertexts.MalformedCiphertextError:
            raise invalid_argument("Decryption failed: the ciphertext is invalid.") from None
        name = f"{request.name}/cryptoKeyVersions/{number}"
        if number > self._keys.number_of_versions(request.name):
            raise invalid_argument(_WRONG_KEY)
        material = self._keys.material(self._keys.enabled(self._keys.version(name)).name)
        try:
            plaintext = ciphertexts.unseal(
                material, request.ciphertext, request.additional_authenticated_data
            )
        except ciphertexts.WrongKeyError:
            raise invalid_argument(_WRONG_KEY) from None
        return service.DecryptResponse(
            plaintext=plaintext,
            plaintext_crc32c=google_crc32c.value(plaintext),
            used_primary=name == key.primary.name,
            protection_level=resources.ProtectionLevel.SOFTWARE,
        )

    def generate_random_bytes(self, request: Any) -> Any:
        if request.protection_level != resources.ProtectionLevel.HSM:
            raise invalid_argument("protection_level must be HSM to generate random bytes.")
        if not 8 <= request.length_bytes <= 1024:
            raise invalid_argument(
                f"length_bytes must be between 8 and 1024; it is {request.length_bytes}."
            )
        data = secrets.token_bytes(request.length_bytes)
        return service.GenerateRandomBytesResponse(data=data, data_crc32c=google_crc32c.value(data))

    def _version_to_encrypt(self, name: str) -> Any:
        if "/cryptoKeyVersions/" in name:
            return self._keys.version(name)
        return self._keys.primary(name)


def _check_size(field: str, data: bytes) -> None:
    if len(data) > MAX_BYTES:
        raise invalid_argument(
            f"{field} is {len(data)} bytes long; it must be at most {MAX_BYTES} bytes."
        )


def _verified(request: Any, *fields: str) -> dict[str, bool]:
    """Field → whether the caller sent its checksum; a wrong one ends the call."""
    verified = {}
    for field in fields:
        checksum = getattr(request, f"{field}_crc32c")
        if checksum is not None and checksum != google_crc32c.value(getattr(request, field)):
            raise invalid_argument(
                f"The checksum in field {field}_crc32c did not match the data in field {field}."
            )
        verified[field] = checksum is not None
    return verified


def _methods(keys: KeyStore, cryptography: Cryptography) -> dict[str, tuple[Handler, Any, Any]]:
    key_ring, key, version = resources.KeyRing, resources.CryptoKey, resources.CryptoKeyVersion
    answers = {
        "CreateKeyRing": (keys.create_key_ring, key_ring),
        "GetKeyRing": (keys.get_key_ring, key_ring),
        "ListKeyRings": (keys.list_key_rings, service.ListKeyRingsResponse),
        "CreateCryptoKey": (keys.create_crypto_key, key),
        "GetCryptoKey": (keys.get_crypto_key, key),
        "ListCryptoKeys": (keys.list_crypto_keys, service.ListCryptoKeysResponse),
        "UpdateCryptoKey": (keys.update_crypto_key, key),
        "UpdateCryptoKeyPrimaryVersion": (keys.update_crypto_key_primary_version, key),
        "CreateCryptoKeyVersion": (keys.create_crypto_key_version, version),
        "GetCryptoKeyVersion": (keys.get_crypto_key_version, version),
        "ListCryptoKeyVersions": (
            keys.list_crypto_key_versions,
            service.ListCryptoKeyVersionsResponse,
        ),
        "UpdateCryptoKeyVersion": (keys.update_crypto_key_version, version),
        "DestroyCryptoKeyVersion": (keys.destroy_crypto_key_version, version),
        "RestoreCryptoKeyVersion": (keys.restore_crypto_key_version, version),
        "Encrypt": (cryptography.encrypt, service.EncryptResponse),
        "Decrypt": (cryptography.decrypt, service.DecryptResponse),
        "GenerateRandomBytes": (
            cryptography.generate_random_bytes,
            service.GenerateRandomBytesResponse,
        ),
    }
    return {
        method: (handler, getattr(service, f"{method}Request"), response)
        for method, (handler, response) in answers.items()
    }


def start(*, host: str, port: int, state: Path | None) -> RunningService:
    """Serve Cloud KMS until `stop`.

    Raises:
        StartupError: the port is taken, or the state cannot be used.
    """
    records = Records(state)
    keys = KeyStore(records)
    try:
        return GrpcService(
            SERVICE,
            _methods(keys, Cryptography(keys)),
            host=host,
            port=port,
            on_stop=records.close,
        )
    except BaseException:
        records.close()
        raise
