"""What may be shown of credentials. Light to import: the API's routes declare these."""

from datetime import datetime
from typing import Literal

from pydantic import Field

from shared.models import Model

Provider = Literal["GCP", "AWS", "AZURE"]
RequestStatus = Literal["PENDING", "COMPLETED", "FAILED"]


class Credential(Model):
    """A credential as it may be shown: never the secret."""

    credential_id: str = Field(examples=["3f0a8a52-7f43-4a0e-9d0b-0a4f5d5f7c11"])
    tenant_id: str
    provider: Provider = Field(examples=["AWS"])
    credential_type: str = Field(description="Kind of secret.", examples=["role_arn"])
    name: str = Field(description="What the tenant calls it.", examples=["billing reader"])
    context: dict[str, str] = Field(
        description="What is no secret, to recognise it by.",
        examples=[{"account_id": "123456789012"}],
    )
    is_active: bool = Field(description="False: no run may use it.")
    validation_status: str = Field(
        description="UNCHECKED, VALID or INVALID, as of `last_validated_at`.",
        examples=["UNCHECKED"],
    )
    validation_error: str | None = Field(default=None, examples=[None])
    last_validated_at: datetime | None = None
    created_at: datetime
    created_by: str | None = None
    updated_at: datetime
    updated_by: str | None = Field(default=None, examples=["alice_uuid_123"])


class CredentialRequest(Model):
    """A queued request as it stands."""

    request_id: str = Field(examples=["f47ac10b-58cc-4372-a567-0e02b2c3d479"])
    tenant_id: str
    provider: Provider = Field(examples=["AWS"])
    status: RequestStatus = Field(examples=["COMPLETED"])
    credential_id: str | None = Field(
        default=None,
        description="The credential, once COMPLETED.",
        examples=["3f0a8a52-7f43-4a0e-9d0b-0a4f5d5f7c11"],
    )
    error: str | None = Field(
        default=None, description="Why it FAILED, and what to do.", examples=[None]
    )
    requested_at: datetime
    finished_at: datetime | None = None
