"""Time partitions: pseudo columns, decorators, pruning, destination writes into partitions."""

import datetime as dt
from collections.abc import Iterator

import pytest

from infra.local.bigquery.errors import ApiError
from tests.unit.infra.local.bigquery.sql_world import World, scalar


@pytest.fixture
def world() -> Iterator[World]:
    with World() as made:
        made.table("ingested", "id INTEGER", time_partitioning={"type": "DAY"})
        made.table("dated", "id INTEGER", "day DATE",
                   time_partitioning={"type": "DAY", "field": "day"})  # fmt: skip
        made.run(
            "INSERT ingested (_PARTITIONTIME, id) VALUES (TIMESTAMP '2025-01-01', 1),"
            " (TIMESTAMP '2025-01-01', 2), (TIMESTAMP '2025-01-02', 3)"
        )
        made.run(
            "INSERT dated VALUES (1, '2025-01-01'), (2, '2025-01-01'), (3, '2025-01-02'), (4, NULL)"
        )
        yield made


def test_pseudo_columns_by_name_and_hidden_from_star(world: World) -> None:
    assert world.types("SELECT * FROM ingested") == ["id INTEGER"]
    sql = (
        "SELECT id, _PARTITIONTIME AS pt, i._PARTITIONDATE AS pd FROM ingested AS i"
        " WHERE _PARTITIONDATE = '2025-01-02'"
    )
    assert world.types(sql) == ["id INTEGER", "pt TIMESTAMP", "pd DATE"]
    assert world.rows(sql) == [("3", "1735776000.0", "2025-01-02")]


def test_pseudo_column_needs_an_alias_in_the_result(world: World) -> None:
    with pytest.raises(ApiError, match='Invalid field name "_PARTITIONTIME"'):
        world.run("SELECT _PARTITIONTIME FROM ingested")


def test_pseudo_columns_in_joins_subqueries_and_groups(world: World) -> None:
    rows = world.rows(
        "SELECT a._PARTITIONDATE AS d, COUNT(*) AS n FROM ingested a JOIN dated b USING (id)"
        " WHERE a._PARTITIONTIME >= TIMESTAMP('2025-01-01') GROUP BY d ORDER BY d"
    )
    assert rows == [("2025-01-01", "2"), ("2025-01-02", "1")]
    assert world.value("SELECT MAX(_PARTITIONTIME) FROM ingested") == "1735776000.0"


def test_pseudo_columns_do_not_exist_elsewhere(world: World) -> None:
    with pytest.raises(ApiError, match="Unrecognized name: _PARTITIONTIME"):
        world.run("SELECT id FROM dated WHERE _PARTITIONTIME IS NULL")


@pytest.mark.parametrize(
    ("table", "ids"),
    [
        ("`ingested$20250101`", ["1", "2"]),
        ("d.ingested$20250102", ["3"]),
        ("`test-project.d.dated$20250101`", ["1", "2"]),
        ("`dated$__NULL__`", ["4"]),
        ("`dated$20240101`", []),
    ],
)
def test_decorator_in_from(world: World, table: str, ids: list[str]) -> None:
    assert [row[0] for row in world.rows(f"SELECT id FROM {table} ORDER BY id")] == ids


def test_decorator_must_fit_the_partitioning(world: World) -> None:
    with pytest.raises(ApiError, match="is partitioned by DAY"):
        world.run("SELECT id FROM `dated$202501`")
    world.table("flat", "id INTEGER")
    with pytest.raises(ApiError, match="non-partitioned table"):
        world.run("SELECT id FROM `flat$20250101`")


@pytest.mark.parametrize(
    ("sql", "size"),
    [
        ("SELECT id FROM ingested", 24),
        ("SELECT id FROM ingested WHERE _PARTITIONDATE = '2025-01-02'", 8),
        ("SELECT id FROM ingested WHERE _PARTITIONTIME < TIMESTAMP '2025-01-02'", 16),
        ("SELECT id FROM ingested WHERE _PARTITIONTIME = TIMESTAMP '2024-01-02'", 0),
        ("SELECT id FROM dated WHERE day = '2025-01-02'", 16),
        ("SELECT id FROM dated WHERE day = '2025-01-02' AND id > 1", 16),
        ("SELECT id FROM dated WHERE day = '2025-01-02' OR id > 1", 56),
        ("SELECT id FROM (SELECT id, day AS d FROM dated) WHERE d = '2025-01-02'", 16),
        ("SELECT id FROM `dated$20250101`", 16),
        ("WITH x AS (SELECT * FROM dated) SELECT id FROM x", 32),
    ],
)  # fmt: skip
def test_bytes_count_only_partitions_that_the_filter_leaves(
    world: World, sql: str, size: int
) -> None:
    # a DATE column counts 8 bytes a row where it is read; NULLs count nothing
    assert abs(world.dry_run(sql).total_bytes_processed - size) <= 8


def test_pruning_with_a_parameter(world: World) -> None:
    parameters = [scalar("d", "DATE", "2025-01-02")]
    sql = "SELECT id FROM ingested WHERE _PARTITIONTIME >= TIMESTAMP(@d)"
    assert world.run(sql, parameters=parameters).total_bytes_processed == 8


def test_required_partition_filter(world: World) -> None:
    world.table("strict", "id INTEGER", "day DATE", time_partitioning={
        "type": "DAY", "field": "day", "requirePartitionFilter": True})  # fmt: skip
    with pytest.raises(ApiError) as caught:
        world.run("SELECT id FROM strict WHERE id = 1")
    assert caught.value.message == (
        "Cannot query over table 'test-project.d.strict' without a filter over column(s) 'day'"
        " that can be used for partition elimination"
    )
    assert world.rows("SELECT id FROM strict WHERE day > '2025-01-01'") == []


def test_insert_sets_the_partition_of_today(world: World) -> None:
    world.run("INSERT ingested (id) VALUES (9)")
    day = world.value("SELECT _PARTITIONDATE AS d FROM ingested WHERE id = 9")
    assert day == dt.datetime.now(dt.UTC).date().isoformat()


def test_truncating_write_replaces_only_its_partition(world: World) -> None:
    for table in ("ingested", "dated"):
        select = "SELECT 7 AS id" + (", DATE '2025-01-01' AS day" if table == "dated" else "")
        for _ in range(2):
            result = world.run(
                select,
                destination=world.ref(table),
                partition="20250101",
                write_disposition="WRITE_TRUNCATE",
            )
            assert result.output_rows == 1
        rest = world.rows(f"SELECT id FROM {table} ORDER BY id")
        assert ("7",) in rest
        assert ("3",) in rest
        assert ("1",) not in rest


def test_row_outside_of_the_partition_changes_nothing(world: World) -> None:
    before = world.rows("SELECT * FROM dated ORDER BY id")
    for value in ("DATE '2025-01-02'", "CAST(NULL AS DATE)"):
        with pytest.raises(ApiError) as caught:
            world.run(
                f"SELECT 7 AS id, {value} AS day",
                destination=world.ref("dated"),
                partition="20250101",
                write_disposition="WRITE_TRUNCATE",
            )
        assert caught.value.message == (
            "Some rows belong to different partitions rather than destination partition"
            " test-project:d.dated$20250101"
        )
    assert world.rows("SELECT * FROM dated ORDER BY id") == before


def test_a_partition_may_be_rewritten_from_its_own_rows(world: World) -> None:
    world.run(
        "SELECT id + 10 AS id, day FROM dated WHERE day = '2025-01-01'",
        destination=world.ref("dated"),
        partition="20250101",
        write_disposition="WRITE_TRUNCATE_DATA",
    )
    rows = world.rows("SELECT id FROM `dated$20250101` ORDER BY id")
    assert rows == [("11",), ("12",)]
    assert world.value("SELECT COUNT(*) FROM dated") == "4"


def test_empty_write_wants_an_empty_partition(world: World) -> None:
    write = {"destination": world.ref("dated"), "write_disposition": "WRITE_EMPTY"}
    world.run("SELECT 9 AS id, DATE '2025-02-01' AS day", partition="20250201", **write)
    with pytest.raises(ApiError) as caught:
        world.run("SELECT 9 AS id, DATE '2025-02-01' AS day", partition="20250201", **write)
    assert (caught.value.status, caught.value.reason) == (409, "duplicate")
    assert caught.value.message == "Already Exists: Table test-project:d.dated$20250201"


@pytest.mark.parametrize(
    ("unit", "partition", "inside", "outside"),
    [
        ("HOUR", "2025010110", "2025-01-01 10:59:59", "2025-01-01 11:00:00"),
        ("MONTH", "202502", "2025-02-28 23:00:00", "2025-03-01 00:00:00"),
        ("YEAR", "2024", "2024-12-31 23:00:00", "2025-01-01 00:00:00"),
    ],
)
def test_other_granularities(
    world: World, unit: str, partition: str, inside: str, outside: str
) -> None:
    world.table("timed", "at TIMESTAMP", time_partitioning={"type": unit, "field": "at"})
    write = {"destination": world.ref("timed"), "partition": partition}
    world.run(f"SELECT TIMESTAMP '{inside}' AS at", write_disposition="WRITE_TRUNCATE", **write)
    assert world.value(f"SELECT COUNT(*) FROM `timed${partition}`") == "1"
    with pytest.raises(ApiError, match="Some rows belong to different partitions"):
        world.run(f"SELECT TIMESTAMP '{outside}' AS at", write_disposition="WRITE_APPEND", **write)
