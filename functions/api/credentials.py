"""Cloud provider credentials of a tenant: stored at once or by way of a queue, checked, destroyed.

No answer of these routes holds anything of a secret, and neither do their errors.
"""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field

from shared.http import auth
from shared.http.auth import Caller
from shared.http.inputs import idempotency_key
from shared.http.routes import Route
from shared.models import Model
from shared.tenancy import tenants
from shared.tenancy.credential_views import Credential, CredentialRequest, Provider

# The modules behind these routes are imported by them: few requests need cryptography and shapes.


def _upper(name: object) -> object:
    return name.upper() if isinstance(name, str) else name


class _AnyShape:
    """Describes the shapes of credentials to whoever reads the API's description."""

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: Any, handler: Any) -> dict[str, Any]:
        from shared.tenancy.credential_models import json_schemas

        plain: dict[str, Any] = handler(core_schema)
        return {"description": plain.get("description", ""), "anyOf": json_schemas()}


class CredentialBody(Model):
    """A credential to store."""

    model_config = ConfigDict(hide_input_in_errors=True)

    provider: Annotated[Provider, BeforeValidator(_upper)] = Field(
        description="Whose credential it is, in any case.", examples=["AWS"]
    )
    name: str = Field(
        default="default",
        min_length=1,
        max_length=100,
        pattern=r"^[^\x00-\x1f\x7f]*$",
        description="What you call it; one name a provider.",
        examples=["billing reader"],
    )
    is_active: bool = Field(
        default=True, strict=True, description="False: stored, but no run may use it."
    )
    credentials: Annotated[dict[str, Any], _AnyShape] = Field(
        repr=False,
        description="GCP: a service account's JSON key, or workload identity federation. AWS:"
        " `role_arn` with an `external_id` that begins with the tenant's ID and a colon, or access"
        " keys. Azure: `tenant_id` and `client_id` with `client_secret` or `federated_token`. It is"
        " encrypted and never shown again.",
        examples=[
            {
                "role_arn": "arn:aws:iam::123456789012:role/CostReader",
                "external_id": "acme_corp:7f3b",
            }
        ],
    )


class StoredCredential(Credential):
    """A credential that was just stored."""

    action: Literal["CREATED", "UPDATED"]
    dataset_status: Literal["CREATED", "EXISTS"] = Field(
        description="Whether the tenant's dataset was there already."
    )


class DeletedCredential(Credential):
    """A credential that is gone, as it was."""

    action: Literal["DELETED"]


class Credentials(Model):
    """The credentials of a tenant, newest first."""

    credentials: tuple[Credential, ...]


class FoundProblem(Model):
    """Something that is wrong with a stored credential."""

    pointer: str = Field(description="The field.", examples=["/credentials/private_key"])
    detail: str = Field(description="What is wrong with it.", examples=["does not sign"])


class ValidatedCredential(Credential):
    """What a check found."""

    checked: Literal["shape", "provider"] = Field(
        description="`shape`: what can be known without the provider; `provider`: it was asked.",
        examples=["provider"],
    )
    problems: tuple[FoundProblem, ...]


def create(tenant_id: str, body: CredentialBody) -> StoredCredential:
    """Store a credential of a cloud provider, encrypted.

    One of the same provider and name is replaced, and keeps its ID: `action` is then `UPDATED`.
    The plan limits how many providers may have active credentials.
    """
    from shared.tenancy import credentials

    caller = _writer(tenant_id)
    content = _content(caller.tenant_id, body)
    dataset_status = credentials.ensure_dataset(caller.tenant_id)
    stored = credentials.store(caller.tenant_id, content, stored_by=caller.name)
    return StoredCredential(
        **stored.credential.model_dump(), action=stored.action, dataset_status=dataset_status
    )


def listed(tenant_id: str) -> Credentials:
    """The tenant's credentials, newest first, never their secrets; at most 100."""
    from shared.tenancy import credentials

    found = credentials.listed(auth.caller_for(tenant_id).tenant_id)
    return Credentials(credentials=tuple(found))


def get(tenant_id: str, credential_id: str) -> Credential:
    """One credential, never its secret."""
    from shared.tenancy import credentials

    return credentials.get(auth.caller_for(tenant_id).tenant_id, credential_id)


def replace(tenant_id: str, credential_id: str, body: CredentialBody) -> Credential:
    """Put another secret, name or state in the credential's place; the provider stays.

    Runs that begin after it use the new secret.
    """
    from shared.tenancy import credentials

    caller = _writer(tenant_id)
    return credentials.replace(
        caller.tenant_id, credential_id, _content(caller.tenant_id, body), changed_by=caller.name
    )


def delete(tenant_id: str, credential_id: str) -> DeletedCredential:
    """Destroy the credential for good and show it as it was."""
    from shared.tenancy import credentials

    caller = auth.caller_for(tenant_id)
    found = credentials.destroy(caller.tenant_id, credential_id, destroyed_by=caller.name)
    return DeletedCredential(**found.model_dump(), action="DELETED")


def validate(tenant_id: str, credential_id: str) -> ValidatedCredential:
    """Check a stored credential; `checked` says whether its provider was asked.

    The credential worker asks the provider: Google and Entra for a token, AWS whose keys they are.
    The result is kept with the credential. One that fails is still a 200: `validation_status` and
    `problems` tell. A 503 says that the provider takes its time; ask again, or look at the
    credential later.
    """
    from shared.engine import credential_validation

    caller = auth.caller_for(tenant_id)
    done = credential_validation.validate(caller.tenant_id, credential_id, validated_by=caller.name)
    return ValidatedCredential(
        **done.credential.model_dump(),
        checked=done.finding.checked,
        problems=tuple(
            FoundProblem(pointer=found.pointer, detail=found.problem)
            for found in done.finding.problems
        ),
    )


def enqueue(tenant_id: str, body: CredentialBody) -> CredentialRequest:
    """Accept a credential now and store it a moment later.

    Its fields are checked before it is accepted; it is encrypted before it enters the queue. Ask
    for the `request_id` to see how it ended.
    """
    from shared.engine import credential_requests

    caller = _writer(tenant_id)
    return credential_requests.enqueue(
        caller.tenant_id,
        _content(caller.tenant_id, body),
        requested_by=caller.name,
        idempotency_key=idempotency_key(),
    )


def queued(tenant_id: str, request_id: str) -> CredentialRequest:
    """How a queued request stands."""
    from shared.engine import credential_requests

    return credential_requests.get(auth.caller_for(tenant_id).tenant_id, request_id)


def _writer(tenant_id: str) -> Caller:
    """The caller, whose tenant may store credentials."""
    from shared.tenancy import credentials

    caller = auth.caller_for(tenant_id)
    credentials.check_tenant(tenants.profile(caller.tenant_id))
    return caller


def _content(tenant_id: str, body: CredentialBody) -> Any:
    from shared.tenancy.credential_content import Content
    from shared.tenancy.credential_models import parse_for

    return Content(
        provider=body.provider,
        name=body.name,
        is_active=body.is_active,
        shape=parse_for(tenant_id, body.provider, body.credentials),
    )


_CREDENTIALS = "/api/v1/tenants/{tenant_id}/credentials"
_CREDENTIAL = f"{_CREDENTIALS}/{{credential_id}}"
_ID = {"credential_id": "ID that storing the credential answered."}
_REQUEST = {"request_id": "ID that queueing the credential answered."}

ROUTES = (
    Route(
        "POST",
        _CREDENTIALS,
        create,
        "Store a credential",
        StoredCredential,
        status=201,
        body=CredentialBody,
        action="credential.create",
        resource="credential_id",
        problems=(404, 409),
        tag="credentials",
    ),
    Route("GET", _CREDENTIALS, listed, "List credentials", Credentials, tag="credentials"),
    Route(
        "GET",
        _CREDENTIAL,
        get,
        "One credential",
        Credential,
        problems=(404,),
        tag="credentials",
        path_descriptions=_ID,
    ),
    Route(
        "PUT",
        _CREDENTIAL,
        replace,
        "Replace a credential",
        Credential,
        body=CredentialBody,
        action="credential.update",
        resource="credential_id",
        problems=(404, 409),
        tag="credentials",
        path_descriptions=_ID,
    ),
    Route(
        "DELETE",
        _CREDENTIAL,
        delete,
        "Delete a credential",
        DeletedCredential,
        action="credential.delete",
        resource="credential_id",
        problems=(404, 409),
        tag="credentials",
        path_descriptions=_ID,
    ),
    Route(
        "POST",
        f"{_CREDENTIAL}/validate",
        validate,
        "Check a credential",
        ValidatedCredential,
        action="credential.validate",
        resource="credential_id",
        problems=(404, 409),
        tag="credentials",
        path_descriptions=_ID,
    ),
    Route(
        "POST",
        f"{_CREDENTIALS}/queue",
        enqueue,
        "Queue a credential",
        CredentialRequest,
        status=202,
        body=CredentialBody,
        action="credential.queue",
        resource="request_id",
        headers={"Idempotency-Key": "Names the request: the same key of a tenant stores it once."},
        problems=(404, 409),
        tag="credentials",
    ),
    Route(
        "GET",
        f"{_CREDENTIALS}/queue/{{request_id}}",
        queued,
        "A queued credential's state",
        CredentialRequest,
        problems=(404,),
        tag="credentials",
        path_descriptions=_REQUEST,
    ),
)
