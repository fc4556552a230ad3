"""Windows and aggregates where DuckDB answers differently."""

from tests.unit.infra.local.bigquery.sql_world import World


def test_a_named_window_inherits_the_partition_of_its_base() -> None:
    sql = """
        SELECT x, y, FIRST_VALUE(y) OVER whole AS first, LAST_VALUE(y) OVER whole AS last
        FROM UNNEST([STRUCT('a' AS x, 2 AS y), ('a', 1), ('b', 7), ('b', 9)])
        WINDOW
          ordered AS (PARTITION BY x ORDER BY y),
          whole AS (ordered ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING)
        ORDER BY x, y
    """
    with World() as world:
        rows = world.run(sql).rows
    assert rows is not None
    assert [tuple(row.values()) for row in rows.to_pylist()] == [
        ("a", 1, 1, 2),
        ("a", 2, 1, 2),
        ("b", 7, 7, 9),
        ("b", 9, 7, 9),
    ]


def test_countif_of_no_rows_is_zero() -> None:
    with World() as world:
        empty = "UNNEST(CAST([] AS ARRAY<INT64>)) AS x"
        assert world.rows(f"SELECT COUNTIF(x > 1), COUNT(*) FROM {empty}") == [("0", "0")]
