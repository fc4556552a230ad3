"""`gcp.dry_run`: everything that `gcp.bigquery_to_bigquery` checks, and nothing that it does."""

from typing import ClassVar

from shared.models import Model
from shared.processors.contract import Foresight, Processor, StepContext, StepResult
from shared.processors.gcp.destinations import (
    BigQueryConfig,
    authorized_plan,
    authorized_question,
    dates_question,
    foreseen,
    target,
)


class DryRun(Processor[BigQueryConfig]):
    """Resolves, authorizes and dry-runs a query; reads and writes no data.

    Example:
        ```yaml
        - step_id: "check_billing_costs"
          ps_type: "gcp.dry_run"
          source:
            query: "SELECT * FROM `{source_billing_table}` WHERE DATE(usage_start_time) = '{date}'"
          destination:
            dataset_type: "gcp_silver_cost"
            table: "billing_cost_daily"
        ```
    """

    ps_type = "gcp.dry_run"
    config_model: ClassVar[type[Model]] = BigQueryConfig
    outputs = frozenset({"bytes_estimated", "tables_read", "table"})

    def run(self, config: BigQueryConfig, context: StepContext) -> StepResult:
        """Ask BigQuery what the query would touch. Changes nothing, so it may be repeated.

        Raises:
            AccessDeniedError: a table that the tenant may not read, or too many bytes.
            WarehouseError: the query is not valid, or a table does not exist.
            WarehouseBusyError: not now.
        """
        plan, _ = authorized_plan(config, context)
        where = target(config, context)
        question = dates_question(config, context, where)
        if question.restate:
            authorized_question(config, context, question)
        return StepResult(
            outputs={
                "bytes_estimated": plan.bytes_estimated,
                "tables_read": list(plan.tables),
                "table": where.path,
            }
        )

    def foresee(self, config: BigQueryConfig, context: StepContext) -> Foresight:
        """The query with its tables and bytes; nothing is written.

        Raises:
            WarehouseBusyError: not now.
        """
        return foreseen(config, context, writes=False)
