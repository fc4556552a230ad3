import pytest

from shared.crypto import DecryptionError, unseal


@pytest.mark.parametrize(
    "envelope",
    [
        b"",
        b"not json",
        b"\xff\xfe",
        b"[]",
        b"null",
        b'"text"',
        b"{}",
        b'{"wrapped_key": "AA==", "nonce": "AA==", "ciphertext": "AA=="}',
        b'{"wrapped_key": "*", "nonce": "AA==", "ciphertext": "AA==", "key_name": "k"}',
        b'{"wrapped_key": 1, "nonce": "AA==", "ciphertext": "AA==", "key_name": "k"}',
    ],
)
def test_what_is_not_an_envelope_is_refused_without_asking_kms(envelope: bytes) -> None:
    with pytest.raises(DecryptionError, match="this is not an envelope"):
        unseal(envelope, "acme_corp")
