"""Runs past their deadline: ended as TIMED_OUT, stopped, told, and their slots given back.

The slot comes last. It counts as free from the deadline on, so nobody waits for it, and as long as
its RELEASED row is missing the next call finds the run again: whoever dies at any line leaves work
that is completed later. What is repeated shows once: a state of a run has one insert ID and the
first final one stands, jobs are stopped for good, and the steps of a failure are published again
but done once, as always.

A run that was admitted and whose first message was never published ends here too, no earlier: until
the deadline nobody can tell it from one whose message waits its turn.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from shared.engine import aftermath, outcomes
from shared.engine.cancel import stop
from shared.engine.messages import FailedStep
from shared.engine.outcomes import FINAL_RUN_STATES, milliseconds
from shared.engine.status import StepStatus, StoredRun, find_runs
from shared.errors import NotFoundError, Permanent, Retryable
from shared.telemetry import log
from shared.tenancy import admission, quota
from shared.tenancy.tenants import TenantProfile, TenantStatus
from shared.warehouse import rows
from shared.warehouse.queries import query
from shared.warehouse.rows import Row

_Step = Mapping[str, Any]
"""A row of `x_meta_step_logs`."""


@dataclass(frozen=True)
class OverdueRun:
    """A run whose deadline has passed and whose slots nobody has given back."""

    tenant_id: str
    run_id: str
    deadline: datetime
    slots: tuple[tuple[int, date], ...]
    """Each with its usage date; more than one where two processes admitted the run at once."""


@dataclass(frozen=True)
class Expired:
    """What became of overdue runs."""

    ended: int
    """TIMED_OUT now; the others had ended before, or had never got as far as a row."""
    released: int


def expire(tenant_id: str, tenant: TenantProfile | None, overdue: Sequence[OverdueRun]) -> Expired:
    """End runs of one tenant as TIMED_OUT and give their slots back.

    Safe to repeat, also at the same time and after a crash at any line. A run whose failure could
    not be published yet is left for the next call.

    Args:
        tenant_id: whose runs.
        tenant: its profile; without one, or of a tenant that is offboarded, slots are given back
            and that is all, since its logs are gone.
        overdue: the runs, some hundreds at most.

    Raises:
        Retryable: not now; what is done stays done.
    """
    endings: dict[str, _Ending] = {}
    if tenant is not None and tenant.status is not TenantStatus.OFFBOARDED:
        try:
            endings = _end(tenant, overdue)
        except Permanent as error:
            if not (isinstance(error, NotFoundError) or rows.is_missing(error)):
                raise
            log(logging.ERROR, "overdue runs of a tenant without logs", tenant_id=tenant_id)
    done = [one for one in overdue if one.run_id not in endings or endings[one.run_id].is_told]
    rows.append(
        quota.LEDGER, [row for one in done for row in _released(one, endings.get(one.run_id))]
    )
    ended = [one for one in endings.values() if one.status == "TIMED_OUT" and one.is_told]
    return Expired(ended=len(ended), released=len(done))


@dataclass(frozen=True)
class _Ending:
    """How a run that has a row ended."""

    status: str
    error: str | None
    began_at: datetime | None
    """When its first step began."""
    is_told: bool = True
    """Whether nothing is left to be done."""


def _released(one: OverdueRun, ending: _Ending | None) -> list[Row]:
    if ending is None:
        ending = _Ending("TIMED_OUT", "The run passed its deadline before it had begun.", None)
    facts = {
        "status": ending.status,
        "started_at": ending.began_at,
        "reason": ending.error if ending.status == "TIMED_OUT" else None,
    }
    return [
        admission.released_row(one.tenant_id, one.run_id, slot, usage_date, **facts)
        for slot, usage_date in one.slots
    ]


def _end(tenant: TenantProfile, overdue: Sequence[OverdueRun]) -> dict[str, _Ending]:
    """Those that have a row, ended and told."""
    tenant_id = tenant.tenant_id
    deadlines = {one.run_id: one.deadline for one in overdue}
    runs = find_runs(tenant_id, list(deadlines))
    alive = [run for run in runs if run.status not in FINAL_RUN_STATES]
    steps = _steps(tenant_id, runs)
    if alive:
        ends = [_timed_out_row(run, steps, deadlines) for run in alive]
        rows.append(outcomes.runs_log(tenant_id), ends)
        runs = find_runs(tenant_id, list(deadlines))  # some may have ended by themselves
    late = [run for run in runs if run.status == "TIMED_OUT"]
    for run in late:
        stop(run.identity(), [_status_of(step) for step in _cut_off(run, steps)])
    broken_off = [_failed_row(step, run) for run in late for step in _cut_off(run, steps)]
    rows.append(outcomes.steps_log(tenant_id), broken_off)
    return {run.pipeline_logging_id: _ending(tenant, run, steps) for run in runs}


def _ending(tenant: TenantProfile, run: StoredRun, steps: Mapping[str, Sequence[_Step]]) -> _Ending:
    own = steps.get(run.pipeline_logging_id, ())
    began = min((step["start_time"] for step in own if step["start_time"]), default=None)
    if run.status != "TIMED_OUT":
        return _Ending(run.status, run.error, began)
    try:
        aftermath.begin(tenant, run, own, code=outcomes.TIMED_OUT)
    except Retryable as error:
        log(logging.WARNING, "failure of an overdue run not told yet", error=str(error))
        return _Ending(run.status, run.error, began, is_told=False)
    return _Ending(run.status, run.error, began)


def _steps(tenant_id: str, runs: Sequence[StoredRun]) -> dict[str, list[_Step]]:
    """The latest attempts of all steps of `runs`, by run, in the order of the steps."""
    by_run: dict[str, list[_Step]] = {}
    if not runs:
        return by_run
    for row in rows.read(
        query(
            "SELECT pipeline_logging_id, tenant_id, step_id, step_index, step_name, step_trigger,"  # noqa: S608 - from a profile
            " ps_type, attempt, status, start_time, outputs, rows_processed, bytes_processed,"
            " error, error_code"
            f" FROM `{tenant_id}.x_meta_step_logs`"
            " WHERE is_latest_attempt AND pipeline_logging_id IN UNNEST(@run_ids)"
            " ORDER BY step_index, step_id",
            run_ids=[run.pipeline_logging_id for run in runs],
        )
    ):
        by_run.setdefault(row["pipeline_logging_id"], []).append(row)
    return by_run


def _status_of(step: _Step) -> StepStatus:
    return StepStatus.model_validate(
        {name: step[name] for name in ("step_id", "ps_type", "status", "attempt")}
    )


def _timed_out_row(
    run: StoredRun, steps: Mapping[str, Sequence[_Step]], deadlines: Mapping[str, datetime]
) -> Row:
    at = _at(steps.get(run.pipeline_logging_id, ()))
    where = f"was at its step {at['step_id']}" if at else "was between steps or had not begun"
    deadline = deadlines[run.pipeline_logging_id]
    failure = FailedStep(
        position=0,
        step_id=at["step_id"] if at else "",
        error=f"The run passed its deadline, {deadline:%Y-%m-%d %H:%M:%S} UTC; it {where}.",
        error_code=outcomes.TIMED_OUT,
    )
    return outcomes.run_row(run.identity(), "TIMED_OUT", ended=datetime.now(UTC), failure=failure)


def _at(steps: Iterable[_Step]) -> _Step | None:
    """The step at which a run stands: the last one that has begun and not succeeded."""
    unfinished = [
        step
        for step in steps
        if step["status"] not in {"COMPLETED", "SKIPPED"} and step["step_trigger"] != "on_failure"
    ]
    return unfinished[-1] if unfinished else None


def _cut_off(run: StoredRun, steps: Mapping[str, Sequence[_Step]]) -> list[_Step]:
    """The steps that were under way when the run was ended, not those that follow the failure."""
    return [
        step
        for step in steps.get(run.pipeline_logging_id, ())
        if step["status"] == "RUNNING"
        and step["step_trigger"] != "on_failure"
        and not (run.end_time and step["start_time"] and step["start_time"] > run.end_time)
    ]


def _failed_row(step: _Step, run: StoredRun) -> Row:
    kept = ("pipeline_logging_id", "tenant_id", "step_id", "step_index", "step_name")
    now = datetime.now(UTC)
    values = {
        **{name: step[name] for name in (*kept, "step_trigger", "ps_type", "attempt")},
        "status": "FAILED",
        "start_time": step["start_time"],
        "end_time": now,
        "duration_ms": milliseconds(step["start_time"], now) if step["start_time"] else None,
        "error": run.error,
        "error_code": outcomes.TIMED_OUT,
        **rows.stamp(),
    }
    return Row("{pipeline_logging_id}-{step_id}-{attempt}-FAILED".format_map(values), values)
