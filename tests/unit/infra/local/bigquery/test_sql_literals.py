"""Literals taken out of a text: which, and that a query means the same without them."""

from collections.abc import Iterator

import pytest

from infra.local.bigquery.errors import ApiError
from infra.local.bigquery.sql.literals import take_out
from tests.unit.infra.local.bigquery.sql_world import World


@pytest.fixture
def world() -> Iterator[World]:
    with World() as made:
        made.table("t", "id INTEGER", "s STRING", "d DATE", "n NUMERIC", "f FLOAT")
        made.run("INSERT t VALUES (1, 'a', '2025-01-01', 1.5, 1), (2, 'b', '2025-01-02', 2, 2.5)")
        yield made


@pytest.mark.parametrize(
    ("sql", "template", "values"),
    [
        ("SELECT a FROM t WHERE a = 5", "SELECT a FROM t WHERE a = @__literal_0", [5]),
        ("select a from t where s='x' and a<=7 limit 3",
         "select a from t where s=@__literal_0 and a<=@__literal_1 limit 3", ["x", 7]),
        ("SELECT a FROM t WHERE a IN (1, 2) OR s IN ('x')",
         "SELECT a FROM t WHERE a IN (@__literal_0, @__literal_1) OR s IN (@__literal_2)",
         [1, 2, "x"]),
        ("SELECT a FROM t -- it's = 5\nWHERE a = 1 # = 2",
         "SELECT a FROM t -- it's = 5\nWHERE a = @__literal_0 # = 2", [1]),
        ('SELECT a FROM t WHERE s = "it\'s"', "SELECT a FROM t WHERE s = @__literal_0", ["it's"]),
    ],
)  # fmt: skip
def test_taken_out(sql: str, template: str, values: list[object]) -> None:
    found = take_out(sql)
    assert found is not None
    assert found.sql == template
    assert [value for _, value in found.values.values()] == values


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 5, 'x'",
        "SELECT a FROM t WHERE n = 1.5",
        "SELECT a FROM t WHERE a = -5",
        "SELECT a FROM t WHERE s = r'x'",
        "SELECT a FROM t WHERE s = '''x'''",
        r"SELECT a FROM t WHERE s = 'a\n'",
        "SELECT a FROM t WHERE a = 5 + b",
        "SELECT a FROM t WHERE a = 99999999999999999999",
        "SELECT a FROM t WHERE a IN (SELECT 1)",
        "SELECT f(x => 5)",
        "SELECT `a = 5` FROM t",
        "INSERT t SELECT a FROM t WHERE a = 5",
        "DECLARE x INT64; SELECT x = 5",
        "SELECT a FROM t ORDER BY 1 LIMIT 5",
    ],
)
def test_left_as_it_is(sql: str) -> None:
    assert take_out(sql) is None


def test_each_value_gives_its_own_rows(world: World) -> None:
    for number, day, text in ((1, "2025-01-01", "a"), (2, "2025-01-02", "b")):
        for condition in (
            f"id = {number}",
            f"s = '{text}'",
            f"d = '{day}'",
            f"d IN ('{day}')",
            f"id IN ({number}, 77)",
            f"n >= {number} AND n < {number + 1} AND s = '{text}'",
            f"f >= {number} AND id = {number}",
            f"CASE WHEN s = '{text}' THEN id ELSE 0 END = {number}",
        ):
            sql = f"SELECT id FROM t WHERE {condition}"
            assert world.rows(sql) == world.rows(sql) == [(str(number),)], sql


def test_grouping_by_an_expression_with_a_literal(world: World) -> None:
    sql = "SELECT s = 'a', COUNT(*) FROM t GROUP BY s = 'a' ORDER BY 1"
    assert world.rows(sql) == [("false", "1"), ("true", "1")]


def test_errors_are_those_of_the_text_as_written(world: World) -> None:
    for sql, message in (
        ("SELECT id FROM t WHERE d = 'soon'",
         'Could not cast literal "soon" to type DATE at [1:28]'),
        ("SELECT id FROM t WHERE s = 5", ("No matching signature for operator = for argument types:"
         " STRING, INT64. Supported signature: ANY = ANY at [1:24]")),
        ("SELECT id FROM t WHERE id = 5 AND nope = 1", "Unrecognized name: nope at [1:35]"),
        ("SELECT id FROM t WHERE DIV(id, 0) = 5", "division by zero: DIV(1, 0)"),
    ):  # fmt: skip
        for _ in range(2):
            with pytest.raises(ApiError) as caught:
                world.run(sql)
            assert caught.value.message == message


def test_bytes_of_a_pruned_query_follow_the_value(world: World) -> None:
    world.table("p", "id INTEGER", "d DATE", time_partitioning={"type": "DAY", "field": "d"})
    world.run("INSERT p VALUES (1, '2025-01-01'), (2, '2025-01-02'), (3, '2025-01-02')")
    for day, size in (("2025-01-01", 16), ("2025-01-02", 32), ("2025-01-03", 0)):
        assert world.run(f"SELECT id FROM p WHERE d = '{day}'").total_bytes_processed == size
