"""Query parameters: every type both ways, coercion, missing ones, and text that stays text."""

from collections.abc import Iterator
from typing import Any

import pytest

from infra.local.bigquery.errors import ApiError
from tests.unit.infra.local.bigquery.sql_world import World, array, scalar


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with World() as made:
        made.table("t", "id INTEGER", "name STRING", "day DATE", "at TIMESTAMP", "n NUMERIC")
        made.run(
            "INSERT t VALUES (1, 'a', '2025-01-01', '2025-01-01 10:00:00+00', 1.5),"
            " (2, NULL, '2025-01-02', '2025-01-02 10:00:00+00', NULL)"
        )
        yield made


@pytest.mark.parametrize(
    ("kind", "value", "column", "text"),
    [
        ("INT64", "-9223372036854775808", "INTEGER", "-9223372036854775808"),
        ("INTEGER", "5", "INTEGER", "5"),
        ("FLOAT64", "1.5e300", "FLOAT", "1.5e+300"),
        ("FLOAT64", "NaN", "FLOAT", "NaN"),
        ("FLOAT64", "-inf", "FLOAT", "-Infinity"),
        ("NUMERIC", "99999999999999999999999999999.999999999", "NUMERIC",
         "99999999999999999999999999999.999999999"),
        ("BIGNUMERIC", "1.000000000000000001", "BIGNUMERIC", "1.000000000000000001"),
        ("BOOL", "true", "BOOLEAN", "true"),
        ("STRING", "it's; DROP TABLE t -- \\ \" ` \n é", "STRING",
         "it's; DROP TABLE t -- \\ \" ` \n é"),
        ("STRING", "", "STRING", ""),
        ("STRING", "a\0b", "STRING", "a\0b"),
        ("BYTES", "AP8=", "BYTES", "AP8="),
        ("DATE", "0001-01-01", "DATE", "0001-01-01"),
        ("TIME", "23:59:59.999999", "TIME", "23:59:59.999999"),
        ("DATETIME", "2025-01-02 03:04:05.5", "DATETIME", "2025-01-02T03:04:05.500000"),
        ("TIMESTAMP", "2025-01-01T00:00:00Z", "TIMESTAMP", "1735689600.0"),
        ("TIMESTAMP", "2025-01-01 00:00:00.000001+05:30", "TIMESTAMP", "1735669800.000001"),
        ("JSON", '{"a": [1]}', "JSON", '{"a":[1]}'),
    ],
)  # fmt: skip
def test_value_comes_back(world: World, kind: str, value: str, column: str, text: str) -> None:
    parameters = [scalar("x", kind, value)]
    result = world.run("SELECT @x AS x", parameters=parameters)
    assert result.schema[0]["type"] == column
    assert world.value("SELECT @x AS x", parameters=parameters) == text
    positional = [scalar("", kind, value)]
    assert world.value("SELECT ?", parameter_mode="POSITIONAL", parameters=positional) == text


@pytest.mark.parametrize("kind", ["INT64", "NUMERIC", "STRING", "DATE", "TIMESTAMP", "BYTES"])
def test_typed_null(world: World, kind: str) -> None:
    assert world.rows("SELECT @x, @x IS NULL", parameters=[scalar("x", kind, None)]) == [
        (None, "true")
    ]


def test_arrays_also_empty_ones(world: World) -> None:
    sql = "SELECT id FROM t WHERE id IN UNNEST(@ids) ORDER BY id"
    assert world.rows(sql, parameters=[array("ids", "INT64", ["1", "2", "9"])]) == [("1",), ("2",)]
    assert world.rows(sql, parameters=[array("ids", "INT64", [])]) == []
    days = [array("x", "DATE", ["2025-01-01"])]
    assert world.value("SELECT @x", parameters=days) == ["2025-01-01"]
    assert world.value("SELECT ARRAY_LENGTH(@x)", parameters=days) == "1"


def test_structs_and_arrays_of_structs(world: World) -> None:
    kind = {
        "type": "STRUCT",
        "structTypes": [
            {"name": "id", "type": {"type": "INT64"}},
            {"name": "at", "type": {"type": "TIMESTAMP"}},
        ],
    }
    one = {"structValues": {"id": {"value": "7"}, "at": {"value": "2025-01-01T00:00:00Z"}}}
    record = {"name": "x", "parameterType": kind, "parameterValue": one}
    assert world.rows("SELECT @x.id, @x", parameters=[record]) == [
        ("7", {"id": "7", "at": "1735689600.0"})
    ]
    many = {
        "name": "x",
        "parameterType": {"type": "ARRAY", "arrayType": kind},
        "parameterValue": {"arrayValues": [one, one]},
    }
    assert world.rows("SELECT SUM(r.id) FROM UNNEST(@x) AS r", parameters=[many]) == [("14",)]


@pytest.mark.parametrize(
    "condition",
    [
        "day = @x",
        "day BETWEEN @x AND '2025-01-01'",
        "at >= @x AND at < TIMESTAMP_ADD(@x, INTERVAL 1 DAY)",
        "day IN (@x)",
        "DATE_ADD(@x, INTERVAL 1 DAY) = '2025-01-02' AND id = 1",
    ],
)
def test_string_parameter_coerces_to_dates_and_times(world: World, condition: str) -> None:
    parameters = [scalar("x", "STRING", "2025-01-01")]
    assert world.rows(f"SELECT id FROM t WHERE {condition}", parameters=parameters) == [("1",)]


def test_string_parameter_does_not_coerce_to_numbers(world: World) -> None:
    with pytest.raises(ApiError, match="No matching signature for operator ="):
        world.run("SELECT id FROM t WHERE id = @x", parameters=[scalar("x", "STRING", "1")])


def test_string_that_is_no_date_fails_with_its_text(world: World) -> None:
    with pytest.raises(ApiError) as caught:
        world.run("SELECT id FROM t WHERE day = @x", parameters=[scalar("x", "STRING", "soon")])
    assert caught.value.message == "Invalid date: 'soon'"


def test_names_ignore_case(world: World) -> None:
    assert world.value("SELECT @Day", parameters=[scalar("dAY", "INT64", "5")]) == "5"


@pytest.mark.parametrize(
    ("sql", "more", "message"),
    [
        ("SELECT @x", {}, "Query parameter 'x' not found at [1:8]"),
        ("SELECT\n  @y", {"parameters": [scalar("x", "INT64", "1")]},
         "Query parameter 'y' not found at [2:3]"),
        ("SELECT ?, ?", {"parameter_mode": "POSITIONAL", "parameters": [scalar("", "INT64", "1")]},
         "Query parameter number 2 not found"),
        ("SELECT @x", {"parameters": [scalar("x", "INT64", "abc")]},
         "Invalid value for query parameter x of type INT64: 'abc'"),
        ("SELECT @x", {"parameters": [scalar("x", "DATE", "2025-02-30")]},
         "Invalid value for query parameter x of type DATE: '2025-02-30'"),
        ("SELECT @x", {"parameters": [scalar("x", "NUMERIC", "1e40")]},
         "Invalid value for query parameter x of type NUMERIC: '1e40'"),
    ],
)  # fmt: skip
def test_missing_or_wrong(world: World, sql: str, more: dict[str, Any], message: str) -> None:
    with pytest.raises(ApiError) as caught:
        world.run(sql, **more)
    assert (caught.value.reason, caught.value.message) == ("invalidQuery", message)


def test_dry_run_reports_undeclared_parameters_with_their_types(world: World) -> None:
    plan = world.dry_run("SELECT id, @label FROM t WHERE day = @day AND n > @least LIMIT @n")
    found = {p["name"]: p["parameterType"]["type"] for p in plan.undeclared_parameters}
    assert found == {"label": "INT64", "day": "DATE", "least": "NUMERIC", "n": "INT64"}


def test_limit_takes_a_parameter(world: World) -> None:
    parameters = [scalar("n", "INT64", "1")]
    assert world.rows("SELECT id FROM t ORDER BY id LIMIT @n", parameters=parameters) == [("1",)]


def test_a_value_never_becomes_sql(world: World) -> None:
    hostile = "x' OR '1'='1"
    assert (
        world.rows("SELECT id FROM t WHERE name = @x", parameters=[scalar("x", "STRING", hostile)])
        == []
    )
    assert world.value(f'SELECT "{hostile}"') == hostile
    literal = world.value(r"SELECT 'it\'s \\ \n done'")
    assert literal == "it's \\ \n done"


def test_changed_type_of_a_parameter_is_a_new_translation(world: World) -> None:
    sql = "SELECT @x + 1 AS y"
    assert world.types(sql, parameters=[scalar("x", "INT64", "1")]) == ["y INTEGER"]
    assert world.types(sql, parameters=[scalar("x", "NUMERIC", "1")]) == ["y NUMERIC"]
    assert world.types(sql, parameters=[scalar("x", "FLOAT64", "1")]) == ["y FLOAT"]
