"""`shared.reconcile`: a table held against its source's totals, and let out only if they agree."""

import datetime as dt
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from shared.errors import FieldProblem, InvalidInputError, Permanent
from shared.models import Model
from shared.processors import dq_results
from shared.processors.contract import Foresight, Processor, Query, StepContext, StepResult
from shared.processors.dq_results import DqResult
from shared.processors.own_tables import DatasetType, WrittenTable
from shared.processors.shared.quality import totals
from shared.processors.shared.quality.checked_table import (
    CheckedTable,
    Period,
    look_up,
    path_of,
)
from shared.processors.shared.quality.rules import Amount, Column, Table
from shared.processors.shared.quality.totals import Delta, Key, Measures, Total
from shared.telemetry import carried
from shared.tenancy.names import check_table_name, dataset_name
from shared.warehouse import tables
from shared.warehouse.authorize import DryRun, authorized
from shared.warehouse.copies import Copy, copy_partition, create_like
from shared.warehouse.jobs import JobSpec, cancel, run_and_read
from shared.warehouse.partitions import PARALLEL_DAYS

_FROZEN_FOR = dt.timedelta(days=1)
_QUERIES = ("parts", "own", "control")


class ControlTotal(Model):
    """What the source says of one period and currency."""

    period: str | None = Field(default=None, description="As the period column has it, as text.")
    currency: str | None = Field(default=None, description="Currency.")
    rows: int | None = Field(default=None, description="Number of rows.")
    cost: Decimal | None = Field(default=None, description="Sum of the cost.")


class Control(Model):
    """What the source itself says that there is."""

    query: Query | None = Field(
        default=None,
        description="SELECT of period, currency, row_count and cost, in groups or row by row.",
    )
    totals: tuple[ControlTotal, ...] | None = Field(
        default=None,
        description="Or: the totals, such as an earlier step's {steps.fetch.control_totals}.",
    )

    @model_validator(mode="after")
    def _is_one_of_both(self) -> "Control":
        if (self.query is None) == (self.totals is None):
            raise ValueError("the control is either a query or totals")
        return self


class ReconcileConfig(Model):
    """What is held against what."""

    dataset_type: DatasetType | None = Field(
        default=None,
        description="`gcp_silver_cost` means {tenant_id}_gcp_silver_cost; absent: {tenant_id}.",
    )
    table: Table = Field(description="Table that is held against its source.")
    promote_to: WrittenTable | None = Field(
        default=None,
        description="Table of the same dataset whose dates are replaced by those of `table`, if"
        " the totals agree and only then. `table` is then one that nobody reads.",
    )
    scope: Literal["date", "month", "table"] = Field(
        default="date", description="Rows of the run's date, of its month, or all."
    )
    dates: tuple[dt.date, ...] | None = Field(
        default=None,
        min_length=1,
        max_length=400,
        description="For scope date: other dates, such as {steps.extract.dates}.",
    )
    date_column: Column | None = Field(
        default=None, description="Column with the day, where the table is not partitioned by it."
    )
    period: Column | None = Field(default=None, description="Column that is the control's period.")
    currency: Column | None = Field(
        default=None, description="Column that is the control's currency."
    )
    cost: Column | None = Field(default=None, description="Column that is the control's cost.")
    row_count: Column | None = Field(
        default=None,
        description="Column with the number of the source's rows in a row; absent: each is one.",
    )
    control: Control = Field(description="What the source says.")
    tolerance: Amount = Field(
        default=Decimal(0), ge=0, description="Difference in cost that a key may have."
    )
    max_bytes_billed: int | None = Field(
        default=None, ge=1, description="Refuse a query that would scan more bytes than this."
    )

    @model_validator(mode="after")
    def _says_one_thing(self) -> "ReconcileConfig":
        if self.scope != "date" and (self.dates or self.promote_to):
            raise ValueError(f"dates and promote_to go with scope date, not with {self.scope}")
        if self.promote_to and (self.date_column or "." in self.table):
            raise ValueError(
                "what is promoted is a table of the tenant's, partitioned by its dates"
            )
        return self

    @property
    def measures(self) -> Measures:
        """The table's columns."""
        return Measures(self.period, self.currency, self.cost, self.row_count)


class ReconcileError(Permanent):
    """The totals differ; every key that does, with both sides and the difference."""

    code = "not-reconciled"

    def __init__(self, table: str, found: Sequence[Delta], consequence: str) -> None:
        self.table = table
        self.deltas = tuple(found)
        shown = "; ".join(str(delta) for delta in found[:10])
        more = f"; and {len(found) - 10} more" if len(found) > 10 else ""
        super().__init__(f"{table} differs from its source: {shown}{more}. {consequence}")


class Reconcile(Processor[ReconcileConfig]):
    """Fails the run unless a table has its source's rows and cost, to the last digit.

    With `promote_to` it works before anybody can see a wrong figure: the step before writes to a
    table of its own, which this step holds against the source and then copies, date by date.

    Example:
        ```yaml
        - step_id: "reconcile"
          ps_type: "shared.reconcile"
          dataset_type: "gcp_silver_cost"
          table: "my_costs_staging"
          promote_to: "my_costs"
          period: "usage_date"
          currency: "currency"
          cost: "net_cost"
          row_count: "line_items"
          control:
            query: |
              SELECT DATE(usage_start_time) AS period, currency, COUNT(*) AS row_count,
                SUM(CAST(cost AS NUMERIC)) AS cost
              FROM `{source_billing_table}`
              WHERE DATE(usage_start_time) = '{date}'
              GROUP BY period, currency
        ```
    """

    ps_type = "shared.reconcile"
    config_model: ClassVar[type[Model]] = ReconcileConfig
    outputs = frozenset({"table", "keys", "row_count", "dates"})

    def run(self, config: ReconcileConfig, context: StepContext) -> StepResult:
        """Compare, record, then fail or promote.

        What is promoted is what was compared, whoever writes to `table` meanwhile: it is copied
        aside first. Running twice is safe: a second call finds queries and copies of the first by
        their IDs, and copies the same rows.

        Raises:
            ReconcileError: the totals differ; nothing was promoted.
            ControlError: the control's figures cannot be compared with.
            AccessDeniedError: a table that the tenant may not read, or too many bytes.
            WarehouseError: a query or a table is wrong; the date that it was about is as it was.
            WarehouseBusyError: still running, or not now.
        """
        path = path_of(context, config.dataset_type, config.table)
        work = _Work(config, context, look_up(path, config.date_column, context))
        parts = work.parts() if config.promote_to else []
        compared = work.frozen(parts) if config.promote_to else path
        ours, theirs = work.totals(compared)
        found = totals.deltas(ours, theirs, config.tolerance)
        dq_results.append(context, [_result(path, found, ours, theirs, context)])
        if found:
            raise ReconcileError(path, found, _consequence(config))
        if config.promote_to:
            work.promote(compared, parts)
        return StepResult(
            bytes_processed=work.bytes_read,
            outputs={
                "table": target_of(config, context) if config.promote_to else path,
                "keys": len(ours),
                "row_count": sum(total.rows or 0 for total in ours.values()),
                "dates": [day.isoformat() for day in days_of(config, context) or ()],
            },
        )

    def cancel(self, context: StepContext) -> bool:
        """Stop the queries; a date that is not promoted yet stays as it was.

        Raises:
            WarehouseBusyError: not now.
        """
        return any([cancel(_work_id(context, name)) for name in _QUERIES])  # noqa: C419 - all of them

    def foresee(self, config: ReconcileConfig, context: StepContext) -> Foresight:
        """The control query with its tables and bytes, and the table that it would promote to.

        Raises:
            WarehouseBusyError: not now.
        """
        query = config.control.query
        try:
            written = (target_of(config, context),) if config.promote_to else ()
            if query is None:
                return Foresight(tables_written=written)
            plan, cap = _authorized(query, config, context)
        except Permanent as refusal:
            return Foresight(query=query, refusal=refusal)
        return Foresight(query, plan.tables, written, plan.bytes_estimated, cap)


def days_of(config: ReconcileConfig, context: StepContext) -> tuple[dt.date, ...] | None:
    """The days that are looked at; None for all."""
    today = context.run.date
    if config.scope == "table":
        return None
    if config.scope == "date":
        return tuple(sorted(set(config.dates or (today,))))
    first = today.replace(day=1)
    month = (first + dt.timedelta(days=n) for n in range(31))
    return tuple(day for day in month if day.month == today.month)


def target_of(config: ReconcileConfig, context: StepContext) -> str:
    """`project.dataset.table` that is promoted to.

    Raises:
        InvalidInputError: it is none that a pipeline may write, or the one that is compared.
    """
    name = check_table_name(config.promote_to or "")
    if name == config.table:
        problem = "must be another table than `table`, which nobody may read before"
        raise InvalidInputError([FieldProblem("/promote_to", problem, name)])
    return path_of(context, config.dataset_type, name)


@dataclass(frozen=True)
class _Part:
    """A partition that is promoted."""

    name: str
    is_empty: bool


@dataclass
class _Work:
    """One attempt's work, all of it under names of its own."""

    config: ReconcileConfig
    context: StepContext
    table: CheckedTable
    bytes_read: int = 0

    @property
    def _periods(self) -> list[Period] | None:
        days = days_of(self.config, self.context)
        if days is None:
            return None
        return list(dict.fromkeys(self.table.period(day) for day in days))

    def parts(self) -> list[_Part]:
        """The partitions of the dates, and which of them there is nothing of to copy."""
        dataset = dataset_name(self.context.run.tenant_id, self.config.dataset_type)
        tables.plan_dataset(dataset, labels={tables.OWNER_LABEL: self.context.run.tenant_id})
        form = self.table.partition_format
        if form is None:
            problem = "must be partitioned by day, month or year for its dates to be promoted"
            raise InvalidInputError([FieldProblem("/table", problem, self.table.path)])
        periods = self._periods or []
        found = self._ask("parts", totals.partitions_query(self.table, periods))
        filled = {row["first"] for row in found}
        return [_Part(f"{p.first:{form}}", p.first not in filled) for p in periods]

    def frozen(self, parts: Sequence[_Part]) -> str:
        """A copy of the partitions that nobody else writes; BigQuery drops it after a day."""
        run, context = self.context.run, self.context
        name = f"x_meta_reconcile_{run.pipeline_logging_id}_{context.step_id}_{context.attempt}"
        copied = f"{self.table.path.rpartition('.')[0]}.{name.replace('-', '')}"
        create_like(copied, self.table.path, expires=dt.datetime.now(dt.UTC) + _FROZEN_FOR)
        self._copy("freeze", self.table.path, copied, [p for p in parts if not p.is_empty])
        return copied

    def promote(self, copied: str, parts: Sequence[_Part]) -> None:
        """Replace each partition of the target, one atomic update a partition."""
        target = target_of(self.config, self.context)
        create_like(target, copied)
        self._copy("promote", copied, target, parts)

    def _copy(self, name: str, source: str, destination: str, parts: Sequence[_Part]) -> None:
        work_id, labels = _work_id(self.context, name), self.context.job_labels

        def copy(part: _Part) -> None:
            wanted = Copy(work_id, source, destination, part.name, part.is_empty, labels)
            copy_partition(wanted, self.context.deadline)

        with ThreadPoolExecutor(PARALLEL_DAYS) as pool:
            list(pool.map(carried(copy), parts))

    def totals(self, path: str) -> tuple[dict[Key, Total], dict[Key, Total]]:
        """Ours and the source's."""
        compared = replace(self.table, path=path)
        ours = totals.own_query(compared, self.config.measures, self._periods)
        return totals.totals(self._ask("own", ours)), totals.totals(self._control())

    def _control(self) -> Sequence[Mapping[str, Any]]:
        control, measures = self.config.control, self.config.measures
        if control.query is None:
            return [
                {
                    "period": total.period if measures.period else None,
                    "currency": total.currency if measures.currency else None,
                    "row_count": total.rows,
                    "cost": total.cost if measures.cost else None,
                }
                for total in control.totals or ()
            ]
        plan, _ = _authorized(control.query, self.config, self.context)
        columns = {str(column["name"]): str(column["type"]) for column in plan.schema}
        return self._ask("control", totals.control_query(control.query, columns, measures))

    def _ask(self, name: str, query: Query) -> list[dict[str, Any]]:
        _, cap = _authorized(query, self.config, self.context)
        spec = JobSpec(
            work_id=_work_id(self.context, name),
            query=query,
            maximum_bytes_billed=cap,
            labels=self.context.job_labels,
        )
        job, rows = run_and_read(spec, self.context.deadline)
        self.bytes_read += job.bytes_processed
        return rows


def _authorized(query: Query, config: ReconcileConfig, context: StepContext) -> tuple[DryRun, int]:
    limits = (config.max_bytes_billed, context.max_bytes_billed)
    return authorized(
        query,
        context.run.tenant_id,
        context.sources,
        labels=context.job_labels,
        allowed=min((limit for limit in limits if limit is not None), default=None),
    )


def _work_id(context: StepContext, name: str) -> str:
    return f"{context.work_id}--{name}--{context.attempt}"


def _consequence(config: ReconcileConfig) -> str:
    if config.promote_to:
        return f"{config.promote_to} was not touched."
    return "The table has these figures already: run the step that writes it again."


def _result(
    path: str,
    found: Sequence[Delta],
    ours: Mapping[Key, Total],
    theirs: Mapping[Key, Total],
    context: StepContext,
) -> DqResult:
    return DqResult(
        rule_id="reconcile",
        rule_name="rows and cost are those of the source",
        passed=not found,
        severity="fail",
        table=path,
        date=context.run.date,
        rows_checked=sum(total.rows or 0 for total in ours.values()),
        expected=f"{len(theirs)} keys as in the source",
        observed=f"{len(ours)} keys, {len(found)} of them or of the source's differ",
        details={"deltas": [delta.as_json() for delta in found[:100]]} if found else {},
    )
