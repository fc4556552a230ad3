"""After a rotation of the KMS key: credentials and API keys of all tenants, old versions gone."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from google.cloud.kms_v1 import CryptoKey, CryptoKeyVersion

from shared import crypto
from shared.clients import kms_client
from shared.crypto import DecryptionError
from shared.errors import ConflictError
from shared.settings import settings
from shared.tenancy import (
    api_key_ring,
    api_key_rotation,
    api_keys,
    credential_rotation,
    credentials,
    key_rotation,
)
from shared.tenancy.credential_content import Content
from shared.tenancy.credential_models import parse
from shared.tenancy.key_rotation import Item, Progress
from tests.component.conftest import PROJECT
from tests.credential_samples import aws_role

pytestmark = pytest.mark.usefixtures("central", "own_key")
RING = f"projects/{PROJECT}/locations/us/keyRings/convergence"


@pytest.fixture
def own_key(fresh: Callable[[], str], _environment: None, monkeypatch: pytest.MonkeyPatch) -> str:
    """A KMS key of this test, since versions are destroyed."""
    key = kms_client().create_crypto_key(
        parent=RING,
        crypto_key_id=fresh(),
        crypto_key=CryptoKey(purpose=CryptoKey.CryptoKeyPurpose.ENCRYPT_DECRYPT),
    )
    monkeypatch.setenv("KMS_KEY_NAME", key.name)
    settings.cache_clear()
    return str(key.name)


def rotate(key: str) -> str:
    """Make a new version the primary; the name of the old one."""
    old = kms_client().get_crypto_key(name=key).primary.name
    version = kms_client().create_crypto_key_version(
        parent=key, crypto_key_version=CryptoKeyVersion()
    )
    kms_client().update_crypto_key_primary_version(
        name=key, crypto_key_version_id=version.name.rpartition("/")[2]
    )
    return str(old)


class Holder:
    """A tenant with a credential and two keys, one of them revoked."""

    def __init__(self, tenant_id: str) -> None:
        self.tenant_id = tenant_id
        sealed = Content("AWS", "default", True, parse("AWS", aws_role()))
        stored = credentials.store(tenant_id, sealed, stored_by="alice")
        self.credential_id = stored.credential.credential_id
        self.key = api_keys.mint(tenant_id, name="living", created_by="alice")
        self.revoked = api_keys.mint(tenant_id, name="revoked", created_by="alice")
        api_key_ring.revoke(
            tenant_id, self.revoked.api_key_id, revoked_by="alice", reason="a test's"
        )

    @property
    def items(self) -> set[Item]:
        """What is to be wrapped anew."""
        return {
            Item("credential", self.tenant_id, self.credential_id),
            Item("api_key", self.tenant_id, self.key.api_key_id),
        }

    def envelope(self, key: Any) -> bytes:
        stored: bytes = api_key_ring.state_of(self.tenant_id, key.api_key_id)["encrypted_key"]
        return stored


def rewrap(limit: int = 10_000) -> Progress:
    return key_rotation.rewrap_all(limit=limit, seconds=60, changed_by="operator")


def due() -> set[Item]:
    """What is left to do, of all tenants of this worker's tests."""
    primary = crypto.primary_version()
    credentials_due = credential_rotation.due(primary)
    return {
        *(Item("credential", *one) for one in credentials_due),
        *(Item("api_key", *one) for one in api_key_rotation.due(primary)),
    }


def test_all_that_lives_is_wrapped_anew_and_the_old_version_can_go(
    fresh: Callable[[], str], own_key: str
) -> None:
    holders = [Holder(fresh()) for _ in range(3)]
    wanted = {item for holder in holders for item in holder.items}
    assert not wanted & set(rewrap().rewrapped)  # the primary wraps them
    old = rotate(own_key)

    done = rewrap()

    assert done.primary == crypto.primary_version() != old
    assert wanted <= set(done.rewrapped)
    assert not wanted & set(rewrap().rewrapped)
    kms_client().destroy_crypto_key_version(name=old)
    for holder in holders:
        opened = credentials.open_credential(holder.tenant_id, holder.credential_id)
        assert opened == aws_role()
        key = crypto.unseal(holder.envelope(holder.key), holder.tenant_id)
        assert key.decode() == holder.key.secret
        assert api_keys.verify(holder.key.secret).tenant_id == holder.tenant_id
        with pytest.raises(DecryptionError):
            crypto.unseal(holder.envelope(holder.revoked), holder.tenant_id)


def test_calls_of_a_few_each_come_to_the_end_also_at_once(
    fresh: Callable[[], str], own_key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rewrap()
    holders = [Holder(fresh()) for _ in range(3)]
    rotate(own_key)

    with monkeypatch.context() as patch:
        patch.setattr(key_rotation, "_AT_ONCE", 1)
        first = rewrap(limit=2)
    assert len(first.rewrapped) == 2
    assert first.remaining >= 4
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda _: rewrap(), range(2)))

    tenants = {holder.tenant_id for holder in holders}
    assert not [item for item in due() if item.tenant_id in tenants]


def test_what_nothing_opens_any_more_is_named_and_holds_up_nothing(
    fresh: Callable[[], str], own_key: str
) -> None:
    lost = Holder(fresh())
    kms_client().destroy_crypto_key_version(name=rotate(own_key))
    found = Holder(fresh())
    rotate(own_key)

    done = rewrap()

    assert lost.items <= set(done.unreadable)
    assert found.items <= set(done.rewrapped)


def test_rewrapping_does_not_undo_a_rotation_of_the_api_key(
    fresh: Callable[[], str], own_key: str
) -> None:
    """Whoever comes second either sees what the first wrote or has to wait."""
    holder = Holder(fresh())
    key_id = holder.key.api_key_id
    rotate(own_key)
    primary = crypto.primary_version()

    assert api_key_rotation.rewrap(holder.tenant_id, key_id, primary=primary, changed_by="operator")
    with pytest.raises(ConflictError):
        api_key_ring.rotate(holder.tenant_id, key_id, grace=timedelta(hours=1), rotated_by="alice")
