"""CREATE, ALTER and DROP of tables, views and schemas; views over views; INFORMATION_SCHEMA."""

from collections.abc import Iterator
from typing import Any

import pytest

from infra.local.bigquery.errors import ApiError
from tests.unit.infra.local.bigquery.sql_world import PROJECT, World, types_of


@pytest.fixture
def world() -> Iterator[World]:
    with World() as made:
        made.table("t", "id INTEGER", "day DATE", "s STRING")
        made.run("INSERT t VALUES (1, '2025-01-01', 'a'), (2, '2025-01-02', 'b')")
        yield made


def message_of(world: World, sql: str, **more: Any) -> str:
    with pytest.raises(ApiError) as caught:
        world.run(sql, **more)
    return caught.value.message


def test_create_table_with_everything(world: World) -> None:
    result = world.run(
        "CREATE TABLE d.c (id INT64 NOT NULL OPTIONS (description = 'the key'),"
        " n NUMERIC(10, 2), s STRING(20) DEFAULT 'x', at TIMESTAMP,"
        " tags ARRAY<STRUCT<k STRING, v FLOAT64>>)"
        " PARTITION BY TIMESTAMP_TRUNC(at, HOUR) CLUSTER BY id, s"
        " OPTIONS (description = 'all of it', labels = [('team', 'cost')],"
        " partition_expiration_days = 2, require_partition_filter = TRUE)"
    )
    assert (result.statement_type, result.ddl_operation) == ("CREATE_TABLE", "CREATE")
    assert result.ddl_target == world.ref("c")
    table = world.catalog.table(world.ref("c"))
    assert types_of(table.schema) == [
        "id INTEGER", "n NUMERIC", "s STRING", "at TIMESTAMP", "tags RECORD REPEATED",
    ]  # fmt: skip
    assert table.schema[0]["mode"] == "REQUIRED"
    assert table.schema[0]["description"] == "the key"
    assert (table.schema[1]["precision"], table.schema[1]["scale"]) == ("10", "2")
    assert table.time_partitioning == {"type": "HOUR", "field": "at", "expirationMs": "172800000"}
    assert table.clustering == {"fields": ["id", "s"]}
    assert table.body["description"] == "all of it"
    assert table.labels == {"team": "cost"}
    assert table.require_partition_filter


@pytest.mark.parametrize(
    ("clause", "partitioning"),
    [
        ("day", {"type": "DAY", "field": "day"}),
        ("DATE(at)", {"type": "DAY", "field": "at"}),
        ("DATE_TRUNC(day, MONTH)", {"type": "MONTH", "field": "day"}),
        ("_PARTITIONDATE", {"type": "DAY"}),
        ("DATE(_PARTITIONTIME)", {"type": "DAY"}),
        ("TIMESTAMP_TRUNC(_PARTITIONTIME, HOUR)", {"type": "HOUR"}),
    ],
)
def test_partition_by(world: World, clause: str, partitioning: dict[str, str]) -> None:
    world.run(f"CREATE TABLE p (day DATE, at TIMESTAMP) PARTITION BY {clause}")
    assert world.catalog.table(world.ref("p")).time_partitioning == partitioning


def test_create_if_not_exists_and_or_replace(world: World) -> None:
    assert message_of(world, "CREATE TABLE t (x INT64)") == (
        "Already Exists: Table test-project:d.t"
    )
    assert world.run("CREATE TABLE IF NOT EXISTS t (x INT64)").ddl_operation == "SKIP"
    assert world.run("CREATE OR REPLACE TABLE t (x INT64)").ddl_operation == "REPLACE"
    assert world.rows("SELECT * FROM t") == []


def test_create_table_as_select(world: World) -> None:
    result = world.run(
        "CREATE TABLE c PARTITION BY day CLUSTER BY id AS SELECT id, day, NULL AS nothing FROM t"
    )
    assert result.statement_type == "CREATE_TABLE_AS_SELECT"
    assert result.output_rows == 2
    assert world.types("SELECT * FROM c") == ["id INTEGER", "day DATE", "nothing INTEGER"]
    world.run("CREATE OR REPLACE TABLE c AS SELECT id * 2 AS id FROM c")
    assert world.rows("SELECT id FROM c ORDER BY id") == [("2",), ("4",)]
    world.run("CREATE TABLE typed (n NUMERIC, s STRING) AS SELECT id, s FROM t")
    assert world.types("SELECT * FROM typed") == ["n NUMERIC", "s STRING"]


def test_create_like_and_copy(world: World) -> None:
    world.run("CREATE TABLE same LIKE t")
    world.run("CREATE TABLE copied COPY t")
    assert world.value("SELECT COUNT(*) FROM same") == "0"
    assert world.value("SELECT COUNT(*) FROM copied") == "2"


def test_alter_table(world: World) -> None:
    world.run("ALTER TABLE t ADD COLUMN n NUMERIC, ADD COLUMN IF NOT EXISTS s STRING,"
              " ADD COLUMN tags ARRAY<STRING>")  # fmt: skip
    assert world.rows("SELECT n, tags FROM t WHERE id = 1") == [(None, [])]
    world.run("ALTER TABLE t DROP COLUMN n, DROP COLUMN IF EXISTS zz")
    world.run("ALTER TABLE t RENAME COLUMN s TO label")
    world.run("ALTER TABLE t SET OPTIONS (description = 'new', labels = [('a', 'b')])")
    assert world.types("SELECT * FROM t") == [
        "id INTEGER", "day DATE", "label STRING", "tags STRING REPEATED",
    ]  # fmt: skip
    table = world.catalog.table(world.ref("t"))
    assert (table.body["description"], table.labels) == ("new", {"a": "b"})
    world.run("ALTER TABLE t ALTER COLUMN id SET DATA TYPE NUMERIC")
    assert world.rows("SELECT id FROM t ORDER BY id") == [("1",), ("2",)]
    assert world.types("SELECT id FROM t") == ["id NUMERIC"]


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("ALTER TABLE t ADD COLUMN s INT64", "Column already exists: s at [1:26]"),
        ("ALTER TABLE t ADD COLUMN z INT64 NOT NULL",
         "Cannot add required column z to an existing table schema at [1:26]"),
        ("ALTER TABLE t DROP COLUMN zz", "Column not found: zz at [1:27]"),
        ("ALTER TABLE zz ADD COLUMN a INT64",
         "Not found: Table test-project:d.zz was not found in location US"),
        ("CREATE TABLE x (a NOPE)", 'Syntax error: Unexpected identifier "NOPE"'),
        ("CREATE TABLE x (a INT64) PARTITION BY b",
         "The field specified for partitioning cannot be found in the schema: b"),
        ("CREATE TABLE x (a INT64) PARTITION BY a",
         ("The field specified for time partitioning can only be of type TIMESTAMP, DATE or"
         " DATETIME. The type found is: INTEGER.")),
        ("CREATE TABLE nowhere.x (a INT64)", "Not found: Dataset test-project:nowhere"),
        ("CREATE TABLE x (_PARTITION_x INT64)", None),
        ("CREATE TEMP TABLE x (a INT64)",
         "Use of CREATE TEMPORARY TABLE requires a script or session at [1:19]"),
        ("DROP TABLE zz", "Not found: Table test-project:d.zz was not found in location US"),
        ("DROP VIEW t",
         "test-project:d.t is not allowed for this operation because it is currently a TABLE."),
        ("DROP SCHEMA d", "Dataset test-project:d is still in use"),
    ],
)  # fmt: skip
def test_refused(world: World, sql: str, message: str | None) -> None:
    found = message_of(world, sql)
    if message is not None:
        assert found.startswith(message)


def test_drop(world: World) -> None:
    assert world.run("DROP TABLE t").statement_type == "DROP_TABLE"
    assert world.run("DROP TABLE IF EXISTS t").ddl_operation == "SKIP"
    assert "was not found" in message_of(world, "SELECT * FROM t")


def test_schemas(world: World) -> None:
    world.run("CREATE SCHEMA fresh OPTIONS (location = 'US', description = 'x')")
    assert world.run("CREATE SCHEMA IF NOT EXISTS fresh").ddl_operation == "SKIP"
    assert message_of(world, "CREATE SCHEMA fresh") == "Already Exists: Dataset test-project:fresh"
    world.run("CREATE TABLE fresh.x AS SELECT 1 AS a")
    world.run(f"DROP SCHEMA `{PROJECT}.fresh` CASCADE")
    assert world.catalog.find_dataset(PROJECT, "fresh") is None
    assert world.run("DROP SCHEMA IF EXISTS fresh").ddl_operation == "SKIP"


# --- views


def test_view_has_a_schema_and_keeps_its_text(world: World) -> None:
    result = world.run(
        "CREATE VIEW d.v OPTIONS (description = 'seen') AS\n"
        "SELECT day, COUNT(*) AS n FROM d.t -- all\nGROUP BY day"
    )
    assert (result.statement_type, result.ddl_operation) == ("CREATE_VIEW", "CREATE")
    view = world.catalog.table(world.ref("v"))
    assert view.view_query == "SELECT day, COUNT(*) AS n FROM d.t -- all\nGROUP BY day"
    assert types_of(view.schema) == ["day DATE", "n INTEGER"]
    assert world.rows("SELECT n FROM v WHERE day = '2025-01-01'") == [("1",)]
    world.run("CREATE OR REPLACE VIEW d.v (a, b) AS SELECT id, s FROM d.t")
    assert world.rows("SELECT b FROM v WHERE a = 2") == [("b",)]


def test_views_over_views_list_themselves_and_their_tables(world: World) -> None:
    world.run("CREATE VIEW d.v1 AS SELECT id, s FROM d.t")
    world.run("CREATE VIEW d.v2 AS SELECT id FROM d.v1 WHERE id > 1")
    plan = world.dry_run("SELECT * FROM v2 JOIN v1 USING (id)")
    assert plan.referenced_tables == [world.ref("v2"), world.ref("v1"), world.ref("t")]
    assert world.rows("SELECT * FROM v2") == [("2",)]
    assert plan.total_bytes_billed == 10 * 1024 * 1024


def test_sixteen_levels_of_views_and_no_more(world: World) -> None:
    world.run("CREATE VIEW d.v1 AS SELECT id FROM d.t")
    for level in range(2, 17):
        world.run(f"CREATE VIEW d.v{level} AS SELECT id FROM d.v{level - 1}")
    assert world.value("SELECT COUNT(*) FROM v16") == "2"
    world.run("CREATE VIEW d.v17 AS SELECT id FROM d.v16")
    assert "maximum view nesting depth" in message_of(world, "SELECT * FROM v17")


def test_view_sees_a_changed_table_and_not_the_query_around_it(world: World) -> None:
    world.run("CREATE VIEW d.v AS SELECT * FROM d.t")
    assert world.rows("WITH t AS (SELECT 99 AS id) SELECT id FROM v ORDER BY id") == [
        ("1",), ("2",),
    ]  # fmt: skip
    world.run("INSERT t (id) VALUES (3)")
    assert world.value("SELECT COUNT(*) FROM v") == "3"
    world.run("DROP TABLE t")
    assert "Not found: Table test-project:d.t" in message_of(world, "SELECT * FROM v")


def test_view_of_another_project_reads_its_own_names(world: World) -> None:
    world.add_dataset("d", "other-project")
    world.run("CREATE TABLE `other-project.d.t` AS SELECT 42 AS id")
    world.run("CREATE VIEW `other-project`.d.v AS SELECT id FROM d.t")
    assert world.rows("SELECT id FROM `other-project.d.v`") == [("42",)]


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("CREATE VIEW d.v AS SELECT 1 FROM t", 'Table "t" must be qualified with a dataset'),
        ("CREATE VIEW d.v AS SELECT zz FROM d.t", "Unrecognized name: zz"),
        ("CREATE VIEW d.t AS SELECT 1 AS a", "Already Exists: Table test-project:d.t"),
        ("CREATE OR REPLACE VIEW d.t AS SELECT 1 AS a", "test-project:d.t is not allowed"),
        ("CREATE VIEW d.v (a, b) AS SELECT 1 AS x", "The number of columns in the view"),
    ],
)
def test_refused_view(world: World, sql: str, message: str) -> None:
    assert message_of(world, sql).startswith(message)


# --- INFORMATION_SCHEMA


def test_information_schema(world: World) -> None:
    world.run("CREATE VIEW d.v AS SELECT 1 AS a")
    world.run("CREATE TABLE p (id INT64 NOT NULL, day DATE) PARTITION BY day CLUSTER BY id")
    world.run("INSERT p VALUES (1, '2025-01-01'), (2, '2025-01-01'), (3, NULL)")
    assert world.rows(
        "SELECT table_name, table_type FROM d.INFORMATION_SCHEMA.TABLES ORDER BY table_name"
    ) == [("p", "BASE TABLE"), ("t", "BASE TABLE"), ("v", "VIEW")]
    assert world.rows(
        "SELECT column_name, data_type, is_nullable, is_partitioning_column,"
        " clustering_ordinal_position FROM `test-project.d.INFORMATION_SCHEMA.COLUMNS`"
        " WHERE table_name = 'p' ORDER BY ordinal_position"
    ) == [("id", "INT64", "NO", "NO", "1"), ("day", "DATE", "YES", "YES", None)]
    assert world.rows(
        "SELECT partition_id, total_rows FROM d.INFORMATION_SCHEMA.PARTITIONS"
        " WHERE table_name = 'p' ORDER BY partition_id"
    ) == [("20250101", "2"), ("__NULL__", "1")]
    assert world.rows("SELECT table_name, view_definition FROM d.INFORMATION_SCHEMA.VIEWS") == [
        ("v", "SELECT 1 AS a")
    ]
    assert world.rows("SELECT schema_name FROM `region-us`.INFORMATION_SCHEMA.SCHEMATA") == [("d",)]
    assert world.rows("SELECT COUNT(*) FROM `region-us`.INFORMATION_SCHEMA.JOBS") == [("0",)]
    assert "INFORMATION_SCHEMA.NOPE was not found" in message_of(
        world, "SELECT * FROM d.INFORMATION_SCHEMA.NOPE"
    )


def test_wildcard_tables(world: World) -> None:
    for day in ("20250101", "20250102"):
        world.run(f"CREATE TABLE log_{day} AS SELECT '{day}' AS s")
    assert world.rows(
        "SELECT s, _TABLE_SUFFIX AS x FROM `d.log_*` WHERE _TABLE_SUFFIX > '20250101'"
    ) == [("20250102", "20250102")]
    assert world.types("SELECT * FROM `log_*`") == ["s STRING"]
    assert "was not found" in message_of(world, "SELECT * FROM `d.nope_*`")
