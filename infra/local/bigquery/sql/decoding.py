"""JSON values of `tabledata.insertAll` and of JSON load jobs as values for Arrow and DuckDB.

Strict as BigQuery is: a value that does not fit its column is refused with BigQuery's text.
"""

import base64
import binascii
import datetime as dt
import json
import math
import re
from collections.abc import Callable, Iterable
from decimal import ROUND_HALF_UP, Context, Decimal, InvalidOperation
from typing import Any

from infra.local.bigquery.sql.typesystem import Field

_EXACT = Context(prec=100)
_INT64 = range(-(2**63), 2**63)
_SCALE = {"NUMERIC": 9, "BIGNUMERIC": 18}
_INTEGER_DIGITS = {"NUMERIC": 29, "BIGNUMERIC": 20}
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


def decode_row(
    row: Any, schema: Iterable[Field], *, ignore_unknown: bool = False
) -> dict[str, Any]:
    """One JSON object as a dict with every column of `schema`; column names ignore case.

    Raises:
        ValueError: BigQuery's text, such as "no such field: x." or
            "Missing required field: x.".
    """
    if not isinstance(row, dict):
        raise ValueError("This value is not a JSON object")  # noqa: TRY004 - a value's fault
    given = {str(name).casefold(): (name, value) for name, value in row.items()}
    decoded = {}
    for field in schema:
        _, value = given.pop(field["name"].casefold(), (None, None))
        decoded[field["name"]] = decode_value(value, field, ignore_unknown=ignore_unknown)
    if given and not ignore_unknown:
        name, _ = next(iter(given.values()))
        raise ValueError(f"no such field: {name}.")
    return decoded


def decode_value(value: Any, field: Field, *, ignore_unknown: bool = False) -> Any:
    """The JSON value of a column as a Python value of its type; a missing REPEATED is [].

    Raises:
        ValueError: BigQuery's text.
    """
    if field.get("mode") == "REPEATED":
        return _decode_repeated(value, field, ignore_unknown=ignore_unknown)
    if value is None:
        if field.get("mode") == "REQUIRED":
            raise ValueError(f"Missing required field: {field['name']}.")
        return None
    if field["type"] in {"RECORD", "STRUCT"}:
        if not isinstance(value, dict):
            raise ValueError("This field: {} is not a record.".format(field["name"]))
        return decode_row(value, field["fields"], ignore_unknown=ignore_unknown)
    decoded = _SCALARS[field["type"]](value)
    _check_length(decoded, field)
    return decoded


def _decode_repeated(value: Any, field: Field, *, ignore_unknown: bool) -> list[Any]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise ValueError(f"Repeated field must be imported as a JSON array: {field['name']}.")  # noqa: TRY004
    single = {**field, "mode": "NULLABLE"}
    if any(item is None for item in value):
        raise ValueError(f"Only optional fields can be set to NULL. Field: {field['name']};")
    return [decode_value(item, single, ignore_unknown=ignore_unknown) for item in value]


def _check_length(value: Any, field: Field) -> None:
    limit = field.get("maxLength")
    if limit is not None and isinstance(value, str | bytes) and len(value) > int(limit):
        raise ValueError(
            f"{field['name']}: {field['type']}({limit}) has maximum length {limit}"
            f" but got a value with length {len(value)}"
        )


def _cannot(kind: str, value: Any) -> ValueError:
    return ValueError(f"Cannot convert value to {kind} (bad value): {_shown(value)}")


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _string(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value) if not isinstance(value, float) else json.dumps(value)
    raise _cannot("string", value)


def _integer(value: Any) -> int:
    try:
        number = Decimal(value if isinstance(value, int) else str(value).strip())
    except (InvalidOperation, ValueError) as error:
        raise _cannot("integer", value) from error
    if isinstance(value, bool):
        raise _cannot("integer", value)
    if not number.is_finite() or number != number.to_integral_value() or int(number) not in _INT64:
        raise _cannot("integer", value)
    return int(number)


_FLOAT_WORDS = {
    "nan": math.nan,
    "inf": math.inf,
    "+inf": math.inf,
    "-inf": -math.inf,
    "infinity": math.inf,
    "+infinity": math.inf,
    "-infinity": -math.inf,
}


def _float(value: Any) -> float:
    word = str(value).strip().lower()
    if word in _FLOAT_WORDS:
        return _FLOAT_WORDS[word]
    try:
        return float(word)
    except ValueError as error:
        raise _cannot("floating point", value) from error


def exact_decimal(value: Any, kind: str) -> Decimal:
    """A number or text as a NUMERIC or BIGNUMERIC, rounded half away from zero to its scale.

    Raises:
        ValueError: not a number, or out of range.
    """
    try:
        number = Decimal(repr(value) if isinstance(value, float) else str(value).strip())
        rounded = number.quantize(Decimal(1).scaleb(-_SCALE[kind]), ROUND_HALF_UP, _EXACT)
    except (InvalidOperation, ValueError) as error:
        raise ValueError(f"Invalid {kind} value: {_shown(value)}") from error
    if not rounded.is_finite() or rounded.copy_abs() >= Decimal(10) ** _INTEGER_DIGITS[kind]:
        raise ValueError(f"Invalid {kind} value: {_shown(value)}")
    return rounded


def _numeric(value: Any) -> Decimal:
    return exact_decimal(value, "NUMERIC")


def _bignumeric(value: Any) -> Decimal:
    return exact_decimal(value, "BIGNUMERIC")


def _boolean(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    word = str(value).strip().lower()
    if word in {"true", "t", "yes", "y", "1"}:
        return True
    if word in {"false", "f", "no", "n", "0"}:
        return False
    raise _cannot("boolean", value)


def _bytes(value: Any) -> bytes:
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, TypeError, ValueError) as error:
        raise ValueError(
            f"Could not decode base64 string to bytes. Field: {_shown(value)}"
        ) from error


_DATE = re.compile(r"(\d{4})-(\d{1,2})-(\d{1,2})")
_TIME = re.compile(r"(\d{1,2}):(\d{1,2}):(\d{1,2})(?:\.(\d{1,6})\d*)?")
_MOMENT = re.compile(
    r"(\d{4}-\d{1,2}-\d{1,2})(?:[Tt ]\s*(\d{1,2}:\d{1,2}:\d{1,2}(?:\.\d+)?|\d{1,2}:\d{1,2}))?"
    r"\s*(Z|z|UTC|[+-]\d{1,2}(?::?\d{2})?|[A-Za-z_]+/[A-Za-z_/]+)?"
)
_OFFSET = re.compile(r"([+-])(\d{1,2}):?(\d{2})?")


def _date(value: Any) -> dt.date:
    match = _DATE.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"Invalid date: '{_shown(value)}'")
    try:
        return dt.date(*(int(part) for part in match.groups()))
    except ValueError as error:
        raise ValueError(f"Invalid date: '{value}'") from error


def _time(value: Any) -> dt.time:
    match = _TIME.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f'Invalid time string "{_shown(value)}"')
    hour, minute, second, fraction = match.groups()
    try:
        return dt.time(int(hour), int(minute), int(second), int((fraction or "").ljust(6, "0")))
    except ValueError as error:
        raise ValueError(f'Invalid time string "{value}"') from error


def _parts(text: str, what: str) -> tuple[dt.datetime, str | None]:
    match = _MOMENT.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"Invalid {what}: '{text}'")
    date, clock, zone = match.groups()
    try:
        day = _date(date)
        clock = clock or "0:0:0"
        time = _time(clock if clock.count(":") == 2 else f"{clock}:00")
    except ValueError as error:
        raise ValueError(f"Invalid {what}: '{text}'") from error
    return dt.datetime.combine(day, time), zone


def _datetime(value: Any) -> dt.datetime:
    if not isinstance(value, str):
        raise ValueError(f'Invalid datetime string "{_shown(value)}"')  # noqa: TRY004
    moment, zone = _parts(value, "datetime string")
    if zone is not None and zone not in {"Z", "z", "UTC"}:
        raise ValueError(f'Invalid datetime string "{value}"')
    return moment


def timestamp_value(value: Any) -> dt.datetime:
    """A TIMESTAMP from text with an optional zone, or from seconds since 1970.

    Raises:
        ValueError: neither, or outside of the years 1 to 9999.
    """
    try:
        return _epoch_seconds(value)
    except (InvalidOperation, ValueError, TypeError):
        pass
    except OverflowError as error:
        raise ValueError(f"Invalid timestamp: '{_shown(value)}'") from error
    if not isinstance(value, str):
        raise ValueError(f"Invalid timestamp: '{_shown(value)}'")  # noqa: TRY004
    moment, zone = _parts(value, "timestamp")
    try:
        return moment.replace(tzinfo=_zone(zone)).astimezone(dt.UTC)
    except (ValueError, KeyError, OverflowError) as error:
        raise ValueError(f"Invalid timestamp: '{value}'") from error


def _epoch_seconds(value: Any) -> dt.datetime:
    if isinstance(value, bool):
        raise TypeError
    micros = Decimal(repr(value) if isinstance(value, float) else str(value)) * 1_000_000
    return _EPOCH + dt.timedelta(microseconds=int(micros.to_integral_value(ROUND_HALF_UP)))


def _zone(name: str | None) -> dt.tzinfo:
    if name is None or name in {"Z", "z", "UTC"}:
        return dt.UTC
    match = _OFFSET.fullmatch(name)
    if match:
        sign, hours, minutes = match.groups()
        offset = dt.timedelta(hours=int(hours), minutes=int(minutes or 0))
        return dt.timezone(-offset if sign == "-" else offset)
    from zoneinfo import ZoneInfo

    return ZoneInfo(name)


def _json(value: Any) -> str:
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError as error:
            raise ValueError(f"Failed to parse JSON: {value}") from error
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


_SCALARS: dict[str, Callable[[Any], Any]] = {
    "STRING": _string,
    "GEOGRAPHY": _string,
    "BYTES": _bytes,
    "INTEGER": _integer,
    "FLOAT": _float,
    "NUMERIC": _numeric,
    "BIGNUMERIC": _bignumeric,
    "BOOLEAN": _boolean,
    "TIMESTAMP": timestamp_value,
    "DATETIME": _datetime,
    "DATE": _date,
    "TIME": _time,
    "JSON": _json,
}
