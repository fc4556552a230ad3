"""What follows the failure of a run that was ended from outside: its on_failure and always steps.

No message of the run is at hand, so its template is resolved again from what the run's row says.
"""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from shared.engine import retry
from shared.engine.launch import first_message
from shared.engine.messages import FailedStep, failure_path
from shared.engine.outcomes import outcome_of
from shared.engine.prepare import RunRequest, TemplatePath, prepare
from shared.engine.status import StoredRun
from shared.engine.topics import publish_step
from shared.errors import Permanent
from shared.telemetry import log
from shared.templates.models import ResolvedPipeline
from shared.tenancy.tenants import TenantProfile


def begin(
    tenant: TenantProfile, run: StoredRun, steps: Sequence[Mapping[str, Any]], *, code: str
) -> None:
    """Publish the first of the steps that follow; the others follow it.

    Safe to repeat: a step that was published again is done once. Where the template is gone or
    takes the run's parameters no more, nobody can be told, and that is logged.

    Args:
        tenant: whose run.
        run: the run, with its error and the step it failed at, as it is recorded.
        steps: the latest attempts of its steps, rows of `x_meta_step_logs`.
        code: of the error.

    Raises:
        Retryable: not now; call again.
    """
    try:
        pipeline, _ = prepare(_request(run), tenant)
    except Permanent as error:
        log(logging.ERROR, "run ended without its on_failure steps", error=str(error))
        return
    outputs = _outputs(pipeline, run, steps)
    places = {step.step_id: place for place, step in enumerate(pipeline.steps)}
    behind = max((places[name] for name in outputs if name in places), default=-1)
    place = places.get(run.failed_step or "", behind)
    following = failure_path(pipeline.steps, place)
    if not following:
        return
    failure = FailedStep(
        position=place,
        step_id=run.failed_step or "",
        error=run.error or "",
        error_code=code,
    )
    message = first_message(pipeline, run.identity()).model_copy(
        update={
            "position": following[0],
            "phase": "failure",
            "failure": failure,
            "outputs": outputs,
        }
    )
    publish_step(message)


def _request(run: StoredRun) -> RunRequest:
    return RunRequest(
        TemplatePath(run.provider or "", run.domain or "", run.template_name or ""),
        date=run.date,
        trigger_by=run.trigger_by,
        variables=run.parameters,
        user_id=run.user_id,
        trigger_type=run.trigger_type or "manual",
        run_id=run.pipeline_logging_id,
    )


def _outputs(
    pipeline: ResolvedPipeline, run: StoredRun, steps: Sequence[Mapping[str, Any]]
) -> dict[str, dict[str, Any]]:
    """By step: what those that succeeded have left, in this run or in the ones that it retries."""
    if run.parent_run_id:
        return retry.outputs(pipeline, run)
    return {
        step["step_id"]: outcome_of(step).visible()
        for step in steps
        if step["status"] in {"COMPLETED", "SKIPPED"} and step["step_trigger"] != "on_failure"
    }
