"""Every query of a template asked of BigQuery in a dry run, as a tenant's run would send it."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import uuid4

from pydantic import ValidationError

from shared.errors import Permanent
from shared.processors import registry
from shared.processors.contract import RunIdentity, StepContext
from shared.settings import settings
from shared.templates.built_ins import BuiltIns
from shared.templates.compiled import CompiledTemplate
from shared.templates.document import Mapping, Node, Scalar, Sequence
from shared.templates.models import ResolvedPipeline, ResolvedStep
from shared.templates.problems import Place, TemplateProblem
from shared.templates.resolver import fill, resolve

_AT = re.compile(r"\[(\d+):\d+\]")
"""How BigQuery names a place in a query: `at [line:column]`."""


@dataclass(frozen=True)
class DryRuns:
    """What BigQuery said."""

    asked: int
    waiting: tuple[TemplateProblem, ...]
    """Steps that read a table of the tenant's own that no run has made yet."""
    problems: tuple[TemplateProblem, ...]


def dry_run(compiled: CompiledTemplate, tenant_id: str, day: date) -> DryRuns:
    """Resolve the template and ask about each step that has a query. Reads and writes no row.

    Raises:
        InvalidInputError: the template cannot be resolved for this tenant.
        Retryable: BigQuery does not answer.
    """
    facts = BuiltIns(
        tenant_id=tenant_id,
        date=day,
        run_date=datetime.now(UTC).date(),
        project_id=settings().GCP_PROJECT_ID,
        pipeline_logging_id=str(uuid4()),
        trigger_by="validate",
        company_name=tenant_id,
        billing_account_ids=["000000-000000-000000"],
        admin_email="admin@example.com",
    )
    samples = {
        name: variable.sample
        for name, variable in compiled.variables.items()
        if variable.tree is None
    }
    pipeline = resolve(compiled, facts, samples)
    run = _run(pipeline, facts)
    # What the steps before leave, as far as its type is known: enough to ask, not to decide.
    left: dict[str, Any] = {"dates": [day.isoformat()], "rows_processed": 0, "bytes_processed": 0}
    left |= {"status": "COMPLETED", "error": ""}
    outputs = {step.step_id: left for step in pipeline.steps}
    asked = 0
    waiting: list[TemplateProblem] = []
    problems: list[TemplateProblem] = []
    for step, written in zip(pipeline.steps, compiled.steps, strict=True):
        processor = registry.load(step.ps_type)
        try:
            filled = fill(step.config, outputs, error_message="error", failed_step="step")
            config = processor.config_model.model_validate(filled)
        except (ValidationError, Permanent):
            continue  # it needs more of an earlier step: nothing can be asked before
        found = processor.foresee(config, _context(step, run, pipeline))
        asked += found.query is not None or found.refusal is not None
        if found.refusal:
            said = str(found.refusal)
            problem = TemplateProblem(_place(written.node, said), f"{step.step_id}: {said}")
            own = re.match(rf"Not found: (Table|Dataset) [^:]+:{re.escape(tenant_id)}[._\s]", said)
            (waiting if own else problems).append(problem)
    return DryRuns(asked, tuple(waiting), tuple(problems))


def _run(pipeline: ResolvedPipeline, facts: BuiltIns) -> RunIdentity:
    return RunIdentity(
        pipeline_logging_id=facts.pipeline_logging_id,
        pipeline_id=pipeline.pipeline_id,
        tenant_id=facts.tenant_id,
        provider=pipeline.provider,
        domain=pipeline.domain,
        template_name=pipeline.template_name,
        date=facts.date,
        run_date=facts.run_date,
        trigger_type="manual",
        started_at=datetime.now(UTC),
    )


def _context(step: ResolvedStep, run: RunIdentity, pipeline: ResolvedPipeline) -> StepContext:
    return StepContext(
        run=run,
        step_id=step.step_id,
        attempt=1,
        deadline=datetime.now(UTC) + timedelta(seconds=step.timeout_seconds),
        sources=pipeline.sources,
        max_bytes_billed=pipeline.max_bytes_billed,
    )


def _place(step: Mapping, message: str) -> Place:
    """The line of the step's only query that BigQuery names; else the query, else the step."""
    queries = list(_queries(step))
    if len(queries) != 1:
        return step.place
    (query,) = queries
    named = _AT.search(message)
    lines = query.source.text[query.start : query.end].split("\n")
    # A block begins on the line after its `|`; SQL in one line is where it stands.
    number = int(named[1]) if named and len(lines) > 1 else 0
    if not 0 < number < len(lines):
        return query.place
    start = query.start + sum(len(line) + 1 for line in lines[:number])
    indent = len(lines[number]) - len(lines[number].lstrip())
    return query.source.place(start + indent, start + len(lines[number].rstrip()))


def _queries(node: Node) -> Iterator[Scalar]:
    if isinstance(node, Mapping):
        for key, value in node.values.items():
            if key == "query" and isinstance(value, Scalar):
                yield value
            else:
                yield from _queries(value)
    elif isinstance(node, Sequence):
        for item in node.items:
            yield from _queries(item)
