"""Cost Management's groups as columns: the day, the keys, the amounts, their currency."""

from collections.abc import Iterator
from functools import partial

from shared.processors.azure.cost_pages import Fetched
from shared.processors.azure.cost_query import QUANTITIES, CostQuery, column_of
from shared.processors.daily_costs import DailyCosts, Value, amount_at, key_at, nullable
from shared.warehouse.schemas import Column


def daily_costs(query: CostQuery, fetched: Fetched) -> DailyCosts:
    """The answer to `query` as rows."""
    return DailyCosts(
        "Daily costs as Azure Cost Management gives them, one row a day and group.",
        tuple(_columns(query)),
        fetched.days,
        fetched.pages,
        cost=next((at for at, name in enumerate(query.metrics) if name not in QUANTITIES), None),
    )


def _columns(query: CostQuery) -> Iterator[tuple[Column, Value]]:
    yield nullable("usage_date", "DATE", "Day of the usage, UTC."), lambda day, _: day.day
    column = nullable("cost_type", "STRING", "ActualCost or AmortizedCost.")
    yield column, lambda *_: query.cost_type
    for place, grouping in enumerate(query.group_by):
        key = grouping.dimension or grouping.tag
        column = nullable(grouping.column, "STRING", f"Value of {key}; NULL where it has none.")
        yield column, partial(key_at, place)
    for place, metric in enumerate(query.metrics):
        column = nullable(column_of(metric), "BIGNUMERIC", f"{metric}, as Azure writes it.")
        yield column, partial(amount_at, place)
    yield nullable("currency", "STRING", "Of the costs."), lambda _, group: group.currency
