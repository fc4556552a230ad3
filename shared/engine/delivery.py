"""From a Pub/Sub push to a handler, and from its end to an acknowledgement.

Pub/Sub takes 102, 200, 201, 202 and 204 as an acknowledgement; everything else is delivered again
with backoff, and after the last attempt goes to the dead-letter topic (Pub/Sub documentation,
"Push subscriptions"). The functions framework's own conversion loses the delivery attempt and
refuses messages without data, so the body is read here.
"""

import logging
from base64 import b64decode
from collections.abc import Callable
from typing import Any

from pydantic import ConfigDict, Field, ValidationError

from shared.errors import Permanent, Retryable
from shared.models import Model
from shared.telemetry import describe_hop, log, log_context, trace

ACKNOWLEDGED = ("", 204)
MALFORMED = ("malformed message", 400)
LATER = ("try again later", 503)
FAILED = ("failed", 500)


class MalformedMessageError(Permanent):
    """A body that is not a message of ours; it ends in the dead-letter topic."""

    code = "malformed-message"


class PushedMessage(Model):
    """The `message` of a push body (Pub/Sub REST, PubsubMessage)."""

    model_config = ConfigDict(extra="ignore")

    data: str = ""
    attributes: dict[str, str] = Field(default_factory=dict)
    messageId: str = ""  # noqa: N815 - Google's name


class PushEnvelope(Model):
    """A push body."""

    model_config = ConfigDict(extra="ignore")

    message: PushedMessage
    subscription: str = ""
    deliveryAttempt: int = 1  # noqa: N815 - Google's name


class Delivery(Model):
    """One delivery of one message."""

    data: bytes
    attributes: dict[str, str]
    message_id: str
    subscription: str
    attempt: int
    """Which delivery this is, from 1; approximate, as Pub/Sub counts it."""


def parse(body: Any) -> Delivery:
    """The delivery in a push body.

    Raises:
        MalformedMessageError: it is not one.
    """
    try:
        envelope = PushEnvelope.model_validate(body)
        data = b64decode(envelope.message.data, validate=True)
    except (ValidationError, ValueError) as error:
        raise MalformedMessageError(f"not a Pub/Sub push body: {error}") from error
    return Delivery(
        data=data,
        attributes=envelope.message.attributes,
        message_id=envelope.message.messageId,
        subscription=envelope.subscription,
        attempt=envelope.deliveryAttempt,
    )


def receive(body: Any, handle: Callable[[Delivery], None]) -> tuple[str, int]:
    """Call `handle` with the delivery in `body`; the answer tells Pub/Sub what to do next.

    Nothing is acknowledged that was not handled to its end: an unexpected error is logged with its
    stack and the message comes again.
    """
    try:
        delivery = parse(body)
    except MalformedMessageError as error:
        log(logging.ERROR, "malformed push body", error=str(error))
        return MALFORMED
    fields: dict[str, Any] = {
        "message_id": delivery.message_id,
        "delivery_attempt": delivery.attempt,
        "tenant_id": delivery.attributes.get("tenant_id"),
        "pipeline_logging_id": delivery.attributes.get("pipeline_logging_id"),
    }
    name = f"process {delivery.subscription.rpartition('/')[2]}"
    with (
        trace(delivery.attributes.get("traceparent"), name, "CONSUMER"),
        log_context(**fields),
    ):
        answer = _answer(delivery, handle)
        described = {**fields, "step_id": delivery.attributes.get("step_id")}
        describe_hop(failed=answer != ACKNOWLEDGED, **described)
        return answer


def _answer(delivery: Delivery, handle: Callable[[Delivery], None]) -> tuple[str, int]:
    try:
        handle(delivery)
    except Retryable as error:
        log(logging.WARNING, "not now, will be delivered again", error=str(error), code=error.code)
        return LATER
    except MalformedMessageError as error:
        log(logging.ERROR, "message cannot be read", error=str(error))
        return MALFORMED
    except Exception as error:
        log(logging.ERROR, "unexpected error, will be delivered again", error=repr(error))
        logging.getLogger("convergence").exception("stack of the unexpected error")
        return FAILED
    return ACKNOWLEDGED
