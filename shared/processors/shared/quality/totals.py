"""Rows and cost per period and currency: of a table, of its source, and where they differ."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from shared.errors import Permanent
from shared.processors.amounts import difference, text
from shared.processors.contract import Query
from shared.processors.shared.quality.checked_table import CheckedTable, Period, joined
from shared.processors.shared.quality.sql import Parameters
from shared.processors.shared.quality.statements import exact

MAX_KEYS = 10_000
Key = tuple[str | None, str | None]
"""Period and currency; None where they are not told apart, or NULL."""


class ControlError(Permanent):
    """The control totals cannot be compared with."""

    code = "unfit-control"


@dataclass(frozen=True)
class Total:
    """What a key comes to; None for what is not known."""

    rows: int | None
    cost: Decimal | None


@dataclass(frozen=True)
class Delta:
    """A key whose totals differ."""

    key: Key
    ours: Total
    theirs: Total

    def __str__(self) -> str:
        """`2025-11-15 USD: cost 10.5 where the source has 10.6 (-0.1)`."""
        parts = []
        if self.ours.cost is not None and self.theirs.cost is not None:
            off = difference(self.ours.cost, self.theirs.cost)
            if off:
                parts.append(
                    f"cost {text(self.ours.cost)} where the source has"
                    f" {text(self.theirs.cost)} ({text(off)})"
                )
        if None not in (self.ours.rows, self.theirs.rows) and self.ours.rows != self.theirs.rows:
            off_rows = (self.ours.rows or 0) - (self.theirs.rows or 0)
            parts.append(
                f"rows {self.ours.rows} where the source has {self.theirs.rows} ({off_rows:+d})"
            )
        return f"{' '.join(filter(None, self.key)) or 'in all'}: {', '.join(parts)}"

    def as_json(self) -> dict[str, Any]:
        """For the table of results."""
        amounts = {"cost": self.ours.cost, "control_cost": self.theirs.cost}
        return {
            "period": self.key[0],
            "currency": self.key[1],
            "rows": self.ours.rows,
            "control_rows": self.theirs.rows,
            **{name: None if cost is None else text(cost) for name, cost in amounts.items()},
        }


@dataclass(frozen=True)
class Measures:
    """Columns of a table that its totals are made of."""

    period: str | None
    currency: str | None
    cost: str | None
    row_count: str | None
    """Column that says how many rows of the source a row stands for; None: each for one."""


def own_query(table: CheckedTable, measures: Measures, periods: Sequence[Period] | None) -> Query:
    """The totals of a table, of all its rows or of those of some periods.

    Raises:
        ColumnError: a column is not there or does not fit.
    """
    parameters = Parameters()
    keys = {"currency": table.column(measures.currency)} if measures.currency else {}
    if measures.period:
        column = table.column(measures.period)
        is_time = table.type_of(measures.period) in {"TIMESTAMP", "DATETIME"}
        keys = {"period": f"DATE({column})" if is_time else column, **keys}
    count = measures.row_count
    rows = f"IFNULL(SUM({table.column(count, 'INTEGER')}), 0)" if count else "COUNT(*)"
    cost = f"IFNULL(SUM({exact(table, measures.cost)}), 0)" if measures.cost else None
    source = f"`{table.path}`{_where(table, periods, parameters)}"
    return parameters.query(_grouped(keys, rows, cost, source))


def _grouped(keys: Mapping[str, str], rows: str | None, cost: str | None, source: str) -> str:
    """SQL of totals; what is not told apart or not known is not in its columns."""
    columns = {name: f"CAST({sql} AS STRING)" for name, sql in keys.items()}
    columns |= {name: sql for name, sql in (("row_count", rows), ("cost", cost)) if sql}
    listed = ", ".join(f"{sql} AS {name}" for name, sql in columns.items())
    groups = f" GROUP BY {', '.join(str(n + 1) for n in range(len(keys)))}" if keys else ""
    return f"SELECT {listed} FROM {source}{groups} LIMIT {MAX_KEYS + 1}"  # noqa: S608 - checked names, parameters


def partitions_query(table: CheckedTable, periods: Sequence[Period]) -> Query:
    """The first days of those periods that have rows."""
    parameters = Parameters()
    source = f"`{table.path}`{_where(table, periods, parameters)}"
    return parameters.query(f"SELECT DISTINCT {table.partition} AS first FROM {source}")  # noqa: S608 - checked names, parameters


def _where(table: CheckedTable, periods: Sequence[Period] | None, parameters: Parameters) -> str:
    rows = None if periods is None else table.within(joined(periods), parameters)
    return f" WHERE {rows}" if rows else ""


def control_query(written: Query, columns: Mapping[str, str], measures: Measures) -> Query:
    """The totals of the source, from a query that gives them or what they are made of.

    Args:
        written: gives `cost`, `row_count` or both, and `period` and `currency` where ours do.
        columns: its columns with their types, from a dry run.
        measures: ours.

    Raises:
        ControlError: a column is missing, or its sum would not be exact.
    """
    wanted = {"period": measures.period, "currency": measures.currency, "cost": measures.cost}
    missing = [name for name, ours in wanted.items() if ours and name not in columns]
    if missing:
        raise ControlError(
            f"The control query lacks the columns {', '.join(missing)}: name its results"
            " period, currency, row_count and cost."
        )
    if columns.get("cost") in {"FLOAT", "FLOAT64"}:
        raise ControlError(
            "The control query's cost is FLOAT64, which is not exact: CAST each amount AS NUMERIC"
            " before it is added up."
        )
    if measures.cost is None and "row_count" not in columns:
        raise ControlError("There is nothing to compare: give cost, or a control with row_count.")
    parameters = Parameters()
    keys = {name: name for name in ("period", "currency") if wanted[name]}
    rows = "IFNULL(SUM(CAST(row_count AS INT64)), 0)" if "row_count" in columns else None
    cost = "IFNULL(SUM(cost), 0)" if measures.cost else None
    return parameters.query(_grouped(keys, rows, cost, parameters.fragment(written)))


def totals(rows: Iterable[Mapping[str, Any]]) -> dict[Key, Total]:
    """The totals by key, from the rows of either query; equal keys are added up.

    Raises:
        ControlError: more keys than can be compared.
    """
    found: dict[Key, Total] = {}
    for row in rows:
        key = (row.get("period"), row.get("currency"))
        known = found.get(key, Total(None, None))
        given = row.get("cost")
        cost = None if given is None else Decimal(given)  # whole amounts come as integers
        found[key] = Total(
            _added(known.rows, row.get("row_count")), _exactly_added(known.cost, cost)
        )
    if len(found) > MAX_KEYS:
        raise ControlError(f"There are more than {MAX_KEYS} periods and currencies to compare.")
    return found


def deltas(
    ours: Mapping[Key, Total], theirs: Mapping[Key, Total], tolerance: Decimal
) -> list[Delta]:
    """Where two totals differ, by key; what one side does not have counts as nothing.

    Cost and rows are compared where both sides know them at all.
    """
    has_rows = _knows(ours, "rows") and _knows(theirs, "rows")
    has_cost = _knows(ours, "cost") and _knows(theirs, "cost")
    found = []
    for key in sorted(ours.keys() | theirs.keys(), key=lambda key: [part or "" for part in key]):
        one, other = (
            _complete(side.get(key), has_rows=has_rows, has_cost=has_cost)
            for side in (ours, theirs)
        )
        off = difference(one.cost or Decimal(0), other.cost or Decimal(0))
        if off.copy_abs() > tolerance or one.rows != other.rows:
            found.append(Delta(key, one, other))
    return found


def _knows(side: Mapping[Key, Total], what: str) -> bool:
    """Whether a side has a figure; one without any key has it for all: nothing."""
    return not side or any(getattr(total, what) is not None for total in side.values())


def _complete(total: Total | None, *, has_rows: bool, has_cost: bool) -> Total:
    known = total or Total(None, None)
    return Total(
        rows=(known.rows or 0) if has_rows else None,
        cost=(known.cost or Decimal(0)) if has_cost else None,
    )


def _added(one: int | None, other: int | None) -> int | None:
    return other if one is None else one + (other or 0)


def _exactly_added(one: Decimal | None, other: Decimal | None) -> Decimal | None:
    if one is None or other is None:
        return one if other is None else other
    return difference(one, other.copy_negate())
