"""API keys after a rotation of the KMS key: their envelopes wrapped by its new version.

Only of keys that still open something: the envelope of a revoked or expired one may become
unreadable along with the version that wraps it.
"""

import uuid

from shared import crypto
from shared.tenancy import api_key_ring, api_keys
from shared.tenancy.api_key_ring import ROTATION_LEASE_SECONDS, rotation_claim
from shared.warehouse import claims, rows
from shared.warehouse.queries import query


def due(primary: str) -> list[tuple[str, str]]:
    """Tenant and ID of every living key whose envelope another version than `primary` wraps.

    Raises:
        WarehouseBusyError: not now.
    """
    found = rows.read(
        query(
            f"SELECT tenant_id, api_key_id FROM `{api_key_ring.VIEW}`"  # noqa: S608 - own names
            " WHERE is_active AND encrypted_key IS NOT NULL"
            " AND IFNULL(JSON_VALUE(SAFE_CONVERT_BYTES_TO_STRING(encrypted_key), '$.key_version'),"
            " '') != @primary ORDER BY tenant_id, api_key_id",
            primary=primary,
        )
    )
    return [(row["tenant_id"], row["api_key_id"]) for row in found]


def rewrap(tenant_id: str, api_key_id: str, *, primary: str, changed_by: str) -> bool:
    """Wrap the envelope's data key by the primary version of the KMS key, if it is not yet.

    The key itself is not decrypted. For half a minute the key cannot be rotated, so that neither
    change is made of a state that the other has replaced; a revocation holds whenever it comes.

    Args:
        tenant_id: whose it is.
        api_key_id: which.
        primary: `crypto.primary_version()`.
        changed_by: for the record.

    Raises:
        NotFoundError: the tenant has no such key.
        DecryptionError: the version that wraps it is destroyed.
        ClaimHeldError: it is being rotated at this moment.
        Retryable: not now; ask again.
    """
    claims.take(rotation_claim(api_key_id), str(uuid.uuid4()), ROTATION_LEASE_SECONDS)
    state = api_key_ring.state_of(tenant_id, api_key_id)
    envelope = state["encrypted_key"]
    if not state["is_active"] or crypto.wrapped_by(envelope) == primary:
        return False
    rewrapped = crypto.rewrap(envelope, api_keys.owner_of(tenant_id))
    api_key_ring.append({**state, "encrypted_key": rewrapped}, changed_by)
    return True
