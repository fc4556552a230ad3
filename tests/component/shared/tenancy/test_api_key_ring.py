"""Keys over time, against KMS, Secret Manager and BigQuery."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from shared.errors import ConflictError, NotFoundError, UnauthenticatedError
from shared.expiring import ExpiringCache
from shared.tenancy import api_key_ring, api_keys
from shared.tenancy.api_key_ring import EscalationError, KeyInfo, NewKey
from shared.warehouse import rows
from shared.warehouse.queries import query
from tests.component.conftest import Cloud

pytestmark = pytest.mark.usefixtures("central")
ALL = ("read", "run", "manage")
HOUR = timedelta(hours=1)


@pytest.fixture(autouse=True)
def _no_memory(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every verification asks the store."""
    cache: ExpiringCache[str, api_keys.ApiKey | None] = ExpiringCache(0)
    monkeypatch.setattr(api_keys, "_cache", cache)
    return


@pytest.fixture
def owner(fresh: Callable[[], str]) -> str:
    return fresh()


def create(owner: str, **changes: Any) -> NewKey:
    values: dict[str, Any] = {
        "name": "reports", "scopes": ALL, "expires_at": None, "created_by": "alice",
    }  # fmt: skip
    return api_key_ring.create(owner, **(values | changes))


def shown(owner: str, key: KeyInfo) -> KeyInfo:
    return next(k for k in api_key_ring.listed(owner) if k.api_key_id == key.api_key_id)


def opens(key: NewKey) -> bool:
    try:
        api_keys.verify(key.api_key)
    except UnauthenticatedError:
        return False
    return True


def log_rows(key: KeyInfo) -> int:
    sql = "SELECT COUNT(*) AS n FROM `tenants.tenant_api_keys_log` WHERE api_key_id = @id"
    count: int = rows.read(query(sql, id=key.api_key_id))[0]["n"]
    return count


def test_made_key_opens_and_is_listed_without_itself(owner: str) -> None:
    key = create(owner, scopes=("read",))

    assert api_keys.verify(key.api_key).scopes == ("read",)
    found = shown(owner, key)
    assert (found.name, found.scopes, found.is_active) == ("reports", ("read",), True)
    assert key.api_key.startswith(str(found.key_prefix))
    assert key.api_key not in repr(key)
    assert key.api_key not in found.model_dump_json()


def test_keys_of_others_are_not_listed(owner: str, fresh: Callable[[], str]) -> None:
    create(fresh())

    assert api_key_ring.listed(owner) == []


def test_expired_key_is_refused_like_an_unknown_one(owner: str) -> None:
    key = create(owner, expires_at=datetime.now(UTC) - timedelta(seconds=1))

    with pytest.raises(UnauthenticatedError) as expired:
        api_keys.verify(key.api_key)

    assert str(expired.value) == str(UnauthenticatedError())
    assert shown(owner, key).is_active is False


def test_use_is_marked_once_an_hour_and_changes_nothing_else(owner: str) -> None:
    key = create(owner, expires_at=datetime.now(UTC) + HOUR)

    for _ in range(3):
        assert opens(key)

    found = shown(owner, key)
    assert found.last_used_at is not None
    assert found.expires_at == key.expires_at
    assert found.name == "reports"
    assert log_rows(key) == 2


def test_late_mark_of_use_does_not_bring_a_revoked_key_back(owner: str) -> None:
    key = create(owner)
    stale = api_keys._find(api_keys._hash(key.api_key))
    api_key_ring.revoke(owner, key.api_key_id, revoked_by="bob", reason="test")
    assert stale is not None

    api_keys._mark_use(stale.model_copy(update={"last_used_at": None}))

    assert not opens(key)
    assert shown(owner, key).is_active is False


def test_mark_that_cannot_be_written_refuses_nobody(owner: str, cloud: Cloud) -> None:
    key = create(owner)
    cloud.fail("tabledata.insertAll", times=100, status=403, reason="accessDenied")

    assert opens(key)


def test_rotated_key_lives_its_grace_and_its_successor_inherits(owner: str) -> None:
    old = create(owner, scopes=("read", "run"), expires_at=datetime.now(UTC) + 10 * HOUR)

    new = api_key_ring.rotate(owner, old.api_key_id, grace=HOUR, rotated_by="bob")

    assert opens(old)
    assert opens(new)
    assert (new.name, new.scopes) == ("reports", ("read", "run"))
    assert new.expires_at is not None
    assert abs(new.expires_at - datetime.now(UTC) - 10 * HOUR) < timedelta(minutes=1)
    found = shown(owner, old)
    assert found.replaced_by == new.api_key_id
    assert found.expires_at is not None
    assert abs(found.expires_at - datetime.now(UTC) - HOUR) < timedelta(minutes=1)


def test_rotation_without_grace_ends_the_old_key_at_once(owner: str) -> None:
    old = create(owner)

    new = api_key_ring.rotate(owner, old.api_key_id, grace=timedelta(0), rotated_by="bob")

    assert not opens(old)
    assert opens(new)


def test_rotation_never_prolongs_the_old_key(owner: str) -> None:
    soon = datetime.now(UTC) + timedelta(minutes=5)
    old = create(owner, expires_at=soon)

    api_key_ring.rotate(owner, old.api_key_id, grace=24 * HOUR, rotated_by="bob")

    assert shown(owner, old).expires_at == soon


def test_key_is_rotated_once_however_many_ask(owner: str) -> None:
    old = create(owner)

    def rotate(_: int) -> NewKey | None:
        try:
            return api_key_ring.rotate(owner, old.api_key_id, grace=HOUR, rotated_by="bob")
        except ConflictError:
            return None

    with ThreadPoolExecutor(8) as pool:
        made = [key for key in pool.map(rotate, range(8)) if key]

    assert len(made) == 1
    assert len(api_key_ring.listed(owner)) == 2


@pytest.mark.parametrize("how", ["revoked", "expired", "rotated"])
def test_key_that_is_over_is_not_rotated(how: str, owner: str) -> None:
    ends = datetime.now(UTC) - HOUR if how == "expired" else None
    key = create(owner, expires_at=ends)
    if how == "revoked":
        api_key_ring.revoke(owner, key.api_key_id, revoked_by="bob", reason="test")
    if how == "rotated":
        api_key_ring.rotate(owner, key.api_key_id, grace=HOUR, rotated_by="bob")

    with pytest.raises(ConflictError):
        api_key_ring.rotate(owner, key.api_key_id, grace=HOUR, rotated_by="bob")


def test_revoking_twice_changes_nothing_more(owner: str) -> None:
    key = create(owner)
    first = api_key_ring.revoke(owner, key.api_key_id, revoked_by="bob", reason="test")

    second = api_key_ring.revoke(owner, key.api_key_id, revoked_by="eve", reason="test")

    assert first.revoked_at == second.revoked_at
    assert not opens(key)
    assert log_rows(key) == 2


def test_all_keys_of_a_tenant_end_together(owner: str, fresh: Callable[[], str]) -> None:
    keys = [create(owner) for _ in range(3)]
    other = create(fresh())

    assert api_key_ring.revoke_all(owner, revoked_by="admin", reason="offboarded") == 3
    assert api_key_ring.revoke_all(owner, revoked_by="admin", reason="offboarded") == 0

    assert not any(opens(key) for key in keys)
    assert opens(other)


def test_key_of_another_tenant_is_not_found(owner: str, fresh: Callable[[], str]) -> None:
    key = create(fresh())

    with pytest.raises(NotFoundError):
        api_key_ring.revoke(owner, key.api_key_id, revoked_by="bob", reason="test")
    with pytest.raises(NotFoundError):
        api_key_ring.rotate(owner, key.api_key_id, grace=HOUR, rotated_by="bob")
    assert opens(key)


@pytest.mark.parametrize(
    ("wanted", "own"), [(ALL, ("manage",)), ((), ("manage",)), (("run",), ("read", "manage"))]
)
def test_scopes_beyond_ones_own_are_refused(wanted: tuple[str, ...], own: tuple[str, ...]) -> None:
    with pytest.raises(EscalationError) as refused:
        api_key_ring.check_scopes(wanted, own)

    assert not set(refused.value.missing) & set(own)


@pytest.mark.parametrize(("wanted", "own"), [(ALL, ()), (ALL, ALL), (("read",), ("read", "run"))])
def test_scopes_of_ones_own_may_be_passed_on(wanted: tuple[str, ...], own: tuple[str, ...]) -> None:
    api_key_ring.check_scopes(wanted, own)


def test_key_that_allows_more_is_not_rotated_by_one_that_allows_less(owner: str) -> None:
    key = create(owner)

    with pytest.raises(EscalationError):
        api_key_ring.rotate(
            owner, key.api_key_id, grace=HOUR, rotated_by="bob", own_scopes=("manage",)
        )
    assert len(api_key_ring.listed(owner)) == 1
