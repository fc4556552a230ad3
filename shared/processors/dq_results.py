"""Rows of the tenant's `x_meta_dq_results`: what was checked and what was found."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from shared.processors.contract import StepContext
from shared.tenancy.names import check_tenant_id
from shared.warehouse import rows
from shared.warehouse.rows import Row

Severity = Literal["warn", "fail"]


@dataclass(frozen=True, kw_only=True)
class DqResult:
    """One rule's outcome in one attempt of a step."""

    rule_id: str
    """Names the rule in its step; a repeated row of the same attempt replaces the earlier one."""
    rule_name: str
    """What is demanded, in words."""
    passed: bool
    severity: Severity
    table: str
    """`project.dataset.table`."""
    column: str | None = None
    date: dt.date | None = None
    """The partition that was looked at; None for the whole table."""
    rows_checked: int | None = None
    rows_failed: int | None = None
    expected: str | None = None
    observed: str | None = None
    details: dict[str, Any] = field(default_factory=dict)


def append(context: StepContext, results: Sequence[DqResult]) -> None:
    """Record the results of a step's attempt.

    Safe to repeat and to do concurrently: insert IDs are those of run, step, attempt and rule, and
    the view shows one row of each.

    Raises:
        WarehouseBusyError: not now; nothing is known of the rows.
        WarehouseError: the tenant's dataset is gone.
    """
    table = f"{check_tenant_id(context.run.tenant_id)}.x_meta_dq_results_log"
    rows.append(table, [_row(context, result) for result in results])


def _row(context: StepContext, result: DqResult) -> Row:
    run = context.run
    _, dataset, table = result.table.split(".")
    values = {
        "pipeline_logging_id": run.pipeline_logging_id,
        "tenant_id": run.tenant_id,
        "step_id": context.step_id,
        "attempt": context.attempt,
        "rule_id": result.rule_id,
        "rule_name": result.rule_name,
        "dataset_id": dataset,
        "table_name": table,
        "column_name": result.column,
        "date": result.date,
        "severity": result.severity,
        "status": "PASSED" if result.passed else "FAILED",
        "rows_checked": result.rows_checked,
        "rows_failed": result.rows_failed,
        "expected": result.expected,
        "observed": result.observed,
        "details": result.details,
        "executed_at": dt.datetime.now(dt.UTC),
        **rows.stamp(),
    }
    insert_id = f"{run.pipeline_logging_id}-{context.step_id}-{context.attempt}-{result.rule_id}"
    return Row(insert_id, values)
