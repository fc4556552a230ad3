"""`azure.cost_export`: a FOCUS export in Blob Storage becomes billing periods of a table."""

from collections.abc import Mapping
from functools import cache
from typing import ClassVar

from pydantic import Field

from shared.models import Model
from shared.processors.azure.calls import access
from shared.processors.azure.entra import STORAGE
from shared.processors.azure.export_blobs import SOURCE, ExportContainer, ExportLocation
from shared.processors.contract import Processor, StepContext, StepResult
from shared.processors.export_stores import Dataset
from shared.processors.export_totals import Measures
from shared.processors.exports import OUTPUTS, load_periods
from shared.processors.landing import LandingDestination
from shared.processors.provider_credentials import open_for
from shared.warehouse.schemas import Column, load_table

MEASURES = Measures("BillingPeriodStart", "BilledCost", "BillingCurrency")
FOCUS = "azure/focus_line_items"


class ExportSource(Model):
    """Where the export is."""

    account: str = Field(pattern=r"^[a-z0-9]{3,24}$", description="Storage account.")
    container: str = Field(
        pattern=r"^[a-z0-9]([a-z0-9-]{1,61}[a-z0-9])$", description="Container of the export."
    )
    directory: str = Field(
        default="",
        pattern=r"^[A-Za-z0-9_.()/-]*$",
        description="Directory, as the export was given it.",
    )
    export: str = Field(pattern=r"^[A-Za-z0-9_-]{1,128}$", description="Name of the export.")


class CostExportConfig(Model):
    """Which export is read and where it goes."""

    credential: str | None = Field(
        default=None,
        description="Name or ID of an Azure credential; absent or empty: the only active one.",
    )
    source: ExportSource = Field(description="What is read.")
    destination: LandingDestination = Field(description="What is written.")
    lookback_days: int = Field(
        default=5,
        ge=0,
        le=366,
        description="Months that held any of so many days before {date} are replaced too: Azure"
        " changes a month for up to three days after its end.",
    )


class CostExport(Processor[CostExportConfig]):
    """Loads an export of the FOCUS dataset (Parquet, CSV, CSV with gzip), a month a partition.

    A run of the export restates its whole month, and its rows may be of any day of it; so the
    month, not the day, is what is replaced. Only the newest run of a month is read.

    Example:
        ```yaml
        - step_id: "load_export"
          ps_type: "azure.cost_export"
          source:
            account: "acmebilling"
            container: "exports"
            directory: "focus"
            export: "daily-focus"
          destination:
            dataset_type: "azure_bronze_cost"
            table: "focus_line_items"
            schema_template: "azure/focus_line_items"
        ```
    """

    ps_type = "azure.cost_export"
    config_model: ClassVar[type[Model]] = CostExportConfig
    outputs = OUTPUTS

    def run(self, config: CostExportConfig, context: StepContext) -> StepResult:
        """Load every month in a job of its own, named by the step and the export's run.

        Running twice is safe: the same files find the job that loaded them, newer ones replace the
        month whole. A month is loaded when all its files have been read to the end.

        Raises:
            NoCredentialError: the tenant has stored none, or it has to be chosen.
            AttemptFailedError: Azure fails, is just delivering, or has not delivered yet.
            ProviderRefusedError: Azure says no to the credential or the container.
            SourceShapeError: the manifest or a file has another form than documented.
            ChangedColumnError: a column comes in a type that the table's cannot take.
            WarehouseError: BigQuery refused; the month is as it was.
            WarehouseBusyError: not now.
        """
        credential = open_for(context.run.tenant_id, "AZURE", config.credential)
        opened = access(credential, STORAGE, "Storage Blob Data Reader")
        source = config.source
        location = ExportLocation(source.account, source.container, source.directory, source.export)
        container = ExportContainer(opened, location, context.deadline)
        dataset = Dataset(SOURCE, "the FOCUS dataset", MEASURES, focus_columns())
        return load_periods(container, dataset, config.destination, config.lookback_days, context)


@cache
def focus_columns() -> Mapping[str, Column]:
    """The columns of FOCUS as Azure exports them, by their names in small letters."""
    return {column.name.casefold(): column for column in load_table(FOCUS).fields}
