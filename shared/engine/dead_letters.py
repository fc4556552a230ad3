"""The last word on a message that no attempt could process: its run ends, with a reason."""

import logging
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TypeAlias

from shared.engine import credential_requests, outcomes
from shared.engine.delivery import Delivery, MalformedMessageError
from shared.engine.execute import advance, is_of_nobody, step_message
from shared.engine.messages import StepMessage
from shared.engine.outcomes import StepOutcome
from shared.telemetry import log, log_context
from shared.warehouse import rows
from shared.warehouse.failures import WarehouseError
from shared.warehouse.rows import Row

_ATTEMPTS_ATTRIBUTE = "CloudPubSubDeadLetterSourceDeliveryCount"
_SUBSCRIPTION_ATTRIBUTE = "CloudPubSubDeadLetterSourceSubscription"
"""Set by Pub/Sub on a forwarded message ("Dead-letter topics")."""
TABLE = "tenants.dead_letters"
Burial: TypeAlias = Callable[[Delivery, str], None]
"""Takes the delivery and how often the message was delivered before."""


def receive_dead_letter(delivery: Delivery, others: Mapping[str, Burial] | None = None) -> None:
    """Bury the message in a delivery; keep what cannot be read in the log only.

    Args:
        delivery: of the dead letter.
        others: by the subscription that gave the message up, who buries what is no step.

    Raises:
        Retryable: deliver the dead letter again later.
    """
    attempts = delivery.attributes.get(_ATTEMPTS_ATTRIBUTE, "all")
    _count(delivery, attempts)
    bury_other = (others or {}).get(delivery.attributes.get(_SUBSCRIPTION_ATTRIBUTE, ""))
    if bury_other is not None:
        bury_other(delivery, attempts)
        return
    if credential_requests.is_one(delivery):
        credential_requests.bury(delivery, attempts)
        return
    try:
        message = step_message(delivery)
    except MalformedMessageError as error:
        log(logging.ERROR, "dead letter that nobody can read", error=str(error))
        return
    try:
        bury(message, attempts)
    except WarehouseError as error:
        if not rows.is_missing(error):
            raise
        log(logging.ERROR, "dead letter of a run whose logs are gone", error=str(error))


def _count(delivery: Delivery, attempts: str) -> None:
    """Append the dead letter to the table that operators watch; without it, go on all the same.

    Raises:
        WarehouseBusyError: not now; deliver the dead letter again later.
    """
    about = delivery.attributes
    values = {
        "message_id": delivery.message_id,
        "subscription": about.get(_SUBSCRIPTION_ATTRIBUTE),
        "tenant_id": about.get("tenant_id"),
        "pipeline_logging_id": about.get("pipeline_logging_id"),
        "step_id": about.get("step_id"),
        "deliveries": attempts,
        "recorded_at": datetime.now(UTC),
    }
    try:
        rows.append(TABLE, [Row(delivery.message_id, values)])
    except WarehouseError as error:
        log(logging.ERROR, "dead letter not counted", error=str(error))


def bury(message: StepMessage, attempts: str) -> None:
    """End the run of a dead-lettered step message as FAILED and run its `on_failure` steps.

    If the logs show that the step itself had ended (only sending on failed), the run goes on from
    there instead. Safe to repeat: Pub/Sub may dead-letter a message twice.

    Args:
        message: as it was published to the step's topic.
        attempts: how often it was delivered, as Pub/Sub wrote it.

    Raises:
        Retryable: deliver the dead letter again later.
    """
    with log_context(step_id=message.step.step_id, ps_type=message.step.ps_type):
        if is_of_nobody(message):
            return
        past = outcomes.history(message.run, message.step.step_id)
        outcome = past.outcome(message.step)
        if outcome is None:
            if past.run_is_over and message.phase == "forward":
                log(logging.INFO, "dead letter of a run that is over", status=past.run_status)
                return
            outcome = _failed(message, past.next_attempt, attempts)
        advance(message, outcome)


def _failed(message: StepMessage, attempt: int, attempts: str) -> StepOutcome:
    error = (
        f"Step {message.step.step_id} could not be processed in {attempts} deliveries;"
        " the executor's log has the reason."
    )
    outcome = StepOutcome("FAILED", attempt, error=error, error_code="dead-lettered")
    now = datetime.now(UTC)
    outcomes.record_step(message, "FAILED", attempt=attempt, started=now, outcome=outcome)
    log(logging.ERROR, "message dead-lettered", error=error)
    return outcome
