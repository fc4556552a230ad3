"""Where a step of the `gcp` family reads and writes, as a template says it."""

from dataclasses import replace
from typing import Annotated, Literal

from pydantic import Field, model_validator

from shared.errors import Permanent
from shared.models import Model
from shared.processors.contract import REBINDS, Foresight, Query, StepContext
from shared.processors.gcp.dates import DatesQuestion, Restate
from shared.processors.own_tables import DatasetType, WrittenTable
from shared.settings import settings
from shared.tenancy.names import check_table_name, dataset_name
from shared.warehouse import evolution, tables
from shared.warehouse.authorize import (
    BYTES_PER_TABLE,
    DryRun,
    authorize,
    authorized,
    bytes_cap,
    dry_run,
)
from shared.warehouse.evolution import Evolution
from shared.warehouse.failures import WarehouseError
from shared.warehouse.merges import COLUMN_PATTERN
from shared.warehouse.partitions import Target
from shared.warehouse.rows import is_missing
from shared.warehouse.schemas import load_table


class Source(Model):
    """What is read."""

    query: Query = Field(description="One SELECT. Placeholders become query parameters.")


class Destination(Model):
    """What is written: a table in one of the tenant's own datasets."""

    dataset_type: DatasetType | None = Field(
        default=None,
        description="`gcp_silver_cost` writes to {tenant_id}_gcp_silver_cost; absent: {tenant_id}.",
    )
    table: WrittenTable = Field(description="Table; created when it does not exist.")
    schema_template: str | None = Field(
        default=None,
        description="Schema file below schemas/, such as gcp/billing_cost_daily; absent: the"
        " columns of the query, partitioned by day of the run's date.",
    )
    write: Literal["replace_partition", "append", "merge"] = Field(
        default="replace_partition",
        description="`replace_partition` replaces the day {date}; `append` adds rows; `merge`"
        " updates the rows whose `keys` are known and inserts the others.",
    )
    keys: tuple[Annotated[str, Field(pattern=COLUMN_PATTERN)], ...] = Field(
        default=(),
        max_length=16,
        description="For `merge`: columns that tell rows apart. The query gives one row a key; NULL"
        " is a key like any other. With the column that the table is partitioned by among them,"
        " only the partitions of the result are read.",
    )

    @model_validator(mode="after")
    def _has_keys_for_a_merge(self) -> "Destination":
        if self.write == "merge" and not self.keys:
            raise ValueError("write: merge needs keys, the columns that tell rows apart")
        if self.write != "merge" and self.keys:
            raise ValueError(f"keys are for write: merge, not for {self.write}; leave them out")
        if len(set(self.keys)) != len(self.keys):
            raise ValueError("a key stands twice; keep one of them")
        return self


class BigQueryConfig(Model):
    """A query and where its result goes."""

    source: Source = Field(description="What is read.")
    destination: Destination = Field(description="What is written.")
    max_bytes_billed: int | None = Field(
        default=None,
        ge=1,
        description="Refuse a query that would scan more bytes than this. Of the limits of step,"
        " template and plan the smallest holds.",
    )
    lookback_days: int = Field(
        default=0,
        ge=0,
        le=400,
        json_schema_extra={REBINDS: "date"},
        description="Replace that many days before {date} too, each with its own {date} in the"
        " query, for rows that arrive late. With `restate`: in addition to what has changed.",
    )
    restate: Restate | None = Field(
        default=None,
        json_schema_extra={REBINDS: "date"},
        description="Replace the days that have changed in the source since the last successful"
        " run of this step, and no others.",
    )

    @model_validator(mode="after")
    def _can_replace_other_days(self) -> "BigQueryConfig":
        field = "restate" if self.restate else "lookback_days" if self.lookback_days else None
        if field is None:
            return self
        if self.destination.write != "replace_partition":
            raise ValueError(
                f"{field} is for write: replace_partition, not for {self.destination.write}"
            )
        if all(parameter.name != "date" for parameter in self.source.query.parameters):
            raise ValueError(f"{field} runs the query for other dates: let it filter by {{date}}")
        return self

    @property
    def active_restate(self) -> Restate | None:
        """`restate` unless it is switched off."""
        return self.restate if self.restate and self.restate.mode != "none" else None


def bytes_allowed(config: BigQueryConfig, context: StepContext) -> int | None:
    """The smallest of the limits that there are: of the step, of its template, of the plan."""
    limits = (config.max_bytes_billed, context.max_bytes_billed)
    return min((limit for limit in limits if limit is not None), default=None)


def unforeseen_cap(config: BigQueryConfig, context: StepContext, plan: DryRun) -> int | None:
    """What to pass as `maximumBytesBilled` where the estimate in `plan` says little.

    The limit with the billing minimum of each table, and of what a merge reads beside them.
    """
    allowed = bytes_allowed(config, context)
    return None if allowed is None else allowed + BYTES_PER_TABLE * (len(plan.tables) + 2)


def authorized_plan(config: BigQueryConfig, context: StepContext) -> tuple[DryRun, int]:
    """What the query would touch, and the bytes it may be billed; nothing is read.

    Raises:
        AccessDeniedError: a table that the tenant may not read, or too many bytes.
        WarehouseError: the query is not valid, or a table does not exist.
    """
    return _authorized(config.source.query, config, context)


def _authorized(query: Query, config: BigQueryConfig, context: StepContext) -> tuple[DryRun, int]:
    return authorized(
        query,
        context.run.tenant_id,
        context.sources,
        labels=context.job_labels,
        allowed=bytes_allowed(config, context),
    )


def dates_question(config: BigQueryConfig, context: StepContext, where: Target) -> DatesQuestion:
    """What the step asks its source to learn its dates."""
    return DatesQuestion(context, config.lookback_days, config.active_restate, where.path)


def authorized_question(
    config: BigQueryConfig, context: StepContext, question: DatesQuestion
) -> Query:
    """The question as a query that the tenant may run; nothing is read.

    Raises:
        AccessDeniedError: a table that the tenant may not read, or too many bytes.
        WarehouseError: a table or column does not exist.
        WarehouseBusyError: not now.
    """
    asked = question.query()
    _authorized(asked, config, context)
    return asked


def foreseen(config: BigQueryConfig, context: StepContext, *, writes: bool) -> Foresight:
    """What a step with this configuration would read, write and be refused for.

    Raises:
        WarehouseBusyError: not now.
    """
    query = config.source.query
    found = Foresight(query=query)
    try:
        where = target(config, context)
        if writes:
            found = replace(found, tables_written=(where.path,))
        plan = dry_run(query, context.job_labels)
        found = replace(
            found,
            tables_read=plan.tables,
            bytes_estimated=plan.bytes_estimated,
            maximum_bytes_billed=plan.maximum_bytes_billed,
        )
        authorize(query, plan, context.run.tenant_id, context.sources)
        bytes_cap(plan, bytes_allowed(config, context))
        question = dates_question(config, context, where)
        if question.restate:
            authorized_question(config, context, question)
        if writes:
            owner = {tables.OWNER_LABEL: context.run.tenant_id}
            tables.plan_dataset(where.dataset, labels=owner)
    except Permanent as refusal:
        return replace(found, refusal=refusal)
    return found


def target(config: BigQueryConfig, context: StepContext) -> Target:
    """The table that the step writes, by name; it may not exist yet.

    Raises:
        InvalidInputError: a name is not one that a tenant may use.
    """
    destination = config.destination
    return Target(
        project=settings().GCP_PROJECT_ID,
        dataset=dataset_name(context.run.tenant_id, destination.dataset_type),
        table=check_table_name(destination.table),
    )


def ensure_target(
    where: Target, config: BigQueryConfig, context: StepContext, plan: DryRun
) -> Evolution:
    """Create the dataset and the table, or add the columns that its schema file has gained.

    Returns:
        How the query's result differs from the table; its new columns are not added yet.

    Raises:
        DatasetOwnerError: the dataset is somebody else's.
        DriftError: the table differs from its schema in ways that are not additions.
        ResultDriftError: the result does not go into the table; nothing was written.
    """
    tenant_id = context.run.tenant_id
    tables.ensure_dataset(where.dataset, labels={tables.OWNER_LABEL: tenant_id})
    template = config.destination.schema_template
    if template is not None:
        schema = load_table(template)
        tables.ensure_relation(where.dataset, schema, name=where.table, extra_columns=True)
        return evolution.plan(where.path, plan.schema)
    try:
        # It is there, on every day but the first: BigQuery takes ten tables.insert a second.
        return evolution.plan(where.path, plan.schema)
    except WarehouseError as error:
        if not is_missing(error):
            raise
    where.create_from(plan.schema)
    return evolution.plan(where.path, plan.schema)
