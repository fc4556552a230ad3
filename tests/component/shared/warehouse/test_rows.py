"""Appending to logs and reading them, on days when BigQuery is not at its best."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest

from shared.clients import bigquery_client
from shared.warehouse.failures import WarehouseBusyError, WarehouseError
from shared.warehouse.queries import query
from shared.warehouse.rows import Row, append, is_missing, read
from tests.component.conftest import Cloud

COLUMNS = (
    "id STRING NOT NULL, n INT64, at TIMESTAMP, content JSON, secret BYTES, tags ARRAY<STRING>"
)


@pytest.fixture
def log(tenant: str) -> str:
    """A log that was created this moment; `dataset.table`."""
    bigquery_client().query_and_wait(f"CREATE TABLE `{tenant}.events_log` ({COLUMNS})")
    return f"{tenant}.events_log"


def everything(log: str) -> list[dict[str, Any]]:
    return read(query(f"SELECT * FROM `{log}` ORDER BY id"))


FULL = {
    "id": "a",
    "n": 2**53 + 1,
    "at": datetime(2025, 11, 15, 1, 2, 3, 456789, tzinfo=UTC),
    "content": {"text": 'quote " and ü', "list": [1, None], "nested": {"x": True}},
    "secret": b"\x00\xff",
    "tags": ["x", "y"],
}


def test_row_comes_back_as_it_was_appended(log: str) -> None:
    append(log, [Row("a", FULL)])

    assert everything(log) == [FULL]


def test_absent_values_are_null_and_absent_lists_are_empty(log: str) -> None:
    append(log, [Row("a", {"id": "a", "n": None})])

    (row,) = everything(log)
    assert row == {
        "id": "a", "n": None, "at": None, "content": None, "secret": None, "tags": [],
    }  # fmt: skip


def test_no_rows_need_no_table() -> None:
    append("nobody.has_this", [])


def test_twelve_hundred_rows_arrive_in_three_requests(log: str, cloud: Cloud) -> None:
    before = cloud.calls().get("tabledata.insertAll", 0)

    append(log, [Row(str(n), {"id": str(n), "n": n}) for n in range(1200)])

    assert read(query(f"SELECT COUNT(*) AS n, SUM(n) AS s FROM `{log}`")) == [
        {"n": 1200, "s": 1199 * 600}
    ]
    assert cloud.calls()["tabledata.insertAll"] - before == 3


def test_repeated_row_is_dropped_within_a_minute(log: str) -> None:
    for _ in range(3):
        append(log, [Row("same", {"id": "a", "n": 1})])

    assert len(everything(log)) == 1


def test_writers_at_once_lose_nothing(log: str) -> None:
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda n: append(log, [Row(str(n), {"id": str(n)})]), range(64)))

    assert len(everything(log)) == 64


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"id": "a", "n": "many"}, "n"),
        ({"id": "a", "surprise": 1}, "surprise"),
        ({"n": 1}, "id"),
        ({"id": "a", "at": "yesterday"}, "yesterday"),
    ],
)
def test_refused_row_fails_for_good_with_the_table_and_the_reason(
    values: dict[str, Any], named: str, log: str
) -> None:
    with pytest.raises(WarehouseError) as caught:
        append(log, [Row("good", {"id": "good"}), Row("bad", values)])

    assert caught.value.reason == "invalid"
    assert log in str(caught.value)
    assert named in str(caught.value)
    assert everything(log) == []


def test_passing_errors_are_outlasted(log: str, cloud: Cloud) -> None:
    cloud.fail("tabledata.insertAll", times=2, status=503, reason="backendError")

    append(log, [Row("a", {"id": "a"})])

    assert len(everything(log)) == 1


def test_table_that_streaming_does_not_see_yet_is_loaded_instead(log: str, cloud: Cloud) -> None:
    cloud.fail("tabledata.insertAll", times=1, status=404, reason="notFound", message="Not found")

    append(log, [Row("a", FULL)])

    assert everything(log) == [FULL]


@pytest.mark.parametrize("table", ["{tenant}.nobody_made_this", "nobody_made_this.log"])
def test_table_that_does_not_exist_is_told_apart(table: str, tenant: str) -> None:
    with pytest.raises(WarehouseError) as caught:
        append(table.format(tenant=tenant), [Row("a", {"id": "a"})])

    assert is_missing(caught.value)


def test_errors_that_do_not_pass_within_the_time_are_for_later(
    log: str, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.warehouse.rows._TIMEOUT_SECONDS", 1.0)
    cloud.fail("tabledata.insertAll", times=50, status=503, reason="backendError")

    with pytest.raises(WarehouseBusyError):
        append(log, [Row("a", {"id": "a"})])


def test_read_outlasts_passing_errors(log: str, cloud: Cloud) -> None:
    append(log, [Row("a", {"id": "a"})])
    cloud.fail("jobs.query", times=2, status=503, reason="backendError")

    assert [row["id"] for row in everything(log)] == ["a"]


def test_read_that_gets_no_answer_is_for_later(
    log: str, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.warehouse.rows._TIMEOUT_SECONDS", 1.0)
    cloud.fail("jobs.query", times=50, status=503, reason="backendError")

    with pytest.raises(WarehouseBusyError):
        everything(log)


def test_read_of_a_missing_table_or_with_bad_sql_fails_for_good(fresh: Callable[[], str]) -> None:
    with pytest.raises(WarehouseError) as missing:
        read(query(f"SELECT * FROM `{fresh()}.t`"))
    with pytest.raises(WarehouseError) as broken:
        read(query("SELEC 1"))

    assert is_missing(missing.value)
    assert broken.value.reason == "invalidQuery"


def test_values_of_a_query_are_never_part_of_its_text(log: str) -> None:
    hostile = "a' OR '1'='1"
    append(log, [Row("a", {"id": "a"}), Row("b", {"id": hostile})])

    found = read(query(f"SELECT id FROM `{log}` WHERE id = @id", id=hostile))

    assert found == [{"id": hostile}]
