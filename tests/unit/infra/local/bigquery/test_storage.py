import threading
from pathlib import Path

import duckdb
import pytest

from infra.local.bigquery.storage import Storage
from infra.local.service import StartupError


@pytest.fixture
def storage() -> Storage:
    return Storage(None)


def test_transaction_commits_at_its_end(storage: Storage) -> None:
    done: list[str] = []
    with storage.transaction(["data.t1"]) as transaction:
        transaction.cursor.execute("CREATE TABLE data.t1 (x INTEGER)")
        transaction.on_commit(lambda: done.append("committed"))
        transaction.on_rollback(lambda: done.append("rolled back"))
    assert done == ["committed"]
    assert storage.version("data.t1") == 1
    with storage.cursor() as cursor:
        assert cursor.execute("SELECT count(*) FROM data.t1").fetchall() == [(0,)]


def test_failed_transaction_leaves_nothing(storage: Storage) -> None:
    done: list[str] = []

    def fail() -> None:
        with storage.transaction(["data.t1"]) as transaction:
            transaction.on_rollback(lambda: done.append("rolled back"))
            transaction.cursor.execute("CREATE TABLE data.t1 (x INTEGER)")
            raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        fail()
    assert done == ["rolled back"]
    assert storage.version("data.t1") == 0
    with storage.cursor() as cursor, pytest.raises(duckdb.CatalogException):
        cursor.execute("SELECT * FROM data.t1")


def test_writers_of_a_table_wait_for_each_other(storage: Storage) -> None:
    with storage.cursor() as cursor:
        cursor.execute("CREATE TABLE data.t1 (x INTEGER)")
        cursor.execute("INSERT INTO data.t1 VALUES (0)")

    def add() -> None:
        for _ in range(25):
            with storage.transaction(["data.t1"]) as transaction:
                transaction.cursor.execute("UPDATE data.t1 SET x = x + 1")

    writers = [threading.Thread(target=add) for _ in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    with storage.cursor() as cursor:
        assert cursor.execute("SELECT x FROM data.t1").fetchall() == [(100,)]


def test_locks_of_a_transaction_end_with_it(storage: Storage) -> None:
    taken: list[bool] = []
    with storage.transaction(["data.t1"]):
        other = threading.Thread(target=lambda: taken.append(_lock(storage)))
        other.start()
        other.join()
    assert taken == [False]
    assert _lock(storage)


def _lock(storage: Storage) -> bool:
    with storage.transaction() as transaction:
        return transaction.lock("data.t1", seconds=0.05)


def test_cursor_comes_back_clean(storage: Storage) -> None:
    def fail() -> None:
        with storage.cursor() as cursor:
            cursor.execute("BEGIN")
            cursor.execute("CREATE TABLE data.t9 (x INTEGER)")
            raise ValueError("stop")

    with storage.cursor() as cursor:
        cursor.execute("FROM range(100000)").fetchone()
    with pytest.raises(ValueError, match="stop"):
        fail()
    with storage.cursor() as cursor:
        assert cursor.execute("SELECT 1").fetchall() == [(1,)]
        with pytest.raises(duckdb.CatalogException):
            cursor.execute("SELECT * FROM data.t9")


def test_last_entry_of_a_key_counts(tmp_path: Path) -> None:
    storage = Storage(tmp_path)
    with storage.transaction() as transaction:
        transaction.record("a", {"n": 1})
        transaction.record("b", {"n": 1})
    with storage.transaction() as transaction:
        transaction.record("c", {"n": 1})
        transaction.record("a", {"n": 2})
        transaction.record("b", None)
    storage.close()
    again = Storage(tmp_path)
    assert list(again.load_log().items()) == [("c", {"n": 1}), ("a", {"n": 2})]
    again.close()


def test_log_is_compacted(tmp_path: Path) -> None:
    storage = Storage(tmp_path)
    with storage.transaction() as transaction:
        for number in range(3000):
            transaction.record("a", {"n": number})
        transaction.record("gone", {})
        transaction.record("gone", None)
    live = storage.load_log()
    storage.compact_log(live)
    with storage.cursor() as cursor:
        assert cursor.execute("SELECT count(*) FROM meta.log").fetchall() == [(1,)]
    assert storage.load_log() == live == {"a": {"n": 2999}}
    storage.close()


def test_corrupt_file_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "bigquery.duckdb").write_bytes(b"nonsense" * 10_000)
    with pytest.raises(StartupError) as refused:
        Storage(tmp_path)
    assert str(tmp_path / "bigquery.duckdb") in str(refused.value)
    assert "\n" not in str(refused.value)


def test_queries_reach_no_files(storage: Storage) -> None:
    with storage.cursor() as cursor, pytest.raises(duckdb.PermissionException):
        cursor.execute("SELECT * FROM read_text('/etc/hostname')")
