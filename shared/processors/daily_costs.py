"""Daily costs that a provider's API answers: checked groups become days of a table.

The processors of such an API bring every page as days of groups; this has the rows, what they add
up to, and how they are written.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

from shared.processors import drift_events
from shared.processors.amounts import text, total
from shared.processors.contract import StepContext, StepResult
from shared.processors.landing import (
    Landing,
    LandingDestination,
    Part,
    drift_outputs,
    land,
    prepare,
)
from shared.processors.provider_errors import IncompleteAnswerError
from shared.warehouse.arrow import arrow_schema
from shared.warehouse.schemas import Column, ColumnType, TableSchema, TimePartitioning

if TYPE_CHECKING:
    import pyarrow as pa

OUTPUTS = frozenset({"table", "dates", "pages", "control_totals"}) | drift_events.OUTPUTS
_BATCH_ROWS = 20_000


@dataclass(frozen=True)
class Group:
    """Amounts of one day and one combination of keys."""

    keys: tuple[str | None, ...]
    amounts: tuple[str, ...]
    """With every digit that the provider wrote, in the order of the query's metrics."""
    currency: str | None
    usage_unit: str | None = None


@dataclass
class Day:
    """Everything of one day."""

    day: date
    estimated: bool = False
    groups: dict[tuple[Any, ...], Group] = field(default_factory=dict)

    def add(self, service: str, identity: tuple[Any, ...], group: Group) -> None:
        """Add a group.

        Raises:
            IncompleteAnswerError: it is there already, so pages overlap.
        """
        if identity in self.groups:
            named = ", ".join(map(str, identity)) or "the total"
            raise IncompleteAnswerError(service, f"{named} of {self.day} came twice")
        self.groups[identity] = group

    def sorted(self) -> list[Group]:
        """The groups by their keys."""
        return [self.groups[identity] for identity in sorted(self.groups, key=str)]

    def version(self, more: Any) -> str:
        """Identifies these very rows with `more` in them, in whatever order they came."""
        rows = [(g.keys, g.amounts, g.currency, g.usage_unit) for g in self.sorted()]
        content = json.dumps([self.estimated, rows, more])
        return hashlib.sha256(content.encode()).hexdigest()[:16]


Value: TypeAlias = Callable[[Day, Group], Any]
"""What a column holds of a group."""


@dataclass(frozen=True)
class DailyCosts:
    """What an API answered, in the columns that were asked for."""

    description: str
    """Of a table of these columns."""
    columns: Sequence[tuple[Column, Value]]
    days: Sequence[Day]
    """Every day that was asked for, in order."""
    pages: int
    cost: int | None
    """Which of the amounts is the cost that control totals add up; None where none is money."""
    names: Sequence[Any] = ()
    """What the columns hold beside the days' own groups."""

    @property
    def schema(self) -> "pa.Schema":
        """The rows' columns."""
        return arrow_schema([column for column, _ in self.columns])

    def batches(self, day: Day) -> "Iterator[pa.RecordBatch]":
        """The rows of a day, by their keys."""
        import pyarrow as pa

        schema, groups = self.schema, day.sorted()
        for first in range(0, len(groups), _BATCH_ROWS):
            some = groups[first : first + _BATCH_ROWS]
            arrays = [
                _array([value(day, group) for group in some], column, found.type)
                for (column, value), found in zip(self.columns, schema, strict=True)
            ]
            yield pa.record_batch(arrays, schema=schema)

    def control_totals(self) -> list[dict[str, Any]]:
        """Rows and cost of each day and currency, added up from what the provider wrote."""
        found = []
        for day in self.days:
            by_currency: dict[str | None, list[Group]] = {}
            for group in day.groups.values():
                by_currency.setdefault(group.currency, []).append(group)
            found += [
                {
                    "period": day.day.isoformat(),
                    "currency": currency,
                    "rows": len(groups),
                    "cost": self._cost(groups),
                }
                for currency, groups in by_currency.items()
            ]
        return found

    def _cost(self, groups: Sequence[Group]) -> str | None:
        place = self.cost
        if place is None:
            return None
        return text(total(Decimal(group.amounts[place]) for group in groups))


def load_days(
    costs: DailyCosts,
    destination: LandingDestination,
    context: StepContext,
    outputs: Mapping[str, Any] | None = None,
) -> StepResult:
    """Load each day, those without costs included, in a job under the step's own ID.

    Running twice is safe: the same rows find the job that loaded them, newer ones replace the day
    whole. `outputs` are the processor's own beside `OUTPUTS`.

    Raises:
        ChangedColumnError: a column comes in a type that the table's cannot take.
        WarehouseError: BigQuery refused; the days it refused are as they were.
        WarehouseBusyError: not now.
    """
    landing = prepare(destination, context, costs.schema, _plain(costs))
    parts = [
        Part(day.day, day.version(costs.names), partial(_landed, costs, landing, day))
        for day in costs.days
    ]
    jobs = land(landing, parts, context, destination)
    return StepResult(
        rows_processed=sum(job.rows_written for job in jobs),
        bytes_processed=sum(job.bytes_processed for job in jobs),
        outputs={
            "table": landing.table,
            "dates": [day.day.isoformat() for day in costs.days],
            "pages": costs.pages,
            "control_totals": costs.control_totals(),
            **drift_outputs([landing]),
            **(outputs or {}),
        },
    )


def days_until(last: date, lookback: int) -> list[date]:
    """The day and so many before it, the earliest first."""
    return [last - timedelta(days=back) for back in range(lookback, -1, -1)]


def nullable(name: str, kind: ColumnType, description: str) -> Column:
    """A column of daily costs."""
    return Column(name=name, type=kind, mode="NULLABLE", description=description)


def key_at(place: int, _: Day, group: Group) -> str | None:
    """A `Value`, bound to its place: one of a group's keys."""
    return group.keys[place]


def amount_at(place: int, _: Day, group: Group) -> str:
    """A `Value`, bound to its place: one of a group's amounts."""
    return group.amounts[place]


def _plain(costs: DailyCosts) -> TableSchema:
    """A table of exactly these columns, partitioned by day."""
    return TableSchema(
        name="daily_costs",
        description=costs.description,
        time_partitioning=TimePartitioning(type="DAY", field="usage_date"),
        fields=tuple(column for column, _ in costs.columns),
    )


def _landed(costs: DailyCosts, landing: Landing, day: Day) -> "Iterator[pa.RecordBatch]":
    """The rows of a day in the table's columns."""
    return map(landing.conversion.batch, costs.batches(day))


def _array(values: list[Any], column: Column, kind: "pa.DataType") -> Any:
    """Amounts come as text, and are read by Arrow: exact, and quicker than through `Decimal`."""
    import pyarrow as pa

    if column.type == "BIGNUMERIC":
        return pa.array(values, pa.string()).cast(kind)
    return pa.array(values, kind)
