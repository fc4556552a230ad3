"""A tenant's keys over time: made, listed, rotated with a period of grace, revoked.

Every change appends a row to `tenants.tenant_api_keys_log`; a key in the clear leaves this module
once, in the answer to the request that made it.
"""

import uuid
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic import Field

from shared.errors import AccessDeniedError, ConflictError, NotFoundError
from shared.models import Model
from shared.tenancy import api_keys
from shared.warehouse import rows
from shared.warehouse.queries import query
from shared.warehouse.rows import Row

DEFAULT_GRACE = timedelta(hours=24)
MAX_LISTED = 500
ROTATION_LEASE_SECONDS = 30.0
VIEW = "tenants.tenant_api_keys"
_STATE = (
    "tenant_id, api_key_id, name, key_hash, key_prefix, encrypted_key, scopes, is_active,"
    " created_at, created_by, expires_at, revoked_at, revoked_reason, replaced_by"
)
"""What every row of a key's log repeats."""


class KeyInfo(Model):
    """A key as it may be shown: never the key itself."""

    api_key_id: str
    name: str | None = None
    key_prefix: str | None = Field(
        default=None, description="First characters, to recognise the key by."
    )
    scopes: tuple[str, ...] = Field(
        default=(), description="What the key allows: read, run, manage; empty means all."
    )
    is_active: bool = Field(description="False once the key is revoked or has expired.")
    created_at: datetime | None = None
    created_by: str | None = None
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    last_used_at: datetime | None = Field(default=None, description="Exact to about an hour.")
    replaced_by: str | None = Field(
        default=None, description="The key that rotation put in its place."
    )


class NewKey(KeyInfo):
    """A key that has just been made."""

    api_key: str = Field(
        repr=False,
        description="Goes into X-API-Key. Store it: it cannot be shown again.",
    )


class EscalationError(AccessDeniedError):
    """Somebody asks for a key that opens more than his own."""

    code = "scope-escalation"

    def __init__(self, missing: Sequence[str]) -> None:
        self.missing = tuple(missing)
        super().__init__(
            f"A key can only pass on what it allows itself; yours lacks {', '.join(missing)}."
            " Leave them out, or use a key that has them."
        )


def check_scopes(wanted: Sequence[str], own: Sequence[str]) -> None:
    """Refuse a key with `wanted` to somebody whose key has `own`; empty means every scope.

    Raises:
        EscalationError: names what is missing.
    """
    missing = [scope for scope in wanted or api_keys.SCOPES if own and scope not in own]
    if missing:
        raise EscalationError(missing)


def create(
    tenant_id: str,
    *,
    name: str,
    scopes: Sequence[str],
    expires_at: datetime | None,
    created_by: str,
) -> NewKey:
    """Make a key.

    Raises:
        Retryable: not now; nothing usable is left behind.
    """
    minted = api_keys.mint(
        tenant_id, name=name, created_by=created_by, scopes=scopes, expires_at=expires_at
    )
    return NewKey(
        api_key=minted.secret,
        api_key_id=minted.api_key_id,
        name=name,
        key_prefix=minted.key_prefix,
        scopes=tuple(scopes),
        is_active=True,
        created_at=minted.created_at,
        created_by=created_by,
        expires_at=expires_at,
    )


def listed(tenant_id: str) -> list[KeyInfo]:
    """The tenant's keys, newest first, revoked and expired ones among them.

    Raises:
        WarehouseBusyError: not now.
    """
    fields = ", ".join(KeyInfo.model_fields)
    found = rows.read(
        query(
            f"SELECT {fields} FROM `{VIEW}` WHERE tenant_id = @tenant_id"  # noqa: S608 - own names
            f" ORDER BY created_at DESC, api_key_id LIMIT {MAX_LISTED}",
            tenant_id=tenant_id,
        )
    )
    return [KeyInfo.model_validate(row) for row in found]


def rotate(
    tenant_id: str,
    api_key_id: str,
    *,
    grace: timedelta,
    rotated_by: str,
    own_scopes: Sequence[str] = (),
) -> NewKey:
    """A new key with the name, scopes and life span of an old one, which ends after `grace`.

    Raises:
        NotFoundError: the tenant has no such key.
        ConflictError: the key is revoked, expired or rotated already, or is being rotated now.
        EscalationError: the key allows more than `own_scopes`.
        Retryable: not now; the old key is as it was, a new one was shown to nobody.
    """
    from shared.warehouse import claims
    from shared.warehouse.claims import ClaimHeldError

    old = state_of(tenant_id, api_key_id)
    check_scopes(old["scopes"], own_scopes)
    try:
        claims.take(rotation_claim(api_key_id), str(uuid.uuid4()), ROTATION_LEASE_SECONDS)
    except ClaimHeldError as error:
        raise ConflictError(
            f"Key {api_key_id} is being rotated by another request.",
            retry_after_seconds=error.retry_after_seconds,
        ) from None
    old = state_of(tenant_id, api_key_id)
    _refuse_to_rotate(old)
    now = datetime.now(UTC)
    life = old["expires_at"] - old["created_at"] if old["expires_at"] else None
    new = create(
        tenant_id,
        name=old["name"] or "rotated",
        scopes=old["scopes"],
        expires_at=now + life if life else None,
        created_by=rotated_by,
    )
    ends = now + grace
    old["expires_at"] = min(ends, old["expires_at"]) if old["expires_at"] else ends
    append({**old, "replaced_by": new.api_key_id}, rotated_by)
    return new


def _refuse_to_rotate(old: dict[str, Any]) -> None:
    if old["replaced_by"]:
        raise ConflictError(
            f"Key {old['api_key_id']} was rotated already; its successor is {old['replaced_by']}."
        )
    if not old["is_active"]:
        raise ConflictError(
            f"Key {old['api_key_id']} is revoked or has expired. Create a new one instead."
        )


def revoke(tenant_id: str, api_key_id: str, *, revoked_by: str, reason: str) -> KeyInfo:
    """End a key for good. Every process honours it within a minute, this one at once.

    Revoking it again changes nothing.

    Raises:
        NotFoundError: the tenant has no such key.
        WarehouseBusyError: not now; ask again.
    """
    state = state_of(tenant_id, api_key_id)
    if state["revoked_at"] is None:
        state = _revoked(state, reason)
        append(state, revoked_by)
    return KeyInfo.model_validate(
        {name: state[name] for name in KeyInfo.model_fields if name in state}
    )


def revoke_all(tenant_id: str, *, revoked_by: str, reason: str) -> int:
    """End every key of the tenant; how many still were not revoked.

    Raises:
        WarehouseBusyError: not now; ask again.
    """
    states = rows.read(
        query(
            f"SELECT {_STATE} FROM `{VIEW}`"  # noqa: S608 - own names
            " WHERE tenant_id = @tenant_id AND revoked_at IS NULL",
            tenant_id=tenant_id,
        )
    )
    for state in states:
        append(_revoked(state, reason), revoked_by)
    return len(states)


def _revoked(state: dict[str, Any], reason: str) -> dict[str, Any]:
    now = datetime.now(UTC)
    return {**state, "is_active": False, "revoked_at": now, "revoked_reason": reason}


def rotation_claim(api_key_id: str) -> str:
    """Who replaces the key or its envelope takes this claim first."""
    return f"rotate--{api_key_id}"


def state_of(tenant_id: str, api_key_id: str) -> dict[str, Any]:
    """What every row of the key's log repeats, as it is now.

    Raises:
        NotFoundError: the tenant has no such key.
        WarehouseBusyError: not now.
    """
    found = rows.read(
        query(
            f"SELECT {_STATE} FROM `{VIEW}`"  # noqa: S608 - own names
            " WHERE tenant_id = @tenant_id AND api_key_id = @api_key_id",
            tenant_id=tenant_id,
            api_key_id=api_key_id,
        )
    )
    if not found:
        raise NotFoundError("API key", api_key_id)
    return found[0]


def append(values: dict[str, Any], recorded_by: str) -> None:
    """Record a new state of a key.

    Raises:
        WarehouseBusyError: not now; nothing is known of the row.
    """
    row = {**values, "recorded_by": recorded_by, **rows.stamp()}
    rows.append(api_keys.LOG, [Row(str(uuid.uuid4()), row)])
    api_keys.forget(values["key_hash"])
