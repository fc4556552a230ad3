"""JSON, CSV and Parquet as Arrow rows, without a server."""

import io
import json
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.local.bigquery import load_json
from infra.local.bigquery.errors import ApiError
from infra.local.bigquery.load_csv import CsvOptions, detect_csv, read_csv
from infra.local.bigquery.load_errors import BadRecords
from infra.local.bigquery.load_parquet import shape_parquet

Field = dict[str, Any]


def _field(name: str, kind: str, mode: str = "NULLABLE", *fields: Field) -> Field:
    field: Field = {"name": name, "type": kind, "mode": mode}
    return field | {"fields": list(fields)} if fields else field


SCHEMA = [
    _field("i", "INTEGER"),
    _field("f", "FLOAT"),
    _field("s", "STRING"),
    _field("n", "NUMERIC"),
    _field("ts", "TIMESTAMP"),
    _field("d", "DATE"),
    _field("y", "BYTES"),
    _field("l", "STRING", "REPEATED"),
    _field("r", "RECORD", "NULLABLE", _field("a", "INTEGER"), _field("q", "NUMERIC", "REPEATED")),
]
_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
_ROW = st.fixed_dictionaries(
    {},
    optional={
        "i": st.none() | st.integers(-(2**63), 2**63 - 1),
        "f": st.none() | st.floats(allow_nan=False, allow_infinity=False),
        "s": st.none() | _TEXT,
        "n": st.none()
        | st.decimals(-(10**20), 10**20, places=9, allow_nan=False).map(lambda value: f"{value:f}"),
        "ts": st.none() | st.datetimes().map(lambda value: value.isoformat() + "Z"),
        "d": st.none() | st.dates().map(str),
        "y": st.none() | st.sampled_from(["", "AP8=", "YWJj"]),
        "l": st.none() | st.lists(_TEXT, max_size=3),
        "r": st.none()
        | st.fixed_dictionaries(
            {}, optional={"a": st.none() | st.integers(-5, 5), "q": st.lists(st.just("1.5"))}
        ),
    },
)


@given(st.lists(_ROW, max_size=6))
def test_both_json_readers_read_the_same(rows: list[dict[str, Any]]) -> None:
    content = b"".join(json.dumps(row).encode() + b"\n" for row in rows)
    bad = BadRecords(0, "JSON")
    by_row = load_json._read_by_row(content, SCHEMA, bad, ignore_unknown=False)
    by_arrow = load_json._read_by_arrow(content, SCHEMA)
    assert by_arrow.to_pylist() == by_row.to_pylist()
    assert by_arrow.schema == by_row.schema


def _json(content: str, schema: list[Field], allowed: int = 0) -> list[dict[str, Any]]:
    bad = BadRecords(allowed, "JSON")
    return load_json.read_json(content.encode(), schema, bad, ignore_unknown=False).to_pylist()


def test_required_and_null_elements_are_refused() -> None:
    with pytest.raises(ApiError) as refused:
        _json('{"a": null}', [_field("a", "INTEGER", "REQUIRED")])
    assert "Missing required field: a" in refused.value.errors[0]["message"]
    with pytest.raises(ApiError):
        _json('{"a": [1, null]}', [_field("a", "INTEGER", "REPEATED")])
    nested = _field("r", "RECORD", "NULLABLE", _field("a", "STRING", "REQUIRED"))
    with pytest.raises(ApiError):
        _json('{"r": {}}', [nested])
    assert _json('{"r": null}', [nested]) == [{"r": None}]


def test_bad_lines_are_counted_by_their_row() -> None:
    with pytest.raises(ApiError) as refused:
        _json('{"a": 1}\n\n{"a": "x"}\n', [_field("a", "INTEGER")])
    assert "row 2" in refused.value.errors[0]["message"]
    assert _json('{"a": 1}\nbroken\n[]\n{"a": 2}', [_field("a", "INTEGER")], 2) == [
        {"a": 1},
        {"a": 2},
    ]


def test_timestamps_in_the_forms_of_an_export() -> None:
    schema = [_field("t", "TIMESTAMP")]
    forms = ["2025-11-15 10:00:00 UTC", "2025-11-15T10:00:00Z", "2025-11-15 12:00:00+02:00"]
    content = "\n".join(json.dumps({"t": form}) for form in forms)
    assert len({str(row["t"]) for row in _json(content, schema)}) == 1


def _csv(text: str, schema: list[Field], **load: Any) -> list[dict[str, Any]]:
    bad = BadRecords(int(load.pop("maxBadRecords", 0)), "CSV")
    return read_csv(text.encode(), schema, CsvOptions.of(load), bad).to_pylist()


AB = [_field("a", "INTEGER"), _field("b", "STRING")]


def test_empty_cells_are_null_and_quoted_ones_are_not() -> None:
    assert _csv('1,\n2,""\n,x\n', AB) == [
        {"a": 1, "b": None},
        {"a": 2, "b": ""},
        {"a": None, "b": "x"},
    ]


def test_null_marker_replaces_the_empty_cell() -> None:
    assert _csv("1,\\N\n2,\n", AB, nullMarker="\\N") == [
        {"a": 1, "b": None},
        {"a": 2, "b": ""},
    ]


def test_tab_and_no_quotes() -> None:
    assert _csv('1\t"x"\n', AB, fieldDelimiter="tab", quote="") == [{"a": 1, "b": '"x"'}]


def test_one_line_without_newline() -> None:
    assert _csv("1,x", AB) == [{"a": 1, "b": "x"}]


def test_too_many_cells_unless_unknown_values_are_ignored() -> None:
    with pytest.raises(ApiError) as refused:
        _csv("1,x,2\n", AB)
    assert "Too many values" in refused.value.errors[0]["message"]
    assert _csv("1,x,2\n", AB, ignoreUnknownValues=True) == [{"a": 1, "b": "x"}]


def test_nested_columns_are_not_for_csv() -> None:
    with pytest.raises(ApiError, match="nested or repeated"):
        _csv("1\n", [_field("a", "INTEGER", "REPEATED")])


def test_detected_columns_without_header_are_numbered() -> None:
    schema, skip = detect_csv(b"1,x\n2,y\n", CsvOptions.of({}))
    assert skip == 0
    assert [field["name"] for field in schema] == ["integer_field_0", "string_field_1"]


def _written(table: pa.Table) -> pa.Table:
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    return pq.read_table(io.BytesIO(buffer.getvalue()))


def test_parquet_decimals_get_the_columns_scale() -> None:
    table = _written(pa.table({"n": pa.array([Decimal("1.50")], pa.decimal128(10, 2))}))
    shaped = shape_parquet(table, [_field("n", "NUMERIC")], ignore_unknown=False)
    assert shaped.to_pylist() == [{"n": Decimal("1.500000000")}]


def test_parquet_unknown_columns() -> None:
    table = _written(pa.table({"a": [1], "zzz": [2]}))
    with pytest.raises(ApiError, match="zzz"):
        shape_parquet(table, [_field("a", "INTEGER")], ignore_unknown=False)
    shaped = shape_parquet(table, [_field("a", "INTEGER")], ignore_unknown=True)
    assert shaped.to_pylist() == [{"a": 1}]


def test_parquet_null_in_required_and_repeated() -> None:
    table = _written(pa.table({"a": pa.array([None], pa.int64())}))
    with pytest.raises(ApiError, match="Missing required field: a"):
        shape_parquet(table, [_field("a", "INTEGER", "REQUIRED")], ignore_unknown=False)
    lists = _written(pa.table({"a": pa.array([[1, None]])}))
    with pytest.raises(ApiError, match="contains NULL"):
        shape_parquet(lists, [_field("a", "INTEGER", "REPEATED")], ignore_unknown=False)


def test_parquet_sliced_and_nested_lists_keep_their_rows() -> None:
    kind = pa.list_(pa.struct([("k", pa.string()), ("v", pa.list_(pa.int64()))]))
    table = pa.table(
        {"r": pa.array([[{"k": "a", "v": [1]}], None, [], [{"k": "b", "v": None}]], kind)}
    )
    schema = [
        _field("r", "RECORD", "REPEATED", _field("k", "STRING"), _field("v", "INTEGER", "REPEATED"))
    ]  # fmt: skip
    shaped = shape_parquet(table.slice(1), schema, ignore_unknown=False)
    assert shaped.to_pylist() == [{"r": []}, {"r": []}, {"r": [{"k": "b", "v": []}]}]
