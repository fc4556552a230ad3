"""Envelope encryption: AES-256-GCM under a fresh data key, the data key wrapped by Cloud KMS.

The owner's identity is additional authenticated data on both layers, so that a ciphertext copied
into another tenant's row does not decrypt. KMS limits (Cloud KMS, EncryptRequest): plaintext and
additional data 64 KiB each; only the 32-byte data key ever goes there.
"""

import json
import os
from base64 import b64decode, b64encode
from dataclasses import dataclass

from shared.clients import brief_retry, kms_client
from shared.errors import Permanent, Retryable
from shared.settings import settings

_VERSION = 1
_DATA_KEY_BYTES = 32
_NONCE_BYTES = 12
_TIMEOUT_SECONDS = 10.0


class DecryptionError(Permanent):
    """The ciphertext was not made for this owner, or it was changed."""

    code = "decryption-failed"


def seal(plaintext: bytes, owner: str) -> bytes:
    """An envelope that only `unseal` with the same `owner` opens. Two calls never agree.

    Raises:
        Retryable: KMS does not answer, or a checksum shows damage on the way.
        SettingsError: KMS_KEY_NAME is not set.
    """
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    data_key = AESGCM.generate_key(bit_length=8 * _DATA_KEY_BYTES)
    nonce = os.urandom(_NONCE_BYTES)
    envelope = {
        "version": _VERSION,
        **_wrapped(data_key, owner),
        "nonce": _text(nonce),
        "ciphertext": _text(AESGCM(data_key).encrypt(nonce, plaintext, owner.encode())),
    }
    return json.dumps(envelope, separators=(",", ":")).encode()


def unseal(envelope: bytes, owner: str) -> bytes:
    """The plaintext of an envelope sealed for `owner`.

    Raises:
        DecryptionError: another owner's, changed, or under a destroyed key.
        Retryable: KMS does not answer.
    """
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    opened = _parts(envelope)
    nonce, ciphertext = opened.nonce, opened.ciphertext
    data_key = _unwrap(opened.wrapped_key, opened.key_name, owner)
    try:
        return AESGCM(data_key).decrypt(nonce, ciphertext, owner.encode())
    except (InvalidTag, ValueError) as error:
        raise DecryptionError(f"the ciphertext is not {owner!r}'s or was changed") from error


def rewrap(envelope: bytes, owner: str) -> bytes:
    """The same envelope with its data key wrapped by the primary version of the settings' key.

    The secret is not decrypted: nonce and ciphertext stay as they are. After it the old version may
    be destroyed.

    Raises:
        DecryptionError: another owner's, changed, or under a destroyed key.
        Retryable: KMS does not answer.
        SettingsError: KMS_KEY_NAME is not set.
    """
    opened = _parts(envelope)
    data_key = _unwrap(opened.wrapped_key, opened.key_name, owner)
    fields = {**json.loads(envelope), **_wrapped(data_key, owner)}
    return json.dumps(fields, separators=(",", ":")).encode()


def wrapped_by(envelope: bytes) -> str:
    """Name of the key version that wraps the envelope's data key; empty where it was not noted.

    Raises:
        DecryptionError: this is not an envelope.
    """
    _parts(envelope)
    return str(json.loads(envelope).get("key_version", ""))


def primary_version() -> str:
    """Name of the key version that new envelopes are wrapped by.

    Asked by an encryption: reading a key needs another permission and has a small quota.

    Raises:
        Retryable: KMS does not answer.
        SettingsError: KMS_KEY_NAME is not set.
    """
    return _wrap(b"?", settings().require("KMS_KEY_NAME"), "")[1]


@dataclass(frozen=True)
class _Parts:
    """An envelope, read."""

    key_name: str
    wrapped_key: bytes
    nonce: bytes
    ciphertext: bytes


def _parts(envelope: bytes) -> _Parts:
    try:
        fields = json.loads(envelope)
        wrapped, nonce, ciphertext = (
            b64decode(fields[name], validate=True)
            for name in ("wrapped_key", "nonce", "ciphertext")
        )
        return _Parts(str(fields["key_name"]), wrapped, nonce, ciphertext)
    except (ValueError, KeyError, TypeError) as error:
        raise DecryptionError("this is not an envelope") from error


def _wrapped(data_key: bytes, owner: str) -> dict[str, str]:
    """The fields of an envelope that a rotation changes."""
    key_name = settings().require("KMS_KEY_NAME")
    wrapped, version = _wrap(data_key, key_name, owner)
    return {"key_name": key_name, "key_version": version, "wrapped_key": _text(wrapped)}


def _wrap(data_key: bytes, key_name: str, owner: str) -> tuple[bytes, str]:
    import google_crc32c
    from google.api_core.exceptions import RetryError, ServerError, TooManyRequests

    aad = owner.encode()
    try:
        response = kms_client().encrypt(
            request={
                "name": key_name,
                "plaintext": data_key,
                "plaintext_crc32c": google_crc32c.value(data_key),
                "additional_authenticated_data": aad,
                "additional_authenticated_data_crc32c": google_crc32c.value(aad),
            },
            retry=brief_retry(_TIMEOUT_SECONDS),
            timeout=_TIMEOUT_SECONDS,
        )
    except (ServerError, TooManyRequests, RetryError) as error:
        raise Retryable("Cloud KMS does not answer") from error
    intact = (
        response.verified_plaintext_crc32c
        and response.verified_additional_authenticated_data_crc32c
        and response.ciphertext_crc32c == google_crc32c.value(response.ciphertext)
    )
    if not intact:
        raise Retryable("the wrapped data key arrived damaged")
    return bytes(response.ciphertext), str(response.name)


def _unwrap(wrapped: bytes, key_name: str, owner: str) -> bytes:
    import google_crc32c
    from google.api_core.exceptions import (
        FailedPrecondition,
        InvalidArgument,
        NotFound,
        RetryError,
        ServerError,
        TooManyRequests,
    )

    aad = owner.encode()
    try:
        response = kms_client().decrypt(
            request={
                "name": key_name,
                "ciphertext": wrapped,
                "ciphertext_crc32c": google_crc32c.value(wrapped),
                "additional_authenticated_data": aad,
                "additional_authenticated_data_crc32c": google_crc32c.value(aad),
            },
            retry=brief_retry(_TIMEOUT_SECONDS),
            timeout=_TIMEOUT_SECONDS,
        )
    except (InvalidArgument, FailedPrecondition, NotFound) as error:
        raise DecryptionError(f"the data key is not {owner!r}'s: {error.message}") from error
    except (ServerError, TooManyRequests, RetryError) as error:
        raise Retryable("Cloud KMS does not answer") from error
    if response.plaintext_crc32c != google_crc32c.value(response.plaintext):
        raise Retryable("the data key arrived damaged")
    return bytes(response.plaintext)


def _text(data: bytes) -> str:
    return b64encode(data).decode()
