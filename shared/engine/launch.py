"""Starting a run: admit it, record it, publish its first step."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from shared.engine import outcomes
from shared.engine.messages import FailedStep, StepMessage, first_position
from shared.engine.status import find_run
from shared.engine.topics import publish_step
from shared.errors import NotFoundError
from shared.processors.contract import RunIdentity
from shared.templates.models import ResolvedPipeline
from shared.tenancy import admission

RUN_DEADLINE = timedelta(minutes=60)
"""Least time for a run; one that has not ended by its deadline is given up as TIMED_OUT."""
_BETWEEN_STEPS = timedelta(minutes=10)
"""For messages on their way and for failed attempts, beside the steps' own time."""
LONGEST_RUN = timedelta(hours=47)
"""Admission counts a run as running for two days at most."""


def run_id_for(tenant_id: str, idempotency_key: str | None) -> str:
    """A run's `pipeline_logging_id`: the same for the same key of a tenant, random without one."""
    if idempotency_key is None:
        return str(uuid.uuid4())
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"run/{tenant_id}/{idempotency_key}"))


@dataclass(frozen=True)
class Beginning:
    """Where a run that does not begin at its first step begins, and with what."""

    position: int
    outputs: Mapping[str, Mapping[str, Any]]
    """By step ID: what the steps before it have left."""


def launch(
    pipeline: ResolvedPipeline, run: RunIdentity, beginning: Beginning | None = None
) -> None:
    """Admit `run`, record it as PENDING, then publish the step that it begins with.

    When this returns, the run will end, or has ended: the message is with Pub/Sub. After an error
    the run may hold its slot already; asking again with the same Idempotency-Key goes on under that
    slot, and the executors take duplicates for what they are. A run that has ended is left alone,
    one whose time had passed before anybody could record it gets its end here.

    Raises:
        QuotaExceededError: a limit of the tenant's plan is reached; the run leaves no trace.
        NoSubscriptionError: the tenant may not run anything.
        Retryable: the ledger, the log or Pub/Sub did not take it.
    """
    admitted = admission.admit(
        run.tenant_id,
        run.pipeline_logging_id,
        deadline=datetime.now(UTC) + time_for(pipeline),
        trigger_type=run.trigger_type,
    )
    if admitted.released:
        _end_if_unknown(run, admitted.deadline)
        return
    run = run.model_copy(update={"slot": admitted.slot, "usage_date": admitted.usage_date})
    message = first_message(pipeline, run, deadline=admitted.deadline)
    if beginning is not None:
        outputs = {name: dict(values) for name, values in beginning.outputs.items()}
        message = message.model_copy(update={"position": beginning.position, "outputs": outputs})
    outcomes.record_run(run, "PENDING", steps_total=len(pipeline.steps), deadline=admitted.deadline)
    publish_step(message)


def _end_if_unknown(run: RunIdentity, deadline: datetime) -> None:
    """Record a run that was given up before it had a row: its process died after the admission."""
    try:
        find_run(run.tenant_id, run.pipeline_logging_id)
    except NotFoundError:
        error = f"The run passed its deadline, {deadline:%Y-%m-%d %H:%M:%S} UTC, before it began."
        failure = FailedStep(position=0, step_id="", error=error, error_code=outcomes.TIMED_OUT)
        outcomes.record_run(run, "TIMED_OUT", failure=failure)


def first_message(
    pipeline: ResolvedPipeline, run: RunIdentity, *, deadline: datetime | None = None
) -> StepMessage:
    """The message that begins `run`; without a deadline it has the `time_for` its steps."""
    return StepMessage(
        run=run,
        steps=pipeline.steps,
        sources=pipeline.sources,
        max_bytes_billed=pipeline.max_bytes_billed,
        position=first_position(pipeline.steps) or 0,
        deadline=deadline or datetime.now(UTC) + time_for(pipeline),
    )


def time_for(pipeline: ResolvedPipeline) -> timedelta:
    """How long a run of `pipeline` may take: what its steps may take together, an hour at least."""
    seconds = sum(step.timeout_seconds for step in pipeline.steps)
    return min(max(RUN_DEADLINE, timedelta(seconds=seconds) + _BETWEEN_STEPS), LONGEST_RUN)
