"""`azure.cost_management`: daily costs from the Query API become days of a table."""

from typing import ClassVar

from pydantic import Field

from shared.models import Model
from shared.processors.azure.calls import access
from shared.processors.azure.cost_pages import SERVICE, fetch
from shared.processors.azure.cost_query import CostQuery
from shared.processors.azure.cost_rows import daily_costs
from shared.processors.azure.entra import MANAGEMENT
from shared.processors.contract import Processor, StepContext, StepResult
from shared.processors.daily_costs import OUTPUTS, days_until, load_days
from shared.processors.landing import LandingDestination
from shared.processors.provider_credentials import ProviderCredential, open_for
from shared.processors.provider_errors import ProviderRefusedError


class CostManagementConfig(Model):
    """What is asked of Cost Management and where it goes."""

    credential: str | None = Field(
        default=None,
        description="Name or ID of an Azure credential; absent or empty: the only active one.",
    )
    source: CostQuery = Field(description="What is asked.")
    destination: LandingDestination = Field(description="What is written.")
    lookback_days: int = Field(
        default=0,
        ge=0,
        le=364,
        description="Days before {date} that are fetched and replaced too: Azure changes a month"
        " for up to three days after its end. Each month asked for counts against the quota.",
    )


class CostManagement(Processor[CostManagementConfig]):
    """Fetches the Query API's answer, all pages, and replaces each day with what Azure says of it.

    Amounts are stored with every digit that Azure writes.

    Example:
        ```yaml
        - step_id: "fetch_costs"
          ps_type: "azure.cost_management"
          source:
            scope: "/subscriptions/72f988bf-86f1-41af-91ab-2d7cd011db47"
            metrics: ["Cost", "CostUSD"]
            group_by: [{dimension: "ResourceGroupName"}, {dimension: "ServiceName"}]
          destination:
            dataset_type: "azure_silver_cost"
            table: "cost_management_daily"
          lookback_days: 7
        ```
    """

    ps_type = "azure.cost_management"
    config_model: ClassVar[type[Model]] = CostManagementConfig
    outputs = OUTPUTS

    def run(self, config: CostManagementConfig, context: StepContext) -> StepResult:
        """Fetch everything, check it, then load each day in a job under the step's own ID.

        Running twice is safe: the same rows find the job that loaded them, newer ones replace the
        day whole. Nothing is written before every page is there.

        Raises:
            NoCredentialError: the tenant has stored none, or it has to be chosen.
            AttemptFailedError: Azure throttles, fails, or answered incompletely.
            ProviderRefusedError: Azure says no to the credential or the request.
            SourceShapeError: Azure answers in another form than documented.
            WarehouseError: BigQuery refused; the days it refused are as they were.
            WarehouseBusyError: not now.
        """
        credential = open_for(context.run.tenant_id, "AZURE", config.credential)
        scope = _scope(config.source, credential)
        days = days_until(context.run.date, config.lookback_days)
        opened = access(credential, MANAGEMENT, "Cost Management Reader")
        fetched = fetch(opened, scope, config.source, days, context.deadline)
        return load_days(daily_costs(config.source, fetched), config.destination, context)


def _scope(query: CostQuery, credential: ProviderCredential) -> str:
    subscription = credential.secret.get("subscription_id")
    if query.scope:
        return query.scope
    if subscription:
        return f"subscriptions/{subscription}"
    raise ProviderRefusedError(
        SERVICE,
        f"must be told whose costs: set `scope` of the step, or store {credential} with its"
        f" subscription_id by {credential.route}.",
    )
