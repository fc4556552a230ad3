"""BigQuery's types: DuckDB and Arrow types, REST text both ways, refused values."""

# ruff: noqa: DTZ001 - DATETIME has no time zone

import datetime as dt
import math
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.local.bigquery.types import (
    arrow_schema,
    decode_row,
    decode_value,
    encode_rows,
    schema_from_arrow,
    to_duckdb,
)


def field(name: str, kind: str, mode: str = "NULLABLE", **more: Any) -> dict[str, Any]:
    return {"name": name, "type": kind, "mode": mode, **more}


RECORD = field(
    "r",
    "RECORD",
    "REPEATED",
    fields=[field("n", "NUMERIC"), field("tags", "STRING", "REPEATED")],
)


def encoded(kind: str, value: Any, **options: Any) -> Any:
    schema = [field("x", kind)]
    table = pa.Table.from_pylist([{"x": value}], schema=arrow_schema(schema))
    return encode_rows(table, schema, **options)[0]["f"][0]["v"]


@pytest.mark.parametrize(
    ("column", "kind"),
    [
        (field("x", "NUMERIC"), "DECIMAL(38,9)"),
        (field("x", "BIGNUMERIC"), "DECIMAL(38,18)"),
        (field("x", "TIMESTAMP"), "TIMESTAMPTZ"),
        (field("x", "DATETIME"), "TIMESTAMP"),
        (field("x", "INTEGER", "REPEATED"), "BIGINT[]"),
        (RECORD, 'STRUCT("n" DECIMAL(38,9), "tags" VARCHAR[])[]'),
        (field("x", "JSON"), "JSON"),
    ],
)
def test_duckdb_type(column: dict[str, Any], kind: str) -> None:
    assert to_duckdb(column) == kind


@pytest.mark.parametrize(
    ("kind", "value", "text"),
    [
        ("INTEGER", -(2**63), "-9223372036854775808"),
        ("FLOAT", 0.1, "0.1"),
        ("FLOAT", math.nan, "NaN"),
        ("FLOAT", -math.inf, "-Infinity"),
        ("NUMERIC", Decimal("1.500000000"), "1.5"),
        ("NUMERIC", Decimal("99999999999999999999999999999.999999999"),
         "99999999999999999999999999999.999999999"),
        ("NUMERIC", Decimal("-0"), "0"),
        ("NUMERIC", Decimal("1E-9"), "0.000000001"),
        ("BOOLEAN", True, "true"),
        ("STRING", "é\n", "é\n"),
        ("BYTES", b"\x00\xff", "AP8="),
        ("DATE", dt.date(1, 1, 1), "0001-01-01"),
        ("TIME", dt.time(23, 59, 59, 5), "23:59:59.000005"),
        ("DATETIME", dt.datetime(2025, 1, 2, 3, 4, 5), "2025-01-02T03:04:05"),
        ("DATETIME", dt.datetime(1, 1, 1, 0, 0, 0, 1), "0001-01-01T00:00:00.000001"),
        ("TIMESTAMP", dt.datetime(1969, 12, 31, 23, 59, 59, 500000, dt.UTC), "-0.5"),
        ("TIMESTAMP", dt.datetime(2025, 1, 1, tzinfo=dt.UTC), "1735689600.0"),
        ("JSON", '{"a":1}', '{"a":1}'),
        ("STRING", None, None),
    ],
)  # fmt: skip
def test_rest_text(kind: str, value: Any, text: str | None) -> None:
    assert encoded(kind, value) == text


def test_timestamps_as_integers_when_the_client_asks() -> None:
    moment = dt.datetime(9999, 12, 31, 23, 59, 59, 999999, dt.UTC)
    assert encoded("TIMESTAMP", moment, int64_timestamps=True) == "253402300799999999"


def test_records_and_arrays_nest_and_null_arrays_are_empty() -> None:
    schema = [RECORD]
    rows = [{"r": [{"n": Decimal("1.5"), "tags": ["a"]}, {"n": None, "tags": None}]}, {"r": None}]
    table = pa.Table.from_pylist(rows, schema=arrow_schema(schema))
    first = {"v": {"f": [{"v": "1.5"}, {"v": [{"v": "a"}]}]}}
    second = {"v": {"f": [{"v": None}, {"v": []}]}}
    assert encode_rows(table, schema) == [
        {"f": [{"v": [first, second]}]},
        {"f": [{"v": []}]},
    ]
    assert encode_rows(table.slice(1), schema) == [{"f": [{"v": []}]}]


@pytest.mark.parametrize(
    ("kind", "value", "decoded"),
    [
        ("INTEGER", "5", 5),
        ("INTEGER", 5.0, 5),
        ("FLOAT", "NaN", math.nan),
        ("FLOAT", 1, 1.0),
        ("NUMERIC", 0.1, Decimal("0.1")),
        ("NUMERIC", "1.0000000005", Decimal("1.000000001")),
        ("NUMERIC", "-1.0000000005", Decimal("-1.000000001")),
        ("NUMERIC", "99999999999999999999999999999.999999999",
         Decimal("99999999999999999999999999999.999999999")),
        ("BOOLEAN", "true", True),
        ("BYTES", "AP8=", b"\x00\xff"),
        ("DATE", "2025-1-2", dt.date(2025, 1, 2)),
        ("TIME", "01:02:03.5", dt.time(1, 2, 3, 500000)),
        ("DATETIME", "2025-01-02 03:04:05", dt.datetime(2025, 1, 2, 3, 4, 5)),
        ("TIMESTAMP", "2025-01-01T00:00:00Z", dt.datetime(2025, 1, 1, tzinfo=dt.UTC)),
        ("TIMESTAMP", "2025-01-01 01:00:00+01:00", dt.datetime(2025, 1, 1, tzinfo=dt.UTC)),
        ("TIMESTAMP", "2025-01-01 00:00:00 America/New_York",
         dt.datetime(2025, 1, 1, 5, tzinfo=dt.UTC)),
        ("TIMESTAMP", 1735689600.25, dt.datetime(2025, 1, 1, 0, 0, 0, 250000, dt.UTC)),
        ("JSON", {"b": [1, None]}, '{"b":[1,null]}'),
        ("JSON", '{"b": 1}', '{"b":1}'),
        ("STRING", 5, "5"),
    ],
)  # fmt: skip
def test_json_value(kind: str, value: Any, decoded: Any) -> None:
    result = decode_value(value, field("x", kind))
    assert result == decoded or (math.isnan(result) and math.isnan(decoded))


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        (field("x", "INTEGER"), "abc", "Cannot convert value to integer (bad value): abc"),
        (field("x", "INTEGER"), 1.5, "Cannot convert value to integer (bad value): 1.5"),
        (field("x", "INTEGER"), 2**63,
         "Cannot convert value to integer (bad value): 9223372036854775808"),
        (field("x", "FLOAT"), "x", "Cannot convert value to floating point (bad value): x"),
        (field("x", "NUMERIC"), "1e30", "Invalid NUMERIC value: 1e30"),
        (field("x", "NUMERIC"), "NaN", "Invalid NUMERIC value: NaN"),
        (field("x", "BOOLEAN"), "perhaps", "Cannot convert value to boolean (bad value): perhaps"),
        (field("x", "DATE"), "2025-02-30", "Invalid date: '2025-02-30'"),
        (field("x", "TIMESTAMP"), "soon", "Invalid timestamp: 'soon'"),
        (field("x", "BYTES"), "***", "Could not decode base64 string to bytes. Field: ***"),
        (field("x", "JSON"), "{", "Failed to parse JSON: {"),
        (field("x", "STRING", "REQUIRED"), None, "Missing required field: x."),
        (field("x", "STRING", "REPEATED"), "a",
         "Repeated field must be imported as a JSON array: x."),
        (field("x", "STRING", "REPEATED"), [None],
         "Only optional fields can be set to NULL. Field: x;"),
        (field("x", "STRING", maxLength="2"), "abc",
         "x: STRING(2) has maximum length 2 but got a value with length 3"),
    ],
)  # fmt: skip
def test_refused_json_value(column: dict[str, Any], value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        decode_value(value, column)
    assert str(caught.value) == message


def test_row_names_ignore_case_and_unknown_ones_are_refused() -> None:
    schema = [field("Id", "INTEGER"), field("tags", "STRING", "REPEATED")]
    assert decode_row({"ID": "1"}, schema) == {"Id": 1, "tags": []}
    with pytest.raises(ValueError, match=r"^no such field: zz\.$"):
        decode_row({"id": 1, "zz": 2}, schema)
    assert decode_row({"id": 1, "zz": 2}, schema, ignore_unknown=True) == {"Id": 1, "tags": []}


def test_schema_of_arrow() -> None:
    schema = pa.schema(
        [
            ("i", pa.int32()),
            ("n", pa.decimal128(10, 2)),
            ("big", pa.decimal128(38, 18)),
            ("t", pa.timestamp("ns", "UTC")),
            ("d", pa.timestamp("ms")),
            ("l", pa.list_(pa.struct([("x", pa.string())]))),
        ]
    )
    assert [(f["type"], f["mode"]) for f in schema_from_arrow(schema)] == [
        ("INTEGER", "NULLABLE"),
        ("NUMERIC", "NULLABLE"),
        ("BIGNUMERIC", "NULLABLE"),
        ("TIMESTAMP", "NULLABLE"),
        ("DATETIME", "NULLABLE"),
        ("RECORD", "REPEATED"),
    ]


_VALUES = {
    "INTEGER": st.integers(-(2**63), 2**63 - 1),
    "FLOAT": st.floats(allow_nan=False),
    "NUMERIC": st.integers(-(10**38) + 1, 10**38 - 1).map(lambda n: Decimal(f"{n}e-9")),
    "STRING": st.text(),
    "BYTES": st.binary(),
    "BOOLEAN": st.booleans(),
    "DATE": st.dates(),
    "TIME": st.times(),
    "DATETIME": st.datetimes(),
    "TIMESTAMP": st.datetimes(timezones=st.just(dt.UTC)),
}


@pytest.mark.parametrize("kind", _VALUES)
def test_what_is_written_reads_back_the_same(kind: str) -> None:
    @given(_VALUES[kind])
    def round_trip(value: Any) -> None:
        text = encoded(kind, value)
        assert decode_value(text, field("x", kind)) == value

    round_trip()
