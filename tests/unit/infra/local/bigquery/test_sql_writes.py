"""Destination writes: dispositions, schema checks, atomicity."""

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pytest

from infra.local.bigquery.errors import ApiError
from infra.local.bigquery.sql.writes import WriteOutcome, write_destination
from infra.local.bigquery.types import arrow_schema
from tests.unit.infra.local.bigquery.sql_world import World, types_of


@pytest.fixture
def world() -> Iterator[World]:
    with World() as made:
        yield made


def write(world: World, sql: str, table: str = "out", **more: Any) -> int | None:
    return world.run(sql, destination=world.ref(table), **more).output_rows


def test_first_write_creates_the_table_with_partitioning_and_clustering(world: World) -> None:
    partitioning = {"type": "DAY", "field": "day"}
    result = world.run(
        "SELECT 1 AS id, DATE '2025-01-01' AS day, [STRUCT('x' AS k)] AS tags",
        destination=world.ref("out"),
        time_partitioning=partitioning,
        clustering={"fields": ["id"]},
    )
    assert result.output_rows == 1
    assert result.rows is None
    table = world.catalog.table(world.ref("out"))
    assert types_of(table.schema) == ["id INTEGER", "day DATE", "tags RECORD REPEATED"]
    assert table.time_partitioning == partitioning
    assert table.clustering == {"fields": ["id"]}


def test_write_empty_is_the_default_and_refuses_rows(world: World) -> None:
    write(world, "SELECT 1 AS id")
    with pytest.raises(ApiError) as caught:
        write(world, "SELECT 2 AS id")
    assert (caught.value.status, caught.value.reason) == (409, "duplicate")
    assert caught.value.message == "Already Exists: Table test-project:d.out"
    assert world.rows("SELECT id FROM out") == [("1",)]


def test_append_matches_columns_by_name(world: World) -> None:
    world.table("out", "a INTEGER", "b STRING", "l STRING REPEATED")
    assert write(world, "SELECT 'x' AS B, 1 AS a", write_disposition="WRITE_APPEND") == 1
    assert world.rows("SELECT * FROM out") == [("1", "x", [])]


def test_truncate_replaces_the_schema(world: World) -> None:
    write(world, "SELECT 1 AS a")
    write(world, "SELECT 'x' AS b", write_disposition="WRITE_TRUNCATE")
    assert world.types("SELECT * FROM out") == ["b STRING"]
    assert world.rows("SELECT * FROM out") == [("x",)]


def test_truncate_data_keeps_it(world: World) -> None:
    world.table("out", {"name": "a", "type": "INTEGER", "description": "kept"}, "b STRING")
    write(world, "SELECT 1 AS a", write_disposition="WRITE_APPEND")
    write(world, "SELECT 2 AS a", write_disposition="WRITE_TRUNCATE_DATA")
    assert world.rows("SELECT * FROM out") == [("2", None)]
    assert world.catalog.table(world.ref("out")).schema[0]["description"] == "kept"


def test_a_table_may_be_rewritten_from_itself(world: World) -> None:
    write(world, "SELECT 1 AS a UNION ALL SELECT 2")
    write(world, "SELECT a * 10 AS a FROM out", write_disposition="WRITE_TRUNCATE")
    write(world, "SELECT a + 1 AS a FROM out", write_disposition="WRITE_TRUNCATE_DATA")
    write(world, "SELECT a FROM out", write_disposition="WRITE_APPEND")
    assert [row[0] for row in world.rows("SELECT a FROM out ORDER BY a")] == [
        "11", "11", "21", "21",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("SELECT 1 AS a, 2 AS extra", "Cannot add fields (field: extra)"),
        ("SELECT 'x' AS a", "Field a has changed type from INTEGER to STRING"),
        ("SELECT [1] AS a", "Field a has changed mode from NULLABLE to REPEATED"),
        ("SELECT 1 AS a, STRUCT(1 AS x, 2 AS y) AS r", "Cannot add fields (field: r.y)"),
        ("SELECT 1 AS a, STRUCT('s' AS x) AS r",
         "Field r.x has changed type from INTEGER to STRING"),
    ],
)  # fmt: skip
def test_schema_mismatch_names_the_field(world: World, sql: str, message: str) -> None:
    record = {"name": "r", "type": "RECORD", "fields": [{"name": "x", "type": "INTEGER"}]}
    world.table("out", "a INTEGER", record)
    with pytest.raises(ApiError) as caught:
        write(world, sql, write_disposition="WRITE_APPEND")
    assert caught.value.reason == "invalid"
    assert caught.value.message == (
        f"Provided Schema does not match Table test-project:d.out. {message}"
    )


def test_field_addition_when_allowed(world: World) -> None:
    write(world, "SELECT 1 AS a, STRUCT(1 AS x) AS r")
    write(
        world,
        "SELECT 2 AS a, STRUCT(3 AS x, 'new' AS y) AS r, 'more' AS b",
        write_disposition="WRITE_APPEND",
        schema_update_options=["ALLOW_FIELD_ADDITION"],
    )
    assert world.rows("SELECT a, r, b FROM out ORDER BY a") == [
        ("1", {"x": "1", "y": None}, None),
        ("2", {"x": "3", "y": "new"}, "more"),
    ]


def test_required_columns_stay_and_refuse_null(world: World) -> None:
    world.table("out", "a INTEGER REQUIRED", "b STRING")
    write(world, "SELECT 1 AS a, 'x' AS b", write_disposition="WRITE_APPEND")
    for sql in ("SELECT CAST(NULL AS INT64) AS a, 'y' AS b", "SELECT 'y' AS b"):
        with pytest.raises(ApiError, match="Required field a cannot be null"):
            write(world, sql, write_disposition="WRITE_TRUNCATE_DATA")
    assert world.rows("SELECT a, b FROM out") == [("1", "x")]
    assert world.catalog.table(world.ref("out")).schema[0]["mode"] == "REQUIRED"


def test_declared_precision_and_length_hold(world: World) -> None:
    world.run("CREATE TABLE out (n NUMERIC(5, 2), s STRING(3))")
    write(world, "SELECT NUMERIC '1.005' AS n, 'abc' AS s", write_disposition="WRITE_APPEND")
    assert world.rows("SELECT * FROM out") == [("1.01", "abc")]
    with pytest.raises(ApiError, match="maximum length 3"):
        write(world, "SELECT 'abcd' AS s", write_disposition="WRITE_APPEND")
    with pytest.raises(ApiError):
        write(world, "SELECT NUMERIC '12345' AS n", write_disposition="WRITE_APPEND")


def test_create_never_and_missing_dataset(world: World) -> None:
    with pytest.raises(ApiError) as caught:
        write(world, "SELECT 1 AS a", create_disposition="CREATE_NEVER")
    assert caught.value.message == "Not found: Table test-project:d.out"
    with pytest.raises(ApiError) as caught:
        world.run("SELECT 1 AS a", destination=world.ref("out", "nowhere"))
    assert caught.value.message == "Not found: Dataset test-project:nowhere"


def test_failure_in_the_middle_changes_nothing(world: World) -> None:
    write(world, "SELECT 1 AS a")
    for disposition in ("WRITE_TRUNCATE", "WRITE_TRUNCATE_DATA", "WRITE_APPEND"):
        with pytest.raises(ApiError, match="division by zero"):
            write(
                world,
                "SELECT DIV(10, x) AS a FROM UNNEST([5, 0]) AS x",
                write_disposition=disposition,
            )
    with pytest.raises(ApiError):
        write(world, "SELECT DIV(1, x) AS a FROM UNNEST([0]) AS x", table="never")
    assert world.rows("SELECT a FROM out") == [("1",)]
    assert world.catalog.find_table(world.ref("never")) is None


def test_partitioning_of_the_request_must_agree(world: World) -> None:
    write(world, "SELECT DATE '2025-01-01' AS d",
          time_partitioning={"type": "DAY", "field": "d"})  # fmt: skip
    with pytest.raises(ApiError) as caught:
        write(
            world,
            "SELECT DATE '2025-01-01' AS d",
            write_disposition="WRITE_TRUNCATE",
            time_partitioning={"type": "DAY"},
        )
    assert caught.value.message == (
        "Incompatible table partitioning specification. Expects partitioning specification"
        " interval(type:day,field:d), but input partitioning specification is interval(type:day)"
    )


def test_a_view_is_no_destination(world: World) -> None:
    world.run("CREATE VIEW d.v AS SELECT 1 AS a")
    with pytest.raises(ApiError, match="it is a view"):
        write(world, "SELECT 1 AS a", table="v")


def test_rows_of_an_arrow_table(world: World) -> None:
    schema = [
        {"name": "a", "type": "INTEGER", "mode": "NULLABLE"},
        {"name": "l", "type": "STRING", "mode": "REPEATED"},
    ]
    rows = pa.Table.from_pylist(
        [{"a": 1, "l": ["x"]}, {"a": 2, "l": None}], schema=arrow_schema(schema)
    )

    def load(disposition: str, partition: str | None = None) -> WriteOutcome:
        return write_destination(
            world.storage,
            world.catalog,
            destination=world.ref("loaded"),
            partition=partition,
            schema=schema,
            rows=rows,
            write_disposition=disposition,
            create_disposition=None,
            schema_update_options=[],
            time_partitioning={"type": "DAY"},
            clustering=None,
            job_id="load",
        )

    assert load("WRITE_APPEND", "20250101").output_rows == 2
    assert load("WRITE_TRUNCATE", "20250102").output_rows == 2
    assert load("WRITE_TRUNCATE", "20250102").table.ingestion_time_partitioned
    assert world.rows("SELECT _PARTITIONDATE AS d, a, l FROM loaded WHERE a = 2 ORDER BY d") == [
        ("2025-01-01", "2", []),
        ("2025-01-02", "2", []),
    ]
