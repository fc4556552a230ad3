"""One step of one run: do its work once, record it, send on the next.

Work inside BigQuery may outlast a delivery, as the query of a two-hour step outlasts a nine-minute
function. A delivery whose time is up then publishes its own message again and is acknowledged: the
follow-up attaches to the job that runs, and the deliveries that Pub/Sub counts before it gives a
message up are not used up by waiting.

Pub/Sub delivers at least once, so a step may arrive twice, at once or late, and an executor may die
at any line. Four things make that harmless: the logs are read first, and a step that has ended is
not done again; work runs under deterministic job IDs and claims; the order is work, record,
publish, acknowledge; and the views show one row however often one was written.
"""

import logging
from datetime import UTC, datetime, timedelta
from threading import Event

from pydantic import ValidationError

from shared.engine import outcomes
from shared.engine.delivery import Delivery, MalformedMessageError
from shared.engine.messages import FailedStep, StepMessage, failure_path
from shared.engine.outcomes import ATTEMPT_FAILED, RETRY_AFTER, History, StepOutcome
from shared.engine.topics import publish_step
from shared.errors import Permanent, Retryable
from shared.processors import registry
from shared.processors.contract import AttemptFailedError, StepContext, StepResult
from shared.settings import settings
from shared.telemetry import log, log_context
from shared.warehouse.failures import WarehouseBusyError

_EARLY = timedelta(seconds=1)
"""A wait may end this much before its time; one that ends earlier has not waited."""
_SHORT_PAUSE_SECONDS = 60.0
"""Longest that Pub/Sub keeps a message that goes back (infra/topology.yaml)."""


class WorkGoesOnError(Retryable):
    """The time of this delivery is up and the step's is not; a follow-up goes on."""

    code = "work-goes-on"


def step_message(delivery: Delivery) -> StepMessage:
    """The step message in a delivery.

    Raises:
        MalformedMessageError: it is none, or names a step that its run does not have.
    """
    try:
        message = StepMessage.model_validate_json(delivery.data, extra="ignore")
    except ValidationError as error:
        raise MalformedMessageError(f"not a step message: {error}") from error
    if not 0 <= message.position < len(message.steps):
        raise MalformedMessageError(
            f"position {message.position} is outside of the run's {len(message.steps)} steps"
        )
    return message


def execute(message: StepMessage) -> None:
    """Do the message's step unless it has been done, then advance the run.

    Where the step's work outlasts this delivery, the message is published again instead. If that
    happens twice, both follow-ups attach to the same work, and the step ends once.

    Raises:
        Retryable: deliver the message again later.
    """
    with log_context(step_id=message.step.step_id, ps_type=message.step.ps_type):
        if is_of_nobody(message):
            return
        past = outcomes.history(message.run, message.step.step_id)
        message = _begun(message, past)
        outcome = past.outcome(message.step)
        if outcome is None:
            if message.phase == "forward" and (past.run_is_over or _is_suspended(message)):
                log(logging.INFO, "late message of a run that is over", status=past.run_status)
                _give_back_slot(message, past)
                return
            try:
                _respect_backoff(past.not_before(message.step))
                outcome = _perform(message, past)
            except WorkGoesOnError as error:
                log(logging.INFO, "work goes on", follow_up=message.follow_up + 1, job=str(error))
                publish_step(message.model_copy(update={"follow_up": message.follow_up + 1}))
                return
        if outcome.status == "FAILED" and _was_ended_meanwhile(message):
            return
        advance(message, outcome)


def _begun(message: StepMessage, past: History) -> StepMessage:
    """The message with the moment at which the run's first step began."""
    if message.run.began_at is not None:
        return message
    began_at = past.began(1) or datetime.now(UTC)
    return message.model_copy(update={"run": message.run.model_copy(update={"began_at": began_at})})


def _give_back_slot(message: StepMessage, past: History) -> None:
    """Release what a run got that was cancelled while it waited, and was admitted all the same."""
    run = message.run
    if past.run_status == "CANCELLED" and run.slot is not None and run.usage_date is not None:
        from shared.tenancy import admission  # a cold start does without it

        admission.release(
            run.tenant_id, run.pipeline_logging_id, run.slot, run.usage_date, status="CANCELLED"
        )


def is_of_nobody(message: StepMessage) -> bool:
    """Whether the run's tenant has been offboarded: its datasets, and so its logs, are gone."""
    if _standing(message) != "OFFBOARDED":
        return False
    log(logging.INFO, "late message of a tenant that is offboarded")
    return True


def _is_suspended(message: StepMessage) -> bool:
    """Whether the tenant may not go on; the run is then ended here.

    A suspension ends the runs it finds; this is for one that began at the same moment.
    """
    if _standing(message) != "SUSPENDED":
        return False
    reason = f"Tenant {message.run.tenant_id!r} is suspended."
    ended = FailedStep(
        position=message.position, step_id="", error=reason, error_code="tenant-inactive"
    )
    outcomes.record_run(message.run, "CANCELLED", failure=ended)
    return True


def _standing(message: StepMessage) -> str | None:
    """The tenant's status, at most a minute old."""
    from shared.tenancy import tenants  # a cold start does not need it

    return tenants.standing(message.run.tenant_id)


def _was_ended_meanwhile(message: StepMessage) -> bool:
    """Whether the step failed because its run was cancelled: nothing is to follow then.

    `on_failure` steps report a failure, and a cancelled run is none.
    """
    if message.failure is not None:
        return False
    now = outcomes.history(message.run, message.step.step_id).run_status
    if now not in {"CANCELLED", "TIMED_OUT"}:
        return False
    log(logging.INFO, "step of a run that was ended meanwhile", status=now)
    return True


def _respect_backoff(not_before: datetime | None) -> None:
    """Let a failed attempt's pause pass.

    A short one passes while the message goes back to Pub/Sub. A long one, such as the hour that a
    provider asks for, would use up its deliveries: this one waits for as long as it may instead.

    Raises:
        Retryable: the pause is short, and not over.
        WorkGoesOnError: it was long, and its end may not have come.
    """
    wait = (not_before - datetime.now(UTC)).total_seconds() if not_before else 0.0
    if wait > _SHORT_PAUSE_SECONDS:
        Event().wait(min(wait, settings().STEP_TIMEOUT_SECONDS))
        raise WorkGoesOnError("the step's backoff")
    if wait > 0:
        raise Retryable("the step's backoff is not over", retry_after_seconds=wait)


def _perform(message: StepMessage, past: History) -> StepOutcome:
    """Do the step's work and record how it ended."""
    attempt = past.next_attempt
    started = datetime.now(UTC)
    if message.phase == "forward" and past.run_status != "RUNNING":
        outcomes.record_run(message.run, "RUNNING", steps_total=len(message.steps))
    outcomes.record_step(message, "RUNNING", attempt=attempt, started=started)
    try:
        outcome = _run_processor(
            message,
            attempt,
            past.began(attempt) or started,
            is_repeated=bool(past.step_rows),
        )
    except AttemptFailedError as error:
        outcome = _failed_attempt(message, attempt, error)
        outcomes.record_step(message, "FAILED", attempt=attempt, started=started, outcome=outcome)
        if outcome.error_code == ATTEMPT_FAILED and attempt < message.step.retry.max_attempts:
            raise
        return outcome
    outcomes.record_step(message, outcome.status, attempt=attempt, started=started, outcome=outcome)
    log(logging.INFO, "step ended", status=outcome.status, error=outcome.error)
    return outcome


def _failed_attempt(message: StepMessage, attempt: int, error: AttemptFailedError) -> StepOutcome:
    """How an attempt failed, and how long a pause it asks for; none is waited for in vain."""
    asked = error.retry_after_seconds
    text, code = str(error), ATTEMPT_FAILED
    again = datetime.now(UTC) + timedelta(seconds=asked or 0)
    if asked and message.deadline and again >= message.deadline:
        text = f"{text} It may be tried again in {asked:.0f} s, and the run ends before that."
        code = "retry-too-late"
    result = StepResult(outputs={RETRY_AFTER: asked} if asked else {})
    return StepOutcome("FAILED", attempt, result, error=text, error_code=code)


def _run_processor(
    message: StepMessage, attempt: int, began: datetime, *, is_repeated: bool
) -> StepOutcome:
    """The attempt's outcome; `began` is when its first delivery began.

    A delivery ends with the function's time, the attempt with the step's `timeout_seconds`: work
    that outlasts the one is attached to by a follow-up, work that outlasts both is stopped.

    Raises:
        WorkGoesOnError: this delivery has waited for as long as it may.
    """
    from shared.templates.resolver import fill, holds

    step = message.step
    ends = began + timedelta(seconds=step.timeout_seconds)
    delivery_ends = datetime.now(UTC) + timedelta(seconds=settings().STEP_TIMEOUT_SECONDS)
    context = StepContext(
        run=message.run,
        step_id=step.step_id,
        attempt=attempt,
        deadline=min(ends, delivery_ends),
        sources=message.sources,
        is_repeated=is_repeated,
        max_bytes_billed=message.max_bytes_billed,
    )
    try:
        failure = _failure_values(message)
        if step.when and not holds(step.when, message.outputs, **failure):
            return StepOutcome("SKIPPED", attempt, error=f"condition is false: {step.when.text}")
        processor = registry.load(step.ps_type)
        config = processor.config_model.model_validate(
            fill(step.config, message.outputs, **failure)
        )
        return StepOutcome("COMPLETED", attempt, processor.run(config, context))
    except WarehouseBusyError as error:
        now = datetime.now(UTC)
        if error.reason != "running" or now < context.deadline - _EARLY:
            raise
        if now < ends:
            raise WorkGoesOnError(str(error)) from error
        registry.load(step.ps_type).cancel(context)
        text = f"Step {step.step_id} ran longer than its timeout_seconds ({step.timeout_seconds})."
        return StepOutcome("FAILED", attempt, error=text, error_code="step-timed-out")
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(str(part) for part in problem["loc"])
        text = f"{step.step_id}.{where}: {problem['msg']}"
        return StepOutcome("FAILED", attempt, error=text, error_code="invalid-config")
    except Permanent as error:
        return StepOutcome("FAILED", attempt, error=str(error), error_code=error.code)


def _failure_values(message: StepMessage) -> dict[str, str | None]:
    """What `{error_message}` and `{failed_step}` stand for in this message."""
    failed = message.failure
    return {
        "error_message": failed.error if failed else None,
        "failed_step": failed.step_id if failed else None,
    }


def advance(message: StepMessage, outcome: StepOutcome) -> None:
    """Record the run's end if this was it, and publish the step that comes next.

    Safe to repeat: the first final state of a run stays, and a step that was published twice is
    done once.

    Raises:
        Retryable: deliver the message again later.
    """
    after = _after(message, outcome)
    if after.failure and message.failure is None:
        outcomes.record_run(
            after.run,
            "FAILED",
            failure=after.failure,
            steps_total=len(after.steps),
            rows_processed=after.rows_processed,
            bytes_processed=after.bytes_processed,
        )
        positions = failure_path(after.steps, after.failure.position)
        following = positions[0] if positions else None
    else:
        following = after.next_position()
    if following is not None:
        publish_step(after.model_copy(update={"position": following, "follow_up": 0}))
    elif after.failure is None:
        outcomes.record_run(
            after.run,
            "COMPLETED",
            steps_total=len(after.steps),
            rows_processed=after.rows_processed,
            bytes_processed=after.bytes_processed,
        )


def _after(message: StepMessage, outcome: StepOutcome) -> StepMessage:
    """The message with the step's outcome in it, still at the step's position."""
    step = message.step
    failure = message.failure
    if outcome.status == "FAILED" and failure is None:
        failure = FailedStep(
            position=message.position,
            step_id=step.step_id,
            error=outcome.error or "",
            error_code=outcome.error_code or "failed",
        )
    return message.model_copy(
        update={
            "outputs": {**message.outputs, step.step_id: outcome.visible()},
            "failure": failure,
            "phase": "failure" if failure else "forward",
            "rows_processed": message.rows_processed + outcome.result.rows_processed,
            "bytes_processed": message.bytes_processed + outcome.result.bytes_processed,
        }
    )
