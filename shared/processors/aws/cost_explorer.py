"""`aws.cost_explorer`: daily costs from the Cost Explorer API become days of a table."""

from typing import ClassVar

from pydantic import Field

from shared.models import Model
from shared.processors.aws.cost_explorer_pages import fetch
from shared.processors.aws.cost_explorer_query import CostExplorerQuery
from shared.processors.aws.cost_explorer_rows import daily_costs
from shared.processors.aws.session import access
from shared.processors.contract import Processor, StepContext, StepResult
from shared.processors.daily_costs import OUTPUTS, days_until, load_days
from shared.processors.landing import LandingDestination
from shared.processors.provider_credentials import open_for


class CostExplorerConfig(Model):
    """What is asked of Cost Explorer and where it goes."""

    credential: str | None = Field(
        default=None,
        description="Name or ID of an AWS credential; absent or empty: the only active one.",
    )
    source: CostExplorerQuery = Field(description="What is asked.")
    destination: LandingDestination = Field(description="What is written.")
    lookback_days: int = Field(
        default=0,
        ge=0,
        le=365,
        description="Days before {date} that are fetched and replaced too: AWS corrects a day for"
        " days, and a month until its invoice. Every page costs USD 0.01.",
    )


class CostExplorer(Processor[CostExplorerConfig]):
    """Fetches GetCostAndUsage, all pages, and replaces each day with what AWS says of it now.

    Amounts are stored as AWS writes them, digit for digit; days that it still estimates are marked.

    Example:
        ```yaml
        - step_id: "fetch_costs"
          ps_type: "aws.cost_explorer"
          source:
            metrics: ["UnblendedCost", "UsageQuantity"]
            group_by: [{dimension: "LINKED_ACCOUNT"}, {dimension: "SERVICE"}]
          destination:
            dataset_type: "aws_silver_cost"
            table: "cost_explorer_daily"
          lookback_days: 7
        ```
    """

    ps_type = "aws.cost_explorer"
    config_model: ClassVar[type[Model]] = CostExplorerConfig
    outputs = OUTPUTS | {"estimated_days"}

    def run(self, config: CostExplorerConfig, context: StepContext) -> StepResult:
        """Fetch everything, check it, then load each day in a job under the step's own ID.

        Running twice is safe: the same rows find the job that loaded them, newer ones replace the
        day whole. Nothing is written before every page is there.

        Raises:
            NoCredentialError: the tenant has stored none, or it has to be chosen.
            AttemptFailedError: AWS throttles, fails, or answered incompletely.
            ProviderRefusedError: AWS says no to the credential or the request.
            SourceShapeError: AWS answers in another form than documented.
            WarehouseError: BigQuery refused; the days it refused are as they were.
            WarehouseBusyError: not now.
        """
        opened = access(open_for(context.run.tenant_id, "AWS", config.credential))
        days = days_until(context.run.date, config.lookback_days)
        fetched = fetch(opened, config.source, days, context.deadline)
        return load_days(
            daily_costs(config.source, fetched),
            config.destination,
            context,
            outputs={"estimated_days": sum(day.estimated for day in fetched.days)},
        )
