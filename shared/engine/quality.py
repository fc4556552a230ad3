"""What data quality found for a tenant, page by page, newest first."""

import datetime as dt
from dataclasses import dataclass
from typing import Any

from pydantic import Field

from shared.engine.status import read_metadata
from shared.models import Model
from shared.tenancy.names import check_tenant_id
from shared.warehouse import pages
from shared.warehouse.queries import query

_KEY = "CONCAT(pipeline_logging_id, '/', step_id, '/', CAST(attempt AS STRING), '/', rule_id)"
"""Tells results of one moment apart."""


class DqResult(Model):
    """One rule's outcome in one attempt of a step."""

    pipeline_logging_id: str = Field(description="The run that checked.")
    step_id: str
    attempt: int
    rule_id: str = Field(description="The rule's name in its step.")
    rule_name: str | None = Field(default=None, description="What the rule demands, in words.")
    dataset_id: str | None = None
    table_name: str | None = None
    column_name: str | None = None
    date: dt.date | None = Field(
        default=None, description="Partition that was checked; null for a whole table."
    )
    severity: str | None = Field(default=None, description="`fail` or `warn`.")
    status: str = Field(description="PASSED, FAILED or ERROR.")
    rows_checked: int | None = None
    rows_failed: int | None = None
    expected: str | None = None
    observed: str | None = None
    details: dict[str, Any] | None = Field(
        default=None, description="Samples of rows that broke the rule, or the keys that differ."
    )
    executed_at: dt.datetime


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Which results; absent fields exclude nothing."""

    pipeline_logging_id: str | None = None
    status: str | None = None
    severity: str | None = None
    table: str | None = None
    """A table's name, alone or as `dataset.table`."""
    rule: str | None = None
    date: dt.date | None = None
    """Partition that was checked."""
    first_day: dt.date | None = None
    """UTC day of the check, inclusive like `last_day`."""
    last_day: dt.date | None = None
    limit: int = pages.DEFAULT_SIZE
    cursor: str | None = None


@dataclass(frozen=True)
class Page:
    """Some results, and where the next ones begin."""

    results: list[DqResult]
    next_cursor: str | None


def dq_results(tenant_id: str, wanted: Wanted) -> Page:
    """One page of the tenant's results.

    Raises:
        InvalidInputError: the cursor is not one of this list.
        NotFoundError: the tenant has no dataset.
        WarehouseBusyError: not now.
    """
    conditions, values = _conditions(wanted)
    dataset = check_tenant_id(tenant_id)
    found = read_metadata(
        query(
            f"SELECT {', '.join(DqResult.model_fields)} FROM `{dataset}.x_meta_dq_results`"  # noqa: S608 - checked dataset, parameters
            f" WHERE {' AND '.join(conditions)}"
            f" ORDER BY executed_at DESC, {_KEY} DESC LIMIT @rows",
            **values,
            rows=wanted.limit + 1,
        ),
        tenant_id,
    )
    results = [DqResult.model_validate(row) for row in found[: wanted.limit]]
    more = len(found) > wanted.limit
    return Page(results, _cursor_behind(results[-1]) if more else None)


def _conditions(wanted: Wanted) -> tuple[list[str], dict[str, Any]]:
    """What narrows the results down, and the values of its parameters."""
    values: dict[str, Any] = {
        name: value
        for name in ("pipeline_logging_id", "status", "severity", "rule", "date")
        if (value := getattr(wanted, name)) is not None
    }
    columns = {"rule": "rule_id"}
    conditions = ["executed_at IS NOT NULL"]
    conditions += [f"{columns.get(name, name)} = @{name}" for name in values]
    if wanted.table:
        values["dataset"], _, values["table"] = wanted.table.rpartition(".")
        conditions.append("table_name = @table AND @dataset IN ('', dataset_id)")
    if wanted.first_day:
        values["first_day"] = wanted.first_day
        conditions.append("DATE(executed_at) >= @first_day")
    if wanted.last_day:
        values["last_day"] = wanted.last_day
        conditions.append("DATE(executed_at) <= @last_day")
    if wanted.cursor:
        values["moment"], values["key"] = pages.moment_key_of(wanted.cursor)
        conditions.append(f"(executed_at < @moment OR (executed_at = @moment AND {_KEY} < @key))")
    return conditions, values


def _cursor_behind(result: DqResult) -> str:
    key = (result.pipeline_logging_id, result.step_id, str(result.attempt), result.rule_id)
    return pages.moment_cursor(result.executed_at, "/".join(key))
