"""Envelope encryption against the local Cloud KMS."""

import json
from base64 import b64decode, b64encode
from collections.abc import Callable

import pytest
from google.cloud.kms_v1 import CryptoKey, CryptoKeyVersion

from shared.clients import kms_client
from shared.crypto import DecryptionError, primary_version, rewrap, seal, unseal, wrapped_by
from shared.errors import Retryable
from shared.settings import SettingsError, settings
from tests.component.conftest import PROJECT

RING = f"projects/{PROJECT}/locations/us/keyRings/convergence"


@pytest.fixture
def own_key(fresh: Callable[[], str], monkeypatch: pytest.MonkeyPatch) -> str:
    """A crypto key that only this test uses, in the settings."""
    key = kms_client().create_crypto_key(
        parent=RING, crypto_key_id=fresh(), crypto_key=CryptoKey(purpose="ENCRYPT_DECRYPT")
    )
    monkeypatch.setenv("KMS_KEY_NAME", key.name)
    settings.cache_clear()
    return str(key.name)


def rotate(key: str) -> str:
    """Give the key a new primary version, as its rotation does; the old version's name."""
    client = kms_client()
    old = client.get_crypto_key(name=key).primary.name
    version = client.create_crypto_key_version(parent=key, crypto_key_version=CryptoKeyVersion())
    client.update_crypto_key_primary_version(
        name=key, crypto_key_version_id=version.name.rpartition("/")[2]
    )
    return str(old)


@pytest.mark.parametrize("plaintext", [b"", b"secret", bytes(range(256)) * 4096])
def test_sealed_for_its_owner_opens_to_the_same_bytes(plaintext: bytes) -> None:
    assert unseal(seal(plaintext, "acme"), "acme") == plaintext


def test_two_envelopes_of_one_secret_share_nothing() -> None:
    first, second = (json.loads(seal(b"secret", "acme")) for _ in range(2))

    for part in ("wrapped_key", "nonce", "ciphertext"):
        assert first[part] != second[part]


def test_envelope_does_not_show_its_content() -> None:
    envelope = seal(b"hush, hush", "acme")

    assert b"hush" not in envelope
    assert b64encode(b"hush, hush") not in envelope


def test_another_owner_cannot_open_it() -> None:
    with pytest.raises(DecryptionError, match="'zenith'"):
        unseal(seal(b"secret", "acme"), "zenith")


def test_data_key_of_another_owner_is_of_no_use() -> None:
    mine = json.loads(seal(b"mine", "zenith"))
    theirs = json.loads(seal(b"secret", "acme"))
    mixed = {**theirs, "wrapped_key": mine["wrapped_key"]}

    for owner in ("acme", "zenith"):
        with pytest.raises(DecryptionError):
            unseal(json.dumps(mixed).encode(), owner)


@pytest.mark.parametrize("part", ["wrapped_key", "nonce", "ciphertext"])
@pytest.mark.parametrize(
    "change",
    [
        lambda data: bytes([data[0] ^ 1]) + data[1:],
        lambda data: data[:-1] + bytes([data[-1] ^ 1]),
        lambda data: data[:-1],
        lambda data: data + b"\0",
        lambda data: b"",
    ],
    ids=["first bit", "last bit", "shorter", "longer", "empty"],
)
def test_changed_envelope_is_refused(part: str, change: Callable[[bytes], bytes]) -> None:
    envelope = json.loads(seal(b"secret", "acme"))
    envelope[part] = b64encode(change(b64decode(envelope[part]))).decode()

    with pytest.raises(DecryptionError):
        unseal(json.dumps(envelope).encode(), "acme")


@pytest.mark.parametrize("key_name", ["", "not a key", f"{RING}/cryptoKeys/nobody-made-this"])
def test_envelope_of_an_unknown_key_is_refused(key_name: str) -> None:
    envelope = {**json.loads(seal(b"secret", "acme")), "key_name": key_name}

    with pytest.raises(DecryptionError):
        unseal(json.dumps(envelope).encode(), "acme")


def test_rotation_leaves_old_envelopes_open_and_seals_new_ones_under_the_new_version(
    own_key: str,
) -> None:
    before = seal(b"old", "acme")
    old_version = rotate(own_key)
    after = seal(b"new", "acme")

    assert (unseal(before, "acme"), unseal(after, "acme")) == (b"old", b"new")

    kms_client().destroy_crypto_key_version(name=old_version)
    assert unseal(after, "acme") == b"new"
    with pytest.raises(DecryptionError):
        unseal(before, "acme")


def test_rewrapped_envelope_outlives_the_old_version_and_keeps_its_ciphertext(own_key: str) -> None:
    before = seal(b"secret", "acme")
    old_version = rotate(own_key)

    after = rewrap(before, "acme")

    old, new = json.loads(before), json.loads(after)
    assert (old["ciphertext"], old["nonce"]) == (new["ciphertext"], new["nonce"])
    assert (wrapped_by(before), wrapped_by(after)) == (old_version, primary_version())
    assert old_version != primary_version()
    kms_client().destroy_crypto_key_version(name=old_version)
    assert unseal(after, "acme") == b"secret"
    with pytest.raises(DecryptionError):
        rewrap(before, "acme")


def test_nobody_rewraps_for_another_owner() -> None:
    with pytest.raises(DecryptionError, match="'zenith'"):
        rewrap(seal(b"secret", "acme"), "zenith")


def test_key_of_the_settings_may_change_without_losing_what_was_sealed(
    own_key: str, cloud: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    envelope = seal(b"secret", "acme")
    monkeypatch.setenv("KMS_KEY_NAME", f"{RING}/cryptoKeys/tenant-secrets")
    settings.cache_clear()

    assert unseal(envelope, "acme") == b"secret"


def test_without_a_key_in_the_settings_the_variable_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("KMS_KEY_NAME")
    settings.cache_clear()

    with pytest.raises(SettingsError, match="KMS_KEY_NAME is not set"):
        seal(b"secret", "acme")


def test_kms_that_does_not_answer_is_asked_again_later(monkeypatch: pytest.MonkeyPatch) -> None:
    from shared import crypto

    monkeypatch.setenv("KMS_EMULATOR_HOST", "127.0.0.1:1")
    settings.cache_clear()
    monkeypatch.setattr(crypto, "kms_client", kms_client.__wrapped__)
    monkeypatch.setattr(crypto, "_TIMEOUT_SECONDS", 0.5)

    with pytest.raises(Retryable, match="Cloud KMS does not answer"):
        seal(b"secret", "acme")
