"""After a rotation of the KMS key: data keys wrapped by its new version, secrets left as they are.

Until then an old version keeps opening what it wrapped; it may be destroyed once nothing is `due`.
"""

from shared import crypto
from shared.tenancy import credential_log
from shared.tenancy.credential_content import envelope_columns, owner_of
from shared.tenancy.credential_log import VIEW, Ledger, State
from shared.warehouse import rows
from shared.warehouse.queries import query


def due(primary: str) -> list[tuple[str, str]]:
    """Tenant and ID of every credential that another version than `primary` wraps.

    Raises:
        WarehouseBusyError: not now.
    """
    found = rows.read(
        query(
            f"SELECT tenant_id, credential_id FROM `{VIEW}`"  # noqa: S608 - own names
            " WHERE encrypted_credentials IS NOT NULL AND IFNULL(kms_key_version, '') != @primary"
            " ORDER BY tenant_id, credential_id",
            primary=primary,
        )
    )
    return [(row["tenant_id"], row["credential_id"]) for row in found]


def rewrap(tenant_id: str, credential_id: str, *, primary: str, changed_by: str) -> bool:
    """Wrap the credential's data key by the primary version of the KMS key, if it is not yet.

    The ciphertext of the secret stays as it is.

    Args:
        tenant_id: whose it is.
        credential_id: which.
        primary: `crypto.primary_version()`.
        changed_by: for the record.

    Raises:
        NotFoundError: the tenant has no such credential.
        DecryptionError: the version that wraps it is destroyed.
        ConflictError: other changes are under way.
        Retryable: not now; ask again.
    """

    def step(ledger: Ledger) -> State | None:
        state = ledger.find(credential_id)
        if state["kms_key_version"] == primary:
            return None
        owner = owner_of(tenant_id, credential_id)
        return {**state, **envelope_columns(crypto.rewrap(state["encrypted_credentials"], owner))}

    return bool(credential_log.change(tenant_id, step, changed_by=changed_by))
