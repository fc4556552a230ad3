"""CSV as Arrow rows of a table's schema."""

import csv
import io
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.csv

from infra.local.bigquery.detection import (
    column_names,
    looks_like_header,
    schema_of_texts,
)
from infra.local.bigquery.errors import ApiError
from infra.local.bigquery.load_errors import BadRecords
from infra.local.bigquery.types import arrow_schema, decode_value

_SAMPLE_ROWS = 500
_DELIMITERS = {"tab": "\t", "\\t": "\t"}
Field = dict[str, Any]
Row = list[str | None]


@dataclass(frozen=True, slots=True)
class CsvOptions:
    """How the file is written; names and defaults of the load configuration."""

    delimiter: str = ","
    quote: str = '"'
    skip_rows: int | None = None
    null_marker: str = ""
    quoted_newlines: bool = False
    jagged_rows: bool = False
    ignore_unknown: bool = False
    encoding: str = "utf-8"

    @classmethod
    def of(cls, load: dict[str, Any]) -> "CsvOptions":
        """The options of a `configuration.load`.

        Raises:
            ApiError: 400 invalid.
        """
        delimiter = load.get("fieldDelimiter") or ","
        delimiter = _DELIMITERS.get(delimiter, delimiter)
        quote = load.get("quote")
        quote = '"' if quote is None else quote
        if len(delimiter) != 1 or len(quote) > 1:
            raise ApiError.invalid("fieldDelimiter and quote must be single characters")
        skip = load.get("skipLeadingRows")
        return cls(
            delimiter=delimiter,
            quote=quote,
            skip_rows=None if skip is None else int(skip),
            null_marker=load.get("nullMarker") or "",
            quoted_newlines=bool(load.get("allowQuotedNewlines")),
            jagged_rows=bool(load.get("allowJaggedRows")),
            ignore_unknown=bool(load.get("ignoreUnknownValues")),
            encoding=(load.get("encoding") or "UTF-8").lower(),
        )


def detect_csv(content: bytes, options: CsvOptions) -> tuple[list[Field], int]:
    """The schema of the file and how many lines stand above its data."""
    rows = _texts(content, options, limit=_SAMPLE_ROWS + (options.skip_rows or 0) + 1)
    skip = options.skip_rows or 0
    if options.skip_rows is None:
        header = bool(rows) and looks_like_header(rows[0], rows[1] if len(rows) > 1 else None)
        skip = int(header)
    first = rows[skip - 1] if skip and len(rows) >= skip else []
    data = rows[skip:]
    width = max((len(row) for row in data), default=len(first))
    kinds = schema_of_texts([str(position) for position in range(width)], data)
    headings = [text or "" for text in first] + [""] * (width - len(first))
    if not skip:
        headings = [f"{kinds[i]['type'].lower()}_field_{i}" for i in range(width)]
    names = column_names(headings[:width])
    return [{**kind, "name": name} for kind, name in zip(kinds, names, strict=True)], skip


def read_csv(content: bytes, schema: list[Field], options: CsvOptions, bad: BadRecords) -> pa.Table:
    """The rows of the file, its columns in the order of `schema`.

    Raises:
        ApiError: more bad rows than `bad` allows, or a column that CSV cannot hold.
    """
    for field in schema:
        if field["mode"] == "REPEATED" or field["type"] == "RECORD":
            raise ApiError.invalid(
                f"Cannot load CSV data with a nested or repeated schema. Field: {field['name']}"
            )
    columns: list[list[Any]] = [[] for _ in schema]
    for row in _texts(content, options)[options.skip_rows or 0 :]:
        bad.rows_read += 1
        try:
            values = _values(row, schema, options)
        except ValueError as error:
            bad.add(f"{error}; Row {bad.rows_read}")
            continue
        for column, value in zip(columns, values, strict=True):
            column.append(value)
    target = arrow_schema(schema)
    arrays = [pa.array(values, field.type) for values, field in zip(columns, target, strict=True)]
    return pa.table(arrays, schema=target)


def _values(row: Row, schema: list[Field], options: CsvOptions) -> list[Any]:
    if len(row) > len(schema) and not options.ignore_unknown:
        raise ValueError(f"Too many values in row. Found {len(row)} column(s) for {len(schema)}")
    if len(row) < len(schema) and not options.jagged_rows:
        raise ValueError(
            "CSV table references column position"
            f" {len(row)}, but line contains only {len(row)} columns."
        )
    padded = row[: len(schema)] + [None] * (len(schema) - len(row))
    return [_value(text, field) for text, field in zip(padded, schema, strict=True)]


def _value(text: str | None, field: Field) -> Any:
    if text == "" and field["type"] not in {"STRING", "BYTES"}:
        text = None
    try:
        return decode_value(text, field)
    except ValueError as error:
        shown = "NULL" if text is None else f"'{text}'"
        raise ValueError(f"Could not parse {shown} for field {field['name']}: {error}") from error


def _texts(content: bytes, options: CsvOptions, limit: int | None = None) -> list[Row]:
    """The cells of every line; None where an unquoted cell is the null marker.

    Arrow's reader tells quoted cells from unquoted ones, Python's does not, but Arrow's wants the
    same number of cells in every line.
    """
    if limit is not None or b"\n" not in content:
        return _texts_by_line(content, options, limit)
    try:
        return _texts_by_arrow(content, options)
    except pa.ArrowException:
        return _texts_by_line(content, options, None)


def _texts_by_arrow(content: bytes, options: CsvOptions) -> list[Row]:
    width = len(_texts_by_line(content, options, 1)[0])
    names = [str(position) for position in range(width)]
    table = pa.csv.read_csv(
        io.BytesIO(content),
        read_options=pa.csv.ReadOptions(
            column_names=names, encoding=options.encoding, block_size=max(len(content) + 1, 1 << 20)
        ),
        parse_options=pa.csv.ParseOptions(
            delimiter=options.delimiter,
            quote_char=options.quote or False,
            newlines_in_values=options.quoted_newlines,
        ),
        convert_options=pa.csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()),
            null_values=[options.null_marker],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
        ),
    )
    return [list(row) for row in zip(*table.to_pydict().values(), strict=True)]


def _texts_by_line(content: bytes, options: CsvOptions, limit: int | None) -> list[Row]:
    text = io.StringIO(content.decode(options.encoding), newline="")
    reader = csv.reader(
        text,
        delimiter=options.delimiter,
        quotechar=options.quote or None,
        quoting=csv.QUOTE_MINIMAL if options.quote else csv.QUOTE_NONE,
    )
    rows: list[Row] = []
    for cells in reader:
        if not cells:
            continue
        rows.append([None if cell == options.null_marker else cell for cell in cells])
        if limit is not None and len(rows) >= limit:
            break
    return rows
