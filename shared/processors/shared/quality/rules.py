"""Rules as a template says them, one model a kind of check."""

import datetime as dt
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import Field, model_validator

from shared.models import Model
from shared.processors.contract import Query
from shared.processors.dq_results import Severity
from shared.processors.own_tables import DatasetType

COLUMN_PATTERN = r"^[A-Za-z_][A-Za-z0-9_]{0,299}(\.[A-Za-z_][A-Za-z0-9_]{0,299}){0,14}$"
TABLE_PATTERN = r"^([A-Za-z0-9_-]+\.){0,2}[A-Za-z0-9_-]{1,1024}$"

Column = Annotated[str, Field(pattern=COLUMN_PATTERN)]
Table = Annotated[str, Field(pattern=TABLE_PATTERN)]
Amount = Annotated[Decimal, Field(max_digits=38, decimal_places=9)]
"""What a NUMERIC holds."""
Bound = Annotated[Amount | dt.date | dt.datetime, Field(union_mode="left_to_right")]


class _Rule(Model):
    name: str = Field(
        pattern=r"^[a-z][a-z0-9_]{0,99}$", description="ID of the rule, unique in its step."
    )
    severity: Severity = Field(
        default="fail", description="`fail` fails the step, `warn` records and goes on."
    )


class _Scoped(_Rule):
    where: Query | None = Field(
        default=None, description="Condition on rows, as after WHERE; others are not looked at."
    )
    scope: Literal["partition", "table"] = Field(
        default="partition",
        description="`partition` looks at the rows of the run's date, or of the step's `dates`,"
        " `table` at all.",
    )

    @property
    def is_of_the_run(self) -> bool:
        """Whether its scope `partition` is the run's date, whatever the step's `dates`."""
        return False


class NotNull(_Scoped):
    """A column has a value in every row."""

    check: Literal["not_null"] = Field(description="No row has NULL in the column.")
    column: Column = Field(description="Column; `a.b` is the field b of the STRUCT a.")


class Unique(_Scoped):
    """No two rows agree in all the columns; NULL counts as a value."""

    check: Literal["unique"] = Field(description="No two rows agree in all the columns.")
    columns: Column | Annotated[tuple[Column, ...], Field(min_length=1, max_length=16)] = Field(
        description="A column, or several that name a row together."
    )

    @property
    def names(self) -> tuple[str, ...]:
        """The columns."""
        return (self.columns,) if isinstance(self.columns, str) else self.columns


class AcceptedValues(_Scoped):
    """A column holds one of a list of values; NULL passes."""

    check: Literal["accepted_values"] = Field(description="Every value is one of a list.")
    column: Column = Field(description="Column.")
    values: tuple[str | int | bool, ...] = Field(
        min_length=1, max_length=1000, description="What the column may hold; NULL passes."
    )


class Range(_Scoped):
    """A column lies between two limits, which belong to it; NULL passes."""

    check: Literal["range"] = Field(description="Every value lies between limits.")
    column: Column = Field(description="Column of numbers, dates or times; NULL passes.")
    minimum: Bound | None = Field(default=None, description="Least value allowed.")
    maximum: Bound | None = Field(default=None, description="Greatest value allowed.")

    @model_validator(mode="after")
    def _has_a_limit(self) -> "Range":
        if self.minimum is None and self.maximum is None:
            raise ValueError("a range needs minimum, maximum or both")
        return self


class Condition(_Scoped):
    """An expression is true of every row; NULL passes, as in a CHECK of SQL."""

    check: Literal["condition"] = Field(description="An expression is true of every row.")
    condition: Query = Field(
        description="Expression over the columns of a row, such as net = gross + credits."
    )


class RowCount(_Scoped):
    """How many rows there are, against limits and against the days before."""

    check: Literal["row_count"] = Field(description="The number of rows is as expected.")
    minimum: int | None = Field(default=None, ge=0, description="Least number of rows.")
    maximum: int | None = Field(default=None, ge=0, description="Greatest number of rows.")
    days: int | None = Field(
        default=None, ge=1, le=90, description="Compare with so many days before the run's date."
    )
    against: Literal["average", "median"] = Field(
        default="median", description="What of those days; days without rows do not count."
    )
    tolerance: Decimal = Field(
        default=Decimal("0.5"),
        ge=0,
        description="Share by which the number may differ: 0.5 takes half to one and a half times.",
    )
    minimum_days: int = Field(
        default=3, ge=1, le=90, description="Days with rows below which nothing is compared."
    )

    @model_validator(mode="after")
    def _compares_with_something(self) -> "RowCount":
        if self.minimum is None and self.maximum is None and self.days is None:
            raise ValueError("a row_count needs minimum, maximum or days")
        if self.days is not None and self.scope == "table":
            raise ValueError("days compares partitions: it goes with scope partition only")
        if self.days is not None and self.minimum_days > self.days:
            raise ValueError("minimum_days may not be above days")
        return self

    @property
    def is_of_the_run(self) -> bool:
        """A day is compared with days."""
        return True


class Freshness(_Scoped):
    """The newest value of a column is not too old."""

    check: Literal["freshness"] = Field(description="The newest value is not too old.")
    column: Column = Field(description="Column of times or dates; a date counts to its end.")
    max_age_hours: Decimal = Field(
        gt=0,
        description="Age allowed: before the end of the run's date (at most the run's start) for"
        " scope partition, before the run's start for scope table.",
    )

    @property
    def is_of_the_run(self) -> bool:
        """Earlier days are older."""
        return True


class OtherTable(Model):
    """The table whose sum is to be the same."""

    dataset_type: DatasetType | None = Field(
        default=None, description="As `gcp_silver_cost`; absent: the tenant's own dataset."
    )
    table: Table = Field(description="Table of the tenant, or project.dataset.table.")
    column: Column = Field(description="Column that is added up.")
    date_column: Column | None = Field(
        default=None, description="Column with the day, where the table is not partitioned by it."
    )
    where: Query | None = Field(default=None, description="Condition on its rows.")


class SumMatches(_Scoped):
    """The sum of a column equals another table's, to the last digit."""

    check: Literal["sum_matches"] = Field(description="A sum is the same in two tables.")
    column: Column = Field(description="Column that is added up; FLOAT64 as NUMERIC.")
    other: OtherTable | None = Field(default=None, description="Table with the other sum.")
    query: Query | None = Field(
        default=None, description="Or: a SELECT of one row and column, the other sum, not FLOAT64."
    )
    tolerance: Amount = Field(
        default=Decimal(0), ge=0, description="Difference that is allowed, in the column's unit."
    )

    @model_validator(mode="after")
    def _has_one_other_side(self) -> "SumMatches":
        if (self.other is None) == (self.query is None):
            raise ValueError("a sum_matches needs either other or query")
        return self

    @property
    def is_of_the_run(self) -> bool:
        """A query says itself which rows it adds up: those of the run's date."""
        return self.query is not None


class CustomSql(_Rule):
    """A query that finds what is wrong: it must return no row."""

    check: Literal["sql"] = Field(description="A SELECT returns no row.")
    query: Query = Field(description="SELECT of the rows that are wrong.")


RowRule = NotNull | AcceptedValues | Range | Condition
"""What each row keeps or breaks by itself."""
ScopedRule = RowRule | Unique | RowCount | Freshness | SumMatches
Rule = Annotated[ScopedRule | CustomSql, Field(discriminator="check")]
