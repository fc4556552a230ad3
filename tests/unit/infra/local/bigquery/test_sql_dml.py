"""INSERT, UPDATE, DELETE, TRUNCATE and MERGE: rows, counts, refusals, atomicity."""

from collections.abc import Iterator

import pytest

from infra.local.bigquery.errors import ApiError
from tests.unit.infra.local.bigquery.sql_world import World, scalar


@pytest.fixture
def world() -> Iterator[World]:
    with World() as made:
        made.table(
            "t",
            "id INTEGER",
            "v NUMERIC",
            "s STRING",
            "tags STRING REPEATED",
            {
                "name": "r",
                "type": "RECORD",
                "fields": [
                    {"name": "x", "type": "INTEGER"},
                    {
                        "name": "in",
                        "type": "RECORD",
                        "fields": [{"name": "y", "type": "STRING"}],
                    },
                ],
            },
        )
        made.run(
            "INSERT t VALUES (1, 1, 'a', ['p'], (1, STRUCT('y1'))), (2, 2, 'b', [], NULL),"
            " (3, NULL, NULL, NULL, NULL)"
        )
        yield made


def counts(world: World, sql: str) -> tuple[str, int, int, int]:
    result = world.run(sql)
    stats = result.dml_stats
    assert stats is not None
    assert result.num_dml_affected_rows == sum(stats.values())
    assert result.rows is None
    return (
        result.statement_type,
        stats["insertedRowCount"],
        stats["updatedRowCount"],
        stats["deletedRowCount"],
    )


def test_insert_values_select_default_and_column_list(world: World) -> None:
    assert counts(world, "INSERT INTO t (id, s) VALUES (4, DEFAULT), (5, 'e')") == (
        "INSERT", 2, 0, 0,
    )  # fmt: skip
    assert (
        counts(world, "INSERT d.t (s, id) SELECT CONCAT(s, '!'), id + 100 FROM t WHERE id < 3")[1]
        == 2
    )
    assert world.rows("SELECT id, s, tags FROM t WHERE id > 3 ORDER BY id") == [
        ("4", None, []),
        ("5", "e", []),
        ("101", "a!", []),
        ("102", "b!", []),
    ]


def test_insert_coerces_literals_and_rounds_numerics(world: World) -> None:
    world.table("k", "n NUMERIC", "f FLOAT", "d DATE", "at TIMESTAMP", "j JSON")
    world.run(
        "INSERT k VALUES (1.0000000005, 1, '2025-01-01', '2025-01-01 00:00:00', JSON '{\"a\": 1}')"
    )
    world.run("INSERT k (d, n) SELECT '2025-02-03', 5")
    assert world.rows("SELECT * FROM k ORDER BY d") == [
        ("1.000000001", "1.0", "2025-01-01", "1735689600.0", '{"a":1}'),
        ("5", None, "2025-02-03", None, None),
    ]


def test_default_values_of_columns(world: World) -> None:
    world.run("CREATE TABLE df (id INT64, s STRING DEFAULT 'x', n INT64 DEFAULT 1 + 1)")
    world.run("INSERT df (id) VALUES (1)")
    world.run("INSERT df VALUES (2, DEFAULT, 9)")
    assert world.rows("SELECT * FROM df ORDER BY id") == [("1", "x", "2"), ("2", "x", "9")]


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("INSERT t (id, nope) VALUES (1, 2)", "Column nope is not present in table t at [1:8]"),
        ("INSERT t (id) VALUES (1, 2)",
         "Inserted row has wrong column count; Has 2, expected 1 at [1:23]"),
        ("INSERT t (id) VALUES ('x')", ("Value has type STRING which cannot be inserted into column"
         " id, which has type INT64 at [1:23]")),
        ("INSERT t (id, ID) VALUES (1, 2)", "INSERT has columns with duplicate name: ID at [1:8]"),
        ("UPDATE t SET v = 1", "UPDATE must have a WHERE clause at [1:8]"),
        ("UPDATE t SET v = 1, v = 2 WHERE TRUE", "Update item v assigned more than once at [1:21]"),
        ("UPDATE t SET nope = 1 WHERE TRUE", "Column nope is not present in table t at [1:14]"),
        ("DELETE FROM t", "DELETE must have a WHERE clause at [1:13]"),
        ("DELETE FROM missing WHERE TRUE",
         "Not found: Table test-project:d.missing was not found in location US"),
    ],
)  # fmt: skip
def test_refused(world: World, sql: str, message: str) -> None:
    with pytest.raises(ApiError) as caught:
        world.run(sql)
    assert caught.value.message == message


def test_update_counts_matched_rows_and_nested_fields(world: World) -> None:
    assert counts(world, "UPDATE t SET v = v + 0.5, s = UPPER(s) WHERE id <= 2") == (
        "UPDATE", 0, 2, 0,
    )  # fmt: skip
    assert counts(world, "UPDATE t AS x SET x.r.in.y = 'new', tags = ['q'] WHERE x.id = 1")[2] == 1
    assert counts(world, "UPDATE t SET v = DEFAULT WHERE id = 2")[2] == 1
    assert world.rows("SELECT v, s, r, tags FROM t WHERE id <= 2 ORDER BY id") == [
        ("1.5", "A", {"x": "1", "in": {"y": "new"}}, ["q"]),
        (None, "B", None, []),
    ]
    assert counts(world, "UPDATE t SET v = 0 WHERE FALSE")[2] == 0


def test_update_from_other_tables(world: World) -> None:
    world.table("u", "id INTEGER", "v NUMERIC")
    world.run("INSERT u VALUES (1, 10), (2, 20)")
    assert counts(world, "UPDATE t SET v = u.v FROM d.u WHERE t.id = u.id")[2] == 2
    assert world.rows("SELECT id, v FROM t ORDER BY id") == [("1", "10"), ("2", "20"), ("3", None)]
    world.run("INSERT u VALUES (1, 11)")
    with pytest.raises(ApiError) as caught:
        world.run("UPDATE t SET v = u.v FROM u WHERE t.id = u.id")
    assert caught.value.message == (
        "UPDATE/MERGE must match at most one source row for each target row"
    )
    assert world.value("SELECT v FROM t WHERE id = 1") == "10"


def test_delete_and_truncate(world: World) -> None:
    assert counts(world, "DELETE t WHERE id IN (SELECT 1 UNION ALL SELECT 9)") == (
        "DELETE", 0, 0, 1,
    )  # fmt: skip
    assert counts(world, "DELETE FROM t AS x WHERE x.s IS NULL")[3] == 1
    assert counts(world, "TRUNCATE TABLE t") == ("TRUNCATE_TABLE", 0, 0, 1)
    assert world.value("SELECT COUNT(*) FROM t") == "0"


def test_parameters_in_dml(world: World) -> None:
    parameters = [scalar("id", "INT64", "2"), scalar("s", "STRING", "it's")]
    world.run("UPDATE t SET s = @s WHERE id = @id", parameters=parameters)
    assert world.value("SELECT s FROM t WHERE id = 2") == "it's"


def test_merge_with_every_kind_of_clause(world: World) -> None:
    sql = (
        "MERGE INTO t USING (SELECT 1 AS id, NUMERIC '9' AS v UNION ALL SELECT 2, NULL"
        " UNION ALL SELECT 7, 7) AS s ON t.id = s.id"
        " WHEN MATCHED AND s.v IS NULL THEN DELETE"
        " WHEN MATCHED THEN UPDATE SET v = s.v, tags = ARRAY_CONCAT(t.tags, ['m'])"
        " WHEN NOT MATCHED BY TARGET AND s.v > 100 THEN INSERT (id) VALUES (0)"
        " WHEN NOT MATCHED THEN INSERT (id, v, s) VALUES (id, v, 'merged')"
        " WHEN NOT MATCHED BY SOURCE AND t.id = 3 THEN UPDATE SET s = 'alone'"
    )
    assert counts(world, sql) == ("MERGE", 1, 2, 1)
    assert world.rows("SELECT id, v, s, tags FROM t ORDER BY id") == [
        ("1", "9", "a", ["p", "m"]),
        ("3", None, "alone", []),
        ("7", "7", "merged", []),
    ]


def test_merge_on_false_replaces(world: World) -> None:
    world.table("flat", "id INTEGER", "s STRING")
    world.run("INSERT flat VALUES (1, 'old'), (2, 'old')")
    sql = (
        "MERGE flat USING (SELECT 5 AS a, 'new' AS b) ON FALSE"
        " WHEN NOT MATCHED THEN INSERT ROW WHEN NOT MATCHED BY SOURCE THEN DELETE"
    )
    assert counts(world, sql) == ("MERGE", 1, 0, 2)
    assert world.rows("SELECT * FROM flat") == [("5", "new")]


def test_merge_refuses_two_source_rows_for_one_target_row(world: World) -> None:
    sql = (
        "MERGE t USING (SELECT 1 AS id UNION ALL SELECT 1) s ON t.id = s.id"
        " WHEN MATCHED THEN UPDATE SET v = 0"
    )
    with pytest.raises(ApiError) as caught:
        world.run(sql)
    assert (caught.value.reason, caught.value.message) == (
        "invalidQuery",
        "UPDATE/MERGE must match at most one source row for each target row",
    )
    assert world.value("SELECT v FROM t WHERE id = 1") == "1"


def test_merge_into_a_partitioned_table_sets_the_partition(world: World) -> None:
    world.table("ing", "id INTEGER", time_partitioning={"type": "DAY"})
    world.run("MERGE ing USING (SELECT 1 AS id) s ON FALSE WHEN NOT MATCHED THEN INSERT ROW")
    assert world.value("SELECT _PARTITIONTIME IS NOT NULL FROM ing") == "true"


def test_failing_statement_changes_nothing(world: World) -> None:
    for sql in (
        "INSERT t (id, v) SELECT 9, NUMERIC '1' / (id - 3) FROM t",
        "UPDATE t SET v = NUMERIC '1' / (id - 3) WHERE TRUE",
        (
            "MERGE t USING (SELECT 1 AS id, 0 AS z) s ON t.id = s.id"
            " WHEN MATCHED THEN UPDATE SET v = NUMERIC '1' / z"
        ),
    ):
        with pytest.raises(ApiError, match="division by zero"):
            world.run(sql)
    assert world.rows("SELECT id, v FROM t ORDER BY id") == [("1", "1"), ("2", "2"), ("3", None)]


def test_dry_run_of_dml_names_its_target_and_sources(world: World) -> None:
    world.table("u", "id INTEGER")
    plan = world.dry_run("MERGE t USING u ON t.id = u.id WHEN MATCHED THEN DELETE")
    assert plan.statement_type == "MERGE"
    assert plan.dml_target == world.ref("t")
    assert plan.referenced_tables == [world.ref("t"), world.ref("u")]
    assert world.value("SELECT COUNT(*) FROM t") == "3"
