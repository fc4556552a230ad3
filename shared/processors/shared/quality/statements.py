"""The queries that measure rules, as few as can be: each table is read twice at most.

One aggregate over the table measures every rule that looks at rows; one grouping measures all rules
about uniqueness. The other side of sums takes one query a table, and SQL of one's own is a query
by itself. What they find are facts; the verdicts are elsewhere.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

from shared.processors.contract import Query
from shared.processors.shared.quality.checked_table import CheckedTable, Period
from shared.processors.shared.quality.rules import (
    AcceptedValues,
    Condition,
    CustomSql,
    Freshness,
    NotNull,
    Range,
    RowCount,
    RowRule,
    ScopedRule,
    SumMatches,
    Unique,
)
from shared.processors.shared.quality.sql import Parameters

_NUMBERS = ("INTEGER", "FLOAT", "NUMERIC", "BIGNUMERIC")
_TIMES = ("DATE", "DATETIME", "TIMESTAMP")
_LONGEST_SAMPLE = 1000
"""Characters of a sample; a longer one is cut off."""

Facts = Mapping[str, Any]
"""What is known of one rule: `checked`, `failed`, `samples` and what its kind needs beside."""


@dataclass(frozen=True)
class Statement:
    """A query and how its rows are read."""

    name: str
    """Unique in the step; part of the job's ID."""
    about: str
    """Which rules it measures, for whoever has to mend it."""
    query: Query
    read: Callable[[Sequence[Mapping[str, Any]]], dict[str, Facts]]
    """Facts by rule name."""
    adds_up: bool = False
    """Whether its one column is a sum, which must be exact."""


@dataclass(frozen=True)
class Sampling:
    """Which rows are shown as examples, and how."""

    keys: Sequence[str]
    """Columns that name a row."""
    count: int

    def of(self, table: CheckedTable, *columns: str) -> str | None:
        """SQL of the text that shows a row: its keys and the columns in question.

        None where no sample is wanted, or nothing could be shown.
        """
        names = [*self.keys, *columns]
        return _row_text(table, names) if self.count and names else None


@dataclass(frozen=True)
class Days:
    """Which rows rules with the scope `partition` look at."""

    run: date
    """Those that are of the run look at this one."""
    dates: tuple[date, ...]
    """The others look at these."""


@dataclass(frozen=True)
class Span:
    """The days of a table's partitions."""

    of_the_run: tuple[Period, ...]
    of_the_dates: tuple[Period, ...]
    whole: tuple[Period, ...]
    """Both."""
    is_one_partition: bool
    """Whether the dates are all in one."""

    @classmethod
    def of(cls, table: CheckedTable, days: Days, rules: Sequence[ScopedRule]) -> "Span":
        """What `rules` look at."""
        run = [days.run] if any(rule.is_of_the_run for rule in rules) else []
        return cls(
            table.periods([days.run]),
            table.periods(days.dates),
            table.periods([*run, *days.dates]),
            len({table.period(day) for day in days.dates}) <= 1,
        )


@dataclass
class _Aggregate:
    """One pass over a table: expressions over its rows, each read back by its rule."""

    table: CheckedTable
    span: Span
    is_narrow: bool
    """Whether the rows of the dates are all that is read."""
    parameters: Parameters = field(default_factory=Parameters)
    expressions: list[str] = field(default_factory=list)

    def add(self, expression: str) -> int:
        self.expressions.append(expression)
        return len(self.expressions) - 1

    def condition(self, rule: ScopedRule, where: Query | None = None) -> str:
        """Which of the rows that are read the rule looks at."""
        parts = []
        if rule.scope == "partition":
            periods = self.span.of_the_run if rule.is_of_the_run else self.span.of_the_dates
            if not self.is_narrow or periods != self.span.whole:
                parts.append(self.table.within(periods, self.parameters))
        written = where or rule.where
        if written:
            parts.append(self.parameters.fragment(written))
        return " AND ".join(filter(None, parts)) or "TRUE"

    def query(self) -> Query:
        columns = ", ".join(f"{sql} AS f{index}" for index, sql in enumerate(self.expressions))
        sql = f"SELECT {columns} FROM `{self.table.path}`{self._where()}"  # noqa: S608 - checked names, parameters
        return self.parameters.query(sql)

    def _where(self) -> str:
        rows = self.table.within(self.span.whole, self.parameters) if self.is_narrow else None
        return f" WHERE {rows}" if rows else ""


Reader = Callable[[Mapping[str, Any]], Facts]


def scan(
    table: CheckedTable, rules: Sequence[ScopedRule], sampling: Sampling, days: Days
) -> Statement | None:
    """The one aggregate of all rules but those about uniqueness; None where there are none."""
    measured = [rule for rule in rules if not isinstance(rule, Unique)]
    if not measured:
        return None
    span = Span.of(table, days, measured)
    aggregate = _Aggregate(table, span, all(rule.scope == "partition" for rule in measured))
    readers = {rule.name: _measure(rule, aggregate, sampling) for rule in measured}
    readers |= _measure_history(measured, readers, aggregate)

    def read(rows: Sequence[Mapping[str, Any]]) -> dict[str, Facts]:
        return {name: reader(rows[0]) for name, reader in readers.items()}

    return Statement("scan", _named(measured), aggregate.query(), read)


def _measure(rule: ScopedRule, aggregate: _Aggregate, sampling: Sampling) -> Reader:
    condition = aggregate.condition(rule)
    checked = aggregate.add(f"COUNTIF({condition})")
    if isinstance(rule, RowRule):
        return _measure_rows(rule, condition, checked, aggregate, sampling)
    if isinstance(rule, Freshness):
        newest = aggregate.add(f"MAX(IF({condition}, {_time(aggregate.table, rule.column)}, NULL))")
        return lambda row: {"checked": row[f"f{checked}"], "newest": row[f"f{newest}"]}
    if isinstance(rule, SumMatches):
        total = aggregate.add(_sum(aggregate.table, rule.column, condition))
        return lambda row: {"checked": row[f"f{checked}"], "total": _amount(row[f"f{total}"])}
    return lambda row: {"checked": row[f"f{checked}"]}


def _measure_rows(
    rule: RowRule,
    condition: str,
    checked: int,
    aggregate: _Aggregate,
    sampling: Sampling,
) -> Reader:
    broken = f"{condition} AND {_violation(rule, aggregate.table, aggregate.parameters)}"
    failed = aggregate.add(f"COUNTIF({broken})")
    columns = () if isinstance(rule, Condition) else (rule.column,)
    shown = sampling.of(aggregate.table, *columns)
    samples = (
        None
        if shown is None
        else aggregate.add(_first(f"IF({broken}, {shown}, NULL)", sampling.count))
    )
    return lambda row: {
        "checked": row[f"f{checked}"],
        "failed": row[f"f{failed}"],
        "samples": _samples(row[f"f{samples}"]) if samples is not None else [],
    }


def _violation(rule: RowRule, table: CheckedTable, parameters: Parameters) -> str:
    if isinstance(rule, Condition):
        return f"NOT {parameters.fragment(rule.condition)}"
    if isinstance(rule, NotNull):
        return f"{table.column(rule.column)} IS NULL"
    if isinstance(rule, AcceptedValues):
        column = table.column(
            rule.column, "STRING", "INTEGER", "BOOLEAN", "NUMERIC", "BIGNUMERIC", "DATE"
        )
        texts = [_text(value) for value in rule.values]
        return f"CAST({column} AS STRING) NOT IN UNNEST({parameters.value('ARRAY<STRING>', texts)})"
    limits = [
        f"{_between(rule, limit, table)} {sign} {_limit(rule, limit, table, parameters)}"
        for sign, limit in (("<", rule.minimum), (">", rule.maximum))
        if limit is not None
    ]
    return f"({' OR '.join(limits)})"


def _between(rule: Range, limit: Decimal | date, table: CheckedTable) -> str:
    return table.column(rule.column, *(_NUMBERS if isinstance(limit, Decimal) else _TIMES))


def _limit(rule: Range, limit: Decimal | date, table: CheckedTable, parameters: Parameters) -> str:
    """A limit as a parameter of the column's type; a date means its midnight, UTC."""
    if isinstance(limit, Decimal):
        return parameters.value("NUMERIC", str(limit))
    kind = table.type_of(rule.column)
    if kind == "DATE":
        return parameters.value("DATE", limit.isoformat()[:10])
    moment = limit if isinstance(limit, datetime) else datetime.combine(limit, time())
    if kind == "DATETIME":
        return parameters.value("DATETIME", moment.replace(tzinfo=None).isoformat())
    return parameters.value("TIMESTAMP", moment.replace(tzinfo=moment.tzinfo or UTC).isoformat())


def _measure_history(
    rules: Sequence[ScopedRule], readers: Mapping[str, Reader], aggregate: _Aggregate
) -> dict[str, Reader]:
    """How rules about earlier days read the numbers of rows of those, all from one pass over them.

    The pass is beside that over the date's rows, and reads the column with the day alone, and those
    of the rules' conditions.
    """
    days = [(rule, rule.days) for rule in rules if isinstance(rule, RowCount) and rule.days]
    first = aggregate.span.of_the_run[0].first
    if not days:
        return {}
    before = Period(first - timedelta(days=max(length for _, length in days)), first)
    within = aggregate.table.within([before], aggregate.parameters)
    if within is None:
        return {rule.name: _with_history(readers[rule.name], lambda _: []) for rule, _ in days}
    counts = ", ".join(
        f"COUNTIF({aggregate.parameters.fragment(rule.where) if rule.where else 'TRUE'}) AS dq_{n}"
        for n, (rule, _) in enumerate(days)
    )
    history = aggregate.add(
        "ARRAY(SELECT AS STRUCT * FROM"  # noqa: S608 - checked names, parameters
        f" (SELECT {aggregate.table.day} AS dq_day, {counts}"
        f" FROM `{aggregate.table.path}` WHERE {within} GROUP BY 1))"
    )

    def counted(number: int, oldest: date) -> Callable[[Mapping[str, Any]], list[int]]:
        return lambda row: [
            found[f"dq_{number}"] for found in row[f"f{history}"] if found["dq_day"] >= oldest
        ]

    return {
        rule.name: _with_history(
            readers[rule.name], counted(number, first - timedelta(days=length))
        )
        for number, (rule, length) in enumerate(days)
    }


def _with_history(reader: Reader, history: Callable[[Mapping[str, Any]], list[int]]) -> Reader:
    return lambda row: {**reader(row), "history": history(row)}


def uniqueness(
    table: CheckedTable, rules: Sequence[ScopedRule], sampling: Sampling, days: Days
) -> Statement | None:
    """The one grouping of all rules about uniqueness; None where there are none.

    Every row is put into the groups of all rules at once, so the table is read once. A key may come
    once in each of several partitions.
    """
    unique = [rule for rule in rules if isinstance(rule, Unique)]
    if not unique:
        return None
    span = Span.of(table, days, unique)
    pass_ = _Aggregate(table, span, all(rule.scope == "partition" for rule in unique))
    parameters = pass_.parameters
    groups = ", ".join(
        f"STRUCT({index} AS dq_rule,"
        f" IF({pass_.condition(rule)}, {_key(table, rule, span)}, NULL) AS dq_key)"
        for index, rule in enumerate(unique)
    )
    rows = table.within(span.whole, parameters) if pass_.is_narrow else None
    sample = f"STRUCT(LEFT(dq_key, {_LONGEST_SAMPLE}) AS dq_key, dq_rows)"
    sql = (
        "SELECT dq_rule, SUM(dq_rows) AS checked, SUM(dq_rows) - COUNT(*) AS failed,"  # noqa: S608 - checked names, parameters
        " COUNTIF(dq_rows > 1) AS repeated,"
        f" ARRAY_AGG(IF(dq_rows > 1, {sample}, NULL) IGNORE NULLS"
        f" ORDER BY dq_rows DESC, dq_key LIMIT {max(sampling.count, 1)}) AS samples"
        " FROM (SELECT dq.dq_rule, dq.dq_key, COUNT(*) AS dq_rows"
        f" FROM `{table.path}`, UNNEST([{groups}]) AS dq"
        f" WHERE dq.dq_key IS NOT NULL{f' AND {rows}' if rows else ''}"
        " GROUP BY 1, 2) GROUP BY dq_rule"
    )

    def read(found: Sequence[Mapping[str, Any]]) -> dict[str, Facts]:
        facts: dict[str, Facts] = {rule.name: {"checked": 0, "failed": 0} for rule in unique}
        for row in found:
            samples = [
                {"key": _parsed(sample["dq_key"]), "rows": sample["dq_rows"]}
                for sample in (row["samples"] or [])[: sampling.count]
            ]
            facts[unique[row["dq_rule"]].name] = {
                "checked": row["checked"],
                "failed": row["failed"],
                "repeated": row["repeated"],
                "samples": samples,
            }
        return facts

    return Statement("unique", _named(unique), parameters.query(sql), read)


def _key(table: CheckedTable, rule: Unique, span: Span) -> str:
    """SQL of the text that two rows must not share."""
    several = rule.scope == "partition" and table.day_column and not span.is_one_partition
    return _row_text(table, rule.names, table.partition if several else None)


def other_sums(
    table: CheckedTable, rules: Sequence[SumMatches], name: str, days: Days
) -> Statement:
    """The sums of another table that rules compare with, in one pass."""
    span = Span.of(table, days, rules)
    aggregate = _Aggregate(table, span, all(rule.scope == "partition" for rule in rules))
    for rule in rules:
        assert rule.other is not None  # noqa: S101 - the caller sorts rules by their other table
        where = rule.other.where or Query(sql="TRUE")
        condition = aggregate.condition(rule, where)
        aggregate.add(_sum(table, rule.other.column, condition))

    def read(rows: Sequence[Mapping[str, Any]]) -> dict[str, Facts]:
        return {
            rule.name: {"other": _amount(rows[0][f"f{index}"])} for index, rule in enumerate(rules)
        }

    return Statement(name, _named(rules), aggregate.query(), read)


def other_query(rule: SumMatches, name: str) -> Statement:
    """The other sum as a query of the template gives it."""
    assert rule.query is not None  # noqa: S101 - the caller sorts rules by what they have
    parameters = Parameters()
    sql = f"SELECT {parameters.fragment(rule.query)} AS other"
    return Statement(
        name,
        _named([rule]),
        parameters.query(sql),
        lambda rows: {rule.name: {"other": _amount(rows[0]["other"])}},
        adds_up=True,
    )


def custom(rule: CustomSql, sampling: Sampling, name: str) -> Statement:
    """How many rows a query of the template finds, and the first of them."""
    parameters = Parameters()
    text = f"LEFT(TO_JSON_STRING(dq_row), {_LONGEST_SAMPLE})"
    sql = (
        f"SELECT COUNT(*) AS failed, {_first(text, max(sampling.count, 1))} AS samples"  # noqa: S608 - of the template
        f" FROM {parameters.fragment(rule.query)} AS dq_row"
    )
    return Statement(
        name,
        _named([rule]),
        parameters.query(sql),
        lambda rows: {
            rule.name: {
                "failed": rows[0]["failed"],
                "samples": _samples(rows[0]["samples"])[: sampling.count],
            }
        },
    )


def _named(rules: Sequence[ScopedRule | CustomSql]) -> str:
    listed = ", ".join(rule.name for rule in rules)
    return f"rule {listed}" if len(rules) == 1 else f"rules {listed}"


def _row_text(table: CheckedTable, names: Sequence[str], partition: str | None = None) -> str:
    """SQL of the JSON text of some columns of a row, and of the partition that it is in."""
    columns: dict[str, str] = {"partition": partition} if partition else {}
    for name in names:
        columns.setdefault(name.replace(".", "__"), table.column(name))
    listed = ", ".join(f"{sql} AS `{alias}`" for alias, sql in columns.items())
    return f"TO_JSON_STRING(STRUCT({listed}))"


def _first(text: str, count: int) -> str:
    """SQL of the first texts in their own order, which is the same in every run."""
    cut = f"LEFT({text}, {_LONGEST_SAMPLE})"
    return f"ARRAY_AGG({cut} IGNORE NULLS ORDER BY {cut} LIMIT {count})"


def _time(table: CheckedTable, name: str) -> str:
    column = table.column(name, *_TIMES)
    if table.type_of(name) == "DATE":
        return f"TIMESTAMP(DATE_ADD({column}, INTERVAL 1 DAY))"
    return f"TIMESTAMP({column})"


def _sum(table: CheckedTable, name: str, condition: str) -> str:
    return f"SUM(IF({condition}, {exact(table, name)}, NULL))"


def exact(table: CheckedTable, name: str) -> str:
    """SQL of a number that can be added up without losing a digit.

    Raises:
        ColumnError: there is no such column, or it holds no numbers.
    """
    column = table.column(name, *_NUMBERS)
    return f"CAST({column} AS NUMERIC)" if table.type_of(name) == "FLOAT" else column


def _amount(value: Any) -> Decimal:
    """A sum; that of no rows is zero."""
    return Decimal(0) if value is None else Decimal(value)


def _text(value: str | int | bool) -> str:  # noqa: FBT001 - a value of a list
    return str(value).lower() if isinstance(value, bool) else str(value)


def _samples(found: Sequence[str] | None) -> list[Any]:
    return [_parsed(text) for text in found or ()]


def _parsed(text: str) -> Any:
    """A sample as JSON, as text where it was cut off."""
    try:
        return json.loads(text, parse_float=_number)
    except ValueError:
        return text


def _number(text: str) -> float | str:
    """A number, as text where a float would lose digits."""
    return float(text) if Decimal(repr(float(text))) == Decimal(text) else text
