"""Streaming inserts and listing rows through Google's client."""

import base64
import datetime as dt
import threading
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import httpx
import pytest
from google.api_core import exceptions
from google.cloud import bigquery
from google.cloud.bigquery import SchemaField

Fresh = Callable[[str], str]

ALL_TYPES = [
    SchemaField("s", "STRING"),
    SchemaField("i", "INTEGER"),
    SchemaField("f", "FLOAT"),
    SchemaField("n", "NUMERIC"),
    SchemaField("bn", "BIGNUMERIC"),
    SchemaField("b", "BOOLEAN"),
    SchemaField("y", "BYTES"),
    SchemaField("ts", "TIMESTAMP"),
    SchemaField("d", "DATE"),
    SchemaField("t", "TIME"),
    SchemaField("dt", "DATETIME"),
    SchemaField("j", "JSON"),
    SchemaField("l", "INTEGER", "REPEATED"),
    SchemaField(
        "r",
        "RECORD",
        fields=[
            SchemaField("x", "NUMERIC"),
            SchemaField("q", "RECORD", "REPEATED", fields=[SchemaField("k", "STRING")]),
        ],
    ),
]
FULL = {
    "s": "ünïcode \U0001f600 \"quoted\" 'single'\nline",
    "i": 9223372036854775807,
    "f": 1.5e-300,
    "n": Decimal("99999999999999999999999999999.999999999"),
    "bn": Decimal("12345678901234567890.123456789012345678"),
    "b": True,
    "y": bytes(range(256)),
    "ts": dt.datetime(2025, 11, 15, 23, 59, 59, 999999, tzinfo=dt.UTC),
    "d": dt.date(1, 1, 1),
    "t": dt.time(23, 59, 59, 999999),
    "dt": dt.datetime(9999, 12, 31, 23, 59, 59, 999999),  # noqa: DTZ001 - DATETIME has no zone
    "j": {"a": [1, 2.5, None, "x"]},
    "l": [3, 1, 2],
    "r": {"x": Decimal("-0.000000001"), "q": [{"k": "v"}, {"k": None}]},
}
EMPTY = dict.fromkeys(FULL) | {"l": []}


def _create(client: bigquery.Client, dataset: str, *fields: SchemaField) -> bigquery.Table:
    schema = list(fields) or [SchemaField("x", "INTEGER"), SchemaField("s", "STRING")]
    return client.create_table(bigquery.Table(f"{dataset}.t", schema))


def _rows(client: bigquery.Client, table: Any, **options: Any) -> list[dict[str, Any]]:
    return [dict(row.items()) for row in client.list_rows(table, **options)]


@pytest.mark.parametrize("copies", [1, 40])
def test_every_type_comes_back_without_loss(
    client: bigquery.Client, dataset: str, copies: int
) -> None:
    table = _create(client, dataset, *ALL_TYPES)
    rows = [FULL, EMPTY] * copies
    assert client.insert_rows(table, rows) == []
    assert _rows(client, table) == rows


def test_numbers_and_times_are_taken_as_json_writes_them(
    client: bigquery.Client, dataset: str
) -> None:
    table = _create(client, dataset, *ALL_TYPES)
    as_json = {
        "i": "42",
        "f": "2.5",
        "n": "1.10",
        "b": "true",
        "y": base64.b64encode(b"\x00\xff").decode(),
        "ts": "2025-01-02 03:04:05+02:00",
        "d": "2025-01-02",
        "t": "03:04:05",
        "dt": "2025-01-02T03:04:05.5",
        "j": '{"k": 1}',
    }
    assert client.insert_rows_json(table, [as_json]) == []
    row = _rows(client, table)[0]
    assert (row["i"], row["f"], row["n"], row["b"]) == (42, 2.5, Decimal("1.10"), True)
    assert row["y"] == b"\x00\xff"
    assert row["ts"] == dt.datetime(2025, 1, 2, 1, 4, 5, tzinfo=dt.UTC)
    assert row["dt"] == dt.datetime(2025, 1, 2, 3, 4, 5, 500000)  # noqa: DTZ001
    assert row["j"] == {"k": 1}


def test_one_bad_row_stops_all(client: bigquery.Client, dataset: str) -> None:
    table = _create(client, dataset)
    errors = client.insert_rows_json(table, [{"x": 1}, {"x": "abc"}, {"x": 3}, {"nope": 1}])
    assert [entry["index"] for entry in errors] == [0, 1, 2, 3]
    assert [entry["errors"][0]["reason"] for entry in errors] == [
        "stopped", "invalid", "stopped", "invalid",
    ]  # fmt: skip
    assert "abc" in errors[1]["errors"][0]["message"]
    assert errors[3]["errors"][0] == {
        "reason": "invalid",
        "location": "nope",
        "debugInfo": "",
        "message": "no such field: nope.",
    }
    assert _rows(client, table) == []


def test_invalid_rows_are_skipped_when_asked(client: bigquery.Client, dataset: str) -> None:
    table = _create(client, dataset)
    errors = client.insert_rows_json(
        table, [{"x": 1}, {"x": "abc"}, {"x": 3}], skip_invalid_rows=True
    )
    assert [entry["index"] for entry in errors] == [1]
    assert [row["x"] for row in _rows(client, table)] == [1, 3]


def test_unknown_values_are_ignored_when_asked(client: bigquery.Client, dataset: str) -> None:
    table = _create(
        client,
        dataset,
        SchemaField("x", "INTEGER"),
        SchemaField("r", "RECORD", fields=[SchemaField("a", "STRING")]),
    )
    row = {"X": 1, "unknown": 2, "r": {"a": "k", "b": "unknown"}}
    assert client.insert_rows_json(table, [row])[0]["errors"][0]["reason"] == "invalid"
    assert client.insert_rows_json(table, [row], ignore_unknown_values=True) == []
    assert _rows(client, table) == [{"x": 1, "r": {"a": "k"}}]


def test_required_columns_are_required(client: bigquery.Client, dataset: str) -> None:
    table = _create(client, dataset, SchemaField("x", "INTEGER", "REQUIRED"))
    errors = client.insert_rows_json(table, [{}])
    assert errors[0]["errors"][0]["message"] == "Missing required field: x."


def test_insert_id_is_written_once_a_minute(client: bigquery.Client, dataset: str) -> None:
    table = _create(client, dataset)
    for _ in range(3):
        assert client.insert_rows_json(table, [{"x": 1}, {"x": 2}], row_ids=["a", "b"]) == []
    client.insert_rows_json(table, [{"x": 3}, {"x": 4}], row_ids=["b", "c"])
    assert sorted(row["x"] for row in _rows(client, table)) == [1, 2, 4]


def test_insert_id_of_a_refused_row_stays_free(client: bigquery.Client, dataset: str) -> None:
    table = _create(client, dataset)
    assert client.insert_rows_json(table, [{"x": 1}, {"x": "bad"}], row_ids=["a", "b"])
    assert client.insert_rows_json(table, [{"x": 1}, {"x": 2}], row_ids=["a", "b"]) == []
    assert sorted(row["x"] for row in _rows(client, table)) == [1, 2]


def test_rows_without_insert_id_are_all_written(client: bigquery.Client, dataset: str) -> None:
    table = _create(client, dataset)
    no_ids = bigquery.AutoRowIDs.DISABLED
    client.insert_rows_json(table, [{"x": 1}], row_ids=no_ids)
    client.insert_rows_json(table, [{"x": 1}], row_ids=no_ids)
    assert len(_rows(client, table)) == 2


def test_concurrent_inserts_lose_and_double_nothing(client: bigquery.Client, dataset: str) -> None:
    table = _create(client, dataset)
    failures: list[object] = []

    def insert(worker: int) -> None:
        for number in range(10):
            value = worker * 100 + number
            for _ in range(2):  # each is sent twice, as by a retry
                errors = client.insert_rows_json(table, [{"x": value}], row_ids=[f"id{value}"])
                if errors:
                    failures.append(errors)

    workers = [threading.Thread(target=insert, args=(number,)) for number in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert failures == []
    expected = sorted(worker * 100 + number for worker in range(8) for number in range(10))
    assert sorted(row["x"] for row in _rows(client, table)) == expected


def test_rows_arrive_while_columns_are_added(client: bigquery.Client, dataset: str) -> None:
    table = _create(client, dataset)
    adding = threading.Event()
    adding.set()

    def add_columns() -> None:
        for number in range(12):
            found = client.get_table(table)
            found.schema = [*found.schema, SchemaField(f"added{number}", "STRING")]
            client.update_table(found, ["schema"])
        adding.clear()

    adder = threading.Thread(target=add_columns)
    adder.start()
    written = 0
    while adding.is_set():
        assert client.insert_rows_json(table, [{"x": written}]) == []
        written += 1
    adder.join()
    assert [row["x"] for row in client.list_rows(client.get_table(table))] == list(range(written))
    assert len(client.get_table(table).schema) == 14


def test_streaming_into_a_missing_table_is_not_found(client: bigquery.Client, dataset: str) -> None:
    with pytest.raises(exceptions.NotFound):
        client.insert_rows_json(f"{dataset}.absent", [{"x": 1}])


def test_ingestion_time_table_takes_todays_partition(client: bigquery.Client, dataset: str) -> None:
    table = bigquery.Table(f"{dataset}.t", [SchemaField("x", "INTEGER")])
    table.time_partitioning = bigquery.TimePartitioning()
    client.create_table(table)
    before = dt.datetime.now(dt.UTC).date()
    client.insert_rows_json(table, [{"x": 1}])
    client.insert_rows_json(f"{dataset}.t$20251115", [{"x": 2}])
    rows = client.query_and_wait(f"SELECT x, _PARTITIONTIME AS p FROM `{dataset}.t` ORDER BY x")
    found = [(row["x"], row["p"].date()) for row in rows]
    assert found[0][1] in {before, dt.datetime.now(dt.UTC).date()}
    assert found[1] == (2, dt.date(2025, 11, 15))
    assert [
        row["x"] for row in client.list_rows(bigquery.Table(f"{dataset}.t$20251115", table.schema))
    ] == [2]


def test_decorator_must_fit_the_rows_of_a_column_partitioned_table(
    client: bigquery.Client, dataset: str
) -> None:
    table = bigquery.Table(f"{dataset}.t", [SchemaField("day", "DATE")])
    table.time_partitioning = bigquery.TimePartitioning(field="day")
    client.create_table(table)
    target = f"{dataset}.t$20251115"
    assert client.insert_rows_json(target, [{"day": "2025-11-15"}]) == []
    errors = client.insert_rows_json(target, [{"day": "2025-11-16"}])
    assert "outside of partition" in errors[0]["errors"][0]["message"]
    client.create_table(bigquery.Table(f"{dataset}.p", [SchemaField("x", "INTEGER")]))
    with pytest.raises(exceptions.BadRequest, match="non-partitioned table"):
        client.insert_rows_json(f"{dataset}.p$20251115", [{"x": 1}])


# --- list


def test_listing_pages_selects_and_starts(client: bigquery.Client, dataset: str) -> None:
    table = _create(client, dataset)
    client.insert_rows_json(table, [{"x": n, "s": f"s{n}"} for n in range(25)])

    assert [row["x"] for row in client.list_rows(table, page_size=10)] == list(range(25))
    pages = list(client.list_rows(table, page_size=10).pages)
    assert [page.num_items for page in pages] == [10, 10, 5]
    assert [row["x"] for row in client.list_rows(table, max_results=7)] == list(range(7))
    assert [row["x"] for row in client.list_rows(table, start_index=20)] == list(range(20, 25))
    chosen = client.list_rows(table, selected_fields=[SchemaField("s", "STRING")], max_results=1)
    assert [dict(row.items()) for row in chosen] == [{"s": "s0"}]
    first = client.list_rows(table, page_size=5)
    next(first.pages)
    assert first.total_rows == 25


def test_listing_an_empty_table(client: bigquery.Client, dataset: str) -> None:
    assert _rows(client, _create(client, dataset)) == []


def test_rows_as_arrow(client: bigquery.Client, dataset: str) -> None:
    table = _create(client, dataset)
    client.insert_rows_json(table, [{"x": 1, "s": "a"}])
    arrow = client.list_rows(table).to_arrow(create_bqstorage_client=False)
    assert arrow.to_pylist() == [{"x": 1, "s": "a"}]


def test_timestamps_are_seconds_unless_asked_otherwise(
    http: httpx.Client, client: bigquery.Client, dataset: str
) -> None:
    _create(client, dataset, SchemaField("ts", "TIMESTAMP"))
    client.insert_rows_json(f"{dataset}.t", [{"ts": "2025-11-15T00:00:00.5Z"}])
    project, name = dataset.split(".")
    path = f"/bigquery/v2/projects/{project}/datasets/{name}/tables/t/data"
    seconds = http.get(path).json()["rows"][0]["f"][0]["v"]
    micros = http.get(path, params={"formatOptions.useInt64Timestamp": "true"}).json()
    assert float(seconds) == 1763164800.5
    assert micros["rows"][0]["f"][0]["v"] == "1763164800500000"


def test_page_token_of_another_server_is_refused(
    http: httpx.Client, client: bigquery.Client, dataset: str
) -> None:
    _create(client, dataset)
    project, name = dataset.split(".")
    path = f"/bigquery/v2/projects/{project}/datasets/{name}/tables/t/data"
    answer = http.get(path, params={"pageToken": "forged"})
    assert answer.status_code == 400
    assert answer.json()["error"]["errors"][0]["reason"] == "invalid"
