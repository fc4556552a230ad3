import google_crc32c
import pytest
from google.api_core.exceptions import FailedPrecondition, InvalidArgument, NotFound
from google.cloud import kms_v1

Client = kms_v1.KeyManagementServiceClient
LARGEST = 64 * 1024


def encrypt(kms: Client, name: str, plaintext: bytes = b"a data key", aad: bytes = b"") -> bytes:
    return kms.encrypt(
        request={"name": name, "plaintext": plaintext, "additional_authenticated_data": aad}
    ).ciphertext


def test_plaintext_returns_under_the_same_additional_data(kms: Client, key: str) -> None:
    ciphertext = encrypt(kms, key, b"a data key", b"acme")
    answer = kms.decrypt(
        request={"name": key, "ciphertext": ciphertext, "additional_authenticated_data": b"acme"}
    )
    assert answer.plaintext == b"a data key"
    assert answer.plaintext_crc32c == google_crc32c.value(b"a data key")
    assert answer.used_primary
    assert answer.protection_level == kms_v1.ProtectionLevel.SOFTWARE


def test_encrypting_says_which_checksums_it_verified(kms: Client, key: str) -> None:
    data, aad = b"a data key", b"acme"
    answer = kms.encrypt(
        request={
            "name": key,
            "plaintext": data,
            "plaintext_crc32c": google_crc32c.value(data),
            "additional_authenticated_data": aad,
            "additional_authenticated_data_crc32c": google_crc32c.value(aad),
        }
    )
    assert answer.verified_plaintext_crc32c
    assert answer.verified_additional_authenticated_data_crc32c
    assert answer.ciphertext_crc32c == google_crc32c.value(answer.ciphertext)
    assert answer.name == f"{key}/cryptoKeyVersions/1"

    unverified = kms.encrypt(request={"name": key, "plaintext": data})
    assert not unverified.verified_plaintext_crc32c
    assert not unverified.verified_additional_authenticated_data_crc32c


def test_two_encryptions_of_one_plaintext_differ(kms: Client, key: str) -> None:
    assert encrypt(kms, key) != encrypt(kms, key)


@pytest.mark.parametrize("field", ["plaintext", "additional_authenticated_data"])
def test_a_wrong_checksum_refuses_to_encrypt(kms: Client, key: str, field: str) -> None:
    request = {"name": key, "plaintext": b"x", field: b"y", f"{field}_crc32c": 17}
    with pytest.raises(InvalidArgument) as refused:
        kms.encrypt(request=request)
    assert refused.value.message == (
        f"The checksum in field {field}_crc32c did not match the data in field {field}."
    )


@pytest.mark.parametrize("field", ["ciphertext", "additional_authenticated_data"])
def test_a_wrong_checksum_refuses_to_decrypt(kms: Client, key: str, field: str) -> None:
    request = {"name": key, "ciphertext": encrypt(kms, key), f"{field}_crc32c": 17}
    with pytest.raises(InvalidArgument, match=f"checksum in field {field}_crc32c did not match"):
        kms.decrypt(request=request)


@pytest.mark.parametrize("aad", [b"", b"acme_corp"])
def test_other_additional_data_does_not_decrypt(kms: Client, key: str, aad: bytes) -> None:
    ciphertext = encrypt(kms, key, aad=b"acme")
    with pytest.raises(InvalidArgument) as refused:
        kms.decrypt(
            request={"name": key, "ciphertext": ciphertext, "additional_authenticated_data": aad}
        )
    assert refused.value.message == (
        "Decryption failed: verify that 'name' refers to the correct CryptoKey."
    )


def test_another_key_does_not_decrypt(kms: Client, ring: str, key: str) -> None:
    other = kms.create_crypto_key(
        parent=ring, crypto_key_id="other", crypto_key={"purpose": "ENCRYPT_DECRYPT"}
    )
    with pytest.raises(InvalidArgument, match="refers to the correct CryptoKey"):
        kms.decrypt(name=other.name, ciphertext=encrypt(kms, key))


def test_altered_and_foreign_bytes_do_not_decrypt(kms: Client, key: str) -> None:
    ciphertext = encrypt(kms, key)
    altered = ciphertext[:-1] + bytes([ciphertext[-1] ^ 1])
    with pytest.raises(InvalidArgument, match="refers to the correct CryptoKey"):
        kms.decrypt(name=key, ciphertext=altered)
    for foreign in (b"", b"nothing of ours", b"x" * 200):
        with pytest.raises(InvalidArgument, match="Decryption failed: the ciphertext is invalid"):
            kms.decrypt(name=key, ciphertext=foreign)


def test_64_kib_are_the_most(kms: Client, key: str) -> None:
    whole = b"p" * LARGEST
    request = {"name": key, "plaintext": whole, "additional_authenticated_data": whole}
    ciphertext = kms.encrypt(request=request).ciphertext
    answer = kms.decrypt(
        request={"name": key, "ciphertext": ciphertext, "additional_authenticated_data": whole}
    )
    assert answer.plaintext == whole
    for field in ("plaintext", "additional_authenticated_data"):
        with pytest.raises(InvalidArgument, match=f"{field}.*65536"):
            kms.encrypt(request={**request, field: whole + b"p"})


def test_an_empty_plaintext_survives(kms: Client, key: str) -> None:
    assert kms.decrypt(name=key, ciphertext=encrypt(kms, key, b"")).plaintext == b""


def test_a_key_that_does_not_exist_is_named(kms: Client, ring: str) -> None:
    name = f"{ring}/cryptoKeys/none"
    with pytest.raises(NotFound) as refused:
        kms.encrypt(name=name, plaintext=b"x")
    assert refused.value.message == f"CryptoKey {name} not found."
    with pytest.raises(NotFound):
        kms.decrypt(name=name, ciphertext=b"x")


def test_rotation_encrypts_anew_and_still_decrypts_the_old(kms: Client, key: str) -> None:
    old = encrypt(kms, key)
    second = kms.create_crypto_key_version(parent=key, crypto_key_version={})
    assert kms.encrypt(name=key, plaintext=b"x").name == f"{key}/cryptoKeyVersions/1"

    rotated = kms.update_crypto_key_primary_version(name=key, crypto_key_version_id="2")
    assert rotated.primary.name == second.name
    new = kms.encrypt(name=key, plaintext=b"new")
    assert new.name == second.name
    assert kms.decrypt(name=key, ciphertext=new.ciphertext).used_primary

    answer = kms.decrypt(name=key, ciphertext=old)
    assert answer.plaintext == b"a data key"
    assert not answer.used_primary


def test_a_named_version_encrypts_though_it_is_not_primary(kms: Client, key: str) -> None:
    second = kms.create_crypto_key_version(parent=key, crypto_key_version={})
    answer = kms.encrypt(name=second.name, plaintext=b"x")
    assert answer.name == second.name
    assert kms.decrypt(name=key, ciphertext=answer.ciphertext).plaintext == b"x"


def test_a_destroyed_version_neither_encrypts_nor_decrypts(kms: Client, key: str) -> None:
    ciphertext = encrypt(kms, key)
    version = f"{key}/cryptoKeyVersions/1"
    kms.destroy_crypto_key_version(name=version)
    expected = f"{version} is not enabled, current state is: DESTROY_SCHEDULED."
    for call in (
        lambda: kms.decrypt(name=key, ciphertext=ciphertext),
        lambda: kms.encrypt(name=key, plaintext=b"x"),
    ):
        with pytest.raises(FailedPrecondition) as refused:
            call()
        assert refused.value.message == expected


def test_a_disabled_version_does_not_decrypt_until_it_is_enabled(kms: Client, key: str) -> None:
    ciphertext = encrypt(kms, key)
    version = {"name": f"{key}/cryptoKeyVersions/1", "state": "DISABLED"}
    mask = {"paths": ["state"]}
    kms.update_crypto_key_version(crypto_key_version=version, update_mask=mask)
    with pytest.raises(FailedPrecondition, match="current state is: DISABLED"):
        kms.decrypt(name=key, ciphertext=ciphertext)
    kms.update_crypto_key_version(
        crypto_key_version={**version, "state": "ENABLED"}, update_mask=mask
    )
    assert kms.decrypt(name=key, ciphertext=ciphertext).plaintext == b"a data key"


def test_random_bytes_come_with_their_checksum(kms: Client) -> None:
    location = "projects/convergence-local/locations/us"
    answer = kms.generate_random_bytes(location=location, length_bytes=32, protection_level="HSM")
    assert len(answer.data) == 32
    assert answer.data_crc32c == google_crc32c.value(answer.data)
    with pytest.raises(InvalidArgument, match="between 8 and 1024; it is 4"):
        kms.generate_random_bytes(location=location, length_bytes=4, protection_level="HSM")
