"""After a rotation of the KMS key: data keys wrapped by its new version, secrets left as they are.

Until then an old version keeps opening what it wrapped; it may be destroyed once `rewrap_all` found
nothing left to do for any tenant.
"""

from shared import crypto
from shared.tenancy import credential_log
from shared.tenancy.credential_content import envelope_columns, owner_of
from shared.tenancy.credential_log import Ledger, State


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


def rewrap_all(tenant_id: str, *, changed_by: str) -> int:
    """Re-wrap every credential of the tenant that the primary version does not wrap; how many.

    After it, old versions of the key are needed by none of the tenant's credentials. May be
    repeated.

    Raises:
        DecryptionError: a version that still wraps one is destroyed.
        ConflictError: other changes are under way.
        Retryable: not now; ask again.
    """
    primary = crypto.primary_version()
    due = [
        state["credential_id"]
        for state in credential_log.read(tenant_id).states
        if state["kms_key_version"] != primary
    ]
    return sum(rewrap(tenant_id, one, primary=primary, changed_by=changed_by) for one in due)
