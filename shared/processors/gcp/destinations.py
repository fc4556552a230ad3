"""Where a step of the `gcp` family reads and writes, as a template says it."""

from dataclasses import replace
from typing import Literal

from pydantic import Field

from shared.errors import Permanent
from shared.models import Model
from shared.processors.contract import Foresight, Query, StepContext
from shared.settings import settings
from shared.tenancy.names import check_table_name, dataset_name
from shared.warehouse import tables
from shared.warehouse.authorize import (
    DryRun,
    authorize,
    bytes_cap,
    dry_run,
    refuse_foreign_names,
)
from shared.warehouse.failures import WarehouseError
from shared.warehouse.partitions import Target
from shared.warehouse.schemas import load_table


class Source(Model):
    """What is read."""

    query: Query = Field(description="One SELECT. Placeholders become query parameters.")


class Destination(Model):
    """What is written: a table in one of the tenant's own datasets."""

    dataset_type: str | None = Field(
        default=None,
        description="`gcp_silver_cost` writes to {tenant_id}_gcp_silver_cost; absent: {tenant_id}.",
    )
    table: str = Field(description="Table; created when it does not exist.")
    schema_template: str | None = Field(
        default=None,
        description="Schema file below schemas/, such as gcp/billing_cost_daily; absent: the"
        " columns of the query, partitioned by day of the run's date.",
    )
    write: Literal["replace_partition", "append"] = Field(
        default="replace_partition",
        description="`replace_partition` replaces the day {date}; `append` adds rows.",
    )


class BigQueryConfig(Model):
    """A query and where its result goes."""

    source: Source = Field(description="What is read.")
    destination: Destination = Field(description="What is written.")
    max_bytes_billed: int | None = Field(
        default=None, ge=1, description="Refuse a query that would scan more bytes than this."
    )


def job_labels(context: StepContext) -> dict[str, str]:
    """Labels by which every job of a run is found: tenant, run, step, template.

    Values are lower-case letters, digits, `_` and `-`, at most 63 (BigQuery, "Labels").
    """
    run = context.run
    return {
        "tenant_id": run.tenant_id[:63],
        "pipeline_logging_id": run.pipeline_logging_id[:63],
        "step_id": context.step_id[:63],
        "template": "-".join(filter(None, (run.provider, run.domain, run.template_name)))[:63],
    }


def authorized_plan(config: BigQueryConfig, context: StepContext) -> tuple[DryRun, int]:
    """What the query would touch, and the bytes it may be billed; nothing is read.

    Raises:
        AccessDeniedError: a table that the tenant may not read, or too many bytes.
        WarehouseError: the query is not valid, or a table does not exist.
    """
    query, tenant_id = config.source.query, context.run.tenant_id
    try:
        plan = dry_run(query, job_labels(context))
    except WarehouseError:
        refuse_foreign_names(query.sql, tenant_id, context.sources)
        raise
    authorize(query, plan, tenant_id, context.sources)
    return plan, bytes_cap(plan, config.max_bytes_billed)


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
        plan = dry_run(query, job_labels(context))
        found = replace(
            found,
            tables_read=plan.tables,
            bytes_estimated=plan.bytes_estimated,
            maximum_bytes_billed=plan.maximum_bytes_billed,
        )
        authorize(query, plan, context.run.tenant_id, context.sources)
        bytes_cap(plan, config.max_bytes_billed)
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
) -> None:
    """Create the dataset and the table, or add the columns that its schema has gained.

    Raises:
        DatasetOwnerError: the dataset is somebody else's.
        DriftError: the table differs from its schema in ways that are not additions.
    """
    tenant_id = context.run.tenant_id
    tables.ensure_dataset(where.dataset, labels={tables.OWNER_LABEL: tenant_id})
    template = config.destination.schema_template
    if template:
        tables.ensure_relation(where.dataset, load_table(template), name=where.table)
    else:
        where.create_from(plan.schema)
