"""What a credential is: as a request brings it, sealed, as a row, and as it may be shown."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from shared import crypto
from shared.errors import ConflictError, Permanent
from shared.tenancy.credential_log import State
from shared.tenancy.credential_shapes import Shape
from shared.tenancy.credential_views import Credential, Provider


@dataclass(frozen=True)
class Content:
    """What a request wants stored."""

    provider: Provider
    name: str
    is_active: bool
    shape: Shape = field(repr=False)

    @property
    def secret(self) -> bytes:
        """What is sealed."""
        return self.shape.model_dump_json(exclude_none=True).encode()


@dataclass(frozen=True)
class Sealed:
    """Content whose secret is sealed for `{tenant_id}/{credential_id}`."""

    tenant_id: str
    credential_id: str
    provider: Provider
    name: str
    is_active: bool
    credential_type: str
    context: Mapping[str, str]
    envelope: bytes = field(repr=False)


@dataclass(frozen=True)
class Stored:
    """A credential that was stored, and whether it is new."""

    credential: Credential
    action: Literal["CREATED", "UPDATED"]


class ProvidersLimitError(ConflictError):
    """The plan allows no further provider."""

    code = "providers-limit"

    def __init__(self, plan: str, limit: int, providers: Sequence[str], wanted: str) -> None:
        self.limit = limit
        self.providers = tuple(providers)
        super().__init__(
            f"Plan {plan} allows active credentials of {limit} cloud"
            f" provider{'s' if limit != 1 else ''}; you have {', '.join(providers)}. To add"
            f" {wanted}, upgrade the plan, or delete or switch off the credentials of another one."
        )


class CredentialInactiveError(Permanent):
    """The tenant has switched the credential off."""

    code = "credential-inactive"

    def __init__(self, credential_id: str) -> None:
        super().__init__(f"Credential {credential_id} is switched off. Set is_active to use it.")


class RequestDoneError(Permanent):
    """A queued request stored its credential before."""

    code = "request-done"

    def __init__(self, request_id: str) -> None:
        super().__init__(f"Request {request_id} is done already.")


def seal(tenant_id: str, credential_id: str, content: Content) -> Sealed:
    """The content with its secret in an envelope that only this credential opens.

    Raises:
        Retryable: KMS does not answer.
    """
    return Sealed(
        tenant_id=tenant_id,
        credential_id=credential_id,
        provider=content.provider,
        name=content.name,
        is_active=content.is_active,
        credential_type=content.shape.kind,
        context=content.shape.context(),
        envelope=crypto.seal(content.secret, owner_of(tenant_id, credential_id)),
    )


def owner_of(tenant_id: str, credential_id: str) -> str:
    """Whom the envelope is sealed for: the additional authenticated data of both its layers."""
    return f"{tenant_id}/{credential_id}"


def for_credential(sealed: Sealed, credential_id: str) -> Sealed:
    """The content, sealed for another credential of the same tenant where that is meant."""
    if credential_id == sealed.credential_id:
        return sealed
    secret = crypto.unseal(sealed.envelope, owner_of(sealed.tenant_id, sealed.credential_id))
    envelope = crypto.seal(secret, owner_of(sealed.tenant_id, credential_id))
    return replace(sealed, credential_id=credential_id, envelope=envelope)


def columns(sealed: Sealed) -> State:
    """The columns that new content sets."""
    return {
        "provider": sealed.provider,
        "credential_name": sealed.name,
        "credential_type": sealed.credential_type,
        "context": dict(sealed.context),
        "is_active": sealed.is_active,
        "validation_id": None,
        "validation_status": "UNCHECKED",
        "validation_error": None,
        "validation_checked": None,
        "validation_problems": None,
        "last_validated_at": None,
        **envelope_columns(sealed.envelope),
    }


def envelope_columns(envelope: bytes) -> State:
    """The columns that hold the secret."""
    return {
        "encrypted_credentials": envelope,
        "kms_key_version": crypto.wrapped_by(envelope),
    }


def shown(state: State) -> Credential:
    """What of a row may be shown."""
    return Credential(
        credential_id=state["credential_id"],
        tenant_id=state["tenant_id"],
        provider=state["provider"],
        credential_type=state["credential_type"],
        name=state["credential_name"],
        context=state["context"] or {},
        is_active=state["is_active"],
        validation_status=state["validation_status"] or "UNCHECKED",
        validation_error=state["validation_error"],
        last_validated_at=state["last_validated_at"],
        created_at=state["created_at"],
        created_by=state["created_by"],
        updated_at=state["recorded_at"],
        updated_by=state["recorded_by"],
    )
