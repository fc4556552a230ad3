"""What a run would do, without doing any of it: values with their origin, SQL, tables, bytes.

The SQL is made by the same code that a run uses: the template is resolved as for a run, and each
step's processor says what it would send.
"""

import datetime as dt
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from shared.engine.prepare import RunRequest, library, prepare
from shared.errors import Permanent
from shared.processors import registry
from shared.processors.contract import Foresight, Query, RunIdentity, StepContext
from shared.tenancy.tenants import TenantProfile

if TYPE_CHECKING:
    from shared.templates.models import ResolvedPipeline, ResolvedStep


@dataclass(frozen=True, kw_only=True)
class ExplainedValue:
    """A variable and where its value comes from."""

    name: str
    value: Any
    origin: str


@dataclass(frozen=True, kw_only=True)
class ExplainedStep:
    """A step as it would run."""

    step: "ResolvedStep"
    config: Any
    """For people: values of a later moment stand as `{steps.extract.rows_processed}`."""
    sql: str | None
    """What it sends to BigQuery, to the letter."""
    parameters: list[dict[str, Any]]
    """Of the SQL: name, type, value."""
    foresight: Foresight


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """A run that was not started."""

    pipeline: "ResolvedPipeline"
    date: dt.date
    file: str
    variables: list[ExplainedValue]
    steps: list[ExplainedStep]


def explain(request: RunRequest, tenant: TenantProfile) -> Explanation:
    """Explain what `request` would start. Writes nothing; BigQuery is asked in dry runs only.

    Raises:
        NotFoundError: no such template; lists near names.
        InvalidInputError: a date or a variable that cannot be; names each.
        Retryable: not now.
    """
    from shared.templates.explain import origins

    pipeline, run = prepare(request, tenant)
    path = request.template
    compiled = library().get(path.provider, path.domain, path.name)
    given = {"date": request.date, "trigger_by": request.trigger_by}
    body = {**{name: value for name, value in given.items() if value}, **run.parameters}
    came_from = origins(compiled, body)
    return Explanation(
        pipeline=pipeline,
        date=run.date,
        file=compiled.file,
        variables=[
            ExplainedValue(name=name, value=value, origin=came_from[name])
            for name, value in pipeline.variables.items()
            if name != "pipeline_logging_id"
        ],
        steps=[_step(step, run, pipeline) for step in pipeline.steps],
    )


def _step(step: "ResolvedStep", run: RunIdentity, pipeline: "ResolvedPipeline") -> ExplainedStep:
    from shared.templates.explain import readable

    config = readable(step.config)
    foresight = _foresight(step, run, pipeline)
    query = foresight.query.model_dump(mode="json") if foresight.query else _query_in(config)
    return ExplainedStep(
        step=step,
        config=config,
        sql=query["sql"] if query else None,
        parameters=list(query["parameters"]) if query else [],
        foresight=foresight,
    )


def _query_in(config: Any) -> dict[str, Any] | None:
    """The query in a configuration. An earlier step can decide its values, not its text."""
    if isinstance(config, dict):
        if config.keys() == Query.model_fields.keys():
            return config
        config = list(config.values())
    if not isinstance(config, list):
        return None
    return next((found for part in config if (found := _query_in(part))), None)


def _foresight(step: "ResolvedStep", run: RunIdentity, pipeline: "ResolvedPipeline") -> Foresight:
    from pydantic import ValidationError

    from shared.templates.resolver import fill

    processor = registry.load(step.ps_type)
    context = StepContext(
        run=run,
        step_id=step.step_id,
        attempt=1,
        deadline=datetime.now(UTC) + timedelta(seconds=step.timeout_seconds),
        sources=pipeline.sources,
        max_bytes_billed=pipeline.max_bytes_billed,
    )
    try:
        filled = fill(step.config, {}, error_message="error", failed_step="step")
        config = processor.config_model.model_validate(filled)
    except (ValidationError, Permanent):
        return Foresight()  # it needs what an earlier step leaves: nothing can be said before
    return processor.foresee(config, context)
