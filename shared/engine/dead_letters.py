"""The last word on a message that no attempt could process: its run ends, with a reason."""

import logging
from datetime import UTC, datetime

from shared.engine import credential_requests, outcomes
from shared.engine.delivery import Delivery, MalformedMessageError
from shared.engine.execute import advance, is_of_nobody, step_message
from shared.engine.messages import StepMessage
from shared.engine.outcomes import StepOutcome
from shared.telemetry import log, log_context
from shared.warehouse import rows
from shared.warehouse.failures import WarehouseError

_ATTEMPTS_ATTRIBUTE = "CloudPubSubDeadLetterSourceDeliveryCount"
"""Set by Pub/Sub on a forwarded message ("Dead-letter topics")."""


def receive_dead_letter(delivery: Delivery) -> None:
    """Bury the message in a delivery; keep what cannot be read in the log only.

    Raises:
        Retryable: deliver the dead letter again later.
    """
    attempts = delivery.attributes.get(_ATTEMPTS_ATTRIBUTE, "all")
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
