"""Keys from their minting to their revocation, against KMS, Secret Manager and BigQuery."""

import uuid
from collections.abc import Callable

import pytest

from shared.crypto import unseal
from shared.errors import UnauthenticatedError
from shared.expiring import ExpiringCache
from shared.tenancy import api_keys
from shared.warehouse import rows
from shared.warehouse.queries import query
from shared.warehouse.rows import Row
from tests.component.conftest import Cloud

pytestmark = pytest.mark.usefixtures("central")


class Clock:
    """The clock of the cache of keys."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """An empty cache whose time stands still until a test moves it."""
    clock = Clock()
    cache: ExpiringCache[str, api_keys.ApiKey | None] = ExpiringCache(60, clock=clock)
    monkeypatch.setattr(api_keys, "_cache", cache)
    return clock


def mint(tenant_id: str) -> api_keys.MintedKey:
    return api_keys.mint(tenant_id, name="test", created_by="somebody")


def queries(cloud: Cloud) -> int:
    return cloud.calls().get("jobs.query", 0)


def stored(key: api_keys.MintedKey) -> dict[str, object]:
    (row,) = rows.read(
        query("SELECT * FROM `tenants.tenant_api_keys` WHERE api_key_id = @id", id=key.api_key_id)
    )
    return row


def change(key: api_keys.MintedKey, **values: object) -> None:
    """Append another state of the key, as revoking does."""
    before = stored(key)
    rows.append(
        "tenants.tenant_api_keys_log",
        [Row(str(uuid.uuid4()), {**before, "last_used_at": None, **values, **rows.stamp()})],
    )


def test_minted_key_is_its_tenants_at_once(fresh: Callable[[], str]) -> None:
    tenant_id = fresh()
    minted = mint(tenant_id)

    key = api_keys.verify(minted.secret)

    assert (key.tenant_id, key.api_key_id) == (tenant_id, minted.api_key_id)
    assert key.scopes == api_keys.SCOPES


def test_stored_envelope_opens_for_the_tenant_and_nothing_is_stored_in_the_clear(
    fresh: Callable[[], str],
) -> None:
    tenant_id = fresh()
    minted = mint(tenant_id)

    row = stored(minted)

    assert unseal(row["encrypted_key"], tenant_id).decode() == minted.secret  # type: ignore[arg-type]
    assert minted.secret not in repr(row)


def test_known_key_is_looked_up_once_a_minute(
    fresh: Callable[[], str], clock: Clock, cloud: Cloud
) -> None:
    secret = mint(fresh()).secret
    api_keys.verify(secret)
    before = queries(cloud)

    for _ in range(10):
        api_keys.verify(secret)
    assert queries(cloud) == before
    clock.now = 61
    api_keys.verify(secret)
    assert queries(cloud) == before + 1


def test_forged_key_costs_no_query(fresh: Callable[[], str], cloud: Cloud) -> None:
    secret = mint(fresh()).secret
    before = queries(cloud)

    for forged in (secret[:-1] + ("a" if secret[-1] != "a" else "b"), secret.swapcase(), "x"):
        with pytest.raises(UnauthenticatedError):
            api_keys.verify(forged)

    assert queries(cloud) == before


def test_revocation_is_honoured_within_a_minute_and_final(
    fresh: Callable[[], str], clock: Clock
) -> None:
    minted = mint(fresh())
    api_keys.verify(minted.secret)

    change(minted, is_active=False, revoked_at=rows.stamp()["recorded_at"])
    clock.now = 61
    with pytest.raises(UnauthenticatedError):
        api_keys.verify(minted.secret)

    change(minted, is_active=True, revoked_at=None)
    clock.now = 122
    with pytest.raises(UnauthenticatedError):
        api_keys.verify(minted.secret)


def test_expired_key_is_refused(fresh: Callable[[], str], clock: Clock) -> None:
    minted = mint(fresh())
    change(minted, expires_at=rows.stamp()["recorded_at"])

    with pytest.raises(UnauthenticatedError):
        api_keys.verify(minted.secret)


def test_other_keys_of_the_tenant_outlive_a_revocation(fresh: Callable[[], str]) -> None:
    tenant_id = fresh()
    revoked, kept = mint(tenant_id), mint(tenant_id)

    change(revoked, is_active=False, revoked_at=rows.stamp()["recorded_at"])

    assert api_keys.verify(kept.secret).api_key_id == kept.api_key_id
