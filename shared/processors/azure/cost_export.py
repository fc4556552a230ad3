"""`azure.cost_export`: a FOCUS export in Blob Storage becomes billing periods of a table."""

from collections import deque
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from functools import partial
from typing import Any, ClassVar

from pydantic import Field

from shared.models import Model
from shared.processors.azure.calls import access
from shared.processors.azure.entra import STORAGE
from shared.processors.azure.export_blobs import SOURCE, ExportContainer, ExportLocation
from shared.processors.azure.export_rows import MEASURES, ExportRows
from shared.processors.contract import Processor, StepContext, StepResult
from shared.processors.export_totals import Total
from shared.processors.landing import LandingDestination, Part, land, prepare
from shared.processors.provider_credentials import open_for
from shared.processors.provider_errors import ProviderUnavailableError
from shared.warehouse.arrow import column_of
from shared.warehouse.drift import DriftEvent
from shared.warehouse.jobs import FinishedJob
from shared.warehouse.schemas import Column, TableSchema, TimePartitioning


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
    outputs = frozenset({"table", "dates", "files", "control_totals", "drift"})

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
        loaded = [
            _load(rows, config, context) for rows in _delivered(container, config, context.run.date)
        ]
        return StepResult(
            rows_processed=sum(month.job.rows_written for month in loaded),
            bytes_processed=sum(month.job.bytes_processed for month in loaded),
            outputs={
                "table": loaded[-1].table,
                "dates": [month.day.isoformat() for month in loaded],
                "files": sum(month.files for month in loaded),
                "control_totals": [total for month in loaded for total in month.totals],
                "drift": [asdict(event) for month in loaded for event in month.drift],
            },
        )


@dataclass(frozen=True)
class _Loaded:
    """A month that is in the table."""

    day: date
    table: str
    job: FinishedJob
    files: int
    totals: list[dict[str, Any]]
    drift: tuple[DriftEvent, ...]


def _delivered(
    container: ExportContainer, config: CostExportConfig, last: date
) -> Iterator[ExportRows]:
    """What was delivered of every month, the earliest first.

    Raises:
        ProviderUnavailableError: nothing was delivered of the last one.
    """
    for period in _periods(last, config.lookback_days):
        delivery = container.delivery(period)
        if delivery:
            yield ExportRows.of(container, delivery)
        elif period == last.replace(day=1):
            folder = container.location.folder(period)
            raise ProviderUnavailableError(
                SOURCE,
                f"have delivered nothing of {period:%Y-%m}: there is no manifest.json below"
                f" {container.location.container}/{folder}. Correct account, container, directory"
                " and export if there should be",
            )


def _periods(last: date, lookback_days: int) -> list[date]:
    """First days of the months that the days up to `last` lie in."""
    days = (last - timedelta(days=back) for back in range(lookback_days, -1, -1))
    return list(dict.fromkeys(day.replace(day=1) for day in days))


def _load(rows: ExportRows, config: CostExportConfig, context: StepContext) -> _Loaded:
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
    """A table of the export's own columns, partitioned by month."""
    return TableSchema(
        name="export",
        description="Line items of an Azure export in FOCUS, as delivered.",
        time_partitioning=TimePartitioning(type="MONTH", field=MEASURES.period),
        fields=tuple(
            _exact(column_of(column.name, column.type, "As Azure delivers it."))
            for column in rows.schema
        ),
    )


def _exact(column: Column) -> Column:
    """Amounts that come as double have exact sums as decimals only."""
    return column.model_copy(update={"type": "BIGNUMERIC"}) if column.type == "FLOAT" else column
