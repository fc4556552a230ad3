"""`gcp.bigquery_to_bigquery`: the result of a query becomes a day of a table of the tenant."""

from typing import ClassVar

from shared.models import Model
from shared.processors.contract import Foresight, Processor, StepContext, StepResult
from shared.processors.gcp.destinations import (
    BigQueryConfig,
    authorized_plan,
    ensure_target,
    foreseen,
    job_labels,
    target,
)
from shared.warehouse.partitions import Work, cancel_day, write_day


class BigQueryToBigQuery(Processor[BigQueryConfig]):
    """Runs a query inside BigQuery and writes its result; no row passes through the function.

    Example:
        ```yaml
        - step_id: "extract_billing_costs"
          ps_type: "gcp.bigquery_to_bigquery"
          source:
            query: "SELECT * FROM `{source_billing_table}` WHERE DATE(usage_start_time) = '{date}'"
          destination:
            dataset_type: "gcp_silver_cost"
            table: "billing_cost_daily"
        ```
    """

    ps_type = "gcp.bigquery_to_bigquery"
    config_model: ClassVar[type[Model]] = BigQueryConfig
    outputs = frozenset({"job_id", "table"})

    def run(self, config: BigQueryConfig, context: StepContext) -> StepResult:
        """Authorize, then let a job under the step's own ID write the day.

        Running twice is safe: a second call finds the job of the first by its ID and takes its
        result, and the day is replaced in one atomic update.

        Raises:
            AccessDeniedError: a table that the tenant may not read, or too many bytes.
            WarehouseError: the query or the table is wrong; the day is as it was.
            WarehouseBusyError: still running, or not now.
        """
        plan, cap = authorized_plan(config, context)
        where = target(config, context)
        ensure_target(where, config, context, plan)
        work = Work(
            work_id=_work_id(context),
            query=config.source.query,
            maximum_bytes_billed=cap,
            labels=job_labels(context),
        )
        job = write_day(
            where, context.run.date, work, context.deadline, mode=config.destination.write
        )
        return StepResult(
            rows_processed=job.rows_written,
            bytes_processed=job.bytes_processed,
            outputs={"job_id": job.job_id, "table": where.path},
        )

    def cancel(self, context: StepContext) -> bool:
        """Stop the job that writes the day; the day stays as it was.

        Raises:
            WarehouseBusyError: not now.
        """
        return cancel_day(_work_id(context), context.run.date)

    def foresee(self, config: BigQueryConfig, context: StepContext) -> Foresight:
        """The query with its tables and bytes, and the table it would write.

        Raises:
            WarehouseBusyError: not now.
        """
        return foreseen(config, context, writes=True)


def _work_id(context: StepContext) -> str:
    return f"{context.work_id}--write--{context.attempt}"
