"""A failed or timed-out run once more, from where it ended: a new run that names its parent.

The template is resolved again with the parent's parameters and date, so a mended template takes
effect; what the parent's steps left is handed on, so nothing that succeeded is done twice.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from shared.engine.executions import ACTIVE_STATES, Wanted, executions
from shared.engine.launch import Beginning, run_id_for
from shared.engine.launch import launch as launch_run
from shared.engine.outcomes import outcome_of
from shared.engine.prepare import RunRequest, TemplatePath, prepare
from shared.engine.status import Run, find_run
from shared.errors import ConflictError
from shared.processors.contract import RunIdentity
from shared.templates.models import ResolvedPipeline
from shared.tenancy.names import check_tenant_id
from shared.tenancy.tenants import TenantProfile
from shared.warehouse import rows
from shared.warehouse.queries import query

_MAX_ANCESTORS = 50


class NotRetryableError(ConflictError):
    """The run neither failed nor timed out, or has been retried already."""

    code = "not-retryable"


@dataclass(frozen=True)
class Resumption:
    """A run that is to begin in the middle."""

    pipeline: ResolvedPipeline
    run: RunIdentity
    position: int
    """The step that the parent did not get past."""
    outputs: Mapping[str, Mapping[str, Any]]
    """By step ID: what the steps before it have left."""


@dataclass(frozen=True, kw_only=True)
class RetryRequest:
    """Who wants which run again."""

    run_id: str
    user_id: str | None = None
    idempotency_key: str | None = None


def resumption(tenant: TenantProfile, request: RetryRequest) -> Resumption:
    """What is to be launched. No side effect.

    Its run ID comes from the parent and the `Idempotency-Key`, without one from the number of
    retries there are: two requests at the same moment name one run.

    Raises:
        NotFoundError: the tenant has no such run, or its template is gone.
        NotRetryableError: it neither failed nor timed out, or a retry of it is under way or has
            succeeded.
        InvalidInputError: the template has changed so that the old parameters no longer fit.
        Retryable: not now.
    """
    parent = find_run(tenant.tenant_id, request.run_id)
    _refuse_unless_ended_early(parent)
    key = _key(tenant.tenant_id, parent, request.idempotency_key)
    pipeline, run = prepare(
        RunRequest(
            TemplatePath(parent.provider or "", parent.domain or "", parent.template_name or ""),
            date=parent.date,
            trigger_by=parent.trigger_by,
            variables=parent.parameters,
            user_id=request.user_id,
            trigger_type="retry",
            idempotency_key=key,
        ),
        tenant,
    )
    failed_at = _failed_at(pipeline, parent)
    left = outputs(pipeline, parent, failed_at)
    position = _first_undone(pipeline, left) if failed_at is None else failed_at
    before = {step.step_id for step in pipeline.steps[:position]}
    return Resumption(
        pipeline=pipeline,
        run=run.model_copy(update={"parent_run_id": parent.pipeline_logging_id}),
        position=position,
        outputs={name: values for name, values in left.items() if name in before},
    )


def _refuse_unless_ended_early(parent: Run) -> None:
    if parent.status not in {"FAILED", "TIMED_OUT"}:
        raise NotRetryableError(
            f"Run {parent.pipeline_logging_id} is {parent.status};"
            " only FAILED and TIMED_OUT runs are retried."
        )
    if parent.trigger_type == "onboarding":
        raise NotRetryableError(
            f"Run {parent.pipeline_logging_id} is an onboarding. Send the onboarding request again;"
            " it completes what is missing."
        )


def _key(tenant_id: str, parent: Run, idempotency_key: str | None) -> str:
    """What names the retry. The leading line break keeps it apart from any key of a caller.

    Raises:
        NotRetryableError: without a key of the caller: another retry makes this one needless.
    """
    prefix = f"\nretry/{parent.pipeline_logging_id}/"
    retries = executions(tenant_id, Wanted(parent_run_id=parent.pipeline_logging_id)).runs
    if idempotency_key is not None:
        named = run_id_for(tenant_id, f"{prefix}key/{idempotency_key}")
        if all(run.pipeline_logging_id != named for run in retries):
            _refuse_needless(parent, retries)
        return f"{prefix}key/{idempotency_key}"
    _refuse_needless(parent, retries)
    return f"{prefix}{len(retries) + 1}"


def _refuse_needless(parent: Run, retries: Sequence[Run]) -> None:
    for run in retries:
        if run.status in {*ACTIVE_STATES, "COMPLETED"}:
            raise NotRetryableError(
                f"Run {parent.pipeline_logging_id} has been retried by"
                f" {run.pipeline_logging_id}, which is {run.status}."
            )


def _failed_at(pipeline: ResolvedPipeline, parent: Run) -> int | None:
    """The position of the step that failed; None for a run that timed out between two steps."""
    if parent.failed_step is None:
        return None
    for position, step in enumerate(pipeline.steps):
        if step.step_id == parent.failed_step and step.trigger != "on_failure":
            return position
    raise NotRetryableError(
        f"The template no longer has the step {parent.failed_step!r} at which the run failed."
        " Start a new run instead."
    )


def _first_undone(pipeline: ResolvedPipeline, left: Mapping[str, Mapping[str, Any]]) -> int:
    for position, step in enumerate(pipeline.steps):
        if step.trigger != "on_failure" and step.step_id not in left:
            return position
    raise NotRetryableError("Every step of the run has ended; there is nothing to go on with.")


def outputs(
    pipeline: ResolvedPipeline, parent: Run, before: int | None = None
) -> dict[str, dict[str, Any]]:
    """What the steps before a position left, all without one, in this run or those it retries.

    Raises:
        Retryable: not now.
    """
    wanted = {step.step_id for step in pipeline.steps[:before] if step.trigger != "on_failure"}
    found: dict[str, dict[str, Any]] = {}
    run: Run | None = parent
    for _ in range(_MAX_ANCESTORS):
        if run is None or wanted <= found.keys():
            break
        ended = _ended_steps(run)
        found.update({name: ended[name] for name in wanted & ended.keys() - found.keys()})
        run = find_run(run.tenant_id, run.parent_run_id) if run.parent_run_id else None
    return found


def _ended_steps(run: Run) -> dict[str, dict[str, Any]]:
    dataset = check_tenant_id(run.tenant_id)
    started = run.start_time or datetime.min.replace(tzinfo=UTC)
    found = rows.read(
        query(
            "SELECT step_id, status, attempt, outputs, rows_processed, bytes_processed, error,"  # noqa: S608 - checked dataset
            " error_code"
            f" FROM `{dataset}.x_meta_step_logs`"
            " WHERE pipeline_logging_id = @run_id AND status IN ('COMPLETED', 'SKIPPED')"
            " AND is_latest_attempt AND recorded_at >= TIMESTAMP_SUB(@started, INTERVAL 1 HOUR)",
            run_id=run.pipeline_logging_id,
            started=started,
        )
    )
    return {row["step_id"]: outcome_of(row).visible() for row in found}


def launch(resumed: Resumption) -> None:
    """Admit the run, record it as PENDING, then publish the step that it begins with.

    Safe to repeat.

    Raises:
        QuotaExceededError: a limit of the tenant's plan is reached; the run leaves no trace.
        NoSubscriptionError: the tenant may not run anything.
        Retryable: the ledger, the log or Pub/Sub did not take it.
    """
    beginning = Beginning(resumed.position, resumed.outputs)
    launch_run(resumed.pipeline, resumed.run, beginning)
