"""What a processor is: a config model, declared outputs and one `run`.

A processor is a class registered under its `ps_type` (see `registry.py`). Its file also holds the
model of its configuration, so that templates are checked when they load, and says in the docstring
of `run` why running twice is safe.
"""

import datetime as dt
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, TypeVar

from pydantic import Field

from shared.errors import Permanent, Retryable
from shared.models import Model
from shared.telemetry import current_trace_id
from shared.warehouse.queries import Query, QueryParameter

__all__ = [
    "REBINDS",
    "AttemptFailedError",
    "Foresight",
    "Html",
    "Processor",
    "Query",
    "QueryParameter",
    "RunIdentity",
    "StepContext",
    "StepResult",
]


REBINDS = "x-rebinds"
"""In `json_schema_extra` of a config field: the built-in variable that its step's queries are run
with other values of, such as `date`. What else is made of that variable keeps its value."""


class Html:
    """Marks a text field as HTML, `Annotated[str, Html]`: what placeholders put in is escaped."""


class RunIdentity(Model):
    """Which run this is; the same in every message, log row and job label of the run."""

    pipeline_logging_id: str = Field(description="The run's UUID.")
    pipeline_id: str
    tenant_id: str
    provider: str
    domain: str
    template_name: str
    date: dt.date
    run_date: dt.date
    trigger_type: str = Field(
        description="`manual`, `scheduled`, `onboarding`, `retry` or `backfill`."
    )
    trigger_by: str | None = None
    user_id: str | None = Field(default=None, description="For the audit trail only.")
    parameters: dict[str, Any] = Field(
        default_factory=dict, description="What the caller set, as given."
    )
    parent_run_id: str | None = Field(default=None, description="The run that this one retries.")
    config_id: str | None = Field(default=None, description="The schedule that it comes from.")
    started_at: dt.datetime = Field(description="When the run was accepted, UTC.")
    began_at: dt.datetime | None = Field(
        default=None, description="When its first step began, UTC; known from then on."
    )
    slot: int | None = Field(
        default=None, description="Slot of the usage ledger; None for runs that need no admission."
    )
    usage_date: dt.date | None = Field(
        default=None, description="UTC day whose quota the slot counts against."
    )


@dataclass(frozen=True)
class StepContext:
    """What a processor knows beside its own configuration."""

    run: RunIdentity
    step_id: str
    attempt: int
    """1 for the first try of the step's work; a retry after a failure counts up."""
    deadline: dt.datetime
    """When the work must have ended, UTC; below the function's own timeout."""
    sources: tuple[str, ...] = ()
    """Tables outside the tenant's own datasets that the template may read."""
    is_repeated: bool = False
    """Whether an earlier delivery has begun this step's work, and may have left something."""
    max_bytes_billed: int | None = None
    """Most bytes that one query may scan, by the template and the tenant's plan; None: any."""

    @property
    def work_id(self) -> str:
        """Prefix of every job ID and claim of this attempt's work."""
        return f"{self.run.pipeline_logging_id}--{self.step_id}"

    @property
    def job_labels(self) -> dict[str, str]:
        """Labels by which every job of a run is found: tenant, run, step, template, trace.

        Values are lower-case letters, digits, `_` and `-`, at most 63 (BigQuery, "Labels").
        """
        run = self.run
        return {
            "tenant_id": run.tenant_id[:63],
            "pipeline_logging_id": run.pipeline_logging_id[:63],
            "step_id": self.step_id[:63],
            "template": "-".join(filter(None, (run.provider, run.domain, run.template_name)))[:63],
            **({"trace_id": trace_id} if (trace_id := current_trace_id()) else {}),
        }


@dataclass(frozen=True)
class StepResult:
    """What a step did; later steps may refer to `outputs` as `{steps.<step_id>.<name>}`."""

    rows_processed: int = 0
    bytes_processed: int = 0
    outputs: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Foresight:
    """What a step would do, as far as that can be said before."""

    query: Query | None = None
    """What it would send to BigQuery, to the letter."""
    tables_read: tuple[str, ...] = ()
    tables_written: tuple[str, ...] = ()
    bytes_estimated: int | None = None
    maximum_bytes_billed: int | None = None
    refusal: Permanent | None = None
    """The error it would fail with."""


class AttemptFailedError(Retryable):
    """The step's own work failed in a way that may pass: one of its attempts is used up.

    Unlike other `Retryable` errors, which are about the platform and cost the step nothing.
    """

    code = "attempt-failed"


ConfigT = TypeVar("ConfigT", bound=Model)


class Processor(ABC, Generic[ConfigT]):
    """One `ps_type`."""

    ps_type: ClassVar[str]
    config_model: ClassVar[type[Model]]
    outputs: ClassVar[frozenset[str]] = frozenset()
    """Names beside `rows_processed` and `bytes_processed` that `run` puts into its outputs."""

    @abstractmethod
    def run(self, config: ConfigT, context: StepContext) -> StepResult:
        """Do the step's work once, however often and concurrently it is called for one attempt.

        Raises:
            Retryable: the message is delivered again later.
            Permanent: the step has failed.
        """

    def cancel(self, context: StepContext) -> bool:
        """Stop the work that `run` has begun for this attempt; whether there was any to stop.

        For work that goes on outside of the function; what runs inside of it is short and ends by
        itself. May be called when nothing runs, and twice.

        Raises:
            Retryable: not now.
        """
        del context
        return False

    def foresee(self, config: ConfigT, context: StepContext) -> Foresight:
        """What `run` would do. No side effect, nothing is read.

        Raises:
            Retryable: not now.
        """
        del config, context
        return Foresight()
