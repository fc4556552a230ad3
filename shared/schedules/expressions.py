"""Five-field cron expressions: what each field may hold, and why one is refused.

The grammar is that of crontab(5) and of Cloud Scheduler ("Cron job format and time zone"): numbers,
three-letter names of months and weekdays, `*`, lists, ranges and steps. Extensions of other crons
are refused by name, since they mean different things in different places.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

MAX_LENGTH = 200
_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_WEEKDAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
_DAYS_OF_MONTH = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
"""At most, in any year."""
_NICKNAMES = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
_ITEM = re.compile(r"(\*|[^-/*]+)(?:-([^-/*]+))?(?:/([0-9]{1,4}))?", re.ASCII)
_SPACE = re.compile(r"[ \t]+")


@dataclass(frozen=True)
class _Field:
    name: str
    low: int
    high: int
    names: tuple[str, ...] = ()
    first_named: int = 0

    @property
    def holds(self) -> str:
        """`1-12 or JAN-DEC`."""
        named = f" or {self.names[0]}-{self.names[-1]}" if self.names else ""
        return f"{self.low}-{self.high}{named}"


MINUTE = _Field("minute", 0, 59)
HOUR = _Field("hour", 0, 23)
DAY_OF_MONTH = _Field("day of month", 1, 31)
MONTH = _Field("month", 1, 12, _MONTHS, 1)
DAY_OF_WEEK = _Field("day of week", 0, 7, _WEEKDAYS, 0)
_FIELDS = (MINUTE, HOUR, DAY_OF_MONTH, MONTH, DAY_OF_WEEK)
_ORDER = ", ".join(field.name for field in _FIELDS)

_FOREIGN: tuple[tuple[str, str], ...] = (
    ("#", "'#' (the nth weekday of a month) is not supported"),
    ("?", "'?' is not supported; write * for any"),
    ("~", "'~' (a random value) is not supported; set max_jitter_seconds to spread runs"),
)


@dataclass(frozen=True)
class CronExpression:
    """What an expression says, field by field; Sunday is 0."""

    minutes: frozenset[int]
    hours: frozenset[int]
    days_of_month: frozenset[int]
    months: frozenset[int]
    days_of_week: frozenset[int]
    either_day: bool
    """Both day fields are restricted: a day counts that matches one of them (crontab(5)). A field
    that begins with `*` is not restricted; then a day has to match both."""

    @property
    def every_hour(self) -> bool:
        """Whether it leaves the hour open: it asks for an interval, not for times of day."""
        return len(self.hours) == 24

    @property
    def canonical(self) -> str:
        """The same in numbers and lists only, which every cron reads alike."""
        return " ".join(
            (
                _written(self.minutes, 60),
                _written(self.hours, 24),
                _written(self.days_of_month, 0 if self.either_day else 31),
                _written(self.months, 12),
                _written(self.days_of_week, 0 if self.either_day else 7),
            )
        )


class CronSyntaxError(ValueError):
    """An expression that cannot be; `problems` has a sentence for each field that is wrong."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = tuple(problems)


@lru_cache(maxsize=4096)
def parse(expression: str) -> CronExpression:
    """The expression, read.

    Raises:
        CronSyntaxError: names every field that is wrong, and what it may hold.
    """
    texts = _split(expression)
    problems: list[str] = []
    values: list[frozenset[int]] = []
    for field, text in zip(_FIELDS, texts, strict=True):
        try:
            values.append(frozenset(_values(field, text)))
        except _BadFieldError as error:
            problems.append(
                f"{field.name} is {_short(text)!r}: {error}. It holds {field.holds},"
                " * for all, lists (1,5), ranges (1-5) and steps (*/2, 1-5/2)"
            )
    if problems:
        raise CronSyntaxError(problems)
    minutes, hours, days, months, weekdays = values
    weekdays = frozenset(day % 7 for day in weekdays)
    either_day = not (texts[2].startswith("*") or texts[4].startswith("*"))
    _refuse_impossible_days(days, months, either_day=either_day)
    return CronExpression(minutes, hours, days, months, weekdays, either_day)


def _split(expression: str) -> list[str]:
    text = expression.strip(" \t")
    if len(text) > MAX_LENGTH:
        raise CronSyntaxError([f"has {len(text)} characters; {MAX_LENGTH} is the limit"])
    if text.startswith("@"):
        nickname = _NICKNAMES.get(text.lower(), "0 2 * * *")
        raise CronSyntaxError(
            [f"{_short(text)!r} is a nickname; write its five fields, such as {nickname}"]
        )
    if re.match(r"(CRON_)?TZ=", text):
        raise CronSyntaxError(["holds a time zone; put it into the field timezone"])
    texts = _SPACE.split(text) if text else []
    if len(texts) == 5:
        return texts
    counted = "has 1 field" if len(texts) == 1 else f"has {len(texts)} fields"
    hint = "; seconds and years are not supported" if len(texts) in {6, 7} else ""
    raise CronSyntaxError(
        [f"{counted}, a cron expression has five: {_ORDER}, such as 0 2 * * *{hint}"]
    )


class _BadFieldError(ValueError):
    """Why one field is wrong, without its name."""


def _values(field: _Field, text: str) -> Iterator[int]:
    for sign, reason in _FOREIGN:
        if sign in text:
            raise _BadFieldError(reason)
    for item in text.split(","):
        yield from _item(field, item)


def _item(field: _Field, item: str) -> range:
    match = _ITEM.fullmatch(item)
    if match is None:
        raise _BadFieldError(
            f"{_short(item)!r} is not a value, a range or a step" if item else "a value is missing"
        )
    first, last, step_text = match.groups()
    if first == "*":
        if last is not None:
            raise _BadFieldError(f"{_short(item)!r} is not a range; write * or two numbers")
        low, high = field.low, 6 if field is DAY_OF_WEEK else field.high
    else:
        low, high = _range(field, first, last)
        if step_text is not None and last is None:
            raise _BadFieldError(
                f"a step needs a range; write {first}-{field.high}/{step_text} or */{step_text}"
            )
    return range(low, high + 1, _step(low, high, step_text))


def _range(field: _Field, first: str, last: str | None) -> tuple[int, int]:
    low = _value(field, first)
    if last is None:
        return low, low
    high = _value(field, last)
    if field is DAY_OF_WEEK and high == 0 and low > 0:
        high = 7
    if low > high:
        end = 6 if field is DAY_OF_WEEK else field.high
        raise _BadFieldError(
            f"the range {first}-{last} runs backwards; write {first}-{end},{field.low}-{last}"
        )
    return low, high


def _step(low: int, high: int, text: str | None) -> int:
    step = 1 if text is None else int(text)
    if step < 1:
        raise _BadFieldError("a step is 1 or more")
    if text is not None and step > high - low:
        raise _BadFieldError(
            f"the step {step} is longer than the range {low}-{high} that it divides; write {low}"
        )
    return step


def _value(field: _Field, text: str) -> int:
    upper = text.upper()
    if upper in field.names:
        return field.names.index(upper) + field.first_named
    if text.isascii() and text.isdecimal() and len(text) <= 4:
        number = int(text)
        if field.low <= number <= field.high:
            return number
        raise _BadFieldError(f"{text} is not between {field.low} and {field.high}")
    raise _BadFieldError(_why_no_value(field, upper, text))


def _why_no_value(field: _Field, upper: str, text: str) -> str:
    if field in {DAY_OF_MONTH, DAY_OF_WEEK} and re.fullmatch(r"L|LW|[0-9]+[LW]|L[0-9]+", upper):
        return f"{text!r} (L: last, W: nearest weekday) is not supported"
    if upper in {"H", "R"}:
        return f"{text!r} (a value of the cron's choice) is not supported"
    if upper[:3] in field.names:
        return f"{_short(text)!r} is no value; write {upper[:3]}"
    if upper in _MONTHS + _WEEKDAYS:
        where = MONTH.name if upper in _MONTHS else DAY_OF_WEEK.name
        return f"{text!r} belongs into the field {where}"
    return f"{_short(text)!r} is no value"


def _refuse_impossible_days(
    days: frozenset[int], months: frozenset[int], *, either_day: bool
) -> None:
    """Refuse dates that no year has; every other date falls on every weekday in some year."""
    longest = max(_DAYS_OF_MONTH[month - 1] for month in months)
    if either_day or min(days) <= longest:
        return
    names = ", ".join(_MONTHS[month - 1] for month in sorted(months))
    raise CronSyntaxError(
        [f"never comes: day of month is {min(days)}, and {names} has {longest} days at most"]
    )


def _written(values: frozenset[int], all_of_them: int) -> str:
    if len(values) == all_of_them:
        return "*"
    return ",".join(str(value) for value in sorted(values))


def _short(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:40]}..."
