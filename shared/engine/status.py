"""How a run stands: its row of `x_meta_pipeline_runs` and those of its steps."""

import datetime as dt
import uuid
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BeforeValidator, Field

from shared.errors import NotFoundError
from shared.models import Model
from shared.tenancy.names import check_tenant_id
from shared.warehouse import rows
from shared.warehouse.failures import WarehouseError
from shared.warehouse.queries import Query, query

if TYPE_CHECKING:
    from shared.processors.contract import RunIdentity


class StepStatus(Model):
    """A step's latest attempt."""

    step_id: str
    step_name: str | None = None
    ps_type: str | None = None
    status: str = Field(description="RUNNING, COMPLETED, FAILED or SKIPPED.")
    attempt: int
    rows_processed: int | None = None
    bytes_processed: int | None = None
    start_time: dt.datetime | None = None
    end_time: dt.datetime | None = None
    duration_ms: int | None = None
    error: str | None = None


class Run(Model):
    """A run, without its steps."""

    pipeline_logging_id: str
    pipeline_id: str
    tenant_id: str
    provider: str | None = None
    domain: str | None = None
    template_name: str | None = None
    status: str = Field(
        description="PENDING, RUNNING, COMPLETED, FAILED, CANCELLED or TIMED_OUT; the last four are"
        " final. A scheduled run may be QUEUED before."
    )
    trigger_type: str | None = None
    trigger_by: str | None = None
    user_id: str | None = None
    parent_run_id: str | None = Field(default=None, description="The run that this one retries.")
    date: dt.date | None = Field(default=None, description="Date whose data the run processes.")
    run_date: dt.date | None = None
    parameters: dict[str, Any] | None = Field(
        default=None, description="Variables of the template as the request set them."
    )
    start_time: dt.datetime | None = None
    end_time: dt.datetime | None = None
    duration_ms: int | None = None
    rows_processed: int | None = None
    bytes_processed: int | None = None
    failed_step: Annotated[str | None, BeforeValidator(lambda text: text or None)] = None
    error: str | None = None
    error_code: str | None = None


class RunStatus(Run):
    """A run and its steps."""

    steps: tuple[StepStatus, ...] = ()


class StoredRun(Run):
    """A run with what only the engine needs to know."""

    slot: int | None = None

    def identity(self) -> "RunIdentity":
        """The run as its messages and log rows name it."""
        from shared.processors.contract import RunIdentity

        started = self.start_time or dt.datetime.now(dt.UTC)
        return RunIdentity(
            pipeline_logging_id=self.pipeline_logging_id,
            pipeline_id=self.pipeline_id,
            tenant_id=self.tenant_id,
            provider=self.provider or "",
            domain=self.domain or "",
            template_name=self.template_name or "",
            date=self.date or started.date(),
            run_date=self.run_date or started.date(),
            trigger_type=self.trigger_type or "manual",
            trigger_by=self.trigger_by,
            user_id=self.user_id,
            parameters=self.parameters or {},
            parent_run_id=self.parent_run_id,
            slot=self.slot,
            started_at=started,
        )


RUN_FIELDS = ", ".join(StoredRun.model_fields)
_STEP_FIELDS = ", ".join(StepStatus.model_fields)


def run_status(tenant_id: str, run_id: str) -> RunStatus:
    """The run of this ID, if it is the tenant's.

    Raises:
        NotFoundError: the tenant has no such run.
        WarehouseBusyError: not now.
    """
    run = find_run(tenant_id, run_id)
    known = run.model_dump(include=set(Run.model_fields))
    return RunStatus.model_validate({**known, "steps": steps_of(run)})


def find_run(tenant_id: str, run_id: str) -> StoredRun:
    """The run of this ID without its steps.

    Raises:
        NotFoundError: the tenant has no such run.
        WarehouseBusyError: not now.
    """
    dataset = check_tenant_id(tenant_id)
    if not _is_uuid(run_id):
        raise NotFoundError("Run", run_id)
    found = read_metadata(
        query(
            f"SELECT {RUN_FIELDS} FROM `{dataset}.x_meta_pipeline_runs`"  # noqa: S608 - checked dataset
            " WHERE pipeline_logging_id = @run_id",
            run_id=run_id.lower(),
        ),
        tenant_id,
    )
    if not found:
        raise NotFoundError("Run", run_id)
    return StoredRun.model_validate(found[0])


def find_runs(tenant_id: str, run_ids: Sequence[str]) -> list[StoredRun]:
    """Those of the runs that the tenant has, without their steps, in no order.

    Raises:
        NotFoundError: the tenant has no dataset.
        WarehouseBusyError: not now.
    """
    dataset = check_tenant_id(tenant_id)
    found = read_metadata(
        query(
            f"SELECT {RUN_FIELDS} FROM `{dataset}.x_meta_pipeline_runs`"  # noqa: S608 - checked dataset
            " WHERE pipeline_logging_id IN UNNEST(@run_ids)",
            run_ids=list(run_ids),
        ),
        tenant_id,
    )
    return [StoredRun.model_validate(row) for row in found]


def read_metadata(about: Query, tenant_id: str) -> list[dict[str, Any]]:
    """The rows of a query over a tenant's own dataset.

    Raises:
        NotFoundError: the tenant has no dataset: it was never onboarded, or is gone.
        WarehouseBusyError: not now.
    """
    try:
        return rows.read(about)
    except WarehouseError as error:
        if rows.is_missing(error):
            raise NotFoundError("Tenant", tenant_id) from error
        raise


def steps_of(run: Run) -> tuple[StepStatus, ...]:
    """The steps that have begun, each in its latest attempt.

    Raises:
        WarehouseBusyError: not now.
    """
    dataset = check_tenant_id(run.tenant_id)
    found = rows.read(
        query(
            f"SELECT {_STEP_FIELDS} FROM `{dataset}.x_meta_step_logs`"  # noqa: S608 - checked dataset
            " WHERE pipeline_logging_id = @run_id AND is_latest_attempt"
            " ORDER BY start_time, step_id",
            run_id=run.pipeline_logging_id,
        )
    )
    return tuple(StepStatus.model_validate(row) for row in found)


def _is_uuid(text: str) -> bool:
    try:
        return str(uuid.UUID(text)) == text.lower()
    except ValueError:
        return False
