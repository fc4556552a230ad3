"""Scripts: variables, control flow, transactions, exceptions, temporary tables."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from infra.local.bigquery.errors import ApiError
from tests.unit.infra.local.bigquery.sql_world import World, rows_of, scalar


@pytest.fixture
def world() -> Iterator[World]:
    with World() as made:
        made.table("t", "id INTEGER", "s STRING")
        made.run("INSERT t VALUES (1, 'a'), (2, 'b')")
        yield made


def test_last_select_is_the_result_and_every_statement_a_child(world: World) -> None:
    result = world.run("SELECT 1 AS a; INSERT t (id) VALUES (3); SELECT COUNT(*) AS n FROM t;")
    assert result.statement_type == "SCRIPT"
    assert [child.statement_type for child in result.children] == ["SELECT", "INSERT", "SELECT"]
    assert result.children[1].num_dml_affected_rows == 1
    assert rows_of(result) == [("3",)]
    assert [field["name"] for field in result.schema] == ["n"]
    assert result.referenced_tables == [world.ref("t")]


@pytest.mark.parametrize(
    ("sql", "rows"),
    [
        ("DECLARE x INT64; SELECT x", [(None,)]),
        ("DECLARE x, y INT64 DEFAULT 5; SET x = x + y; SELECT x, y", [("10", "5")]),
        ("DECLARE d DEFAULT DATE '2025-01-01'; SELECT d + 1", [("2025-01-02",)]),
        ("DECLARE d DATE DEFAULT '2025-01-31'; SELECT DATE_ADD(d, INTERVAL 1 MONTH)",
         [("2025-02-28",)]),
        ("DECLARE a, b STRING; SET (a, b) = ('x', 'y'); SELECT CONCAT(a, b)", [("xy",)]),
        (("DECLARE l ARRAY<INT64> DEFAULT [1, 2]; SET l = ARRAY_CONCAT(l, [3]);"
         " SELECT SUM(x) FROM UNNEST(l) AS x"), [("6",)]),
        (("DECLARE r STRUCT<a INT64, at TIMESTAMP> DEFAULT (1, TIMESTAMP '2025-01-01');"
         " SELECT r.a, r.at"), [("1", "1735689600.0")]),
        ("DECLARE n INT64; SET n = (SELECT MAX(id) FROM t); SELECT s FROM t WHERE id = n",
         [("b",)]),
        ("DECLARE n NUMERIC DEFAULT 0.1; SET n = n * 3; SELECT n", [("0.3",)]),
        (("DECLARE x INT64 DEFAULT 2; IF x = 1 THEN SELECT 'one'; ELSEIF x = 2 THEN SELECT 'two';"
         " ELSE SELECT 'many'; END IF;"), [("two",)]),
        ("DECLARE i INT64 DEFAULT 0; WHILE i < 3 DO SET i = i + 1; END WHILE; SELECT i", [("3",)]),
        (("DECLARE i INT64 DEFAULT 0; LOOP SET i = i + 1; IF i = 2 THEN CONTINUE; END IF;"
         " IF i >= 4 THEN BREAK; END IF; END LOOP; SELECT i"), [("4",)]),
        ("DECLARE i INT64 DEFAULT 0; REPEAT SET i = i + 2; UNTIL i > 3 END REPEAT; SELECT i",
         [("4",)]),
        (("DECLARE s STRING DEFAULT ''; FOR r IN (SELECT id, s FROM t ORDER BY id DESC) DO"
         " SET s = CONCAT(s, r.s); END FOR; SELECT s"), [("ba",)]),
        ("INSERT t (id) SELECT 9 FROM t; SELECT @@row_count", [("2",)]),
        (("CREATE TEMP TABLE x AS SELECT id * 10 AS k FROM t; DELETE x WHERE k = 10;"
         " INSERT x VALUES (5); SELECT k FROM x ORDER BY k"), [("5",), ("20",)]),
        (("CREATE TEMP FUNCTION twice(x INT64) AS (x * 2); SELECT twice(twice(id)) FROM t"
         " ORDER BY id"), [("4",), ("8",)]),
        ("EXECUTE IMMEDIATE CONCAT('SELECT ', '@a', ' + ?') USING 1, 2", None),
        ("EXECUTE IMMEDIATE 'SELECT @a + 1' USING 41 AS a", [("42",)]),
        ("DECLARE x INT64; EXECUTE IMMEDIATE 'SELECT ? * 2' INTO x USING 21; SELECT x", [("42",)]),
        ("BEGIN DECLARE x INT64 DEFAULT 1; SELECT x; END", [("1",)]),
        ("BEGIN SELECT 1/0; EXCEPTION WHEN ERROR THEN SELECT @@error.message; END",
         [("division by zero: 1 / 0",)]),
        ("SELECT 1; RETURN; SELECT 2", [("1",)]),
        ("ASSERT EXISTS (SELECT 1 FROM t) AS 'rows'; SELECT 'fine'", [("fine",)]),
        ("-- comment\nSELECT 1; /* two */ SELECT 'a;b' AS x # end", [("a;b",)]),
        ("SELECT CASE WHEN TRUE THEN 'x' END AS c; SELECT IF(TRUE, 1, 2)", [("1",)]),
    ],
)  # fmt: skip
def test_script(world: World, sql: str, rows: list[tuple[str | None, ...]] | None) -> None:
    if rows is None:
        with pytest.raises(ApiError):
            world.run(sql)
        return
    assert world.rows(sql) == rows


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("SET x = 1; SELECT 1", "Undeclared variable: x at [1:9]"),
        ("DECLARE x INT64 DEFAULT 'a'; SELECT 1",
         "Cannot coerce expression of type STRING to type INT64 at [1:25]"),
        ("DECLARE x INT64; DECLARE x INT64; SELECT 1",
         "Variable 'x' redeclaration is not allowed here"),
        ("ASSERT (SELECT COUNT(*) FROM t) = 3 AS 'three rows expected'; SELECT 1",
         "three rows expected"),
        ("ASSERT 1 > 2; SELECT 1", "Assertion failed: 1 > 2"),
        ("RAISE USING MESSAGE = CONCAT('a', 'b'); SELECT 1", "ab"),
        ("BEGIN SELECT 1/0; EXCEPTION WHEN ERROR THEN RAISE; END", "division by zero: 1 / 0"),
        ("SELECT 1; SELECT nope", "Unrecognized name: nope at [1:18]"),
        ("COMMIT TRANSACTION; SELECT 1",
         "COMMIT TRANSACTION failed: there is no active transaction"),
        ("BEGIN TRANSACTION; BEGIN TRANSACTION;",
         "Transactions cannot be nested: a transaction is active"),
        ("BREAK; SELECT 1", "BREAK is only allowed inside of a loop body"),
        ("IF TRUE THEN SELECT 1;", ("Syntax error: Expected keyword ELSEIF but got end of script"
         " at [1:23]")),
        ("CREATE TEMP FUNCTION f(x INT64) AS (f(x)); SELECT f(1)", "Function f calls itself"),
    ],
)  # fmt: skip
def test_failing_script(world: World, sql: str, message: str) -> None:
    with pytest.raises(ApiError) as caught:
        world.run(sql)
    assert caught.value.message.startswith(message)
    assert caught.value.reason == "invalidQuery"


def test_failed_script_keeps_the_children_that_had_finished(world: World) -> None:
    with pytest.raises(ApiError) as caught:
        world.run("INSERT t (id) VALUES (3); SELECT 1/0; SELECT 2")
    children = caught.value.children  # type: ignore[attr-defined]
    assert [child.statement_type for child in children] == ["INSERT"]
    assert world.value("SELECT COUNT(*) FROM t") == "3"


def test_transaction_commits_all_or_nothing(world: World) -> None:
    world.table("u", "id INTEGER")
    work = "BEGIN TRANSACTION; INSERT t (id) VALUES (3); INSERT u VALUES (1);"
    for ending in ("ROLLBACK TRANSACTION", "SELECT 1/0; COMMIT TRANSACTION", "SELECT 'forgotten'"):
        if ending.startswith("ROLLBACK"):
            world.run(f"{work} {ending};")
        else:
            with pytest.raises(ApiError):
                world.run(f"{work} {ending};")
        assert world.value("SELECT COUNT(*) FROM t") == "2"
        assert world.value("SELECT COUNT(*) FROM u") == "0"
    result = world.run(f"{work} SELECT COUNT(*) FROM t; COMMIT TRANSACTION;")
    assert rows_of(result) == [("3",)]
    assert world.value("SELECT COUNT(*) FROM u") == "1"


def test_transaction_does_not_wait_for_the_table_of_another_one(world: World) -> None:
    table = world.table("a", "id INTEGER")
    world.run("INSERT a VALUES (1)")
    script = "BEGIN TRANSACTION; INSERT a VALUES (2); COMMIT TRANSACTION;"
    with ThreadPoolExecutor(1) as pool:
        with world.storage.transaction([table.physical]):
            outcome = pool.submit(world.run, script)
            with pytest.raises(ApiError) as caught:
                outcome.result()
        assert caught.value.message == (
            "Transaction is aborted due to concurrent update against table test-project:d.a"
        )
        assert world.value("SELECT COUNT(*) FROM a") == "1"
        pool.submit(world.run, script).result()
    assert world.value("SELECT COUNT(*) FROM a") == "2"


def test_exception_block_can_roll_back(world: World) -> None:
    world.run(
        "BEGIN BEGIN TRANSACTION; DELETE t WHERE TRUE; SELECT ERROR('no'); COMMIT TRANSACTION;"
        " EXCEPTION WHEN ERROR THEN ROLLBACK TRANSACTION; END"
    )
    assert world.value("SELECT COUNT(*) FROM t") == "2"


def test_temporary_tables_are_gone_after_the_script(world: World) -> None:
    world.run("CREATE TEMP TABLE x AS SELECT 1 AS a; SELECT * FROM x")
    with pytest.raises(ApiError, match="was not found"):
        world.run("SELECT * FROM x")


def test_parameters_reach_every_statement(world: World) -> None:
    parameters = [scalar("id", "INT64", "2")]
    rows = world.rows(
        "DECLARE x STRING; SET x = (SELECT s FROM t WHERE id = @id); DELETE t WHERE id = @id;"
        " SELECT x, COUNT(*) FROM t",
        parameters=parameters,
    )
    assert rows == [("b", "1")]


def test_dry_run_of_a_script(world: World) -> None:
    plan = world.dry_run(
        "DECLARE d INT64 DEFAULT 1; CREATE TEMP TABLE x AS SELECT id FROM t;"
        " SELECT id FROM x; SELECT s FROM t WHERE id = d"
    )
    assert plan.statement_type == "SCRIPT"
    assert plan.referenced_tables == [world.ref("t")]
    with pytest.raises(ApiError, match="Unrecognized name: nope"):
        world.dry_run("SELECT 1; SELECT nope FROM t")
