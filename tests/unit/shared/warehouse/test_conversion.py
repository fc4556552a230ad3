"""Columns of a source in the form of a table's: exact, by name, or an error before any row."""

from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.warehouse.arrow import ChangedColumnError, arrow_schema, column_of
from shared.warehouse.conversion import UnfitValueError, conversion
from shared.warehouse.schemas import Column

NEW_FIELD = pa.struct([("new", pa.string())])


def a_column(name: str, kind: str, mode: str = "NULLABLE", *inner: Column) -> Column:
    values: dict[str, Any] = {"name": name, "type": kind, "mode": mode, "fields": inner}
    return Column(description="A column.", **values)


def converted(array: pa.Array, column: Column) -> list[Any]:
    rows = pa.record_batch([array], names=[column.name])
    return conversion(rows.schema, [column]).batch(rows).column(0).to_pylist()


def test_columns_are_found_by_name_in_any_case_and_absent_ones_are_null() -> None:
    columns = [
        a_column("BilledCost", "NUMERIC"),
        a_column("new", "STRING"),
        a_column("b", "STRING"),
    ]
    rows = pa.record_batch([pa.array(["x"]), pa.array([2])], names=["B", "billedcost"])
    found = conversion(rows.schema, columns).batch(rows)
    assert found.to_pylist() == [{"BilledCost": Decimal(2), "new": None, "b": "x"}]
    assert found.schema == arrow_schema(columns)


@given(st.floats(allow_nan=False, allow_infinity=False, min_value=-1e15, max_value=1e15))
def test_a_double_is_the_decimal_that_it_shows(value: float) -> None:
    shown = Decimal(repr(value))
    if shown and shown.adjusted() < -20:
        return
    assert converted(pa.array([value]), a_column("cost", "BIGNUMERIC")) == [shown]


def test_amounts_of_text_keep_every_digit() -> None:
    texts = ["12.3456789012", "1.5E-7", "-0.0000000001", "0"]
    rows = pa.array(texts).cast(pa.decimal256(76, 38))
    assert converted(rows, a_column("cost", "BIGNUMERIC")) == [Decimal(text) for text in texts]


def test_times_without_a_zone_are_utc() -> None:
    rows = pa.array([0, None], pa.timestamp("ms"))
    first, second = converted(rows, a_column("at", "TIMESTAMP"))
    assert (first.isoformat(), second) == ("1970-01-01T00:00:00+00:00", None)


def test_a_mapping_becomes_a_list_of_pairs_even_in_the_middle_of_an_array() -> None:
    kind = pa.map_(pa.string(), pa.float64())
    pair = (a_column("key", "STRING"), a_column("value", "STRING"))
    rows = pa.array([[("x", 1.0)], None, [("a", 0.5), ("b", None)], []], kind)
    found = converted(rows.slice(1), a_column("tags", "RECORD", "REPEATED", *pair))
    assert found == [[], [{"key": "a", "value": "0.5"}, {"key": "b", "value": None}], []]


def test_a_struct_keeps_its_nulls_and_gains_what_the_table_has_more() -> None:
    kind = pa.struct([("id", pa.int32())])
    inner = (a_column("id", "INTEGER"), a_column("name", "STRING"))
    rows = pa.array([{"id": 1}, None], kind)
    found = converted(rows, a_column("project", "RECORD", "NULLABLE", *inner))
    assert found == [{"id": 1, "name": None}, None]


@pytest.mark.parametrize(
    ("source", "column"),
    [
        (pa.string(), a_column("c", "BIGNUMERIC")),
        (pa.string(), a_column("c", "TIMESTAMP")),
        (pa.int64(), a_column("c", "STRING")),
        (pa.float64(), a_column("c", "INTEGER")),
        (pa.timestamp("ms"), a_column("c", "DATE")),
        (pa.bool_(), a_column("c", "INTEGER")),
        (pa.string(), a_column("c", "STRING", "REPEATED")),
        (pa.list_(pa.string()), a_column("c", "STRING")),
        (NEW_FIELD, a_column("c", "RECORD", "NULLABLE", a_column("id", "STRING"))),
    ],
    ids=str,
)
def test_another_type_is_refused_before_a_row_is_read(source: pa.DataType, column: Column) -> None:
    with pytest.raises(ChangedColumnError) as raised:
        conversion(pa.schema([("c", source)]), [column])
    assert raised.value.column.startswith("c")


def test_a_value_that_does_not_fit_names_its_column() -> None:
    with pytest.raises(UnfitValueError, match="A value of column cost is no BIGNUMERIC"):
        converted(pa.array([float("nan")]), a_column("cost", "BIGNUMERIC"))
    with pytest.raises(UnfitValueError, match="column day is no DATE"):
        converted(pa.array([10**17], pa.date64()), a_column("day", "DATE"))


def test_new_columns_get_a_type_of_their_own() -> None:
    kinds = {
        "text": pa.dictionary(pa.int32(), pa.string()),
        "count": pa.int16(),
        "exact": pa.decimal128(20, 4),
        "wide": pa.decimal128(38, 12),
        "at": pa.timestamp("ns"),
        "tags": pa.map_(pa.string(), pa.string()),
        "places": pa.list_(pa.struct([("id", pa.int64())])),
        "nothing": pa.null(),
    }
    found = {name: column_of(name, kind, "New.") for name, kind in kinds.items()}
    assert {name: (column.type, column.mode) for name, column in found.items()} == {
        "text": ("STRING", "NULLABLE"),
        "count": ("INTEGER", "NULLABLE"),
        "exact": ("NUMERIC", "NULLABLE"),
        "wide": ("BIGNUMERIC", "NULLABLE"),
        "at": ("TIMESTAMP", "NULLABLE"),
        "tags": ("RECORD", "REPEATED"),
        "places": ("RECORD", "REPEATED"),
        "nothing": ("STRING", "NULLABLE"),
    }
    for name, kind in kinds.items():
        conversion(pa.schema([(name, kind)]), [found[name]])
