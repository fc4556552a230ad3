"""Checking a stored credential with its provider and noting what was found."""

from dataclasses import dataclass

from shared.processors import credential_checks
from shared.processors.credential_checks import Finding
from shared.tenancy import credential_log, credentials
from shared.tenancy.credential_views import Credential

_LONGEST = 1000


@dataclass(frozen=True)
class Validation:
    """What was found, and the credential as it is after it."""

    credential: Credential
    finding: Finding


def validate(tenant_id: str, credential_id: str, *, validated_by: str) -> Validation:
    """Check a credential, active or not, and note the result with it.

    Raises:
        NotFoundError: the tenant has no such credential.
        DecryptionError: the stored envelope is not this credential's.
        ConflictError: other changes are under way.
        Retryable: not now; ask again.
    """
    state = credential_log.read(tenant_id).find(credential_id)
    finding = credential_checks.check(state["provider"], credentials.secret_of(state))
    problem = "; ".join(str(found) for found in finding.problems)[:_LONGEST] or None
    noted = credentials.record_validation(
        tenant_id, state, problem=problem, changed_by=validated_by
    )
    return Validation(noted, finding)
