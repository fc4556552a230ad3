"""Cost Explorer's groups as columns: the day, the keys, the amounts, their units."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any

from shared.processors.amounts import text, total
from shared.processors.aws.cost_explorer_pages import Day, Fetched, Group
from shared.processors.aws.cost_explorer_query import (
    QUANTITIES,
    CostExplorerQuery,
    CostGrouping,
    metric_column,
)
from shared.processors.landing import Landing, Part
from shared.warehouse.arrow import arrow_schema
from shared.warehouse.schemas import Column, ColumnType, TableSchema, TimePartitioning

if TYPE_CHECKING:
    import pyarrow as pa

_BATCH_ROWS = 20_000

Value = Callable[[Day, Group], Any]


@dataclass(frozen=True)
class Rows:
    """What was fetched, as rows with the columns that the query asked for."""

    query: CostExplorerQuery
    fetched: Fetched
    columns: tuple[Column, ...]
    _values: tuple[Value, ...]
    """What each column holds of a group."""

    @classmethod
    def of(cls, query: CostExplorerQuery, fetched: Fetched) -> "Rows":
        """The rows of an answer to `query`."""
        pairs = list(_columns(query, fetched))
        return cls(query, fetched, tuple(c for c, _ in pairs), tuple(v for _, v in pairs))

    @property
    def schema(self) -> "pa.Schema":
        """The rows' columns."""
        return arrow_schema(self.columns)

    @property
    def plain_table(self) -> TableSchema:
        """A table of exactly these columns, partitioned by day."""
        return TableSchema(
            name="cost_explorer",
            description="Daily costs as AWS Cost Explorer gives them, one row a day and group.",
            time_partitioning=TimePartitioning(type="DAY", field="usage_date"),
            fields=self.columns,
        )

    def parts(self, landing: Landing) -> list[Part]:
        """A part for every day, those without costs included."""
        names = sorted(self.fetched.account_names.items())
        return [
            Part(day.day, day.version(names), _Batches(self, landing, day))
            for day in self.fetched.days
        ]

    def batches(self, day: Day) -> "Iterator[pa.RecordBatch]":
        """The rows of a day, by their keys."""
        import pyarrow as pa

        schema, groups = self.schema, day.sorted()
        for first in range(0, len(groups), _BATCH_ROWS):
            some = groups[first : first + _BATCH_ROWS]
            arrays = [
                _array([value(day, group) for group in some], column, kind.type)
                for value, column, kind in zip(self._values, self.columns, schema, strict=True)
            ]
            yield pa.record_batch(arrays, schema=schema)

    def control_totals(self) -> list[dict[str, Any]]:
        """Rows and cost of each day and currency, added up from what AWS wrote."""
        money = [i for i, name in enumerate(self.query.metrics) if name not in QUANTITIES]
        totals = []
        for day in self.fetched.days:
            by_currency: dict[str | None, list[Group]] = {}
            for group in day.groups.values():
                by_currency.setdefault(group.currency, []).append(group)
            totals += [
                {
                    "period": day.day.isoformat(),
                    "currency": currency,
                    "rows": len(groups),
                    "cost": text(total(Decimal(g.amounts[money[0]]) for g in groups))
                    if money
                    else None,
                }
                for currency, groups in by_currency.items()
            ]
        return totals


@dataclass(frozen=True)
class _Batches:
    """The rows of a day in the table's columns."""

    rows: Rows
    landing: Landing
    day: Day

    def __call__(self) -> "Iterator[pa.RecordBatch]":
        return map(self.landing.conversion.batch, self.rows.batches(self.day))


def _array(values: list[Any], column: Column, kind: "pa.DataType") -> Any:
    """Amounts come as text, and are read by Arrow: exact, and quicker than through `Decimal`."""
    import pyarrow as pa

    if column.type == "BIGNUMERIC":
        return pa.array(values, pa.string()).cast(kind)
    return pa.array(values, kind)


def _columns(query: CostExplorerQuery, fetched: Fetched) -> Iterator[tuple[Column, Value]]:
    yield _column("usage_date", "DATE", "Day of the usage, UTC."), lambda day, _: day.day
    for place, grouping in enumerate(query.group_by):
        key = grouping.dimension or grouping.tag or grouping.cost_category
        column = _column(grouping.column, "STRING", f"Value of {key}; NULL where it has none.")
        yield column, partial(_key, place, grouping)
        if grouping.dimension == "LINKED_ACCOUNT":
            column = _column("linked_account_name", "STRING", "The account's name.")
            yield column, partial(_account_name, place, fetched.account_names)
    for place, metric in enumerate(query.metrics):
        column = _column(metric_column(metric), "BIGNUMERIC", f"{metric}, as AWS writes it.")
        yield column, partial(_amount, place)
    yield _column("currency", "STRING", "Of the costs."), lambda _, group: group.currency
    yield _column("usage_unit", "STRING", "Of the quantity."), lambda _, group: group.usage_unit
    yield _column("estimated", "BOOLEAN", "AWS may still change it."), lambda day, _: day.estimated


def _key(place: int, grouping: CostGrouping, _: Day, group: Group) -> str | None:
    return grouping.value(group.keys[place])


def _account_name(place: int, names: Mapping[str, str], _: Day, group: Group) -> str | None:
    return names.get(group.keys[place])


def _amount(place: int, _: Day, group: Group) -> str:
    return group.amounts[place]


def _column(name: str, kind: ColumnType, description: str) -> Column:
    return Column(name=name, type=kind, mode="NULLABLE", description=description)
