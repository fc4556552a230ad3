"""Credentials by way of a queue: accepted now, stored by a worker, asked after by request ID.

The secret is sealed before it is published, so a message holds nothing that Pub/Sub's operators,
a dead-letter topic or a log could give away. A request is done once: the row of the credential it
stores is itself the note that it is done.
"""

import logging
import uuid
from base64 import b64decode, b64encode
from datetime import UTC, datetime

from pydantic import ConfigDict, Field, ValidationError

from shared.clients import publisher_client
from shared.engine.delivery import Delivery, MalformedMessageError
from shared.errors import ConflictError, NotFoundError, Permanent, Retryable
from shared.models import Model
from shared.settings import settings
from shared.telemetry import current_traceparent, log
from shared.tenancy import credential_log, credentials, tenants
from shared.tenancy.credential_content import Content, RequestDoneError, Sealed, seal
from shared.tenancy.credential_views import CredentialRequest, Provider, RequestStatus

TOPIC = "credential-requests"
_REQUEST_ID = "request_id"
_TIMEOUT_SECONDS = 30.0
_FINAL = ("COMPLETED", "FAILED")


class CredentialMessage(Model):
    """Store this credential. The secret travels as an envelope only this tenant's key opens."""

    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True)

    version: int = 1
    tenant_id: str
    request_id: str
    credential_id: str = Field(description="Its ID if none of that name exists by then.")
    provider: Provider
    name: str
    is_active: bool
    credential_type: str
    context: dict[str, str]
    envelope: str = Field(repr=False, description="Base64 of the sealed secret.")
    requested_by: str

    def sealed(self) -> Sealed:
        """What is to be stored.

        Raises:
            MalformedMessageError: the envelope is not base64.
        """
        try:
            envelope = b64decode(self.envelope, validate=True)
        except ValueError:
            raise MalformedMessageError("the envelope is not base64") from None
        return Sealed(
            tenant_id=self.tenant_id,
            credential_id=self.credential_id,
            provider=self.provider,
            name=self.name,
            is_active=self.is_active,
            credential_type=self.credential_type,
            context=self.context,
            envelope=envelope,
        )


def enqueue(
    tenant_id: str, content: Content, *, requested_by: str, idempotency_key: str | None
) -> CredentialRequest:
    """Accept a credential to be stored by the worker.

    The same `idempotency_key` names the same request: it is published again unless it is done, and
    what is stored is what arrived first.

    Raises:
        Retryable: not now. Without an idempotency key ask again; it may then be stored twice over.
    """
    request_id = _request_id(tenant_id, idempotency_key)
    known = _state(tenant_id, request_id) if idempotency_key else None
    if known and known.status in _FINAL:
        return known
    sealed = seal(tenant_id, _uuid(f"credential/{request_id}"), content)
    now = datetime.now(UTC)
    if known is None:
        pending = {"created_at": now, "created_by": requested_by, "request_status": "PENDING"}
        _note(sealed, request_id, recorded_by=requested_by, **pending)
    _publish(
        CredentialMessage(
            tenant_id=tenant_id,
            request_id=request_id,
            credential_id=sealed.credential_id,
            provider=sealed.provider,
            name=sealed.name,
            is_active=sealed.is_active,
            credential_type=sealed.credential_type,
            context=dict(sealed.context),
            envelope=b64encode(sealed.envelope).decode(),
            requested_by=requested_by,
        )
    )
    return known or CredentialRequest(
        request_id=request_id,
        tenant_id=tenant_id,
        provider=sealed.provider,
        status="PENDING",
        requested_at=now,
    )


def get(tenant_id: str, request_id: str) -> CredentialRequest:
    """How the request stands.

    Raises:
        NotFoundError: the tenant made no such request.
        WarehouseBusyError: not now.
    """
    found = _state(tenant_id, request_id)
    if found is None:
        raise NotFoundError("Credential request", request_id)
    return found


def perform(delivery: Delivery) -> None:
    """Store the credential in a delivery; safe to repeat, also at the same time.

    Raises:
        MalformedMessageError: not a message of ours.
        Retryable: deliver it again later.
    """
    message = _message(delivery)
    sealed = message.sealed()
    known = _state(message.tenant_id, message.request_id)
    if known and known.status in _FINAL:
        return
    try:
        credentials.check_tenant(tenants.profile(message.tenant_id))
        done = credentials.store_sealed(
            sealed, stored_by=message.requested_by, request_id=message.request_id
        )
    except RequestDoneError:
        return
    except Permanent as error:
        if isinstance(error, ConflictError) and error.retry_after_seconds:
            raise Retryable(str(error), retry_after_seconds=error.retry_after_seconds) from error
        _fail(message, str(error))
        return
    log(
        logging.INFO,
        "queued credential stored",
        request_id=message.request_id,
        credential_id=done.credential.credential_id,
        action=done.action,
    )


def is_one(delivery: Delivery) -> bool:
    """Whether a dead letter is a credential request."""
    return _REQUEST_ID in delivery.attributes


def bury(delivery: Delivery, attempts: str) -> None:
    """Fail the request of a message that no attempt could process.

    Raises:
        Retryable: deliver the dead letter again later.
    """
    try:
        message = _message(delivery)
    except MalformedMessageError as error:
        log(logging.ERROR, "dead credential request that nobody can read", error=str(error))
        return
    known = _state(message.tenant_id, message.request_id)
    if known is None or known.status not in _FINAL:
        _fail(
            message,
            f"The credential could not be stored in {attempts} attempts. Send the request again.",
        )


def _fail(message: CredentialMessage, error: str) -> None:
    _note(
        message.sealed(),
        message.request_id,
        recorded_by="credential-worker",
        created_by=message.requested_by,
        request_status="FAILED",
        request_error=error,
    )
    log(logging.WARNING, "queued credential refused", request_id=message.request_id, error=error)


def _note(sealed: Sealed, request_id: str, *, recorded_by: str, **values: object) -> None:
    """Append a state of the request, which holds no secret."""
    known = {
        "tenant_id": sealed.tenant_id,
        "credential_id": sealed.credential_id,
        "provider": sealed.provider,
        "credential_type": sealed.credential_type,
        "credential_name": sealed.name,
        "request_id": request_id,
    }
    credential_log.record_request({**known, **values}, recorded_by=recorded_by)


def _state(tenant_id: str, request_id: str) -> CredentialRequest | None:
    found = credential_log.request_rows(tenant_id, request_id)
    if not found:
        return None
    last, first = found[0], found[-1]
    status: RequestStatus = last["request_status"]
    return CredentialRequest(
        request_id=request_id,
        tenant_id=tenant_id,
        provider=last["provider"],
        status=status,
        credential_id=last["credential_id"] if status == "COMPLETED" else None,
        error=last["request_error"],
        requested_at=first["recorded_at"],
        finished_at=last["recorded_at"] if status in _FINAL else None,
    )


def _message(delivery: Delivery) -> CredentialMessage:
    try:
        return CredentialMessage.model_validate_json(delivery.data)
    except ValidationError as error:
        raise MalformedMessageError(f"not a credential request: {error}") from None


def _publish(message: CredentialMessage) -> None:
    data = message.model_dump_json().encode()
    publish(data, tenant_id=message.tenant_id, request_id=message.request_id)


def publish(data: bytes, **attributes: str) -> None:
    """Publish to the credential worker and wait until Pub/Sub has the message.

    Raises:
        Retryable: Pub/Sub did not take it.
    """
    from google.api_core.exceptions import GoogleAPICallError, RetryError

    topic = f"projects/{settings().GCP_PROJECT_ID}/topics/{TOPIC}"
    traced = {**attributes, "traceparent": current_traceparent() or ""}
    try:
        publisher_client().publish(topic, data, **traced).result(timeout=_TIMEOUT_SECONDS)
    except (GoogleAPICallError, RetryError, TimeoutError) as error:
        raise Retryable(f"Pub/Sub did not take the message for {topic}") from error


def _request_id(tenant_id: str, idempotency_key: str | None) -> str:
    if idempotency_key is None:
        return str(uuid.uuid4())
    return _uuid(f"credential-request/{tenant_id}/{idempotency_key}")


def _uuid(name: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_URL, name))
