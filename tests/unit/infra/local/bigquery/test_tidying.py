"""Small tables are rewritten: same rows, same numbers, same name; others stay as they are."""

from infra.local.bigquery.storage import Storage
from infra.local.bigquery.tidying import MAX_ROWS, rewrite


def _with_table(*inserts: str) -> Storage:
    storage = Storage(None)
    with storage.cursor() as cursor:
        cursor.execute("CREATE TABLE data.t1 (x BIGINT, s STRUCT(a VARCHAR)[])")
        for values in inserts:
            cursor.execute(f"INSERT INTO data.t1 {values}")
    return storage


def test_rows_and_their_numbers_stay() -> None:
    storage = _with_table("VALUES (1, [{'a': 'b'}])", "VALUES (2, NULL), (3, [])")
    with storage.cursor() as cursor:
        before = cursor.execute("SELECT rowid, * FROM data.t1").fetchall()
        assert rewrite(storage, "data.t1")
        assert cursor.execute("SELECT rowid, * FROM data.t1").fetchall() == before
        cursor.execute("INSERT INTO data.t1 VALUES (4, NULL)")
    storage.close()


def test_table_with_gaps_large_or_empty_is_left() -> None:
    storage = _with_table("VALUES (1, NULL)", "VALUES (2, NULL)")
    with storage.cursor() as cursor:
        cursor.execute("DELETE FROM data.t1 WHERE x = 1")
        assert not rewrite(storage, "data.t1")
        cursor.execute(f"INSERT INTO data.t1 SELECT range, NULL FROM range({MAX_ROWS + 1})")
        assert not rewrite(storage, "data.t1")
        cursor.execute("DELETE FROM data.t1")
        assert not rewrite(storage, "data.t1")
    storage.close()


def test_a_table_is_named_once_it_is_quiet() -> None:
    storage = Storage(None)
    storage.touch("data.t1", "data.t2")
    storage.touch("data.t1")
    assert storage.written_until(0) == []
    assert storage.written_until(1 << 62) == ["data.t2", "data.t1"]
    assert storage.written_until(1 << 62) == []
    storage.close()
