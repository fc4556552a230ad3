"""Every page of a Cost Management query, checked, as rows: whole days or an error, nothing between.

Rows are positional: what a value is, the answer's own `columns` say, by name. A page with other
columns than asked for, a row that is too short, a day that was not asked for or a group that comes
twice ends the step before anything is written. A day without rows has no costs.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from urllib.parse import quote, urlsplit

from shared.processors.azure.calls import Access, call, content_of, refused
from shared.processors.azure.cost_query import API_VERSION, CostQuery
from shared.processors.daily_costs import Day, Group
from shared.processors.provider_errors import IncompleteAnswerError, SourceShapeError
from shared.settings import settings

SERVICE = "Azure Cost Management"
_MAX_PAGES = 10_000
_MOST_DIGITS = 38
"""After and before the point of a BIGNUMERIC."""
_HEADERS = {"ClientType": "Convergence"}
"""Cost Management counts requests by this name; those without one share a quota that is used up."""


@dataclass(frozen=True)
class Fetched:
    """What the pages said together."""

    days: tuple[Day, ...]
    """Every day that was asked for, in order."""
    pages: int


def fetch(
    opened: Access, scope: str, query: CostQuery, days: Sequence[date], deadline: datetime
) -> Fetched:
    """Ask for consecutive days, page after page.

    Args:
        opened: of a credential, for Azure Resource Manager.
        scope: whose costs, without a slash at its ends.
        query: what is asked.
        days: consecutive.
        deadline: when all pages must be there.

    Raises:
        ProviderUnavailableError: throttled, failed, no answer, or not done by `deadline`.
        IncompleteAnswerError: a page was cut off, or pages repeat.
        SourceShapeError: a page has another form than documented, or leads elsewhere.
        ProviderRefusedError: the credential or the request is refused.
    """
    reader = _Reader(query, {day: Day(day) for day in days})
    for page in _pages(opened, scope, query.to_api(days), deadline):
        reader.read(page)
    return Fetched(tuple(reader.days[day] for day in days), reader.pages)


def _pages(
    opened: Access, scope: str, body: dict[str, Any], deadline: datetime
) -> Iterator[Mapping[str, Any]]:
    """The properties of each page; the question stays the same, only its URL goes on."""
    path = f"/{quote(scope, safe='/:()')}/providers/Microsoft.CostManagement/query"
    url = first = f"{settings().AZURE_MANAGEMENT_URL}{path}?api-version={API_VERSION}"
    seen = {url}
    for number in range(1, _MAX_PAGES + 1):
        answer = call(opened, SERVICE, ("POST", url), deadline, headers=_HEADERS, body=body)
        if answer.status_code == 204 and number == 1:
            return  # documented: there is nothing
        if not answer.ok:
            raise refused(opened, SERVICE, answer)
        page = content_of(answer, SERVICE, f"page {number}")
        properties = page.get("properties") if isinstance(page, dict) else None
        if not isinstance(properties, dict):
            raise IncompleteAnswerError(SERVICE, f"page {number} has no properties")
        yield properties
        link = properties.get("nextLink")
        if not link:
            return
        url = _followed(link, first, number)
        if url in seen:
            raise IncompleteAnswerError(SERVICE, "the same page was announced twice")
        seen.add(url)
    raise IncompleteAnswerError(SERVICE, f"there are more than {_MAX_PAGES} pages")


def _followed(link: Any, first: str, number: int) -> str:
    """The link, if it leads to the place that was asked: it is sent the token."""
    place = f"nextLink of page {number}"
    if not isinstance(link, str) or any(not "!" <= character <= "~" for character in link):
        raise SourceShapeError(SERVICE, place, "is no URL")
    try:
        there, here = urlsplit(link), urlsplit(first)
    except ValueError:
        raise SourceShapeError(SERVICE, place, "is no URL") from None
    same_host = (there.scheme, there.netloc.lower()) == (here.scheme, here.netloc.lower())
    if "\\" in link or not same_host or there.path.lower() != here.path.lower():
        shown = f"{there.scheme}://{there.hostname}{there.path}"[:200]
        raise SourceShapeError(SERVICE, place, f"leads to {shown}, which is not followed")
    return link


@dataclass
class _Reader:
    """Adds page after page to the days."""

    query: CostQuery
    days: dict[date, Day]
    pages: int = 0

    def read(self, page: Mapping[str, Any]) -> None:
        """Add a page."""
        self.pages += 1
        names, rows = self._names(page.get("columns")), page.get("rows")
        if not isinstance(rows, list):
            raise IncompleteAnswerError(SERVICE, f"page {self.pages} has no rows")
        places = {name: self._place(names, name) for name in self._wanted()}
        for number, row in enumerate(rows):
            place = f"rows[{number}] of page {self.pages}"
            if not isinstance(row, list) or len(row) != len(names):
                size = len(row) if isinstance(row, list) else "no"
                problem = f"has {size} values for {len(names)} columns"
                raise SourceShapeError(SERVICE, place, problem)
            self._add({name: row[at] for name, at in places.items()}, place)

    def _wanted(self) -> list[str]:
        keys = [grouping.answered_as for grouping in self.query.group_by]
        return [*self.query.metrics, "UsageDate", *keys, "Currency"]

    def _names(self, columns: Any) -> list[str]:
        if not isinstance(columns, list):
            raise IncompleteAnswerError(SERVICE, f"page {self.pages} has no columns")
        return [str(c.get("name")).casefold() if isinstance(c, dict) else "" for c in columns]

    def _place(self, names: list[str], name: str) -> int:
        found = names.count(name.casefold())
        if found == 1:
            return names.index(name.casefold())
        problem = "is missing" if not found else "comes twice"
        raise SourceShapeError(SERVICE, f"column {name} of page {self.pages}", problem)

    def _add(self, row: Mapping[str, Any], place: str) -> None:
        day = self.days.get(_day(row["UsageDate"], place))
        if day is None:
            problem = f"is {row['UsageDate']}, which was not asked for"
            raise SourceShapeError(SERVICE, f"UsageDate in {place}", problem)
        currency = row["Currency"]
        if not isinstance(currency, str) or not currency:
            raise SourceShapeError(SERVICE, f"Currency in {place}", "is no currency")
        keys = [row[grouping.answered_as] for grouping in self.query.group_by]
        for grouping, key in zip(self.query.group_by, keys, strict=True):
            if key is not None and not isinstance(key, str):
                raise SourceShapeError(SERVICE, f"{grouping.answered_as} in {place}", "is no text")
        amounts = tuple(_amount(row[name], f"{name} in {place}") for name in self.query.metrics)
        group = Group(tuple(key or None for key in keys), amounts, currency)
        day.add(SERVICE, (*keys, currency), group)


def _day(value: Any, place: str) -> date:
    """Days come as numbers, 20251115."""
    text = str(value)
    try:
        if len(text) == 8 and text.isascii() and text.isdecimal():
            return date(int(text[:4]), int(text[4:6]), int(text[6:]))
    except ValueError:
        pass
    raise SourceShapeError(SERVICE, f"UsageDate in {place}", f"is {text[:40]!r}, which is no day")


def _amount(value: Any, place: str) -> str:
    """The text of a number, with the digits that Azure wrote."""
    if not isinstance(value, Decimal):
        shown = "missing" if value is None else "no number"
        raise SourceShapeError(SERVICE, place, f"is {shown}")
    exponent = value.as_tuple().exponent
    fits = isinstance(exponent, int) and exponent >= -_MOST_DIGITS
    if value and (not fits or value.adjusted() >= _MOST_DIGITS):
        raise SourceShapeError(SERVICE, place, f"is {value}, which no BIGNUMERIC holds")
    return str(value or Decimal(0))
