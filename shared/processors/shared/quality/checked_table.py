"""The table that rules are about: its columns, and which of its rows are those of a date."""

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from shared.clients import bigquery_client
from shared.errors import Permanent, nearest
from shared.processors.contract import StepContext
from shared.processors.shared.quality.sql import Parameters
from shared.settings import settings
from shared.tenancy.names import dataset_name
from shared.warehouse.authorize import check_readable
from shared.warehouse.failures import translated

if TYPE_CHECKING:
    from google.cloud.bigquery import SchemaField

_TIMEOUT_SECONDS = 30.0
Unit = Literal["DAY", "MONTH", "YEAR"]
_UNITS: Mapping[str, Unit] = {"MONTH": "MONTH", "YEAR": "YEAR"}
"""Partitions of an hour are looked at by the day."""
_FORMATS = {"DAY": "%Y%m%d", "MONTH": "%Y%m", "YEAR": "%Y"}
_DATES = frozenset({"DATE", "DATETIME", "TIMESTAMP"})


class ColumnError(Permanent):
    """A rule names a column that the table does not have, or that it cannot be about."""

    code = "unfit-column"

    def __init__(self, column: str, table: str, problem: str) -> None:
        self.column = column
        self.table = table
        super().__init__(f"Column {column} of {table} {problem}")


@dataclass(frozen=True)
class Period:
    """Days from `first` to before `until`."""

    first: dt.date
    until: dt.date


@dataclass(frozen=True)
class CheckedTable:
    """A table that the tenant may read."""

    path: str
    """`project.dataset.table`."""
    types: Mapping[str, str]
    """By lower-case dotted name, the types of all columns that are not repeated."""
    day_column: str | None = None
    """SQL of the column that says which day a row belongs to; None where nothing does."""
    day_type: str = "DATE"
    unit: Unit = "DAY"
    """Days that are looked at together: those of a partition, where it has more than one."""
    partition_format: str | None = None
    """How a partition is named by a day of it; None where none is, or a day has several."""

    def column(self, name: str, *types: str) -> str:
        """SQL of a column, which must be of one of `types` where some are given.

        Raises:
            ColumnError: there is none, or it is of another type.
        """
        kind = self.type_of(name)
        if types and kind not in types:
            raise ColumnError(name, self.path, f"is {kind}; the rule needs {' or '.join(types)}.")
        return _quoted(name)

    def type_of(self, name: str) -> str:
        """The type of a column, by the name that BigQuery's API gives it.

        Raises:
            ColumnError: there is no such column.
        """
        kind = self.types.get(name.lower())
        if kind is None:
            near = nearest(name.lower(), list(self.types))
            hint = f"did you mean {' or '.join(near)}?" if near else "it has no near one."
            raise ColumnError(name, self.path, f"does not exist, or is repeated: {hint}")
        return kind

    def period(self, day: dt.date) -> Period:
        """The days of the partition that `day` is in."""
        if self.unit == "YEAR":
            return Period(dt.date(day.year, 1, 1), dt.date(day.year + 1, 1, 1))
        if self.unit == "MONTH":
            first = day.replace(day=1)
            return Period(first, (first + dt.timedelta(days=32)).replace(day=1))
        return Period(day, day + dt.timedelta(days=1))

    def periods(self, days: Iterable[dt.date]) -> tuple[Period, ...]:
        """The partitions that `days` are in, in order; those that touch are one period."""
        return joined(sorted({self.period(day) for day in days}, key=lambda one: one.first))

    def within(self, periods: Sequence[Period], parameters: Parameters) -> str | None:
        """The condition on rows of any of `periods`; None for a table without days."""
        if self.day_column is None:
            return None
        spans = [self.span(one.first, one.until, parameters) for one in periods]
        return f"({' OR '.join(spans)})" if spans else "FALSE"

    def span(self, first: dt.date, until: dt.date, parameters: Parameters) -> str:
        """The condition on rows from a day to before another, by which partitions are pruned."""
        low, high = (
            _as(self.day_type, parameters.value("DATE", day.isoformat())) for day in (first, until)
        )
        return f"({self.day_column} >= {low} AND {self.day_column} < {high})"

    @property
    def partition(self) -> str:
        """SQL of the first day of the partition that a row is in."""
        return f"DATE_TRUNC({self.day}, {self.unit})"

    @property
    def day(self) -> str:
        """SQL of the day of a row."""
        assert self.day_column is not None  # noqa: S101 - callers ask `within` first
        return self.day_column if self.day_type == "DATE" else f"DATE({self.day_column})"


def joined(periods: Iterable[Period]) -> tuple[Period, ...]:
    """The same days in as few periods as can be; `periods` are in order."""
    found: list[Period] = []
    for period in periods:
        if found and found[-1].until == period.first:
            found[-1] = Period(found[-1].first, period.until)
        else:
            found.append(period)
    return tuple(found)


def path_of(context: StepContext, dataset_type: str | None, table: str) -> str:
    """`project.dataset.table` for a table as a template names it.

    Raises:
        InvalidInputError: `dataset_type` is not one.
    """
    project = settings().GCP_PROJECT_ID
    if table.count(".") == 2:
        return table
    if "." in table:
        return f"{project}.{table}"
    return f"{project}.{dataset_name(context.run.tenant_id, dataset_type)}.{table}"


def look_up(path: str, date_column: str | None, context: StepContext) -> CheckedTable:
    """What BigQuery knows of a table, once it is sure that the tenant may ask.

    Args:
        path: `project.dataset.table`.
        date_column: column with the day, instead of the one that the table is partitioned by.
        context: whose step asks.

    Raises:
        ForeignTableError: it is neither the tenant's nor a source of the template.
        ColumnError: there is no such `date_column`, or it is no date.
        WarehouseError: there is no such table.
        WarehouseBusyError: not now.
    """
    from google.cloud.bigquery import DEFAULT_RETRY

    check_readable(path, context.run.tenant_id, context.sources)
    retry = DEFAULT_RETRY.with_timeout(_TIMEOUT_SECONDS)
    with translated():
        found = bigquery_client().get_table(path, retry=retry, timeout=_TIMEOUT_SECONDS)
    types = dict(_types(found.schema))
    partitioning = found.time_partitioning
    if date_column is not None:
        table = CheckedTable(path, types)
        table.column(date_column, *sorted(_DATES))
        return CheckedTable(path, types, _quoted(date_column), table.type_of(date_column))
    if partitioning is None:
        return CheckedTable(path, types)
    unit, name = _UNITS.get(partitioning.type_, "DAY"), _FORMATS.get(partitioning.type_)
    if partitioning.field is None:
        return CheckedTable(path, types, "_PARTITIONTIME", "TIMESTAMP", unit, name)
    column = partitioning.field
    return CheckedTable(path, types, _quoted(column), types[column.lower()], unit, name)


def _types(fields: Sequence["SchemaField"], prefix: str = "") -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for field in fields:
        if field.mode == "REPEATED":
            continue
        name = f"{prefix}{field.name}".lower()
        found.append((name, field.field_type))
        found += _types(field.fields, f"{name}.")
    return found


def _quoted(name: str) -> str:
    return ".".join(f"`{part}`" for part in name.split("."))


def _as(day_type: str, date: str) -> str:
    """A DATE expression as a value of a column's type, so that partitions are pruned by it."""
    return date if day_type == "DATE" else f"{day_type}({date})"
