"""`aws.cur_export`: a Cost and Usage export in S3 becomes billing periods of a table."""

from collections import deque
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from shared.models import Model
from shared.processors.aws.export_files import ExportBucket, ExportLocation
from shared.processors.aws.export_rows import ExportRows
from shared.processors.aws.session import Access, access
from shared.processors.contract import Processor, StepContext, StepResult
from shared.processors.export_totals import Measures, Total
from shared.processors.landing import LandingDestination, Part, land, prepare
from shared.processors.provider_credentials import open_for
from shared.processors.provider_errors import ProviderUnavailableError
from shared.warehouse.arrow import column_of
from shared.warehouse.drift import DriftEvent
from shared.warehouse.jobs import FinishedJob
from shared.warehouse.schemas import Column, TableSchema, TimePartitioning

if TYPE_CHECKING:
    from collections.abc import Iterator

MEASURES = {
    "cur_2_0": Measures(
        "bill_billing_period_start_date", "line_item_unblended_cost", "line_item_currency_code"
    ),
    "focus": Measures("BillingPeriodStart", "BilledCost", "BillingCurrency"),
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
    outputs = frozenset({"table", "dates", "files", "control_totals", "drift"})

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
        loaded = [
            _load(rows, config, context)
            for rows in _delivered(_bucket(opened, config.source), config, context.run.date)
        ]
        return StepResult(
            rows_processed=sum(period.job.rows_written for period in loaded),
            bytes_processed=sum(period.job.bytes_processed for period in loaded),
            outputs={
                "table": loaded[-1].table,
                "dates": [period.day.isoformat() for period in loaded],
                "files": sum(period.files for period in loaded),
                "control_totals": [total for period in loaded for total in period.totals],
                "drift": [asdict(event) for period in loaded for event in period.drift],
            },
        )


@dataclass(frozen=True)
class _Loaded:
    """A billing period that is in the table."""

    day: date
    table: str
    job: FinishedJob
    files: int
    totals: list[dict[str, Any]]
    drift: tuple[DriftEvent, ...]


def _bucket(opened: Access, source: ExportSource) -> ExportBucket:
    location = ExportLocation(source.bucket, source.prefix, source.export)
    return ExportBucket(opened, location, opened.client("s3", source.region))


def _delivered(bucket: ExportBucket, config: CurExportConfig, last: date) -> "Iterator[ExportRows]":
    """What was delivered of every billing period, the earliest first.

    Raises:
        ProviderUnavailableError: nothing was delivered of the last one.
    """
    for period in _periods(last, config.lookback_days):
        delivery = bucket.delivery(period)
        if delivery:
            yield ExportRows.of(bucket, delivery, MEASURES[config.source.table])
        elif period == last.replace(day=1):
            key = bucket.location.manifest(period)
            raise ProviderUnavailableError(
                "AWS Data Exports",
                f"has delivered nothing of {period:%Y-%m}: there is no"
                f" s3://{bucket.location.bucket}/{key}. Correct bucket, prefix and export if there"
                " should be",
            )


def _periods(last: date, lookback_days: int) -> list[date]:
    """First days of the months that the days up to `last` lie in."""
    days = (last - timedelta(days=back) for back in range(lookback_days, -1, -1))
    return list(dict.fromkeys(day.replace(day=1) for day in days))


def _load(rows: ExportRows, config: CurExportConfig, context: StepContext) -> _Loaded:
    landing = prepare(config.destination, context, rows.schema, _plain(rows))
    counted = Total()
    delivery = rows.delivery
    batches = partial(rows.batches, landing, counted, context.deadline)
    part = Part(delivery.period, delivery.version, batches)
    (job,) = land(landing, [part], context, config.destination)
    if counted.rows != rows.count:  # the job was there before a row was asked for
        deque(batches(), maxlen=0)
    return _Loaded(
        delivery.period,
        landing.table,
        job,
        len(delivery.files),
        counted.entries(delivery.period),
        landing.events,
    )


def _plain(rows: ExportRows) -> TableSchema:
    """A table of the export's own columns, partitioned by billing period."""
    return TableSchema(
        name="export",
        description="Line items of an AWS Data Export, as delivered.",
        time_partitioning=TimePartitioning(type="MONTH", field=rows.measures.period),
        fields=tuple(
            _exact(column_of(column.name, column.type, "As AWS delivers it."))
            for column in rows.schema
        ),
    )


def _exact(column: Column) -> Column:
    """AWS publishes amounts as double; their sums are exact as decimals only."""
    return column.model_copy(update={"type": "BIGNUMERIC"}) if column.type == "FLOAT" else column
