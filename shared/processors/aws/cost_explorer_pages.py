"""Every page of a Cost Explorer query, checked, as rows: whole days or an error, nothing between.

A page that was cut off can be valid JSON, and botocore makes an empty answer of JSON that is not;
so it is the content that is checked: every field that is used, each day of the period, no group
twice.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from shared.processors.aws.cost_explorer_query import QUANTITIES, CostExplorerQuery
from shared.processors.aws.failures import calling
from shared.processors.aws.session import DEFAULT_REGIONS, Access
from shared.processors.daily_costs import Day, Group
from shared.processors.provider_errors import (
    IncompleteAnswerError,
    ProviderUnavailableError,
    SourceShapeError,
)

SERVICE = "Cost Explorer"
_MAX_PAGES = 10_000


@dataclass(frozen=True)
class Fetched:
    """What the pages said together."""

    days: tuple[Day, ...]
    """Every day that was asked for, in order."""
    account_names: Mapping[str, str]
    """Names of linked accounts, where it was grouped by them."""
    pages: int


def fetch(
    access: Access, query: CostExplorerQuery, days: Sequence[date], deadline: datetime
) -> Fetched:
    """Ask for consecutive days, page after page.

    Raises:
        ProviderUnavailableError: throttled, failed, no answer, or not done by `deadline`.
        IncompleteAnswerError: a page was cut off, a day is missing, or pages repeat.
        SourceShapeError: a page has another form than documented.
        ProviderRefusedError: the credential or the request is refused.
    """
    reader = _Reader(query, {day: Day(day) for day in days})
    for page in _pages(access, query.to_api(days), deadline):
        reader.read(page)
    missing = [str(day) for day in days if day not in reader.seen]
    if missing:
        raise IncompleteAnswerError(SERVICE, f"nothing was said of {', '.join(missing)}")
    return Fetched(tuple(reader.days[day] for day in days), reader.account_names, reader.pages)


def _pages(
    access: Access, request: dict[str, Any], deadline: datetime
) -> Iterator[Mapping[str, Any]]:
    """The pages. The request stays as it is but for the token: AWS refuses anything else."""
    client = access.client("ce", DEFAULT_REGIONS[access.partition])
    seen: set[str] = set()
    token: str | None = None
    for _ in range(_MAX_PAGES):
        if datetime.now(UTC) >= deadline:
            raise ProviderUnavailableError(
                SERVICE, "did not give all pages within the step's time: ask for fewer days"
            )
        with calling(SERVICE, access.credential):
            more = {"NextPageToken": token} if token else {}
            page: Mapping[str, Any] = client.get_cost_and_usage(**request, **more)
        yield page
        token = page.get("NextPageToken")
        if not token:
            return
        if token in seen:
            raise IncompleteAnswerError(SERVICE, "the same page was announced twice")
        seen.add(token)
    raise IncompleteAnswerError(SERVICE, f"there are more than {_MAX_PAGES} pages")


@dataclass
class _Reader:
    """Adds page after page to the days."""

    query: CostExplorerQuery
    days: dict[date, Day]
    seen: set[date] = field(default_factory=set)
    account_names: dict[str, str] = field(default_factory=dict)
    pages: int = 0

    def read(self, page: Mapping[str, Any]) -> None:
        """Add a page."""
        self.pages += 1
        results = page.get("ResultsByTime")
        if results is None:
            raise IncompleteAnswerError(SERVICE, f"page {self.pages} has no ResultsByTime")
        for place, result in enumerate(results):
            self._read_day(result, f"ResultsByTime[{place}] of page {self.pages}")
        for value in page.get("DimensionValueAttributes") or ():
            name = (value.get("Attributes") or {}).get("description")
            if name and value.get("Value"):
                self.account_names[value["Value"]] = name

    def _read_day(self, result: Mapping[str, Any], place: str) -> None:
        start = str((result.get("TimePeriod") or {}).get("Start"))
        try:
            found = self.days[date.fromisoformat(start)]
        except (KeyError, ValueError):
            problem = f"is {start!r}, which was not asked for"
            raise SourceShapeError(SERVICE, f"{place}.TimePeriod.Start", problem) from None
        self.seen.add(found.day)
        found.estimated |= bool(result.get("Estimated"))
        if not self.query.group_by:
            self._add(found, (), result.get("Total"), f"{place}.Total")
            return
        groups = result.get("Groups")
        if groups is None:
            raise SourceShapeError(SERVICE, f"{place}.Groups", "is missing")
        for number, group in enumerate(groups):
            where = f"{place}.Groups[{number}]"
            keys = tuple(group.get("Keys") or ())
            if len(keys) != len(self.query.group_by):
                problem = f"has {len(keys)} values for {len(self.query.group_by)} groupings"
                raise SourceShapeError(SERVICE, f"{where}.Keys", problem)
            self._add(found, keys, group.get("Metrics"), f"{where}.Metrics")

    def _add(
        self, day: Day, keys: tuple[str, ...], metrics: Mapping[str, Any] | None, place: str
    ) -> None:
        amounts, units = [], {}
        for name in self.query.metrics:
            metric = (metrics or {}).get(name) or {}
            amounts.append(_amount(metric.get("Amount"), f"{place}.{name}.Amount"))
            units[name] = metric.get("Unit")
        money = {unit for name, unit in units.items() if name not in QUANTITIES}
        if len(money) > 1 or None in money:
            listed = ", ".join(sorted(map(str, money)))
            raise SourceShapeError(SERVICE, place, f"has these currencies: {listed}")
        used = [units[name] for name in self.query.metrics if name in QUANTITIES]
        unit = used[0] if used else None
        day.add(SERVICE, keys, Group(keys, tuple(amounts), next(iter(money), None), unit))


def _amount(text: Any, place: str) -> str:
    """The text of a number, exactly as AWS wrote it."""
    try:
        if isinstance(text, str) and Decimal(text).is_finite():
            return text
    except InvalidOperation:
        pass
    shown = "missing" if text is None else f"{text!r}, which is no number"
    raise SourceShapeError(SERVICE, place, f"is {shown}")
