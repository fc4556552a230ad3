"""The engine around the statements: isolation, cache, bytes, limits, cancellation, threads."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from infra.local.bigquery.errors import ApiError
from infra.local.bigquery.job import Cancellation
from tests.unit.infra.local.bigquery.sql_world import World


@pytest.fixture
def world() -> Iterator[World]:
    with World() as made:
        made.table("t", "id INTEGER", "s STRING", "tags STRING REPEATED")
        made.run("INSERT t VALUES (1, 'abc', ['x', 'yz']), (2, NULL, [])")
        yield made


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM read_parquet('/tmp/x')",
        "SELECT * FROM glob('/etc/*')",
        "SELECT * FROM duckdb_tables()",
        "SELECT * FROM pragma_table_info('x')",
        "SELECT * FROM duckdb_settings",
        "SELECT * FROM meta.log",
        "SELECT * FROM data.t1",
        "SELECT * FROM `data.t1`",
        "SELECT * FROM main.t",
        "SELECT * FROM temp.main.t",
        "SELECT * FROM bq.t",
        "SELECT * FROM '/etc/passwd'",
        "SELECT * FROM `/etc/passwd`",
        'SELECT * FROM "t"',
        "SELECT getenv('HOME')",
        "SELECT current_setting('threads')",
        "SELECT read_text('/etc/passwd')",
        "SELECT bq.s2i('1')",
        "SELECT main.md5('1')",
        "SELECT rowid FROM t",
        "SELECT t1.id FROM t",
        "SELECT COLUMNS('.*') FROM t",
        "SELECT list_transform([1], x -> x)",
        "SELECT {'a': 1}",
        "ATTACH 'x.db' AS x",
        "COPY t TO '/tmp/x.csv'",
        "PRAGMA database_list",
        "INSTALL httpfs",
        "LOAD httpfs",
        "SET threads = 4",
        "CALL pragma_version()",
        "EXPORT DATA OPTIONS (uri = 'gs://x') AS SELECT 1",
        "VACUUM",
        "CHECKPOINT",
        "SHOW TABLES",
        "DESCRIBE t",
        "SELECT 1; ATTACH ':memory:'",
    ],
)
def test_nothing_but_the_catalog_is_reachable(world: World, sql: str) -> None:
    with pytest.raises(ApiError) as caught:
        world.run(sql)
    assert caught.value.reason in {"invalidQuery", "notFound"}
    assert "data.t" not in caught.value.message.replace("data.t1", "", 1)


def test_errors_carry_no_internal_names(world: World) -> None:
    for sql in (
        "SELECT CAST(s AS INT64) FROM t",
        "SELECT ROUND(NUMERIC '1.5', id) FROM t",
        "SELECT PARSE_DATE('%Q', s) FROM t",
        "SELECT REGEXP_CONTAINS(s, '(') FROM t",
    ):
        with pytest.raises(ApiError) as caught:
            world.run(sql)
        assert caught.value.reason == "invalidQuery"
        for trace in ("data.", "bq.", "LINE ", "Binder Error", "CAST(", "\u2042"):
            assert trace not in caught.value.message


# --- cache


def test_cached_query_sees_new_rows_and_new_schemas(world: World) -> None:
    sql = "SELECT * FROM t ORDER BY id"
    assert len(world.rows(sql)) == 2
    world.run("INSERT t (id) VALUES (3)")
    assert len(world.rows(sql)) == 3
    world.run("ALTER TABLE t ADD COLUMN n NUMERIC")
    assert world.types(sql)[-1] == "n NUMERIC"
    world.run("DROP TABLE t")
    with pytest.raises(ApiError, match="was not found"):
        world.run(sql)
    world.run("CREATE TABLE t AS SELECT 'again' AS id")
    assert world.rows(sql) == [("again",)]


def test_cached_query_over_a_view_sees_the_view_change(world: World) -> None:
    world.run("CREATE VIEW d.v AS SELECT id FROM d.t")
    assert world.types("SELECT * FROM v") == ["id INTEGER"]
    world.run("CREATE OR REPLACE VIEW d.v AS SELECT s FROM d.t")
    assert world.types("SELECT * FROM v") == ["s STRING"]


def test_same_text_under_another_default_dataset_is_another_query(world: World) -> None:
    world.add_dataset("e")
    world.table("t", "other STRING", dataset="e")
    assert world.types("SELECT * FROM t")[0] == "id INTEGER"
    other = {"default_dataset": ("test-project", "e")}
    assert world.types("SELECT * FROM t", **other) == ["other STRING"]


def test_repeated_run_gives_the_same_rows_by_its_quicker_way(world: World) -> None:
    sql = (
        "SELECT id, s, TIMESTAMP '2025-01-01 00:00:00.5+00' AS at, NUMERIC '1.5' AS n,"
        " DATE '2025-01-01' AS d, b'a' AS b, TIME '10:00:00' AS c FROM t ORDER BY id"
    )
    first = world.rows(sql)
    assert first[0] == (
        "1", "abc", "1735689600.5", "1.5", "2025-01-01", "YQ==", "10:00:00",
    )  # fmt: skip
    assert [world.rows(sql) for _ in range(3)] == [first] * 3


# --- bytes


@pytest.mark.parametrize(
    ("sql", "size"),
    [
        ("SELECT 1", 0),
        ("SELECT COUNT(*) FROM t", 0),
        ("SELECT id FROM t", 16),
        ("SELECT s FROM t", 5),
        ("SELECT tags FROM t", 7),
        ("SELECT * FROM t", 28),
        ("SELECT id FROM (SELECT * FROM t)", 16),
        ("SELECT id FROM t WHERE s = 'x'", 21),
        ("SELECT a.id FROM t a JOIN t b ON a.id = b.id", 16),
        ("WITH x AS (SELECT id, s FROM t) SELECT id FROM x UNION ALL SELECT id FROM x", 16),
    ],
)
def test_bytes_processed(world: World, sql: str, size: int) -> None:
    assert world.dry_run(sql).total_bytes_processed == size
    assert world.run(sql).total_bytes_processed == size


def test_only_the_fields_of_a_record_that_are_read_count(world: World) -> None:
    fields = [{"name": "a", "type": "INTEGER"}, {"name": "b", "type": "STRING"}]
    world.table("r", {"name": "x", "type": "RECORD", "fields": fields})
    world.run("INSERT r VALUES ((1, 'four'))")
    assert world.dry_run("SELECT x.a FROM r").total_bytes_processed == 8
    assert world.dry_run("SELECT x.b FROM r").total_bytes_processed == 6
    assert world.dry_run("SELECT x FROM r").total_bytes_processed == 14
    assert world.dry_run("SELECT x, x.a FROM r").total_bytes_processed == 14


def test_limit_of_billed_bytes(world: World) -> None:
    with pytest.raises(ApiError) as caught:
        world.run("SELECT id FROM t", maximum_bytes_billed=1_000_000)
    assert caught.value.reason == "bytesBilledLimitExceeded"
    assert caught.value.message == (
        "Query exceeded limit for bytes billed: 1000000. 10485760 or higher required."
    )
    world.run("SELECT id FROM t", maximum_bytes_billed=10_485_760)
    world.run("SELECT 1", maximum_bytes_billed=1)
    world.table("u", "id INTEGER")
    with pytest.raises(ApiError, match="20971520 or higher required"):
        world.run("SELECT id FROM t JOIN u USING (id)", maximum_bytes_billed=10_485_760)


# --- running


def test_cancelled_query_stops(world: World) -> None:
    cancelled = Cancellation()
    timer = threading.Timer(0.2, cancelled.set)
    timer.start()
    sql = (
        "SELECT COUNT(*) FROM UNNEST(GENERATE_ARRAY(1, 100000)) a,"
        " UNNEST(GENERATE_ARRAY(1, 100000)) b WHERE MOD(a * b, 7) = 3"
    )
    with pytest.raises(ApiError) as caught:
        world.engine.run(world.request(sql), cancelled)
    assert caught.value.reason == "stopped"
    assert world.value("SELECT 1") == "1"


def test_cancelled_before_it_starts(world: World) -> None:
    cancelled = Cancellation()
    cancelled.set()
    with pytest.raises(ApiError, match="cancelled"):
        world.engine.run(world.request("SELECT 1"), cancelled)


def test_concurrent_writers_lose_nothing(world: World) -> None:
    world.table("log", "worker INTEGER", "n INTEGER")
    world.table("total", "id INTEGER", "n INTEGER")
    world.run("INSERT total VALUES (1, 0)")

    def work(worker: int) -> None:
        for n in range(10):
            world.run(f"INSERT log VALUES ({worker}, {n})")
            world.run("UPDATE total SET n = n + 1 WHERE id = 1")
            world.run("SELECT COUNT(*) FROM log")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert world.value("SELECT COUNT(*) FROM log") == "80"
    assert world.value("SELECT n FROM total") == "80"


def test_readers_never_meet_a_half_written_table(world: World) -> None:
    ref = world.ref("swap")
    world.run("SELECT x, 0 AS v FROM UNNEST(GENERATE_ARRAY(1, 500)) AS x", destination=ref)
    stop = threading.Event()
    seen: set[tuple[str, ...]] = set()

    def read() -> None:
        while not stop.is_set():
            seen.update(world.rows("SELECT COUNT(*), COUNT(DISTINCT v) FROM swap"))

    with ThreadPoolExecutor(3) as pool:
        readers = [pool.submit(read) for _ in range(3)]
        for version in range(20):
            world.run(
                f"SELECT x, {version} AS v FROM UNNEST(GENERATE_ARRAY(1, 500)) AS x",
                destination=ref,
                write_disposition="WRITE_TRUNCATE",
            )
        stop.set()
        for reader in readers:
            reader.result()
    assert seen == {("500", "1")}


def test_two_tables_created_at_once_under_one_name(world: World) -> None:
    barrier = threading.Barrier(6)

    def create(worker: int) -> str:
        barrier.wait()
        try:
            world.run(f"CREATE TABLE once AS SELECT {worker} AS w")
        except ApiError as error:
            return error.reason
        return "created"

    with ThreadPoolExecutor(6) as pool:
        outcomes = list(pool.map(create, range(6)))
    assert sorted(outcomes) == ["created"] + ["duplicate"] * 5
    assert world.value("SELECT COUNT(*) FROM once") == "1"
