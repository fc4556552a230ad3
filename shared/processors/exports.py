"""Exports of a provider: files in its storage become billing periods of a table.

A delivery restates its whole billing period, and its rows may be of any day of it; so the period,
not the day, is what is replaced, and only a period's newest delivery is read. Providers differ in
where a delivery is announced and how its files are fetched, their `ExportStore`, and in what is
exported, the `Dataset`; everything between the two and the table is here.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from functools import partial
from typing import Any

from shared.processors import drift_events
from shared.processors.contract import StepContext, StepResult
from shared.processors.export_rows import ExportRows
from shared.processors.export_stores import Dataset, Delivery, ExportStore
from shared.processors.export_totals import Total
from shared.processors.landing import (
    Landing,
    LandingDestination,
    Part,
    drift_outputs,
    land,
    prepare,
)
from shared.processors.provider_errors import ProviderUnavailableError
from shared.warehouse.arrow import column_of
from shared.warehouse.jobs import FinishedJob
from shared.warehouse.schemas import Column, TableSchema, TimePartitioning

OUTPUTS = frozenset({"table", "dates", "files", "control_totals"}) | drift_events.OUTPUTS


def load_periods(
    store: ExportStore,
    dataset: Dataset,
    destination: LandingDestination,
    lookback_days: int,
    context: StepContext,
) -> StepResult:
    """Load every month that holds a day looked back at, in a job of its own.

    Running twice is safe: the same delivery finds the job that loaded it, a newer one replaces the
    period whole. A period is loaded when all its files have been read to the end.

    Raises:
        AttemptFailedError: the provider fails, is just delivering, or has not delivered yet.
        ProviderRefusedError: it says no to the credential or the place.
        SourceShapeError: the manifest or a file has another form than documented.
        ChangedColumnError: a column comes in a type that the table's cannot take.
        WarehouseError: BigQuery refused; the period is as it was.
        WarehouseBusyError: not now.
    """
    loaded = [
        _load(store, dataset, delivery, destination, context)
        for delivery in _deliveries(store, dataset, context.run.date, lookback_days)
    ]
    return StepResult(
        rows_processed=sum(period.job.rows_written for period in loaded),
        bytes_processed=sum(period.job.bytes_processed for period in loaded),
        outputs={
            "table": loaded[-1].landing.table,
            "dates": [period.day.isoformat() for period in loaded],
            "files": sum(period.files for period in loaded),
            "control_totals": [total for period in loaded for total in period.totals],
            **drift_outputs(period.landing for period in loaded),
        },
    )


@dataclass(frozen=True)
class _Loaded:
    """A billing period that is in the table."""

    day: date
    landing: Landing
    job: FinishedJob
    files: int
    totals: list[dict[str, Any]]


def _deliveries(
    store: ExportStore, dataset: Dataset, last: date, lookback_days: int
) -> Iterator[Delivery]:
    """What was delivered of every billing period, the earliest first.

    Raises:
        ProviderUnavailableError: nothing was delivered of the last one.
    """
    days = (last - timedelta(days=back) for back in range(lookback_days, -1, -1))
    for period in dict.fromkeys(day.replace(day=1) for day in days):
        delivery = store.delivery(period)
        if delivery:
            yield delivery
        elif period == last.replace(day=1):
            raise ProviderUnavailableError(
                dataset.source,
                f"delivered nothing of {period:%Y-%m}: there is no {store.announced_at(period)}",
            )


def _load(
    store: ExportStore,
    dataset: Dataset,
    delivery: Delivery,
    destination: LandingDestination,
    context: StepContext,
) -> _Loaded:
    rows = ExportRows.of(store, dataset, delivery)
    landing = prepare(destination, context, rows.schema, _plain(rows.schema, dataset))
    counted = Total()
    batches = partial(rows.batches, landing, counted, context.deadline)
    part = Part(delivery.period, delivery.version, batches)
    (job,) = land(landing, [part], context, destination)
    if counted.rows != rows.count:  # the job was there before a row was asked for
        deque(batches(), maxlen=0)
    totals = counted.entries(delivery.period)
    return _Loaded(delivery.period, landing, job, len(delivery.files), totals)


def _plain(schema: Any, dataset: Dataset) -> TableSchema:
    """A table of the export's own columns, partitioned by billing period."""
    return TableSchema(
        name="export",
        description=f"Line items of {dataset.source}, as delivered.",
        time_partitioning=TimePartitioning(type="MONTH", field=dataset.measures.period),
        fields=tuple(
            _exact(column_of(column.name, column.type, "As the provider delivers it."))
            for column in schema
        ),
    )


def _exact(column: Column) -> Column:
    """Amounts that come as double have exact sums as decimals only."""
    return column.model_copy(update={"type": "BIGNUMERIC"}) if column.type == "FLOAT" else column
