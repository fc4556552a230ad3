"""SELECT: names, joins, arrays, grouping, windows, set operations, order."""

from collections.abc import Iterator
from typing import Any

import pytest

from infra.local.bigquery.errors import ApiError
from tests.unit.infra.local.bigquery.sql_world import PROJECT, World


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with World() as made:
        made.table(
            "people",
            "id INTEGER",
            "name STRING",
            "team STRING",
            "score NUMERIC",
            {
                "name": "pets",
                "type": "RECORD",
                "mode": "REPEATED",
                "fields": [{"name": "kind", "type": "STRING"}, {"name": "age", "type": "INTEGER"}],
            },
            {
                "name": "address",
                "type": "RECORD",
                "fields": [{"name": "city", "type": "STRING"}, {"name": "zip", "type": "STRING"}],
            },
        )
        made.run(
            "INSERT people VALUES"
            " (1, 'Ann', 'red', 1.5, [('cat', 3), ('dog', 5)], ('Rome', '00100')),"
            " (2, 'Bob', 'red', 2.5, [('cat', 1)], ('Oslo', NULL)),"
            " (3, 'Cid', 'blue', NULL, [], NULL),"
            " (4, NULL, NULL, 4, [('fish', NULL)], ('Rome', '00200'))"
        )
        made.table("teams", "team STRING", "floor INTEGER")
        made.run("INSERT teams VALUES ('red', 1), ('green', 2)")
        yield made


# --- what a query gives: sql -> (types, rows)

_QUERIES: list[tuple[str, list[str], list[tuple[Any, ...]]]] = [
    # columns and names
    ("SELECT 1, 'a' AS b, 2", ["f0_ INTEGER", "b STRING", "f1_ INTEGER"], [("1", "a", "2")]),
    ("SELECT address.city, p.name FROM people AS p WHERE p.id = 1",
     ["city STRING", "name STRING"], [("Rome", "Ann")]),
    (f"SELECT id FROM `{PROJECT}.d.people` WHERE id = 1", ["id INTEGER"], [("1",)]),
    (f"SELECT id FROM `{PROJECT}`.d.people WHERE id = 1", ["id INTEGER"], [("1",)]),
    (f"SELECT id FROM {PROJECT}.d.people WHERE id = 1", ["id INTEGER"], [("1",)]),
    ("SELECT ID, Name FROM d.people WHERE iD = 1", ["ID INTEGER", "Name STRING"], [("1", "Ann")]),
    ("SELECT people.id FROM d.people WHERE people.id = 1", ["id INTEGER"], [("1",)]),
    ("SELECT * EXCEPT (pets, address, score) FROM people WHERE id = 1",
     ["id INTEGER", "name STRING", "team STRING"], [("1", "Ann", "red")]),
    ("SELECT p.* REPLACE (UPPER(name) AS name) FROM (SELECT id, name FROM people) p WHERE id = 1",
     ["id INTEGER", "name STRING"], [("1", "ANN")]),
    ("SELECT address.* FROM people WHERE id = 1", ["city STRING", "zip STRING"],
     [("Rome", "00100")]),
    ("SELECT AS STRUCT 1 AS a, 'x' AS b", ["a INTEGER", "b STRING"], [("1", "x")]),
    ("SELECT t FROM (SELECT 1 AS a, 'x' AS b) AS t", ["t RECORD"], [({"a": "1", "b": "x"},)]),
    ("WITH a AS (SELECT 1 AS x), b AS (SELECT x + 1 AS x FROM a) SELECT a.x, b.x AS y FROM a, b",
     ["x INTEGER", "y INTEGER"], [("1", "2")]),
    ("WITH people AS (SELECT 'shadow' AS name) SELECT name FROM people", ["name STRING"],
     [("shadow",)]),
    (("WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n WHERE i < 4)"
     " SELECT SUM(i) AS s FROM n"), ["s INTEGER"], [("10",)]),
    ("SELECT x FROM (SELECT NULL AS x UNION ALL SELECT 'a') ORDER BY x", ["x STRING"],
     [(None,), ("a",)]),
    # joins
    ("SELECT p.id, t.floor FROM people p LEFT JOIN teams t ON p.team = t.team ORDER BY id",
     ["id INTEGER", "floor INTEGER"], [("1", "1"), ("2", "1"), ("3", None), ("4", None)]),
    (("SELECT * EXCEPT (pets, address, score, name) FROM people JOIN teams USING (team)"
     " ORDER BY id"), ["team STRING", "id INTEGER", "floor INTEGER"],
     [("red", "1", "1"), ("red", "2", "1")]),
    (("SELECT team, COUNT(id) AS n FROM people FULL JOIN teams USING (team) GROUP BY team"
     " ORDER BY team"), ["team STRING", "n INTEGER"],
     [(None, "1"), ("blue", "1"), ("green", "0"), ("red", "2")]),
    ("SELECT COUNT(*) AS n FROM people, teams", ["n INTEGER"], [("8",)]),
    ("SELECT COUNT(*) AS n FROM people a CROSS JOIN people b WHERE a.id < b.id",
     ["n INTEGER"], [("6",)]),
    ("SELECT t.team FROM people p RIGHT JOIN teams t ON t.team = p.team WHERE p.id IS NULL",
     ["team STRING"], [("green",)]),
    # arrays
    ("SELECT id, pet.kind FROM people, UNNEST(pets) AS pet ORDER BY id, kind",
     ["id INTEGER", "kind STRING"], [("1", "cat"), ("1", "dog"), ("2", "cat"), ("4", "fish")]),
    ("SELECT id, kind FROM people p, p.pets ORDER BY id, kind LIMIT 1",
     ["id INTEGER", "kind STRING"], [("1", "cat")]),
    (("SELECT id, pet.kind, pos FROM people LEFT JOIN UNNEST(pets) AS pet WITH OFFSET AS pos"
     " WHERE id IN (1, 3) ORDER BY id, pos"), ["id INTEGER", "kind STRING", "pos INTEGER"],
     [("1", "cat", "0"), ("1", "dog", "1"), ("3", None, None)]),
    ("SELECT id, pet.age FROM people LEFT JOIN UNNEST(pets) AS pet ON pet.kind = 'dog' ORDER BY 1",
     ["id INTEGER", "age INTEGER"], [("1", "5"), ("2", None), ("3", None), ("4", None)]),
    ("SELECT x, o FROM UNNEST(['a', 'b']) AS x WITH OFFSET o ORDER BY o DESC",
     ["x STRING", "o INTEGER"], [("b", "1"), ("a", "0")]),
    ("SELECT * FROM UNNEST([STRUCT(1 AS a, 'x' AS b)])", ["a INTEGER", "b STRING"], [("1", "x")]),
    ("SELECT * FROM UNNEST([1, 2]) AS n ORDER BY n", ["n INTEGER"], [("1",), ("2",)]),
    ("SELECT id, (SELECT SUM(p.age) FROM UNNEST(pets) AS p) AS ages FROM people ORDER BY id",
     ["id INTEGER", "ages INTEGER"], [("1", "8"), ("2", "1"), ("3", None), ("4", None)]),
    (("SELECT id, (SELECT COUNT(*) FROM UNNEST(pets) p WHERE p.age > 2) AS n FROM people"
     " ORDER BY id"), ["id INTEGER", "n INTEGER"],
     [("1", "2"), ("2", "0"), ("3", "0"), ("4", "0")]),
    (("SELECT id, (SELECT COUNT(p.age) FROM people.pets AS p) AS n FROM people ORDER BY id DESC"
     " LIMIT 1"), ["id INTEGER", "n INTEGER"], [("4", "0")]),
    ("SELECT (SELECT age FROM UNNEST(pets) WHERE kind = 'dog') AS a FROM people WHERE id = 1",
     ["a INTEGER"], [("5",)]),
    (("SELECT id FROM people WHERE EXISTS (SELECT 1 FROM UNNEST(pets) WHERE kind = 'cat')"
     " ORDER BY id"), ["id INTEGER"], [("1",), ("2",)]),
    ("SELECT id FROM people WHERE 'dog' IN (SELECT kind FROM UNNEST(pets))", ["id INTEGER"],
     [("1",)]),
    (("SELECT ARRAY(SELECT AS STRUCT kind, age * 2 AS twice FROM UNNEST(pets) ORDER BY age DESC)"
     " AS p FROM people WHERE id = 1"), ["p RECORD REPEATED"],
     [([{"kind": "dog", "twice": "10"}, {"kind": "cat", "twice": "6"}],)]),
    (("SELECT (SELECT STRING_AGG(kind, '+' ORDER BY kind DESC) FROM UNNEST(pets)) AS k FROM people"
     " WHERE id = 1"), ["k STRING"], [("dog+cat",)]),
    # grouping
    (("SELECT team, COUNT(*) AS n, SUM(score) AS s, AVG(score) AS a FROM people GROUP BY team"
     " ORDER BY team"), ["team STRING", "n INTEGER", "s NUMERIC", "a NUMERIC"],
     [(None, "1", "4", "4"), ("blue", "1", None, None), ("red", "2", "4", "2")]),
    ("SELECT LENGTH(name) AS l, COUNT(*) AS n FROM people GROUP BY l ORDER BY l",
     ["l INTEGER", "n INTEGER"], [(None, "1"), ("3", "3")]),
    ("SELECT address.city, COUNT(*) AS n FROM people GROUP BY address.city ORDER BY n DESC, city",
     ["city STRING", "n INTEGER"], [("Rome", "2"), (None, "1"), ("Oslo", "1")]),
    ("SELECT UPPER(team) AS team, COUNT(*) AS n FROM people GROUP BY 1 HAVING n > 1",
     ["team STRING", "n INTEGER"], [("RED", "2")]),
    ("SELECT team, COUNT(*) AS n FROM people GROUP BY ALL ORDER BY n DESC, team LIMIT 1",
     ["team STRING", "n INTEGER"], [("red", "2")]),
    (("SELECT team, COUNT(*) AS n FROM people WHERE team IS NOT NULL GROUP BY ROLLUP (team)"
     " ORDER BY n DESC, team"), ["team STRING", "n INTEGER"],
     [(None, "3"), ("red", "2"), ("blue", "1")]),
    (("SELECT team, address.city, GROUPING(team) AS g FROM people WHERE id < 3"
     " GROUP BY GROUPING SETS ((team), (address.city)) ORDER BY g, team, city"),
     ["team STRING", "city STRING", "g INTEGER"],
     [("red", None, "0"), (None, "Oslo", "1"), (None, "Rome", "1")]),
    (("SELECT TO_JSON_STRING(ARRAY(SELECT kind FROM UNNEST(pets) ORDER BY kind)) AS k,"
     " COUNT(*) AS n FROM people GROUP BY k ORDER BY k"), ["k STRING", "n INTEGER"],
     [('["cat","dog"]', "1"), ('["cat"]', "1"), ('["fish"]', "1"), ("[]", "1")]),
    (("SELECT COUNT(DISTINCT team) AS c, COUNTIF(score > 2) AS n, LOGICAL_AND(id > 0) AS ok,"
     " LOGICAL_OR(id > 3) AS some, MIN(name) AS first, MAX(score) AS top FROM people"),
     ["c INTEGER", "n INTEGER", "ok BOOLEAN", "some BOOLEAN", "first STRING", "top NUMERIC"],
     [("2", "2", "true", "true", "Ann", "4")]),
    (("SELECT ARRAY_AGG(name IGNORE NULLS ORDER BY id DESC LIMIT 2) AS a,"
     " STRING_AGG(name, '/' ORDER BY name DESC) AS s, STRING_AGG(DISTINCT team ORDER BY team) AS t,"
     " ANY_VALUE(name HAVING MAX score) AS v, MAX_BY(name, id) AS m, MIN_BY(name, id) AS f"
     " FROM people"), ["a STRING REPEATED", "s STRING", "t STRING", "v STRING", "m STRING",
                      "f STRING"],
     [(["Cid", "Bob"], "Cid/Bob/Ann", "blue,red", None, None, "Ann")]),
    (("SELECT SUM(id) AS i, SUM(CAST(id AS FLOAT64)) AS f, AVG(id) AS a, SUM(score) AS n,"
     " APPROX_COUNT_DISTINCT(team) AS d FROM people"),
     ["i INTEGER", "f FLOAT", "a FLOAT", "n NUMERIC", "d INTEGER"],
     [("10", "10.0", "2.5", "8", "2")]),
    ("SELECT COUNT(*) AS n, SUM(id) AS s, MAX(id) AS m, ARRAY_AGG(id) AS a FROM people WHERE FALSE",
     ["n INTEGER", "s INTEGER", "m INTEGER", "a INTEGER REPEATED"], [("0", None, None, [])]),
    ("SELECT ARRAY_CONCAT_AGG(x) AS a FROM (SELECT [1, 2] AS x UNION ALL SELECT [3])",
     ["a INTEGER REPEATED"], [(["1", "2", "3"],)]),
    ("SELECT DISTINCT team FROM people ORDER BY team", ["team STRING"],
     [(None,), ("blue",), ("red",)]),
    # windows
    (("SELECT id, ROW_NUMBER() OVER (PARTITION BY team ORDER BY id DESC) AS r FROM people"
     " QUALIFY r = 1 ORDER BY id"), ["id INTEGER", "r INTEGER"],
     [("2", "1"), ("3", "1"), ("4", "1")]),
    (("SELECT id, SUM(score) OVER (ORDER BY id ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) AS s,"
     " LAG(id) OVER (ORDER BY id) AS b, LEAD(id, 1, 0) OVER (ORDER BY id) AS n FROM people"
     " ORDER BY id"), ["id INTEGER", "s NUMERIC", "b INTEGER", "n INTEGER"],
     [("1", "1.5", None, "2"), ("2", "4", "1", "3"), ("3", "2.5", "2", "4"), ("4", "4", "3", "0")]),
    (("SELECT id, LAST_VALUE(score IGNORE NULLS) OVER w AS v, COUNT(*) OVER () AS c FROM people"
     " WINDOW w AS (ORDER BY id) ORDER BY id"), ["id INTEGER", "v NUMERIC", "c INTEGER"],
     [("1", "1.5", "4"), ("2", "2.5", "4"), ("3", "2.5", "4"), ("4", "4", "4")]),
    (("SELECT team, SUM(COUNT(*)) OVER () AS t, RANK() OVER (ORDER BY COUNT(*) DESC) AS r"
     " FROM people GROUP BY team ORDER BY r, team LIMIT 1"),
     ["team STRING", "t INTEGER", "r INTEGER"], [("red", "4", "1")]),
    ("SELECT PERCENTILE_CONT(id, 0.5) OVER () AS p FROM people LIMIT 1", ["p FLOAT"], [("2.5",)]),
    # set operations
    ("SELECT 1 AS a UNION ALL SELECT 1 UNION ALL SELECT 2.5 ORDER BY a", ["a FLOAT"],
     [("1.0",), ("1.0",), ("2.5",)]),
    ("SELECT 1 AS a UNION DISTINCT SELECT 1", ["a INTEGER"], [("1",)]),
    ("SELECT id FROM people EXCEPT DISTINCT SELECT 1 ORDER BY id", ["id INTEGER"],
     [("2",), ("3",), ("4",)]),
    ("SELECT id FROM people INTERSECT DISTINCT SELECT 2", ["id INTEGER"], [("2",)]),
    ("(SELECT id FROM people ORDER BY id LIMIT 1) UNION ALL SELECT 9 ORDER BY id DESC",
     ["id INTEGER"], [("9",), ("1",)]),
    # order
    ("SELECT score FROM people ORDER BY score", ["score NUMERIC"],
     [(None,), ("1.5",), ("2.5",), ("4",)]),
    ("SELECT score FROM people ORDER BY score DESC", ["score NUMERIC"],
     [("4",), ("2.5",), ("1.5",), (None,)]),
    ("SELECT score FROM people ORDER BY score ASC NULLS LAST LIMIT 2 OFFSET 2", ["score NUMERIC"],
     [("4",), (None,)]),
    ("SELECT name AS n FROM people ORDER BY LENGTH(n), n DESC LIMIT 2", ["n STRING"],
     [(None,), ("Cid",)]),
    ("SELECT -id AS id FROM people ORDER BY id LIMIT 1", ["id INTEGER"], [("-4",)]),
    ("SELECT DISTINCT team AS t FROM people WHERE team IS NOT NULL ORDER BY LENGTH(t) DESC",
     ["t STRING"], [("blue",), ("red",)]),
    ("SELECT SUM(id) AS id FROM people GROUP BY team HAVING SUM(id) > 2 ORDER BY SUM(id)",
     ["id INTEGER"], [("3",), ("3",), ("4",)]),
    ("SELECT ARRAY_AGG(p ORDER BY id DESC LIMIT 1)[OFFSET(0)].name AS last FROM people AS p",
     ["last STRING"], [(None,)]),
    ("SELECT ARRAY_AGG(STRUCT(id, team) ORDER BY id LIMIT 1)[OFFSET(0)].* FROM people",
     ["id INTEGER", "team STRING"], [("1", "red")]),
    ("SELECT AS VALUE STRUCT(1 AS a, 'x' AS b)", ["a INTEGER", "b STRING"], [("1", "x")]),
    # pivots
    (("SELECT * FROM (SELECT team, id, score FROM people) PIVOT (SUM(score) AS s, COUNT(*) AS n"
     " FOR team IN ('red' AS r, 'blue')) WHERE id = 1"),
     ["id INTEGER", "s_r NUMERIC", "n_r INTEGER", "s_blue NUMERIC", "n_blue INTEGER"],
     [("1", "1.5", "1", None, "0")]),
    (("SELECT * FROM (SELECT 1 AS id, 10 AS q1, 20 AS q2) UNPIVOT (sales FOR quarter IN (q1, q2))"
     " ORDER BY quarter"), ["id INTEGER", "sales INTEGER", "quarter STRING"],
     [("1", "10", "q1"), ("1", "20", "q2")]),
    # subqueries
    (("SELECT id FROM people p WHERE score ="
     " (SELECT MAX(score) FROM people q WHERE q.team = p.team) ORDER BY id"),
     ["id INTEGER"], [("2",)]),
    ("SELECT id FROM people WHERE team NOT IN (SELECT team FROM teams)", ["id INTEGER"], [("3",)]),
    ("SELECT (SELECT AS STRUCT name, team FROM people WHERE id = 1).team AS t", ["t STRING"],
     [("red",)]),
]  # fmt: skip


@pytest.mark.parametrize(("sql", "types", "rows"), _QUERIES)
def test_query(world: World, sql: str, types: list[str], rows: list[tuple[Any, ...]]) -> None:
    assert world.types(sql) == types
    assert world.rows(sql) == rows


@pytest.mark.parametrize(("sql", "types", "rows"), _QUERIES)
def test_dry_run_gives_the_same_schema(
    world: World, sql: str, types: list[str], rows: list[tuple[Any, ...]]
) -> None:
    del types, rows
    assert world.dry_run(sql).schema == world.run(sql).schema


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("SELECT foo FROM people", "Unrecognized name: foo at [1:8]"),
        ("SELECT nme FROM people", "Unrecognized name: nme; Did you mean name? at [1:8]"),
        ("SELECT id,\n  p.zzz\nFROM people p", "Name zzz not found inside p at [2:5]"),
        ("SELECT address.zip2 FROM people",
         ("Field name zip2 does not exist in STRUCT<city STRING, zip STRING>; Did you mean zip?"
         " at [1:16]")),
        ("SELECT pets.kind FROM people",
         ("Cannot access field kind on a value with type ARRAY<STRUCT<kind STRING, age INT64>>"
         " at [1:13]")),
        ("SELECT id FROM people a, people b", "Column name id is ambiguous at [1:8]"),
        ("SELECT team, name FROM people GROUP BY team",
         ("SELECT list expression references column name which is neither grouped nor aggregated"
         " at [1:14]")),
        ("SELECT team FROM people GROUP BY team ORDER BY score",
         ("ORDER BY clause expression references column score which is neither grouped nor"
         " aggregated at [1:48]")),
        ("SELECT COUNT(*) FROM people WHERE SUM(id) > 1",
         "Aggregate function SUM not allowed in WHERE clause at [1:35]"),
        ("SELECT SUM(COUNT(*)) FROM people", ("Aggregations of aggregations are not allowed"
         " at [1:12]")),
        ("SELECT ROW_NUMBER() FROM people",
         "Analytic function ROW_NUMBER cannot be called without an OVER clause at [1:8]"),
        ("SELECT id FROM people WHERE ROW_NUMBER() OVER (ORDER BY id) = 1",
         "Analytic function ROW_NUMBER not allowed in this clause at [1:29]"),
        ("SELECT address, COUNT(*) FROM people GROUP BY address",
         "Grouping by expressions of type STRUCT is not allowed at [1:47]"),
        ("SELECT PARSE_JSON('1') AS j GROUP BY j",
         "Grouping by expressions of type JSON is not allowed at [1:8]"),
        ("SELECT DISTINCT pets FROM people",
         "Column pets of type ARRAY cannot be used in SELECT DISTINCT at [1:17]"),
        ("SELECT id FROM people ORDER BY pets",
         "ORDER BY does not support expressions of type ARRAY at [1:32]"),
        ("SELECT id FROM people WHERE id",
         ("WHERE clause should return type BOOL, but returns INT64"
         " at [1:29]")),
        ("SELECT id FROM people WHERE name = 5",
         ("No matching signature for operator = for argument types: STRING, INT64."
         " Supported signature: ANY = ANY at [1:29]")),
        ("SELECT 1 UNION ALL SELECT 1, 2",
         ("Queries in set operation have mismatched column count; query 1 has 1 column, query 2 has"
         " 2 at [1:8]")),
        ("SELECT 1 UNION ALL SELECT 'a'",
         "Column 1 in set operation has incompatible types: INT64, STRING at [1:8]"),
        ("SELECT 1 UNION SELECT 2",
         "Syntax error: Unexpected keyword SELECT at [1:16]"),
        ("SELECT id FROM people JOIN teams USING (nope)",
         "Column nope in USING clause not found on left side of join at [1:41]"),
        ("SELECT id FROM people LEFT JOIN teams", ("LEFT JOIN must have an immediately following ON"
         " or USING clause at [1:33]")),
        ("SELECT * FROM UNNEST(5)", ("Values referenced in UNNEST must be arrays. UNNEST contains"
         " expression of type INT64 at [1:22]")),
        ("SELECT *", "SELECT * must have a FROM clause at [1:8]"),
        ("SELECT * EXCEPT (zz) FROM teams",
         "Column zz in SELECT * EXCEPT list does not exist at [1:18]"),
        ("SELECT 1 AS a, 2 AS A",
         ("Duplicate column names in the result are not supported when a destination table is"
         " present. Found duplicate(s): A")),
        ("SELECT (SELECT 1, 2)", ("Scalar subquery cannot have more than one column unless using"
         " SELECT AS STRUCT to build STRUCT values at [1:16]")),
        ("SELECT DISTINCT team FROM people ORDER BY score",
         ("ORDER BY clause expression references a column which is not visible after SELECT"
         " DISTINCT at [1:43]")),
        ("SELECT (SELECT SUM(x) FROM UNNEST(ARRAY_AGG(id)) AS x) FROM people",
         "Aggregate function ARRAY_AGG not allowed here at [1:35]"),
        ("SELECT id FROM people ORDER BY 2",
         ("ORDER BY column number item is out of range. Column numbers must be between 1 and 1"
         " at [1:32]")),
        ("SELECT id FROM people HAVING id > 1",
         "The HAVING clause requires GROUP BY or aggregation to be present at [1:30]"),
        ("WITH a AS (SELECT 1), a AS (SELECT 2) SELECT * FROM a",
         "Duplicate alias a for WITH subquery at [1:23]"),
        ("SELECT id FROM people FOR SYSTEM_TIME AS OF CURRENT_TIMESTAMP()",
         "FOR SYSTEM_TIME AS OF is not supported by the local BigQuery at [1:16]"),
        # syntax
        ("SELECT FROM people", "SELECT list must not be empty at [1:13]"),
        ("SELECT id FRM people", 'Syntax error: Unexpected identifier "people" at [1:15]'),
        ("SELEC id", 'Syntax error: Unexpected identifier "SELEC" at [1:1]'),
        ("SELECT (1", "Syntax error: Unexpected end of script at [1:10]"),
        ("SELECT id FROM people WHERE", "Syntax error: Unexpected end of script at [1:28]"),
        ("SELECT id::STRING FROM people", 'Syntax error: Unexpected "::" at [1:10]'),
        ("SELECT 'abc", "Syntax error: Unclosed string literal"),
        ("SELECT `abc", "Syntax error: Unclosed identifier literal"),
        ("", "Syntax error: Unexpected end of statement"),
    ],
)  # fmt: skip
def test_refused_query(world: World, sql: str, message: str) -> None:
    with pytest.raises(ApiError) as caught:
        world.dry_run(sql)
    assert (caught.value.reason, caught.value.message) == ("invalidQuery", message)


def test_a_query_too_deep_to_plan_is_refused_not_a_crash(world: World) -> None:
    with pytest.raises(ApiError, match="query is too complex"):
        world.run(f"SELECT {' + '.join(['1'] * 5000)}")
    assert world.value(f"SELECT {'(' * 200}1{')' * 200}") == "1"
    many = " OR ".join(f"id = {n}" for n in range(1000))
    assert len(world.rows(f"SELECT id FROM people WHERE {many}")) == 4


def test_a_subquery_with_two_rows_fails_as_a_scalar(world: World) -> None:
    for sql in (
        "SELECT (SELECT id FROM people)",
        "SELECT (SELECT kind FROM UNNEST(pets)) FROM people",
    ):
        with pytest.raises(ApiError, match="Scalar subquery produced more than one element"):
            world.run(sql)


def test_null_elements_cannot_leave_a_query(world: World) -> None:
    with pytest.raises(ApiError) as caught:
        world.run("SELECT [1, NULL] AS x")
    assert caught.value.message == "Array cannot have a null element; error in writing field x"
    assert world.value("SELECT ARRAY_LENGTH([1, NULL])") == "2"


def test_a_sum_of_200_000_numerics_is_exact(world: World) -> None:
    total = world.value(
        "SELECT SUM(NUMERIC '0.000000001' * n) FROM UNNEST(GENERATE_ARRAY(1, 200000)) AS n"
    )
    assert total == "20.0001"


def test_floating_point_becomes_numeric_by_its_exact_binary_value(world: World) -> None:
    """As ZetaSQL's NumericValue::FromDouble: half away from zero on the binary value itself."""
    world.table("floats", "x FLOAT")
    world.run("INSERT floats VALUES (0.1), (123456789.12), (-0.0000000005), (1e20)")
    rows = world.rows("SELECT CAST(x AS NUMERIC) AS n FROM floats ORDER BY x")
    assert [value for (value,) in rows] == [
        "-0.000000001",
        "0.1",
        "123456789.120000005",
        "100000000000000000000",
    ]


def test_braces_of_a_filtered_aggregate_are_its_own(world: World) -> None:
    """A regular expression's {3} beside IGNORE NULLS and ORDER BY is no slot of a template."""
    sql = (
        "SELECT ARRAY_AGG(IF(REGEXP_CONTAINS(x, r'^[A-Z]{3}$'), x, NULL) IGNORE NULLS"
        " ORDER BY REGEXP_REPLACE(x, r'[A-Z]{3}', '') LIMIT 2)"
        " FROM UNNEST(['USD', 'usd', 'EURO']) AS x"
    )
    assert world.value(sql) == ["USD"]
