"""Ciphertexts: AES-256-GCM, with the key version in front so that decryption finds it."""

import secrets
import struct

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

# Google's ciphertexts begin with these bytes too ("CiQA" in base64).
_MAGIC = b"\x0a\x24\x00"
_HEADER = struct.Struct(">3sI12s")
_TAG_BYTES = 16


class MalformedCiphertextError(Exception):
    """The bytes were not made by `seal`."""


class WrongKeyError(Exception):
    """Another key, other additional data or altered bytes."""


def new_material() -> bytes:
    """Material of a new key version."""
    return AESGCM.generate_key(256)


def seal(material: bytes, version: int, plaintext: bytes, additional_data: bytes) -> bytes:
    """The ciphertext of `plaintext`, bound to `additional_data`."""
    nonce = secrets.token_bytes(12)
    header = _HEADER.pack(_MAGIC, version, nonce)
    return header + AESGCM(material).encrypt(nonce, plaintext, additional_data)


def version_of(ciphertext: bytes) -> int:
    """Number of the key version that made it.

    Raises:
        MalformedCiphertextError: no ciphertext of this service.
    """
    if len(ciphertext) < _HEADER.size + _TAG_BYTES or not ciphertext.startswith(_MAGIC):
        raise MalformedCiphertextError
    return int(_HEADER.unpack_from(ciphertext)[1])


def unseal(material: bytes, ciphertext: bytes, additional_data: bytes) -> bytes:
    """The plaintext.

    Raises:
        WrongKeyError: it cannot be authenticated.
    """
    nonce = _HEADER.unpack_from(ciphertext)[2]
    try:
        return AESGCM(material).decrypt(nonce, ciphertext[_HEADER.size :], additional_data)
    except InvalidTag:
        raise WrongKeyError from None
