"""Credentials from their storing to their destruction, against KMS and BigQuery."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from google.cloud.kms_v1 import CryptoKey, CryptoKeyVersion

from shared import crypto
from shared.clients import kms_client
from shared.crypto import DecryptionError
from shared.errors import ConflictError, NotFoundError
from shared.settings import settings
from shared.tenancy import (
    credential_erasure,
    credential_log,
    credential_rotation,
    credentials,
    lifecycle,
    plans,
)
from shared.tenancy.credential_content import (
    Content,
    CredentialInactiveError,
    ProvidersLimitError,
)
from shared.tenancy.credential_models import parse
from shared.tenancy.credential_views import Provider
from shared.warehouse import rows
from shared.warehouse.queries import query
from shared.warehouse.rows import Row
from tests.component.conftest import PROJECT
from tests.credential_samples import aws_keys, aws_role, azure_secret, service_account

pytestmark = pytest.mark.usefixtures("central")
RING = f"projects/{PROJECT}/locations/us/keyRings/convergence"


def content(
    provider: Provider = "AWS",
    fields: dict[str, Any] | None = None,
    *,
    name: str = "default",
    is_active: bool = True,
) -> Content:
    known = {"AWS": aws_role(), "GCP": service_account(), "AZURE": azure_secret()}
    return Content(provider, name, is_active, parse(provider, fields or known[provider]))


def store(tenant_id: str, *arguments: Any, **changes: Any) -> str:
    stored = credentials.store(tenant_id, content(*arguments, **changes), stored_by="alice")
    return stored.credential.credential_id


def log_of(tenant_id: str) -> list[dict[str, Any]]:
    return rows.read(
        query(
            f"SELECT * FROM `{credential_log.LOG}` WHERE tenant_id = @t ORDER BY recorded_at",
            t=tenant_id,
        )
    )


def allow_providers(tenant_id: str, limit: int) -> None:
    """A subscription with its own number of providers."""
    lifecycle.set_subscription_status(tenant_id, "ACTIVE", recorded_by="test")
    limits = plans.plan("STARTER").subscribed()
    values = {
        "tenant_id": tenant_id,
        "subscription_id": tenant_id,
        "plan_name": "STARTER",
        "status": "ACTIVE",
        **limits,
        "providers_limit": limit,
        **rows.stamp(),
    }
    rows.append("tenants.tenant_subscriptions_log", [Row(tenant_id, values)])


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
    """Give the key a new primary version; the old version's name."""
    client = kms_client()
    old = client.get_crypto_key(name=key).primary.name
    version = client.create_crypto_key_version(parent=key, crypto_key_version=CryptoKeyVersion())
    client.update_crypto_key_primary_version(
        name=key, crypto_key_version_id=version.name.rpartition("/")[2]
    )
    return str(old)


def test_stored_credential_opens_and_no_row_or_view_shows_it(fresh: Callable[[], str]) -> None:
    tenant_id = fresh()
    stored = credentials.store(tenant_id, content("GCP"), stored_by="alice")

    assert stored.action == "CREATED"
    one = stored.credential
    assert one.context == {
        "project_id": "acme-billing-1",
        "client_email": "reader@acme-billing-1.iam.gserviceaccount.com",
    }
    assert (one.validation_status, one.created_by) == ("UNCHECKED", "alice")
    assert credentials.get(tenant_id, one.credential_id) == one
    assert credentials.listed(tenant_id) == [one]
    assert credentials.open_credential(tenant_id, one.credential_id) == service_account()
    assert "PRIVATE KEY" not in f"{log_of(tenant_id)} {one!r}"
    (row,) = log_of(tenant_id)
    assert row["kms_key_version"] == crypto.primary_version()


def test_same_provider_and_name_is_replaced_and_keeps_its_id(fresh: Callable[[], str]) -> None:
    tenant_id = fresh()
    first = store(tenant_id)

    again = credentials.store(tenant_id, content("AWS", aws_keys()), stored_by="bob")

    assert (again.action, again.credential.credential_id) == ("UPDATED", first)
    assert (again.credential.created_by, again.credential.updated_by) == ("alice", "bob")
    assert credentials.open_credential(tenant_id, first) == aws_keys()
    assert store(tenant_id, name="another") != first


def test_row_copied_to_another_tenant_does_not_open(fresh: Callable[[], str]) -> None:
    tenant_id, thief = fresh(), fresh()
    credential_id = store(tenant_id)
    (row,) = log_of(tenant_id)

    rows.append(credential_log.LOG, [Row(thief, {**row, "tenant_id": thief, **rows.stamp()})])

    with pytest.raises(DecryptionError):
        credentials.open_credential(thief, credential_id)


def test_nobody_finds_another_tenants_credential(fresh: Callable[[], str]) -> None:
    credential_id = store(fresh())
    other = fresh()

    for ask in (credentials.get, credentials.open_credential):
        with pytest.raises(NotFoundError):
            ask(other, credential_id)
    with pytest.raises(NotFoundError):
        credentials.destroy(other, credential_id, destroyed_by="x")


def test_replacing_changes_name_state_and_secret_never_the_provider(
    fresh: Callable[[], str],
) -> None:
    tenant_id = fresh()
    credential_id = store(tenant_id)
    store(tenant_id, name="other")

    changed = credentials.replace(
        tenant_id,
        credential_id,
        content("AWS", aws_keys(), name="new", is_active=False),
        changed_by="bob",
    )

    assert (changed.name, changed.is_active, changed.credential_type) == (
        "new",
        False,
        "access_key",
    )
    with pytest.raises(CredentialInactiveError):
        credentials.open_credential(tenant_id, credential_id)
    with pytest.raises(ConflictError, match="is one of AWS"):
        credentials.replace(tenant_id, credential_id, content("GCP"), changed_by="bob")
    with pytest.raises(ConflictError, match="'other'"):
        credentials.replace(tenant_id, credential_id, content(name="other"), changed_by="bob")


def test_destroyed_credential_is_gone_for_good(fresh: Callable[[], str]) -> None:
    tenant_id = fresh()
    credential_id = store(tenant_id)

    shown = credentials.destroy(tenant_id, credential_id, destroyed_by="bob")

    assert (shown.credential_id, shown.is_active) == (credential_id, False)
    assert credentials.listed(tenant_id) == []
    for ask in (credentials.get, credentials.open_credential):
        with pytest.raises(NotFoundError):
            ask(tenant_id, credential_id)
    seen = rows.read(
        query(f"SELECT * FROM `{credential_log.VIEW}` WHERE tenant_id = @t", t=tenant_id)
    )
    assert seen == []
    last = log_of(tenant_id)[-1]
    assert last["encrypted_credentials"] is None
    assert last["deleted_at"] is not None
    assert store(tenant_id) != credential_id


def test_offboarding_destroys_all_of_them(fresh: Callable[[], str]) -> None:
    tenant_id = fresh()
    for provider in ("AWS", "GCP"):
        store(tenant_id, provider)

    assert credentials.destroy_all(tenant_id, destroyed_by="operator") == 2
    assert credentials.destroy_all(tenant_id, destroyed_by="operator") == 0
    assert credentials.listed(tenant_id) == []


def test_plan_limits_the_providers_with_active_credentials(fresh: Callable[[], str]) -> None:
    tenant_id = fresh()
    allow_providers(tenant_id, 1)
    first = store(tenant_id, "AWS")
    store(tenant_id, "AWS", name="second of the same provider")
    sleeping = store(tenant_id, "GCP", is_active=False)

    with pytest.raises(ProvidersLimitError) as caught:
        store(tenant_id, "AZURE")
    assert str(caught.value) == (
        "Plan STARTER allows active credentials of 1 cloud provider; you have AWS. To add AZURE,"
        " upgrade the plan, or delete or switch off the credentials of another one."
    )
    with pytest.raises(ProvidersLimitError):
        credentials.replace(tenant_id, sleeping, content("GCP"), changed_by="x")
    for one in credentials.listed(tenant_id):
        if one.provider == "AWS":
            credentials.destroy(tenant_id, one.credential_id, destroyed_by="x")
    credentials.replace(tenant_id, sleeping, content("GCP"), changed_by="x")
    assert first not in {one.credential_id for one in credentials.listed(tenant_id)}


def test_providers_limit_holds_for_requests_at_once(fresh: Callable[[], str]) -> None:
    tenant_id = fresh()
    allow_providers(tenant_id, 1)

    def attempt(provider: Provider) -> str:
        try:
            store(tenant_id, provider)
        except ProvidersLimitError:
            return "refused"
        return "stored"

    with ThreadPoolExecutor(3) as pool:
        outcomes = list(pool.map(attempt, ("AWS", "GCP", "AZURE")))

    assert sorted(outcomes) == ["refused", "refused", "stored"]
    assert len(credentials.listed(tenant_id)) == 1


def test_changes_at_once_are_all_kept_in_order(fresh: Callable[[], str]) -> None:
    tenant_id = fresh()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda n: store(tenant_id, name=f"name {n}"), range(4)))

    assert len(credentials.listed(tenant_id)) == 4
    assert sorted(row["revision"] for row in log_of(tenant_id)) == [1, 2, 3, 4]


def test_number_whose_author_died_is_skipped_once_it_is_abandoned(
    fresh: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from shared.warehouse import claims

    tenant_id = fresh()
    assert claims.win(f"credentials--{tenant_id}--1", "somebody who died")

    monkeypatch.setattr(credential_log, "_SETTLE_SECONDS", 0.3)
    with pytest.raises(ConflictError, match="Ask again in a moment") as caught:
        store(tenant_id)
    assert caught.value.retry_after_seconds
    monkeypatch.setattr(credential_log, "_ABANDONED_SECONDS", 0.0)
    store(tenant_id)
    assert [row["revision"] for row in log_of(tenant_id)] == [2]


def test_rotation_rewraps_without_touching_the_ciphertext(
    fresh: Callable[[], str], own_key: str
) -> None:
    tenant_id = fresh()
    untouched, credential_id = store(tenant_id, name="left behind"), store(tenant_id)
    before = json.loads(log_of(tenant_id)[-1]["encrypted_credentials"])
    old = rotate(own_key)

    assert credentials.open_credential(tenant_id, credential_id) == aws_role()
    primary = crypto.primary_version()
    assert credential_rotation.rewrap(
        tenant_id, credential_id, primary=primary, changed_by="rotation"
    )

    after = json.loads(log_of(tenant_id)[-1]["encrypted_credentials"])
    assert (after["ciphertext"], after["nonce"]) == (before["ciphertext"], before["nonce"])
    assert after["wrapped_key"] != before["wrapped_key"]
    assert after["key_version"] == primary != old
    kms_client().destroy_crypto_key_version(name=old)
    assert credentials.open_credential(tenant_id, credential_id) == aws_role()
    with pytest.raises(DecryptionError):
        credentials.open_credential(tenant_id, untouched)


def test_deleted_and_replaced_secrets_are_overwritten_and_nothing_else(
    fresh: Callable[[], str],
) -> None:
    tenant_id, neighbour = fresh(), fresh()
    kept = store(tenant_id, name="kept")
    deleted = store(tenant_id, name="deleted")
    others = store(neighbour)
    credentials.replace(
        tenant_id, kept, content(fields=aws_keys(), name="kept"), changed_by="alice"
    )
    credentials.destroy(tenant_id, deleted, destroyed_by="alice")
    before = log_of(tenant_id)

    assert credential_erasure.erase(tenant_id) == 0  # BigQuery still protects these rows
    assert credential_erasure.erase(tenant_id, older_than=timedelta(0)) == 2
    assert credential_erasure.erase(tenant_id, older_than=timedelta(0)) == 0

    after = log_of(tenant_id)
    sealed = [row["credential_id"] for row in after if row["encrypted_credentials"]]
    assert sealed == [kept]
    gone = {"encrypted_credentials": None, "kms_key_version": None}
    assert [row | gone for row in before] == [row | gone for row in after]
    assert credentials.open_credential(tenant_id, kept) == aws_keys()
    assert credentials.open_credential(neighbour, others) == aws_role()


def test_dataset_is_made_where_it_is_missing(fresh: Callable[[], str]) -> None:
    tenant_id = fresh()

    assert credentials.ensure_dataset(tenant_id) == "CREATED"
    assert credentials.ensure_dataset(tenant_id) == "EXISTS"
