"""What travels on the step topics: one run, resolved, and where in it we are.

A message carries everything that the next step needs, so that executors keep no state. New fields
get defaults and unknown ones are ignored: during a deploy messages of both versions are in flight.
Size: Pub/Sub takes 10 MB a message; a resolved pipeline is some tens of kilobytes.
"""

from datetime import datetime
from typing import Any, Literal

from pydantic import ConfigDict, Field

from shared.models import Model
from shared.processors.contract import RunIdentity
from shared.templates.models import ResolvedStep


class FailedStep(Model):
    """The step that failed the run."""

    model_config = ConfigDict(extra="ignore")

    position: int
    step_id: str
    error: str
    error_code: str


class StepMessage(Model):
    """Do the step at `position` of this run, then send on the next one."""

    model_config = ConfigDict(extra="ignore")

    version: int = 1
    run: RunIdentity
    steps: tuple[ResolvedStep, ...]
    sources: tuple[str, ...] = Field(
        default=(), description="Tables that are not the tenant's and that the template may read."
    )
    max_bytes_billed: int | None = Field(
        default=None, description="Most bytes that one query of the run may scan."
    )
    position: int = 0
    phase: Literal["forward", "failure"] = Field(
        default="forward", description="`failure`: the run has failed, its on_failure steps run."
    )
    outputs: dict[str, dict[str, Any]] = Field(
        default_factory=dict, description="By step ID: what the steps before this one gave."
    )
    failure: FailedStep | None = None
    rows_processed: int = 0
    bytes_processed: int = 0
    deadline: datetime | None = Field(
        default=None, description="When the run is given up as TIMED_OUT, UTC."
    )
    follow_up: int = Field(
        default=0,
        description="How many deliveries of this step have ended while its work went on.",
    )

    @property
    def step(self) -> ResolvedStep:
        """The step that this message asks for."""
        return self.steps[self.position]

    def next_position(self) -> int | None:
        """The step after this one on the message's path; None at its end."""
        return next((p for p in self._path() if p > self.position), None)

    def _path(self) -> list[int]:
        if self.failure is None:
            return [p for p, step in enumerate(self.steps) if step.trigger != "on_failure"]
        return failure_path(self.steps, self.failure.position)


def first_position(steps: tuple[ResolvedStep, ...]) -> int | None:
    """Where a run begins; None for a pipeline of `on_failure` steps only."""
    return next((p for p, step in enumerate(steps) if step.trigger != "on_failure"), None)


def failure_path(steps: tuple[ResolvedStep, ...], failed_position: int) -> list[int]:
    """What runs after a failure: every `on_failure` step, and the `always` steps still to come."""
    return [
        p
        for p, step in enumerate(steps)
        if p != failed_position
        and (step.trigger == "on_failure" or (step.trigger == "always" and p > failed_position))
    ]
