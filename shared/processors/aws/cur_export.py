"""`aws.cur_export`: a Cost and Usage export in S3 becomes billing periods of a table."""

from typing import ClassVar, Literal

from pydantic import Field

from shared.models import Model
from shared.processors.aws.export_files import SOURCE, ExportBucket, ExportLocation
from shared.processors.aws.session import access
from shared.processors.contract import Processor, StepContext, StepResult
from shared.processors.export_stores import Dataset
from shared.processors.export_totals import Measures
from shared.processors.exports import OUTPUTS, load_periods
from shared.processors.landing import LandingDestination
from shared.processors.provider_credentials import open_for

DATASETS = {
    "cur_2_0": Dataset(
        SOURCE,
        "the table COST_AND_USAGE_REPORT (CUR 2.0)",
        Measures(
            "bill_billing_period_start_date", "line_item_unblended_cost", "line_item_currency_code"
        ),
    ),
    "focus": Dataset(
        SOURCE,
        "the table FOCUS with AWS columns",
        Measures("BillingPeriodStart", "BilledCost", "BillingCurrency"),
    ),
}


class ExportSource(Model):
    """Where the export is, and of which kind."""

    bucket: str = Field(
        pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$", description="S3 bucket of the export."
    )
    prefix: str = Field(
        default="",
        pattern=r"^[A-Za-z0-9!_.*'()/-]*$",
        description="S3 path prefix, as the export was given it.",
    )
    export: str = Field(pattern=r"^[A-Za-z0-9_-]{1,128}$", description="Name of the export.")
    table: Literal["cur_2_0", "focus"] = Field(
        default="cur_2_0",
        description="`cur_2_0` for COST_AND_USAGE_REPORT, `focus` for FOCUS 1.0 or 1.2 with AWS"
        " columns.",
    )
    region: str | None = Field(
        default=None,
        pattern=r"^[a-z]{2}(-[a-z]+)+-[0-9]+$",
        description="Region of the bucket; absent: the credential's.",
    )


class CurExportConfig(Model):
    """Which export is read and where it goes."""

    credential: str | None = Field(
        default=None,
        description="Name or ID of an AWS credential; absent or empty: the only active one.",
    )
    source: ExportSource = Field(description="What is read.")
    destination: LandingDestination = Field(description="What is written.")
    lookback_days: int = Field(
        default=15,
        ge=0,
        le=366,
        description="Billing periods that held any of so many days before {date} are replaced too:"
        " AWS changes a period for two weeks after its end.",
    )


class CurExport(Processor[CurExportConfig]):
    """Loads a Data Export (CUR 2.0 or FOCUS, Parquet) from S3, one billing period a partition.

    A delivery restates its whole billing period, and its rows may be of any usage day; so the
    period, not the day, is what is replaced. Only the newest delivery of a period is read, in both
    modes of an export (overwrite, create new).

    Example:
        ```yaml
        - step_id: "load_export"
          ps_type: "aws.cur_export"
          source:
            bucket: "acme-billing-exports"
            prefix: "cur"
            export: "daily-cur"
          destination:
            dataset_type: "aws_bronze_cost"
            table: "cur_line_items"
            schema_template: "aws/cur_line_items"
        ```
    """

    ps_type = "aws.cur_export"
    config_model: ClassVar[type[Model]] = CurExportConfig
    outputs = OUTPUTS

    def run(self, config: CurExportConfig, context: StepContext) -> StepResult:
        """Load every billing period in a job of its own, named by the step and the delivery.

        Running twice is safe: the same delivery finds the job that loaded it, a newer one replaces
        the period whole. A period is loaded when all its files have been read to the end.

        Raises:
            NoCredentialError: the tenant has stored none, or it has to be chosen.
            AttemptFailedError: AWS fails, is just delivering, or has not delivered yet.
            ProviderRefusedError: AWS says no to the credential or the bucket.
            SourceShapeError: the manifest or a file has another form than documented.
            ChangedColumnError: a column comes in a type that the table's cannot take.
            WarehouseError: BigQuery refused; the period is as it was.
            WarehouseBusyError: not now.
        """
        opened = access(open_for(context.run.tenant_id, "AWS", config.credential))
        source = config.source
        location = ExportLocation(source.bucket, source.prefix, source.export)
        bucket = ExportBucket(opened, location, opened.client("s3", source.region))
        dataset = DATASETS[source.table]
        return load_periods(bucket, dataset, config.destination, config.lookback_days, context)
