"""Cost Explorer's groups as columns: the day, the keys, the amounts, their units."""

from collections.abc import Iterator, Mapping
from functools import partial

from shared.processors.aws.cost_explorer_pages import Fetched
from shared.processors.aws.cost_explorer_query import (
    QUANTITIES,
    CostExplorerQuery,
    CostGrouping,
    metric_column,
)
from shared.processors.daily_costs import (
    DailyCosts,
    Day,
    Group,
    Value,
    amount_at,
    nullable,
)
from shared.warehouse.schemas import Column


def daily_costs(query: CostExplorerQuery, fetched: Fetched) -> DailyCosts:
    """The answer to `query` as rows."""
    return DailyCosts(
        "Daily costs as AWS Cost Explorer gives them, one row a day and group.",
        tuple(_columns(query, fetched)),
        fetched.days,
        fetched.pages,
        cost=next((at for at, name in enumerate(query.metrics) if name not in QUANTITIES), None),
        names=sorted(fetched.account_names.items()),
    )


def _columns(query: CostExplorerQuery, fetched: Fetched) -> Iterator[tuple[Column, Value]]:
    yield nullable("usage_date", "DATE", "Day of the usage, UTC."), lambda day, _: day.day
    for place, grouping in enumerate(query.group_by):
        key = grouping.dimension or grouping.tag or grouping.cost_category
        column = nullable(grouping.column, "STRING", f"Value of {key}; NULL where it has none.")
        yield column, partial(_key, place, grouping)
        if grouping.dimension == "LINKED_ACCOUNT":
            column = nullable("linked_account_name", "STRING", "The account's name.")
            yield column, partial(_account_name, place, fetched.account_names)
    for place, metric in enumerate(query.metrics):
        column = nullable(metric_column(metric), "BIGNUMERIC", f"{metric}, as AWS writes it.")
        yield column, partial(amount_at, place)
    yield nullable("currency", "STRING", "Of the costs."), lambda _, group: group.currency
    yield nullable("usage_unit", "STRING", "Of the quantity."), lambda _, group: group.usage_unit
    column = nullable("estimated", "BOOLEAN", "AWS may still change it.")
    yield column, lambda day, _: day.estimated


def _key(place: int, grouping: CostGrouping, _: Day, group: Group) -> str | None:
    return grouping.value(str(group.keys[place]))


def _account_name(place: int, names: Mapping[str, str], _: Day, group: Group) -> str | None:
    return names.get(str(group.keys[place]))
