"""Cost Management's groups as columns: the day, the keys, the amounts, their currency."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from shared.processors.amounts import text, total
from shared.processors.azure.cost_pages import Day, Fetched, Group
from shared.processors.azure.cost_query import QUANTITIES, CostQuery, column_of
from shared.processors.landing import Landing, Part
from shared.warehouse.arrow import arrow_schema
from shared.warehouse.schemas import Column, ColumnType, TableSchema, TimePartitioning

if TYPE_CHECKING:
    import pyarrow as pa

_BATCH_ROWS = 20_000


@dataclass(frozen=True)
class Rows:
    """What was fetched, as rows with the columns that the query asked for."""

    query: CostQuery
    fetched: Fetched
    columns: tuple[Column, ...]
    _values: tuple[Callable[[Day, Group], Any], ...]
    """What each column holds of a group."""

    @classmethod
    def of(cls, query: CostQuery, fetched: Fetched) -> "Rows":
        """The rows of an answer to `query`."""
        pairs = list(_columns(query))
        return cls(query, fetched, tuple(c for c, _ in pairs), tuple(v for _, v in pairs))

    @property
    def schema(self) -> "pa.Schema":
        """The rows' columns."""
        return arrow_schema(self.columns)

    @property
    def plain_table(self) -> TableSchema:
        """A table of exactly these columns, partitioned by day."""
        return TableSchema(
            name="cost_management",
            description="Daily costs as Azure Cost Management gives them, one row a day and group.",
            time_partitioning=TimePartitioning(type="DAY", field="usage_date"),
            fields=self.columns,
        )

    def parts(self, landing: Landing) -> list[Part]:
        """A part for every day, those without costs included."""
        return [
            Part(day.day, day.version, partial(self._batches, day, landing))
            for day in self.fetched.days
        ]

    def control_totals(self) -> list[dict[str, Any]]:
        """Rows and cost of each day and currency, added up from what Azure wrote."""
        money = [at for at, name in enumerate(self.query.metrics) if name not in QUANTITIES]
        totals = []
        for day in self.fetched.days:
            by_currency: dict[str, list[Group]] = {}
            for group in day.groups.values():
                by_currency.setdefault(group.currency, []).append(group)
            totals += [
                {
                    "period": day.day.isoformat(),
                    "currency": currency,
                    "rows": len(groups),
                    "cost": text(total(g.amounts[money[0]] for g in groups)) if money else None,
                }
                for currency, groups in by_currency.items()
            ]
        return totals

    def _batches(self, day: Day, landing: Landing) -> "Iterator[pa.RecordBatch]":
        """The rows of a day in the table's columns, by their keys."""
        import pyarrow as pa

        schema, groups = self.schema, day.sorted()
        for first in range(0, len(groups), _BATCH_ROWS):
            some = groups[first : first + _BATCH_ROWS]
            arrays = [
                pa.array([value(day, group) for group in some], kind.type)
                for value, kind in zip(self._values, schema, strict=True)
            ]
            yield landing.conversion.batch(pa.record_batch(arrays, schema=schema))


def _columns(query: CostQuery) -> Iterator[tuple[Column, Callable[[Day, Group], Any]]]:
    yield _column("usage_date", "DATE", "Day of the usage, UTC."), lambda day, _: day.day
    yield (
        _column("cost_type", "STRING", "ActualCost or AmortizedCost."),
        lambda *_: query.cost_type,
    )
    for place, grouping in enumerate(query.group_by):
        key = grouping.dimension or grouping.tag
        column = _column(grouping.column, "STRING", f"Value of {key}; NULL where it has none.")
        yield column, partial(_key, place)
    for place, metric in enumerate(query.metrics):
        column = _column(column_of(metric), "BIGNUMERIC", f"{metric}, as Azure writes it.")
        yield column, partial(_amount, place)
    yield _column("currency", "STRING", "Of the costs."), lambda _, group: group.currency


def _key(place: int, _: Day, group: Group) -> str | None:
    return group.keys[place]


def _amount(place: int, _: Day, group: Group) -> Any:
    return group.amounts[place]


def _column(name: str, kind: ColumnType, description: str) -> Column:
    return Column(name=name, type=kind, mode="NULLABLE", description=description)
