"""Types of variables: what a value must look like and which SQL type it gets.

A value is kept in its JSON form: dates as ISO text, everything else as JSON has it. Numbers become
NUMERIC in SQL, which holds money exactly; FLOAT64 is never used.
"""

import json
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from functools import cache
from typing import Any

MAX_TEXT_BYTES = 4096
"""Longest text that a request body may give for one variable, in UTF-8."""
MAX_LIST_ITEMS = 1000
"""Most items that a request body may give for one variable."""

TABLE_PATTERN = re.compile(r"[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+){0,3}", re.ASCII)
"""A name within backticks: up to four parts (`project.dataset.INFORMATION_SCHEMA.TABLES`)."""

_DATE_PATTERN = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
_NUMERIC_LIMIT = Decimal(10) ** 29
"""NUMERIC has 29 digits before and 9 after the point (GoogleSQL data types, decimal type)."""


class UnfitValueError(ValueError):
    """A value is not of the type that is wanted; its text is the reason, where there is one."""


@dataclass(frozen=True)
class ValueType:
    """One type; `check` gives the value in JSON form or raises UnfitValueError with a reason."""

    name: str
    wanted: str
    """With its article, to follow `must be`."""
    example: Any
    sql: str
    check: Callable[[Any], Any]
    is_text: bool = True
    """Whether `str.format` writes the value as a person expects it."""

    def problem(self, value: Any, reason: str = "") -> str:
        """`must be an integer, not "x"; for example 7`."""
        why = f" ({reason})" if reason else ""
        return f"must be {self.wanted}, not {shown(value)}{why}; for example {shown(self.example)}"


def shown(value: Any) -> str:
    """A value as JSON, shortened, for a sentence."""
    text = json.dumps(value, ensure_ascii=True, default=str)
    return text if len(text) <= 80 else f"{text[:77]}..."


def text_of(value: Any) -> str:
    """A value as it is written into text: `true`, `a, b`, nothing for null."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple):
        return ", ".join(text_of(item) for item in value)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _string(value: Any) -> str:
    if not isinstance(value, str):
        raise UnfitValueError
    return value


def _integer(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise UnfitValueError
    if not -(2**63) <= value < 2**63:
        raise UnfitValueError("beyond 64 bits")
    return value


def _number(value: Any) -> int | float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise UnfitValueError
    exact = Decimal(repr(value))
    if abs(exact) >= _NUMERIC_LIMIT or exact.quantize(Decimal("1e-9")) != exact:
        raise UnfitValueError("more than 29 digits before or 9 after the point")
    return value


def _boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise UnfitValueError
    return value


def _date(value: Any) -> str:
    if isinstance(value, date):
        return value.isoformat()
    if not isinstance(value, str) or not _DATE_PATTERN.fullmatch(value):
        raise UnfitValueError
    try:
        return date.fromisoformat(value).isoformat()
    except ValueError:
        raise UnfitValueError("no such day") from None


def _email(value: Any) -> str:
    from email_validator import EmailNotValidError, validate_email

    if not isinstance(value, str):
        raise UnfitValueError
    try:
        validate_email(value, check_deliverability=False)
    except EmailNotValidError as error:
        raise UnfitValueError(str(error).rstrip(".")) from None
    return value


def _table(value: Any) -> str:
    if not isinstance(value, str) or not TABLE_PATTERN.fullmatch(value):
        raise UnfitValueError("letters, digits, _ and - in up to four parts with dots between them")
    return value


STRING = ValueType("string", "a string", "text", "STRING", _string)
INTEGER = ValueType("integer", "an integer", 7, "INT64", _integer)
NUMBER = ValueType("number", "a number", 0.25, "NUMERIC", _number)
BOOLEAN = ValueType(
    name="boolean", wanted="a boolean", example=True, sql="BOOL", check=_boolean, is_text=False
)
DATE = ValueType("date", "a date as YYYY-MM-DD", "2025-11-15", "DATE", _date)
EMAIL = ValueType("email", "an e-mail address", "finops@example.com", "STRING", _email)
TABLE = ValueType("table", "a table name", "project.dataset.table", "STRING", _table)

SCALARS: dict[str, ValueType] = {
    kind.name: kind for kind in (STRING, INTEGER, NUMBER, BOOLEAN, DATE, EMAIL, TABLE)
}


@cache
def list_of(item: ValueType) -> ValueType:
    """The type of a list whose items are all of the type `item`."""

    def check(value: Any) -> list[Any]:
        if not isinstance(value, list | tuple):
            raise UnfitValueError
        try:
            return [item.check(element) for element in value]
        except UnfitValueError as error:
            raise UnfitValueError(str(error) or f"each item must be {item.wanted}") from None

    wanted = f"a list of {item.name}s" if item is not STRING else "a list of strings"
    return ValueType("list", wanted, [item.example], f"ARRAY<{item.sql}>", check, is_text=False)


def is_list(kind: ValueType) -> bool:
    """Whether values of this type are lists."""
    return kind.name == "list"


def inferred(value: Any) -> ValueType | None:
    """The type that a plain value in a template speaks for; None when none does."""
    if isinstance(value, bool):
        return BOOLEAN
    if isinstance(value, int):
        return INTEGER
    if isinstance(value, float):
        return NUMBER
    if isinstance(value, date):
        return DATE
    if isinstance(value, str):
        return EMAIL if _looks_like_email(value) else STRING
    return None


def _looks_like_email(value: str) -> bool:
    return re.fullmatch(r"[^@\s{}]+@[^@\s{}]+\.[A-Za-z]{2,}", value) is not None


def sql_value(kind: ValueType, value: Any) -> Any:
    """The value of a query parameter: numbers as decimal text, so that NUMERIC is exact."""
    if isinstance(value, list):
        return [sql_value(kind, item) for item in value] if "NUMERIC" in kind.sql else value
    if "NUMERIC" in kind.sql:
        return format(Decimal(repr(value)), "f")
    return value


def unfit_text(value: str) -> str | None:
    """Why a text may not come from a request body; None when it may.

    Control characters, line breaks, lone surrogates and marks that reorder text are refused: they
    have no place in a table name, a subject line or a log.
    """
    if len(value) > MAX_TEXT_BYTES or (
        not value.isascii() and len(value.encode("utf-8", "surrogatepass")) > MAX_TEXT_BYTES
    ):
        return f"must be at most {MAX_TEXT_BYTES} bytes long"
    if value.isprintable():
        return None
    for char in value:
        if _is_hidden(char):
            return f"must not contain the character U+{ord(char):04X}; remove it"
    return None


def _is_hidden(char: str) -> bool:
    import unicodedata

    return (
        unicodedata.category(char) in {"Cc", "Cs", "Zl", "Zp"}
        or "\u202a" <= char <= "\u202e"
        or "\u2066" <= char <= "\u2069"
    )
