"""Does a stored credential work? The credential worker asks the provider and notes the answer.

Not the API: what faces the internet sends no tenant's secret anywhere. It publishes a request,
which carries none, and waits a while for the row that says what was found. The request may be
delivered twice: the credential is then checked twice.
"""

import logging
import time
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from threading import Event
from typing import Any

from pydantic import ConfigDict, ValidationError

from shared.crypto import DecryptionError
from shared.engine.credential_requests import publish
from shared.engine.delivery import Delivery, MalformedMessageError
from shared.errors import ConflictError, FieldProblem, NotFoundError, Retryable
from shared.models import Model
from shared.processors import credential_checks
from shared.processors.credential_checks import Finding
from shared.telemetry import log
from shared.tenancy import credential_log, credentials
from shared.tenancy.credential_content import shown
from shared.tenancy.credential_log import State
from shared.tenancy.credential_views import Credential

_VALIDATION_ID = "validation_id"
_PATIENCE_SECONDS = 30.0
"""How long the caller waits: a cold worker and a slow provider together."""
_SHORTEST_PAUSE_SECONDS = 0.2
_LONGEST_PAUSE_SECONDS = 1.0
_STALE_AFTER = timedelta(minutes=10)
"""Nobody waits for what was asked for longer ago."""
_LONGEST = 1000


class ValidationPendingError(Retryable):
    """The worker has not answered yet; what it finds will be noted with the credential."""

    code = "validation-pending"


class ValidationMessage(Model):
    """Check this credential."""

    model_config = ConfigDict(extra="ignore")

    version: int = 1
    tenant_id: str
    credential_id: str
    validation_id: str
    requested_by: str
    requested_at: datetime


@dataclass(frozen=True)
class Validation:
    """What was found, and the credential as it was then."""

    credential: Credential
    finding: Finding


def validate(
    tenant_id: str,
    credential_id: str,
    *,
    validated_by: str,
    patience_seconds: float = _PATIENCE_SECONDS,
) -> Validation:
    """Let a credential be checked, active or not; the result is noted with it.

    Raises:
        NotFoundError: the tenant has no such credential.
        ValidationPendingError: no answer within the patience.
        Retryable: not now; ask again.
    """
    credential_log.read(tenant_id).find(credential_id)
    message = ValidationMessage(
        tenant_id=tenant_id,
        credential_id=credential_id,
        validation_id=str(uuid.uuid4()),
        requested_by=validated_by,
        requested_at=datetime.now(UTC),
    )
    publish(
        message.model_dump_json().encode(),
        tenant_id=tenant_id,
        validation_id=message.validation_id,
    )
    return _awaited(message, time.monotonic() + patience_seconds)


def _awaited(message: ValidationMessage, give_up: float) -> Validation:
    pause = Event()
    seconds = _SHORTEST_PAUSE_SECONDS
    while True:
        found = credential_log.validation(message.tenant_id, message.validation_id)
        if found:
            problems = (found["validation_problems"] or {}).items()
            finding = Finding(
                found["validation_checked"], tuple(FieldProblem(*problem) for problem in problems)
            )
            return Validation(shown(found), finding)
        if time.monotonic() >= give_up:
            raise ValidationPendingError("the credential is still being checked")
        pause.wait(seconds)
        seconds = min(1.5 * seconds, _LONGEST_PAUSE_SECONDS)


def is_one(delivery: Delivery) -> bool:
    """Whether a delivery asks for a check, rather than bringing a credential to store."""
    return _VALIDATION_ID in delivery.attributes


def perform(delivery: Delivery) -> None:
    """Check the credential in a delivery and note what was found; safe to repeat.

    Raises:
        MalformedMessageError: not a message of ours.
        Retryable: deliver it again later.
    """
    message = _message(delivery)
    if datetime.now(UTC) - message.requested_at > _STALE_AFTER:
        log(logging.WARNING, "check of a credential given up", credential_id=message.credential_id)
        return
    try:
        _check(message)
    except NotFoundError:
        log(logging.INFO, "credential deleted before its check", id=message.credential_id)
    except ConflictError as error:  # others are changing the tenant's credentials
        raise Retryable(str(error), retry_after_seconds=error.retry_after_seconds) from error


def _check(message: ValidationMessage) -> None:
    state = credential_log.read(message.tenant_id).find(message.credential_id)
    finding = _look(state)
    noted = credentials.record_validation(
        message.tenant_id, state, _facts(message, finding), changed_by=message.requested_by
    )
    if noted is None:
        raise Retryable("the credential was replaced while it was checked")
    log(
        logging.INFO,
        "credential checked",
        credential_id=message.credential_id,
        checked=finding.checked,
        status=noted.validation_status,
    )


def _look(state: State) -> Finding:
    try:
        fields = credentials.secret_of(state)
    except DecryptionError:
        problem = "cannot be decrypted any more; store it again"
        return Finding("shape", (FieldProblem("/credentials", problem),))
    return credential_checks.check(state["provider"], fields)


def _facts(message: ValidationMessage, finding: Finding) -> dict[str, Any]:
    """The columns that a check sets."""
    text = "; ".join(str(found) for found in finding.problems)[:_LONGEST]
    return {
        "validation_id": message.validation_id,
        "validation_status": "INVALID" if finding.problems else "VALID",
        "validation_error": text or None,
        "validation_checked": finding.checked,
        "validation_problems": {found.pointer: found.problem for found in finding.problems},
        "last_validated_at": datetime.now(UTC),
    }


def _message(delivery: Delivery) -> ValidationMessage:
    try:
        return ValidationMessage.model_validate_json(delivery.data)
    except ValidationError as error:
        raise MalformedMessageError(f"not a request to check a credential: {error}") from None
