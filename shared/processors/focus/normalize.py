"""`focus.normalize`: what an export bills becomes rows of FOCUS's Cost and Usage dataset."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import date
from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from shared.errors import Permanent
from shared.models import Model
from shared.processors.contract import Foresight, Processor, StepContext, StepResult
from shared.processors.focus.mapping import catalogue, mapping
from shared.processors.focus.statement import DIFFERENCE, statement
from shared.processors.gcp.dates import Dates, Restate, asked_days
from shared.processors.gcp.destinations import (
    BigQueryConfig,
    Destination,
    Source,
    authorized_plan,
    authorized_question,
    dates_question,
    foreseen,
    target,
    unforeseen_cap,
)
from shared.processors.own_tables import DatasetType, WrittenTable
from shared.warehouse import evolution, tables
from shared.warehouse.authorize import DryRun, authorize, dry_run
from shared.warehouse.evolution import Evolution
from shared.warehouse.failures import WarehouseError
from shared.warehouse.partitions import Target, Work, cancel_days, write_days
from shared.warehouse.queries import Query, query
from shared.warehouse.rows import is_missing
from shared.warehouse.schemas import TableSchema

_USED = ("date", "accounts", "late_arrival_days")


class ExportedCosts(Model):
    """What is read."""

    table: str = Field(
        pattern=r"^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+){1,2}$",
        description="Table with the export, as its provider or an earlier step delivered it.",
    )
    export: Literal[
        "gcp_billing_export", "aws_cur_2_0", "aws_focus", "azure_cost_details", "azure_focus"
    ] = Field(
        description="Form of the table: Cloud Billing's standard or detailed export, CUR 2.0, cost"
        " details, or an export that is FOCUS already, in whatever version."
    )
    accounts: tuple[Annotated[str, Field(min_length=1, max_length=200)], ...] = Field(
        default=(),
        max_length=1000,
        description="Rows of these billing accounts only. None means all; for gcp_billing_export,"
        " which holds those of other tenants too, none.",
    )
    late_arrival_days: int = Field(
        default=45,
        ge=0,
        le=1000,
        description="For gcp_billing_export: export days up to this many after the date are read.",
    )


class FocusDestination(Model):
    """What is written: a table in one of the tenant's own datasets."""

    dataset_type: DatasetType | None = Field(
        default=None,
        description="`gcp_gold_focus` writes to {tenant_id}_gcp_gold_focus; absent: {tenant_id}.",
    )
    table: WrittenTable = Field(
        default="cost_and_usage",
        description="Table, of one version of FOCUS; created when it does not exist.",
    )


class NormalizeConfig(Model):
    """Which export, which version of FOCUS, and where it goes."""

    source: ExportedCosts = Field(description="What is read.")
    version: Literal["1.2", "1.3", "1.4"] = Field(default="1.4", description="Version of FOCUS.")
    destination: FocusDestination = Field(description="What is written.")
    lookback_days: int = Field(
        default=0,
        ge=0,
        le=400,
        description="Days before {date} whose day or billing period is replaced too.",
    )
    restate: Restate | None = Field(
        default=None,
        description="For gcp_billing_export: replace the days that have changed in the source since"
        " the last successful run of this step.",
    )
    max_bytes_billed: int | None = Field(
        default=None,
        ge=1,
        description="Refuse a statement that would scan more bytes than this. Of the limits of"
        " step, template and plan the smallest holds.",
    )

    @model_validator(mode="after")
    def _restates_days_only(self) -> "NormalizeConfig":
        restates = self.restate is not None and self.restate.mode != "none"
        if restates and mapping(self.source.export).partition.type != "DAY":
            raise ValueError(f"restate is for exports by day, not for {self.source.export}")
        return self


class FocusDifferenceError(Permanent):
    """BilledCost does not add to what the export bills; nothing was written."""

    code = "not-reconciled"

    def __init__(self, table: str, difference: str) -> None:
        self.table = table
        self.difference = difference
        super().__init__(
            f"BilledCost of {table} would differ from the export: {difference}. The partition is as"
            " it was before."
        )


class OtherVersionError(Permanent):
    """The table holds another version of FOCUS."""

    code = "other-focus-version"

    def __init__(self, table: str, version: str, columns: Iterable[str]) -> None:
        self.table = table
        self.columns = tuple(columns)
        super().__init__(
            f"{table} is not of FOCUS {version}, by {', '.join(self.columns[:5])}: write each"
            " version to a table of its own."
        )


class Normalize(Processor[NormalizeConfig]):
    """Turns an export into FOCUS inside BigQuery, to the last digit of what it bills.

    A day of Cloud Billing, a billing period of AWS and Azure is replaced whole. The statement is
    made of the export's mapping (`shared/processors/focus/mappings`) and the version's columns
    (`schemas/focus`), and compares BilledCost with the export's own sum, per currency, before
    anything is replaced (docs/focus.md).

    Example:
        ```yaml
        - step_id: "normalize"
          ps_type: "focus.normalize"
          source:
            table: "{source_billing_table}"
            export: "gcp_billing_export"
            accounts: "{billing_account_ids}"
          version: "1.4"
          destination:
            dataset_type: "gcp_gold_focus"
            table: "cost_and_usage"
        ```
    """

    ps_type = "focus.normalize"
    config_model: ClassVar[type[Model]] = NormalizeConfig
    outputs = frozenset(
        {
            *("table", "version", "dates", "bytes_billed"),
            *("restate_key", "planned_at", "high_water_mark"),
        }
    )

    def run(self, config: NormalizeConfig, context: StepContext) -> StepResult:
        """Let a job per day or billing period compute, compare and replace it.

        Running twice is safe: a second call finds the jobs of the first by their IDs, and each
        partition is replaced in one atomic update or not at all.

        Raises:
            InvalidInputError: the table is not the export that the step says, or a name is wrong.
            FocusDifferenceError: the sums differ; nothing was written.
            OtherVersionError: the table is of another version; nothing was written.
            AccessDeniedError: a table that the tenant may not read, or too many bytes.
            WarehouseError: BigQuery refused; the partition is as it was.
            WarehouseBusyError: still running, or not now.
        """
        inner = _inner(config, context)
        plan, cap = authorized_plan(inner, context)
        schema = _schema(config)
        where = replace(target(inner, context), partitioning=_partitioning(config))
        differs = _prepared(where, config, context, plan, schema)
        dates = _dates(config, inner, context, where)
        own = _first(config, context.run.date)  # only of this is it known what it reads

        def work(day: date) -> Work:
            filled = inner.source.query.having("date", day.isoformat())
            limit = cap if day == own else unforeseen_cap(inner, context, plan)
            padded = evolution.padded(filled, differs.absent)
            return Work(_work_id(context), padded, limit, context.job_labels)

        try:
            jobs = write_days(where, dates.days, work, context.deadline)
        except WarehouseError as error:
            found = DIFFERENCE.search(str(error))
            if found is None:
                raise
            raise FocusDifferenceError(where.path, found[1]) from error
        return StepResult(
            rows_processed=sum(job.rows_written for job in jobs),
            bytes_processed=sum(job.bytes_processed for job in jobs),
            outputs={
                "table": where.path,
                "version": config.version,
                "dates": [day.isoformat() for day in dates.days],
                "bytes_billed": sum(job.bytes_billed for job in jobs),
                "restate_key": dates.seen.restate_key,
                "planned_at": dates.seen.planned_at,
                "high_water_mark": dates.seen.high_water_mark,
            },
        )

    def cancel(self, context: StepContext) -> bool:
        """Stop the jobs that write; a partition that is not written yet stays as it was.

        Raises:
            WarehouseBusyError: not now.
        """
        days = asked_days(context)
        months = {day.replace(day=1) for day in days}
        return cancel_days(_work_id(context), {*days, *months})

    def foresee(self, config: NormalizeConfig, context: StepContext) -> Foresight:
        """The statement with its tables and bytes, and the table that it would write.

        Raises:
            WarehouseBusyError: not now.
        """
        try:
            inner = _inner(config, context)
        except Permanent as refusal:
            return Foresight(refusal=refusal)
        return foreseen(inner, context, writes=True)


def _inner(config: NormalizeConfig, context: StepContext) -> BigQueryConfig:
    """The step as the query that it is, with the columns that its source has now."""
    source = config.source
    text = statement(
        mapping(source.export), _schema(config), source.table, _given(source.table, context)
    )
    values = {
        "date": _first(config, context.run.date),
        "accounts": list(source.accounts),
        "late_arrival_days": source.late_arrival_days,
    }
    used = {name: values[name] for name in _USED if f"@{name}" in text}
    return BigQueryConfig(
        source=Source(query=query(text, **used)),
        destination=Destination(
            dataset_type=config.destination.dataset_type, table=config.destination.table
        ),
        lookback_days=config.lookback_days,
        restate=config.restate,
        max_bytes_billed=config.max_bytes_billed,
    )


def _given(table: str, context: StepContext) -> tuple[evolution.Field, ...]:
    """The columns of the export's table, if the tenant may read it; nothing is read."""
    asked = Query(sql=f"SELECT * FROM `{table}`")  # noqa: S608 - name by grammar
    plan = dry_run(asked, context.job_labels)
    authorize(asked, plan, context.run.tenant_id, context.sources)
    return plan.schema


def _schema(config: NormalizeConfig) -> TableSchema:
    partition = mapping(config.source.export).partition
    return catalogue(config.version).model_copy(update={"time_partitioning": partition})


def _partitioning(config: NormalizeConfig) -> Literal["DAY", "MONTH"]:
    return "MONTH" if mapping(config.source.export).partition.type == "MONTH" else "DAY"


def _first(config: NormalizeConfig, day: date) -> date:
    """The first day of the partition that `day` is in."""
    return day.replace(day=1) if _partitioning(config) == "MONTH" else day


def _prepared(
    where: Target, config: NormalizeConfig, context: StepContext, plan: DryRun, schema: TableSchema
) -> Evolution:
    """Create the dataset and the table, unless the table is there and of another version."""
    tables.ensure_dataset(where.dataset, labels={tables.OWNER_LABEL: context.run.tenant_id})
    try:
        differs = evolution.plan(where.path, plan.schema)
    except WarehouseError as error:
        if not is_missing(error):
            raise
        tables.ensure_relation(where.dataset, schema, name=where.table, extra_columns=True)
        return evolution.plan(where.path, plan.schema)
    gone = [str(column["name"]) for column in differs.absent]
    new = [event.column for event in differs.events if event.kind == "column_added"]
    if others := [name for name in (*gone, *new) if not name.startswith("x_")]:
        raise OtherVersionError(where.path, config.version, others)
    tables.ensure_relation(where.dataset, schema, name=where.table, extra_columns=True)
    return differs


def _dates(
    config: NormalizeConfig, inner: BigQueryConfig, context: StepContext, where: Target
) -> Dates:
    """The first days of the partitions to replace."""
    question = dates_question(inner, context, where)
    if not question.is_needed:
        return Dates((_first(config, context.run.date),))
    asked = authorized_question(inner, context, question)
    found = question.dates(asked, context.job_labels)
    return replace(found, days=tuple(sorted({_first(config, day) for day in found.days})))


def _work_id(context: StepContext) -> str:
    return f"{context.work_id}--focus--{context.attempt}"
