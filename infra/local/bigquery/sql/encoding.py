"""Arrow rows as the REST API writes them: `{"f": [{"v": "1"}, ...]}`.

Every scalar is text or null, as BigQuery sends it. A column is turned into a list of cells at once.
"""

import base64
import math
from collections.abc import Callable, Iterable, Iterator
from decimal import Decimal
from itertools import repeat
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from infra.local.bigquery.sql.typesystem import Field, SqlType, field_names, field_type

Cells = list[Any]


def encode_rows(
    table: pa.Table, schema: Iterable[Field], *, int64_timestamps: bool = False
) -> list[dict[str, Any]]:
    """The rows of `table` in REST form; `schema` gives the columns in the table's order.

    Args:
        table: rows whose columns have the Arrow types that DuckDB returns for `schema`.
        schema: REST field dicts.
        int64_timestamps: TIMESTAMP as microseconds (`formatOptions.useInt64Timestamp`) instead of
            as seconds in floating-point text.
    """
    kinds = [field_type(field) for field in schema]
    encoder = _Encoder(int64_timestamps=int64_timestamps)
    columns = [
        encoder.cells(table.column(index).combine_chunks(), kind)
        for index, kind in enumerate(kinds)
    ]
    if not columns:
        return [{"f": []} for _ in range(table.num_rows)]
    return [{"f": [{"v": value} for value in row]} for row in zip(*columns, strict=True)]


class _Encoder:
    def __init__(self, *, int64_timestamps: bool) -> None:
        self._timestamp = _micros_text if int64_timestamps else _seconds_text

    def cells(self, column: Any, kind: SqlType) -> Cells:
        """One value for each row: text, None, a list of `{"v": ...}` or `{"f": [...]}`."""
        if isinstance(column, pa.ChunkedArray):
            column = (
                pa.concat_arrays(column.chunks) if column.num_chunks else column.combine_chunks()
            )
        if kind.is_array:
            return self._repeated(column, kind.item)
        if kind.is_struct:
            return self._records(column, kind)
        if kind.kind == "TIMESTAMP":
            return _mapped(_as_int64(column).to_pylist(), self._timestamp)
        return _SCALARS[kind.kind](column)

    def _repeated(self, column: Any, item: SqlType) -> Cells:
        values = [{"v": value} for value in self.cells(column.flatten(), item)]
        lengths = pc.fill_null(pc.list_value_length(column), 0).to_pylist()
        return list(_split(values, lengths))

    def _records(self, column: Any, kind: SqlType) -> Cells:
        names = field_names(kind.fields)
        parts = column.flatten()
        inner = [self.cells(part, kind.fields[position][1]) for position, part in enumerate(parts)]
        rows = zip(*inner, strict=True) if names else repeat((), len(column))
        valid = column.is_valid().to_pylist()
        return [
            {"f": [{"v": value} for value in row]} if present else None
            for row, present in zip(rows, valid, strict=False)
        ]


def _split(values: Cells, lengths: list[int]) -> Iterator[Cells]:
    start = 0
    for length in lengths:
        yield values[start : start + length]
        start += length


def _mapped(values: Cells, convert: Callable[[Any], str]) -> Cells:
    return [None if value is None else convert(value) for value in values]


def _as_int64(column: Any) -> Any:
    if pa.types.is_timestamp(column.type) and column.type.unit != "us":
        column = column.cast(pa.timestamp("us", column.type.tz))
    return column.cast(pa.int64())


def _micros_text(micros: int) -> str:
    return str(micros)


def _seconds_text(micros: int) -> str:
    """Seconds since 1970 such as "1.7E9": exact decimal text with a fraction, as the API sends."""
    seconds, rest = divmod(abs(micros), 1_000_000)
    sign = "-" if micros < 0 else ""
    fraction = f"{rest:06d}".rstrip("0") or "0"
    return f"{sign}{seconds}.{fraction}"


def _text(column: Any) -> Cells:
    return list(column.to_pylist())


def _integers(column: Any) -> Cells:
    return list(column.cast(pa.string()).to_pylist())


def _booleans(column: Any) -> Cells:
    return list(column.cast(pa.string()).to_pylist())


def float_text(value: float) -> str:
    """A FLOAT64 as the API writes it: shortest text that reads back the same."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return repr(value)


def decimal_text(value: Decimal) -> str:
    """A NUMERIC as the API writes it: no exponent, no trailing zeros."""
    text = format(value, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text in {"-0", ""} else text


def _bytes_text(value: bytes) -> str:
    return base64.b64encode(value).decode("ascii")


def _floats(column: Any) -> Cells:
    return _mapped(column.to_pylist(), float_text)


def _decimals(column: Any) -> Cells:
    return _mapped(column.to_pylist(), decimal_text)


def _binary(column: Any) -> Cells:
    return _mapped(column.to_pylist(), _bytes_text)


def _dates(column: Any) -> Cells:
    return list(column.cast(pa.string()).to_pylist())


def _clock(micros: int) -> str:
    seconds, rest = divmod(micros, 1_000_000)
    minutes, second = divmod(seconds, 60)
    hour, minute = divmod(minutes, 60)
    fraction = f".{rest:06d}" if rest else ""
    return f"{hour:02d}:{minute:02d}:{second:02d}{fraction}"


def _times(column: Any) -> Cells:
    return _mapped(column.cast(pa.time64("us")).cast(pa.int64()).to_pylist(), _clock)


def _datetime_text(text: str) -> str:
    return text.replace(" ", "T").removesuffix(".000000")


def _datetimes(column: Any) -> Cells:
    texts = column.cast(pa.timestamp("us")).cast(pa.string()).to_pylist()
    return _mapped(texts, _datetime_text)


def interval_text(value: Any) -> str:
    """An INTERVAL in canonical form, `Y-M D H:M:S.F`."""
    micros = value.nanoseconds // 1000
    months = value.months
    month_sign = "-" if months < 0 else ""
    time_sign = "-" if micros < 0 else ""
    years, month = divmod(abs(months), 12)
    seconds, rest = divmod(abs(micros), 1_000_000)
    fraction = f".{rest:06d}" if rest else ""
    clock = f"{seconds // 3600}:{seconds // 60 % 60}:{seconds % 60}{fraction}"
    return f"{month_sign}{years}-{month} {value.days} {time_sign}{clock}"


def _intervals(column: Any) -> Cells:
    return _mapped(column.to_pylist(), interval_text)


_SCALARS: dict[str, Callable[[Any], Cells]] = {
    "INT64": _integers,
    "NULL": _integers,
    "FLOAT64": _floats,
    "NUMERIC": _decimals,
    "BIGNUMERIC": _decimals,
    "BOOL": _booleans,
    "STRING": _text,
    "JSON": _text,
    "GEOGRAPHY": _text,
    "BYTES": _binary,
    "DATE": _dates,
    "TIME": _times,
    "DATETIME": _datetimes,
    "INTERVAL": _intervals,
}
