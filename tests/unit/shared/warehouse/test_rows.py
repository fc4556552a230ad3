import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import Retryable
from shared.warehouse.failures import WarehouseBusyError, WarehouseError
from shared.warehouse.rows import Row, batches, is_missing, json_row, stamp

REQUEST_LIMIT = 10_000_000
"""Bytes of an insertAll request (BigQuery quotas, streaming inserts)."""


def request_size(batch: list[Row]) -> int:
    """The size of the request that Google's client makes of a batch."""
    rows = [{"json": json_row(row.values), "insertId": row.insert_id} for row in batch]
    return len(json.dumps({"rows": rows}))


def test_five_hundred_rows_go_in_one_request_and_the_next_one_in_another() -> None:
    rows = [Row(str(n), {"n": n}) for n in range(1001)]

    assert [len(batch) for batch in batches(rows)] == [500, 500, 1]
    assert [row for batch in batches(rows) for row in batch] == rows


def test_no_rows_make_no_request() -> None:
    assert list(batches([])) == []


def test_rows_that_are_large_together_are_split_below_the_request_limit() -> None:
    rows = [Row(str(n), {"text": "x" * 3_000_000}) for n in range(7)]

    found = list(batches(rows))

    assert [len(batch) for batch in found] == [2, 2, 2, 1]
    assert all(request_size(batch) < REQUEST_LIMIT for batch in found)


def test_json_columns_count_with_the_quotes_they_get_inside_a_request() -> None:
    quotes = {str(n): '"' for n in range(400_000)}
    rows = [Row(str(n), {"parameters": quotes}) for n in range(4)]

    assert all(request_size(b) < REQUEST_LIMIT for b in batches(rows) if len(b) > 1)


def test_one_row_above_the_limit_travels_alone_for_bigquery_to_refuse() -> None:
    huge = Row("huge", {"text": "x" * 20_000_000})

    assert [len(b) for b in batches([Row("a", {}), huge, Row("b", {})])] == [1, 1, 1]


@given(
    st.lists(
        st.builds(
            Row,
            st.text(max_size=36),
            st.dictionaries(st.text(max_size=5), st.text(max_size=50) | st.integers()),
        ),
        max_size=30,
    )
)
def test_batches_keep_every_row_in_its_order(rows: list[Row]) -> None:
    assert [row for batch in batches(rows) for row in batch] == rows


@pytest.mark.parametrize(
    ("value", "sent"),
    [
        ({"a": {"b": 1}}, '{"a": {"b": 1}}'),
        ({}, "{}"),
        (b"\x00\xff", "AP8="),
        (("a", "b"), ["a", "b"]),
        ([], []),
        (datetime(2025, 11, 15, 1, 2, 3, 4, tzinfo=UTC), "2025-11-15T01:02:03.000004+00:00"),
        (
            [datetime(2025, 11, 15, tzinfo=UTC)],
            ["2025-11-15T00:00:00+00:00"],
        ),
        (0, 0),
        (False, False),
        ("", ""),
    ],
)
def test_values_travel_as_insert_all_takes_them(value: Any, sent: Any) -> None:
    assert json_row({"column": value}) == {"column": sent}


def test_absent_values_are_left_out_for_null() -> None:
    assert json_row({"a": None, "b": 1}) == {"b": 1}


def test_time_never_stands_still_or_goes_back_within_a_process() -> None:
    with ThreadPoolExecutor(8) as pool:
        stamps = list(pool.map(lambda _: stamp(), range(2000)))

    assert len({s["recorded_at"] for s in stamps}) == 2000
    by_sequence = sorted(stamps, key=lambda s: s["sequence"])
    assert by_sequence == sorted(stamps, key=lambda s: s["recorded_at"])


@pytest.mark.parametrize(
    ("error", "missing"),
    [
        (WarehouseError("Not found: Dataset a:b", "notFound"), True),
        (WarehouseError("bad", "invalidQuery"), False),
        (WarehouseBusyError("job does not show", "notFound"), False),
        (Retryable("later"), False),
        (KeyError("notFound"), False),
    ],
)
def test_only_a_final_not_found_counts_as_missing(error: Exception, missing: bool) -> None:
    assert is_missing(error) is missing
