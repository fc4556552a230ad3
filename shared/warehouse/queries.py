"""SQL with its parameters, as templates carry it and BigQuery takes it."""

import re
from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from pydantic import Field

from shared.models import Model

if TYPE_CHECKING:
    from google.cloud.bigquery import ArrayQueryParameter, ScalarQueryParameter

_END = re.compile(r"[;\s]+\Z")


class QueryParameter(Model):
    """A value that travels beside the SQL text, never in it."""

    name: str = Field(description="Name after the `@` in the SQL text.")
    type: str = Field(description="GoogleSQL type: `STRING`, `DATE`, `INT64`, `ARRAY<STRING>` ...")
    value: Any = Field(description="JSON form of the value: dates as ISO text, lists for arrays.")

    def to_bigquery(self) -> "ScalarQueryParameter | ArrayQueryParameter":
        """The client's form; JSON text becomes the Python value that the client expects."""
        from google.cloud import bigquery

        if self.type.startswith("ARRAY<"):
            element = self.type[len("ARRAY<") : -1]
            values = [_python_value(element, item) for item in self.value]
            return bigquery.ArrayQueryParameter(self.name, element, values)
        return bigquery.ScalarQueryParameter(
            self.name, self.type, _python_value(self.type, self.value)
        )


class Query(Model):
    """SQL with its parameters.

    A config field of this type is written as plain text by template authors; the template
    compiler turns its placeholders into query parameters and checked identifiers.
    """

    sql: str = Field(description="GoogleSQL text with `@name` parameters.")
    parameters: tuple[QueryParameter, ...] = Field(default=(), description="Values of `@name`.")

    @property
    def nested(self) -> str:
        """The SQL text to stand within parentheses: on lines of its own, without a semicolon."""
        return f"\n{_END.sub('', self.sql)}\n"

    def having(self, name: str, value: Any) -> "Query":
        """The same query with another value for the parameter `name`, if it has that one."""
        changed = tuple(
            known.model_copy(update={"value": value}) if known.name == name else known
            for known in self.parameters
        )
        return self.model_copy(update={"parameters": changed})

    def bigquery_parameters(self) -> list[Any]:
        """All parameters in the client's form."""
        return [parameter.to_bigquery() for parameter in self.parameters]


def query(sql: str, **values: Any) -> Query:
    """SQL with parameters whose types follow from the Python values.

    `str` STRING, `int` INT64, `bool` BOOL, `date` DATE, `datetime` TIMESTAMP, `Decimal` NUMERIC,
    a list of strings ARRAY<STRING>.
    """
    parameters = tuple(
        QueryParameter(name=name, type=_type_of(value), value=value)
        for name, value in values.items()
    )
    return Query(sql=sql, parameters=parameters)


def _type_of(value: Any) -> str:
    if isinstance(value, list | tuple):
        return f"ARRAY<{_type_of(value[0]) if value else 'STRING'}>"
    kinds: list[tuple[type, str]] = [
        (bool, "BOOL"),
        (int, "INT64"),
        (float, "FLOAT64"),
        (Decimal, "NUMERIC"),
        (datetime, "TIMESTAMP"),
        (date, "DATE"),
        (str, "STRING"),
    ]
    for kind, name in kinds:
        if isinstance(value, kind):
            return name
    raise TypeError(f"no GoogleSQL type for {type(value).__name__}")


def _python_value(type_name: str, value: Any) -> Any:
    if not isinstance(value, str):
        return value
    if type_name == "DATE":
        return date.fromisoformat(value)
    if type_name in {"TIMESTAMP", "DATETIME"}:
        return datetime.fromisoformat(value)
    if type_name in {"NUMERIC", "BIGNUMERIC"}:
        return Decimal(value)
    return value
