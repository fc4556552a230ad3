"""Runs, steps and messages for tests: valid by default, each test says only what matters to it."""

from datetime import UTC, date, datetime
from typing import Any
from uuid import uuid4

from shared.engine.messages import StepMessage
from shared.processors.contract import RunIdentity, StepContext
from shared.templates.models import ResolvedStep, Retry


def a_run(tenant_id: str = "acme_corp", **changes: Any) -> RunIdentity:
    """A run of gcp/cost/cost_billing that has just been accepted."""
    values: dict[str, Any] = {
        "pipeline_logging_id": str(uuid4()),
        "pipeline_id": f"{tenant_id}-gcp-cost-billing",
        "tenant_id": tenant_id,
        "provider": "gcp",
        "domain": "cost",
        "template_name": "cost_billing",
        "date": date(2025, 11, 15),
        "run_date": date(2025, 11, 16),
        "trigger_type": "manual",
        "started_at": datetime.now(UTC),
    }
    return RunIdentity(**(values | changes))


def a_step(step_id: str = "extract", trigger: str = "on_success", **changes: Any) -> ResolvedStep:
    """A step; its retry pauses for no time unless a test says so."""
    ps_type = changes.pop("ps_type", "shared.email_notification")
    values: dict[str, Any] = {
        "step_id": step_id,
        "name": step_id,
        "ps_type": ps_type,
        "family": ps_type.partition(".")[0],
        "trigger": trigger,
        "timeout_seconds": 60,
        "retry": Retry(max_attempts=3, backoff_seconds=0),
        "config": {},
    }
    return ResolvedStep(**(values | changes))


def a_message(*steps: ResolvedStep, run: RunIdentity | None = None, **changes: Any) -> StepMessage:
    """The first message of a run of `steps`."""
    values: dict[str, Any] = {"run": run or a_run(), "steps": steps or (a_step(),)}
    return StepMessage(**(values | changes))


def a_context(run: RunIdentity, step_id: str = "extract", **changes: Any) -> StepContext:
    """The first attempt of a step, with a minute to do its work."""
    values: dict[str, Any] = {
        "run": run,
        "step_id": step_id,
        "attempt": 1,
        "deadline": datetime.fromtimestamp(datetime.now(UTC).timestamp() + 60, UTC),
    }
    return StepContext(**(values | changes))
