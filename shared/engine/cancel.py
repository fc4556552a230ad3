"""Ending a run before its time: it is CANCELLED at once, and what it has begun is stopped.

The order is record, then stop: an executor whose job is stopped reads the log before it starts the
`on_failure` steps, and finds the run cancelled. A message under way meets the same row.
"""

import logging
from collections.abc import Iterable
from datetime import UTC, datetime

from shared.engine import outcomes, queued_runs
from shared.engine.executions import ACTIVE_STATES, Wanted, executions
from shared.engine.messages import FailedStep
from shared.engine.status import RunStatus, StepStatus, StoredRun, find_run, run_status, steps_of
from shared.errors import ConflictError, ConvergenceError
from shared.processors import registry
from shared.processors.contract import RunIdentity, StepContext
from shared.telemetry import log, log_context
from shared.warehouse import pages


class RunOverError(ConflictError):
    """The run has a final state; nothing can be cancelled."""

    code = "run-over"

    def __init__(self, run_id: str, status: str) -> None:
        self.status = status
        super().__init__(f"Run {run_id} is {status} already; there is nothing to cancel.")


def cancel(tenant_id: str, run_id: str, *, cancelled_by: str) -> RunStatus:
    """Cancel the run; the step that comes next does not begin, a running BigQuery job is stopped.

    Raises:
        NotFoundError: the tenant has no such run.
        RunOverError: it has ended, also when it did so at this very moment.
        Retryable: not now; ask again.
    """
    run = find_run(tenant_id, run_id)
    if run.status in outcomes.FINAL_RUN_STATES:
        raise RunOverError(run_id, run.status)
    end(run, reason=f"cancelled by {cancelled_by}", code="cancelled")
    now = run_status(tenant_id, run_id)
    if now.status != "CANCELLED":
        raise RunOverError(run_id, now.status)
    return now


def end_all(tenant_id: str, *, reason: str, code: str) -> int:
    """Cancel every run of the tenant that has not ended; how many there were.

    Raises:
        Retryable: not now; ask again.
    """
    count = 0
    for status in ACTIVE_STATES:
        wanted = Wanted(status=status, limit=pages.MAX_SIZE)
        for run in executions(tenant_id, wanted).runs:
            end(run, reason=reason, code=code)
            count += 1
    return count


def end(run: StoredRun, *, reason: str, code: str) -> None:
    """Record the run as CANCELLED, then stop what its steps have begun."""
    identity = run.identity()
    failure = FailedStep(position=0, step_id="", error=reason, error_code=code)
    outcomes.record_run(identity, "CANCELLED", failure=failure)
    if run.status == "QUEUED":
        queued_runs.leave(run.tenant_id, run.pipeline_logging_id, reason=reason)
    stop(identity, steps_of(run))


def stop(run: RunIdentity, steps: Iterable[StepStatus]) -> None:
    """Stop what those of a run's `steps` have begun that are under way. May be repeated."""
    for step in steps:
        if step.status == "RUNNING" and step.ps_type:
            context = StepContext(
                run=run,
                step_id=step.step_id,
                attempt=step.attempt,
                deadline=datetime.now(UTC),
            )
            _stop(step.ps_type, context)


def _stop(ps_type: str, context: StepContext) -> None:
    """Stop a step's work; if that fails the step runs to its end, and no other follows."""
    with log_context(step_id=context.step_id, ps_type=ps_type):
        try:
            stopped = registry.load(ps_type).cancel(context)
            log(logging.INFO, "step of a run that was ended", stopped=stopped)
        except ConvergenceError as error:
            log(logging.WARNING, "step of a run that was ended not stopped", error=str(error))
