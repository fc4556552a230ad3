"""What happened: rows of the run and step logs in the tenant's dataset, written and read.

Both logs are append-only and every row carries all that its writer knows, so a repeated delivery
repeats a row and the views still show one. The first final state of a run stays.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from shared.engine.messages import FailedStep, StepMessage
from shared.processors.contract import RunIdentity, StepResult
from shared.templates.models import ResolvedStep
from shared.tenancy.names import check_tenant_id
from shared.warehouse import rows
from shared.warehouse.queries import query
from shared.warehouse.rows import Row

FINAL_RUN_STATES = frozenset({"COMPLETED", "FAILED", "CANCELLED", "TIMED_OUT"})
ATTEMPT_FAILED = "attempt-failed"
"""`error_code` of an attempt that may be followed by another."""
RETRY_AFTER = "retry_after_seconds"
"""Output of such an attempt: the pause that whoever failed it has asked for."""
TIMED_OUT = "timed-out"
"""`error_code` of what passed its run's deadline."""
_CLOCK_SKEW = timedelta(hours=1)
_LONGEST_BACKOFF_SECONDS = 600

StepStatus = Literal["COMPLETED", "FAILED", "SKIPPED"]


@dataclass(frozen=True)
class StepOutcome:
    """How a step ended."""

    status: StepStatus
    attempt: int
    result: StepResult = field(default_factory=StepResult)
    error: str | None = None
    error_code: str | None = None

    def visible(self) -> dict[str, Any]:
        """What later steps may refer to."""
        return {
            **self.result.outputs,
            "rows_processed": self.result.rows_processed,
            "bytes_processed": self.result.bytes_processed,
            "status": self.status,
            "error": self.error or "",
        }


@dataclass(frozen=True)
class History:
    """What the logs know when a delivery of a step arrives."""

    run_status: str | None
    run_failed_step: str | None
    step_rows: tuple[Mapping[str, Any], ...]

    @property
    def run_is_over(self) -> bool:
        """Whether the run has a final state."""
        return self.run_status in FINAL_RUN_STATES

    @property
    def next_attempt(self) -> int:
        """The number of the attempt to make now: failed ones are not made again."""
        used = [row["attempt"] for row in self.step_rows if row["status"] == "FAILED"]
        return max(used, default=0) + 1

    def began(self, attempt: int) -> datetime | None:
        """When an earlier delivery began this attempt; None when none did."""
        found = (row["recorded_at"] for row in self.step_rows if row["attempt"] == attempt)
        return min(found, default=None)

    def not_before(self, step: ResolvedStep) -> datetime | None:
        """When the next attempt may begin; None when it may begin at once.

        Not before the step's backoff is over, nor before whoever failed the attempt has asked for.
        """
        failed = [row for row in self.step_rows if row["status"] == "FAILED"]
        if not failed:
            return None
        last = max(failed, key=lambda row: row["recorded_at"])
        doubled = step.retry.backoff_seconds * 2 ** (self.next_attempt - 2)
        asked = (last["outputs"] or {}).get(RETRY_AFTER, 0)
        seconds = max(min(doubled, _LONGEST_BACKOFF_SECONDS), asked)
        pause: datetime = last["recorded_at"] + timedelta(seconds=seconds)
        return pause

    def outcome(self, step: ResolvedStep) -> StepOutcome | None:
        """How the step ended in an earlier delivery, None while it has not."""
        for row in self.step_rows:
            if row["status"] in {"COMPLETED", "SKIPPED"} or _is_final_failure(row, step):
                return outcome_of(row)
        return None


def _is_final_failure(row: Mapping[str, Any], step: ResolvedStep) -> bool:
    if row["status"] != "FAILED":
        return False
    return bool(row["error_code"] != ATTEMPT_FAILED or row["attempt"] >= step.retry.max_attempts)


def outcome_of(row: Mapping[str, Any]) -> StepOutcome:
    """How a step ended, from its final row of the step log."""
    outputs = row["outputs"]
    return StepOutcome(
        status=row["status"],
        attempt=row["attempt"],
        result=StepResult(
            rows_processed=row["rows_processed"] or 0,
            bytes_processed=row["bytes_processed"] or 0,
            outputs=outputs if isinstance(outputs, dict) else {},
        ),
        error=row["error"],
        error_code=row["error_code"],
    )


def history(run: RunIdentity, step_id: str) -> History:
    """Read both logs of the tenant for this run and step, in one query.

    Raises:
        WarehouseBusyError: not now.
        WarehouseError: the tenant's dataset is gone.
    """
    dataset = check_tenant_id(run.tenant_id)
    found = rows.read(
        query(
            "SELECT status, failed_step, NULL AS attempt, NULL AS outputs, NULL AS rows_processed,"  # noqa: S608 - checked dataset
            " NULL AS bytes_processed, error, error_code, recorded_at, 'run' AS kind"
            f" FROM `{dataset}.x_meta_pipeline_runs_log`"
            " WHERE pipeline_logging_id = @run_id AND recorded_at >= @since"
            " UNION ALL"
            " SELECT status, NULL, attempt, outputs, rows_processed,"
            " bytes_processed, error, error_code, recorded_at, 'step'"
            f" FROM `{dataset}.x_meta_step_logs_log`"
            " WHERE pipeline_logging_id = @run_id AND step_id = @step_id AND recorded_at >= @since"
            " ORDER BY recorded_at",
            run_id=run.pipeline_logging_id,
            step_id=step_id,
            since=run.started_at - _CLOCK_SKEW,
        )
    )
    runs = [row for row in found if row["kind"] == "run"]
    final = next((row for row in runs if row["status"] in FINAL_RUN_STATES), None)
    latest = final or (runs[-1] if runs else None)
    return History(
        run_status=latest["status"] if latest else None,
        run_failed_step=latest["failed_step"] if latest else None,
        step_rows=tuple(row for row in found if row["kind"] == "step"),
    )


def record_run(
    run: RunIdentity,
    status: str,
    *,
    failure: FailedStep | None = None,
    steps_total: int | None = None,
    rows_processed: int | None = None,
    bytes_processed: int | None = None,
    deadline: datetime | None = None,
) -> None:
    """Append a state of the run; a final one gives its slot back after that.

    Whoever dies between the two leaves a run that has ended and holds its slot: the delivery comes
    again and completes it, and where no delivery does, the ledger lacks the RELEASED row by which
    `shared/schedules/orphans.py` finds the run. The other way round nothing would lead to a run
    without its end. Safe to repeat.

    Raises:
        WarehouseBusyError: not now; the caller's message comes again.
    """
    ended = datetime.now(UTC) if status in FINAL_RUN_STATES else None
    row = run_row(
        run,
        status,
        ended=ended,
        failure=failure,
        steps_total=steps_total,
        rows_processed=rows_processed,
        bytes_processed=bytes_processed,
        deadline=deadline,
    )
    rows.append(runs_log(run.tenant_id), [row])
    if ended and run.slot is not None:
        from shared.tenancy import admission  # a cold start of an executor does without it

        admission.release(
            run.tenant_id,
            run.pipeline_logging_id,
            run.slot,
            run.usage_date or ended.date(),
            status=status,
            started_at=run.began_at,
        )


def run_row(
    run: RunIdentity,
    status: str,
    *,
    ended: datetime | None,
    failure: FailedStep | None = None,
    **more: Any,
) -> Row:
    """The row of the runs' log that says so; `more` are further columns of it."""
    values = {
        **run.model_dump(mode="python", exclude={"started_at", "usage_date", "began_at"}),
        "status": status,
        "start_time": run.started_at,
        "end_time": ended,
        "duration_ms": milliseconds(run.started_at, ended),
        "failed_step": failure.step_id if failure else None,
        "error": failure.error if failure else None,
        "error_code": failure.error_code if failure else None,
        **more,
        **rows.stamp(),
    }
    return Row(f"{run.pipeline_logging_id}-{status}", values)


def runs_log(tenant_id: str) -> str:
    """The table behind `x_meta_pipeline_runs` of the tenant."""
    return f"{check_tenant_id(tenant_id)}.x_meta_pipeline_runs_log"


def record_step(
    message: StepMessage,
    status: str,
    *,
    attempt: int,
    started: datetime,
    outcome: StepOutcome | None = None,
) -> None:
    """Append a state of the message's step; `outcome` once it has ended.

    Raises:
        WarehouseBusyError: not now; the caller's message comes again.
    """
    run, step = message.run, message.step
    ended = datetime.now(UTC) if outcome else None
    result = outcome.result if outcome else StepResult()
    values = {
        "pipeline_logging_id": run.pipeline_logging_id,
        "tenant_id": run.tenant_id,
        "step_id": step.step_id,
        "attempt": attempt,
        "step_index": message.position,
        "step_name": step.name,
        "ps_type": step.ps_type,
        "step_trigger": step.trigger,
        "status": status,
        "start_time": started,
        "end_time": ended,
        "duration_ms": milliseconds(started, ended),
        "rows_processed": result.rows_processed if outcome else None,
        "bytes_processed": result.bytes_processed if outcome else None,
        "job_id": result.outputs.get("job_id"),
        "outputs": dict(result.outputs) if outcome else None,
        "error": outcome.error if outcome else None,
        "error_code": outcome.error_code if outcome else None,
        **rows.stamp(),
    }
    insert_id = f"{run.pipeline_logging_id}-{step.step_id}-{attempt}-{status}"
    rows.append(steps_log(run.tenant_id), [Row(insert_id, values)])


def steps_log(tenant_id: str) -> str:
    """The table behind `x_meta_step_logs` of the tenant."""
    return f"{check_tenant_id(tenant_id)}.x_meta_step_logs_log"


def milliseconds(started: datetime, ended: datetime | None) -> int | None:
    """Whole milliseconds between the two, None while there is no end."""
    return int((ended - started).total_seconds() * 1000) if ended else None
