import threading
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from google.api_core.exceptions import (
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
)
from google.cloud import kms_v1

from infra.local.kms.server import start
from infra.local.service import StartupError
from tests.waiting import wait_until

Client = kms_v1.KeyManagementServiceClient
State = kms_v1.CryptoKeyVersion.CryptoKeyVersionState
LOCATION = "projects/convergence-local/locations/us"


def test_a_new_key_has_an_enabled_primary_version(kms: Client, key: str) -> None:
    found = kms.get_crypto_key(name=key)
    assert found.primary.name == f"{key}/cryptoKeyVersions/1"
    assert found.primary.state == State.ENABLED
    assert found.purpose == kms_v1.CryptoKey.CryptoKeyPurpose.ENCRYPT_DECRYPT
    assert found.version_template.algorithm.name == "GOOGLE_SYMMETRIC_ENCRYPTION"
    assert found.destroy_scheduled_duration == timedelta(days=30)
    assert abs(found.create_time - datetime.now(UTC)) < timedelta(minutes=1)


def test_a_key_without_initial_version_cannot_encrypt(kms: Client, ring: str) -> None:
    key = kms.create_crypto_key(
        request={
            "parent": ring,
            "crypto_key_id": "empty",
            "crypto_key": {"purpose": "ENCRYPT_DECRYPT"},
            "skip_initial_version_creation": True,
        }
    )
    assert not key.primary.name
    with pytest.raises(FailedPrecondition, match="has no primary version"):
        kms.encrypt(name=key.name, plaintext=b"x")


def test_existing_names_are_refused(kms: Client, ring: str, key: str) -> None:
    with pytest.raises(AlreadyExists) as refused:
        kms.create_key_ring(parent=LOCATION, key_ring_id=ring.rpartition("/")[2], key_ring={})
    assert refused.value.message == f"KeyRing {ring} already exists."
    with pytest.raises(AlreadyExists) as refused:
        kms.create_crypto_key(
            parent=ring,
            crypto_key_id="tenant-secrets",
            crypto_key={"purpose": "ENCRYPT_DECRYPT"},
        )
    assert refused.value.message == f"CryptoKey {key} already exists."


def test_what_does_not_exist_is_named(kms: Client, ring: str, key: str) -> None:
    with pytest.raises(NotFound, match=f"KeyRing {ring}x not found"):
        kms.get_key_ring(name=f"{ring}x")
    with pytest.raises(NotFound, match=f"CryptoKey {key}x not found"):
        kms.get_crypto_key(name=f"{key}x")
    version = f"{key}/cryptoKeyVersions/9"
    with pytest.raises(NotFound, match=f"CryptoKeyVersion {version} not found"):
        kms.get_crypto_key_version(name=version)
    with pytest.raises(NotFound):
        kms.create_crypto_key(
            parent=f"{ring}x", crypto_key_id="k", crypto_key={"purpose": "ENCRYPT_DECRYPT"}
        )


@pytest.mark.parametrize("identifier", ["", "with space", "x" * 64, "a/b"])
def test_malformed_names_are_refused(kms: Client, identifier: str) -> None:
    with pytest.raises(InvalidArgument):
        kms.create_key_ring(parent=LOCATION, key_ring_id=identifier, key_ring={})


def test_other_purposes_are_refused(kms: Client, ring: str) -> None:
    with pytest.raises(InvalidArgument, match="ENCRYPT_DECRYPT"):
        kms.create_crypto_key(
            parent=ring, crypto_key_id="signs", crypto_key={"purpose": "ASYMMETRIC_SIGN"}
        )


def test_lists_come_in_pages(kms: Client, ring: str) -> None:
    names = [
        kms.create_crypto_key(
            parent=ring, crypto_key_id=f"k{i}", crypto_key={"purpose": "ENCRYPT_DECRYPT"}
        ).name
        for i in range(5)
    ]
    pager = kms.list_crypto_keys(request={"parent": ring, "page_size": 2})
    pages = [[key.name for key in page.crypto_keys] for page in pager.pages]
    assert pages == [names[:2], names[2:4], names[4:]]
    assert ring in [found.name for found in kms.list_key_rings(parent=LOCATION)]
    with pytest.raises(InvalidArgument):
        kms.list_crypto_keys(request={"parent": ring, "page_token": "made up"})


def test_versions_are_listed_with_their_states(kms: Client, key: str) -> None:
    kms.create_crypto_key_version(parent=key, crypto_key_version={})
    kms.destroy_crypto_key_version(name=f"{key}/cryptoKeyVersions/1")
    states = {v.name[-1]: v.state.name for v in kms.list_crypto_key_versions(parent=key)}
    assert states == {"1": "DESTROY_SCHEDULED", "2": "ENABLED"}


def test_labels_and_rotation_are_updated_by_mask(kms: Client, key: str) -> None:
    changed = kms.update_crypto_key(
        crypto_key={
            "name": key,
            "labels": {"team": "data"},
            "rotation_period": timedelta(days=90),
            "next_rotation_time": datetime(2030, 1, 1, tzinfo=UTC),
        },
        update_mask={"paths": ["labels", "rotation_period"]},
    )
    assert dict(changed.labels) == {"team": "data"}
    found = kms.get_crypto_key(name=key)
    assert found.rotation_period == timedelta(days=90)
    assert "next_rotation_time" not in found
    with pytest.raises(InvalidArgument, match="update_mask must name"):
        kms.update_crypto_key(crypto_key={"name": key}, update_mask={"paths": ["purpose"]})


def test_a_scheduled_destruction_can_be_restored(kms: Client, key: str) -> None:
    version = f"{key}/cryptoKeyVersions/1"
    ciphertext = kms.encrypt(name=key, plaintext=b"x").ciphertext
    scheduled = kms.destroy_crypto_key_version(name=version)
    assert scheduled.state == State.DESTROY_SCHEDULED
    assert scheduled.destroy_time > datetime.now(UTC) + timedelta(days=29)
    with pytest.raises(FailedPrecondition) as refused:
        kms.destroy_crypto_key_version(name=version)
    assert refused.value.message == (
        f"The request cannot be fulfilled. Resource {version} has value DESTROY_SCHEDULED "
        "in field crypto_key_version.state."
    )

    assert kms.restore_crypto_key_version(name=version).state == State.DISABLED
    kms.update_crypto_key_version(
        crypto_key_version={"name": version, "state": "ENABLED"}, update_mask={"paths": ["state"]}
    )
    assert kms.decrypt(name=key, ciphertext=ciphertext).plaintext == b"x"


def test_material_is_gone_once_the_time_has_come(kms: Client, ring: str) -> None:
    key = kms.create_crypto_key(
        parent=ring,
        crypto_key_id="short",
        crypto_key={
            "purpose": "ENCRYPT_DECRYPT",
            "destroy_scheduled_duration": timedelta(milliseconds=50),
        },
    ).name
    version = f"{key}/cryptoKeyVersions/1"
    kms.destroy_crypto_key_version(name=version)
    wait_until(
        lambda: kms.get_crypto_key_version(name=version).state == State.DESTROYED,
        message="the destruction",
    )
    with pytest.raises(FailedPrecondition, match="DESTROYED"):
        kms.restore_crypto_key_version(name=version)
    with pytest.raises(FailedPrecondition, match="current state is: DESTROYED"):
        kms.encrypt(name=key, plaintext=b"x")


def test_a_disabled_version_cannot_become_primary(kms: Client, key: str) -> None:
    second = kms.create_crypto_key_version(parent=key, crypto_key_version={})
    kms.update_crypto_key_version(
        crypto_key_version={"name": second.name, "state": "DISABLED"},
        update_mask={"paths": ["state"]},
    )
    with pytest.raises(FailedPrecondition, match="DISABLED"):
        kms.update_crypto_key_primary_version(name=key, crypto_key_version_id="2")
    assert kms.get_crypto_key(name=key).primary.name.endswith("/1")


def test_versions_made_at_once_get_different_numbers(kms: Client, key: str) -> None:
    names: list[str] = []

    def make() -> None:
        names.append(kms.create_crypto_key_version(parent=key, crypto_key_version={}).name)

    threads = [threading.Thread(target=make) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(names)) == 12


def test_keys_outlive_a_restart(on_disk: Callable[[], Client]) -> None:
    first = on_disk()
    ring = first.create_key_ring(parent=LOCATION, key_ring_id="r", key_ring={}).name
    key = first.create_crypto_key(
        parent=ring, crypto_key_id="k", crypto_key={"purpose": "ENCRYPT_DECRYPT"}
    ).name
    ciphertext = first.encrypt(name=key, plaintext=b"kept").ciphertext

    second = on_disk()
    assert second.decrypt(name=key, ciphertext=ciphertext).plaintext == b"kept"
    with pytest.raises(AlreadyExists):
        second.create_key_ring(parent=LOCATION, key_ring_id="r", key_ring={})


def test_a_corrupt_state_file_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "records.sqlite").write_bytes(b"no database at all" * 100)
    with pytest.raises(StartupError, match=r"records\.sqlite cannot be used .*delete it") as failed:
        start(host="127.0.0.1", port=0, state=tmp_path)
    assert "\n" not in str(failed.value)


def test_a_state_directory_in_use_is_refused(tmp_path: Path) -> None:
    service = start(host="127.0.0.1", port=0, state=tmp_path)
    try:
        with pytest.raises(StartupError, match="in use by another process"):
            start(host="127.0.0.1", port=0, state=tmp_path)
    finally:
        service.stop()


def test_a_port_in_use_is_named(tmp_path: Path) -> None:
    service = start(host="127.0.0.1", port=0, state=None)
    try:
        with pytest.raises(StartupError, match=f"port {service.port} .*in use"):
            start(host="127.0.0.1", port=service.port, state=tmp_path / uuid.uuid4().hex)
    finally:
        service.stop()
        service.stop()
