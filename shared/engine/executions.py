"""The runs of a tenant, page by page, newest first."""

import datetime as dt
from dataclasses import dataclass
from typing import Any

from shared.engine.status import RUN_FIELDS, StoredRun, read_metadata
from shared.tenancy.names import check_tenant_id
from shared.warehouse import pages
from shared.warehouse.queries import query

RUN_STATES = ("QUEUED", "PENDING", "RUNNING", "COMPLETED", "FAILED", "CANCELLED", "TIMED_OUT")
ACTIVE_STATES = ("QUEUED", "PENDING", "RUNNING")


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Which runs; absent fields exclude nothing."""

    status: str | None = None
    pipeline: str | None = None
    """A `pipeline_id`, or a template as `gcp/cost/cost_billing`."""
    first_day: dt.date | None = None
    """UTC day on which a run was accepted, inclusive like `last_day`."""
    last_day: dt.date | None = None
    parent_run_id: str | None = None
    limit: int = pages.DEFAULT_SIZE
    cursor: str | None = None


@dataclass(frozen=True)
class Page:
    """Some runs, and where the next ones begin."""

    runs: list[StoredRun]
    next_cursor: str | None


def executions(tenant_id: str, wanted: Wanted) -> Page:
    """One page of the tenant's runs, ordered by start and ID.

    Raises:
        InvalidInputError: the cursor is not one of this list.
        NotFoundError: the tenant has no dataset.
        WarehouseBusyError: not now.
    """
    conditions, values = _conditions(wanted)
    dataset = check_tenant_id(tenant_id)
    found = read_metadata(
        query(
            f"SELECT {RUN_FIELDS} FROM `{dataset}.x_meta_pipeline_runs`"  # noqa: S608 - checked dataset, parameters
            f" WHERE {' AND '.join(conditions)}"
            " ORDER BY start_time DESC, pipeline_logging_id DESC LIMIT @rows",
            **values,
            rows=wanted.limit + 1,
        ),
        tenant_id,
    )
    runs = [StoredRun.model_validate(row) for row in found[: wanted.limit]]
    more = len(found) > wanted.limit
    return Page(runs, _cursor_behind(runs[-1]) if more else None)


def _conditions(wanted: Wanted) -> tuple[list[str], dict[str, Any]]:
    """What narrows the runs down, and the values of its parameters."""
    parts: list[tuple[str, dict[str, Any]]] = [("start_time IS NOT NULL", {})]
    if wanted.status:
        parts.append(("status = @status", {"status": wanted.status}))
    if wanted.pipeline:
        parts.append(_pipeline(wanted.pipeline))
    if wanted.first_day:
        parts.append(("DATE(start_time) >= @first_day", {"first_day": wanted.first_day}))
    if wanted.last_day:
        parts.append(("DATE(start_time) <= @last_day", {"last_day": wanted.last_day}))
    if wanted.parent_run_id:
        parts.append(("parent_run_id = @parent", {"parent": wanted.parent_run_id}))
    if wanted.cursor:
        parts.append(_behind(wanted.cursor))
    values: dict[str, Any] = {}
    for _, more in parts:
        values.update(more)
    return [condition for condition, _ in parts], values


def _pipeline(name: str) -> tuple[str, dict[str, Any]]:
    if "/" not in name:
        return "pipeline_id = @pipeline", {"pipeline": name}
    provider, _, rest = name.lower().partition("/")
    domain, _, template = rest.rpartition("/")
    condition = "provider = @provider AND domain = @domain AND template_name = @template"
    return condition, {"provider": provider, "domain": domain, "template": template}


def _behind(cursor: str) -> tuple[str, dict[str, Any]]:
    moment, run_id = pages.moment_key_of(cursor)
    return (
        "(start_time < @started OR (start_time = @started AND pipeline_logging_id < @run_id))",
        {"started": moment, "run_id": run_id},
    )


def _cursor_behind(run: StoredRun) -> str:
    assert run.start_time is not None  # noqa: S101 - asked for in the query
    return pages.moment_cursor(run.start_time, run.pipeline_logging_id)
