import dataclasses
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from infra.local.bigquery.catalog import Catalog, Dataset, Table, TableRef, now_ms
from infra.local.bigquery.errors import ApiError
from infra.local.bigquery.storage import Storage

X = {"name": "x", "type": "INTEGER", "mode": "NULLABLE"}


def _dataset(name: str = "d", **body: Any) -> Dataset:
    return Dataset("p", name, "US", now_ms(), now_ms(), body)


def _table(catalog: Catalog, name: str = "t", **changes: Any) -> Table:
    table = Table(
        ref=TableRef("p", "d", name),
        kind="TABLE",
        schema=[X],
        physical=catalog.new_physical(),
        created=now_ms(),
        modified=now_ms(),
    )
    return dataclasses.replace(table, **changes)


@pytest.fixture
def catalog() -> Catalog:
    catalog = Catalog(Storage(None))
    catalog.create_dataset(_dataset())
    return catalog


def _count(catalog: Catalog, table: Table) -> int:
    with catalog.storage.cursor() as cursor:
        return int(cursor.execute(f"SELECT count(*) FROM {table.physical}").fetchall()[0][0])


def test_name_is_held_until_the_transaction_ends(catalog: Catalog) -> None:
    with catalog.storage.transaction() as transaction:
        table = catalog.create_table(_table(catalog), tx=transaction)
        assert catalog.find_table(table.ref) is None
        with pytest.raises(ApiError) as refused:
            catalog.create_table(_table(catalog))
        assert refused.value.reason == "duplicate"
    assert catalog.table(table.ref) is table


def test_name_is_free_after_a_rollback(catalog: Catalog) -> None:
    def fail() -> None:
        with catalog.storage.transaction() as transaction:
            catalog.create_table(_table(catalog), tx=transaction)
            raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        fail()
    assert catalog.find_table(TableRef("p", "d", "t")) is None
    catalog.create_table(_table(catalog))


def test_one_of_many_creations_wins(catalog: Catalog) -> None:
    outcomes: list[str] = []

    def create() -> None:
        try:
            catalog.create_table(_table(catalog))
            outcomes.append("created")
        except ApiError as error:
            outcomes.append(error.reason)

    threads = [threading.Thread(target=create) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["created"] + ["duplicate"] * 19


def test_empty_table_has_no_physical_one_until_it_is_needed(catalog: Catalog) -> None:
    table = catalog.create_table(_table(catalog))
    assert not catalog.has_rows_table(table)
    catalog.ensure_physical(table)
    catalog.ensure_physical(table)
    assert catalog.has_rows_table(table)
    assert _count(catalog, table) == 0


def test_ingestion_time_is_the_last_physical_column(catalog: Catalog) -> None:
    table = _table(catalog, time_partitioning={"type": "DAY"})
    assert table.physical_columns() == [("x", "BIGINT"), ("_PARTITIONTIME", "TIMESTAMPTZ")]
    by_column = _table(catalog, time_partitioning={"type": "DAY", "field": "x"})
    assert by_column.physical_columns() == [("x", "BIGINT")]


def test_added_columns_keep_rows_and_partition_time(catalog: Catalog) -> None:
    table = catalog.create_table(_table(catalog, time_partitioning={"type": "DAY"}))
    catalog.ensure_physical(table)
    with catalog.storage.cursor() as cursor:
        cursor.execute(f"INSERT INTO {table.physical} VALUES (1, '2025-11-15 00:00:00+00')")
    added = {"name": "l", "type": "STRING", "mode": "REPEATED"}
    changed = catalog.add_columns(table, [X, added])
    assert catalog.table(table.ref).schema == [X, added]
    with catalog.storage.cursor() as cursor:
        rows = cursor.execute(
            f"SELECT x, l, CAST(_PARTITIONTIME AS DATE)::VARCHAR FROM {changed.physical}"
        ).fetchall()
    assert rows == [(1, [], "2025-11-15")]


def test_expired_table_is_not_there(catalog: Catalog) -> None:
    table = catalog.create_table(_table(catalog, expires=now_ms() + 30))
    assert catalog.find_table(table.ref) is not None
    deadline = time.monotonic() + 5
    tick = threading.Event()
    while catalog.find_table(table.ref) is not None and time.monotonic() < deadline:
        tick.wait(0.01)
    assert catalog.tables("p", "d") == []
    catalog.create_table(_table(catalog))


def test_everything_comes_back_from_the_log(tmp_path: Path) -> None:
    catalog = Catalog(Storage(tmp_path))
    catalog.create_dataset(_dataset())
    catalog.create_dataset(_dataset("gone"))
    kept = catalog.create_table(_table(catalog, clustering={"fields": ["x"]}))
    catalog.ensure_physical(kept)
    dropped = catalog.create_table(_table(catalog, "dropped"))
    catalog.ensure_physical(dropped)
    catalog.delete_table(dropped.ref)
    catalog.delete_dataset("p", "gone", delete_contents=False)
    catalog.replace_dataset(_dataset("d", labels={"a": "b"}))
    with catalog.storage.transaction() as transaction:
        catalog.mark_job(transaction, "job", {"numDmlAffectedRows": "3"})
    catalog.storage.close()

    again = Catalog(Storage(tmp_path))

    assert [dataset.name for dataset in again.datasets("p")] == ["d"]
    assert again.dataset("p", "d").body == {"labels": {"a": "b"}}
    assert again.tables("p", "d") == [kept]
    assert again.has_rows_table(kept)
    assert again.marks == {"job": {"numDmlAffectedRows": "3"}}
    assert again.new_physical() != kept.physical
    again.forget_marks()
    again.storage.close()
    assert Catalog(Storage(tmp_path)).marks == {}


def test_dataset_with_tables_stays(catalog: Catalog) -> None:
    table = catalog.create_table(_table(catalog))
    with pytest.raises(ApiError) as refused:
        catalog.delete_dataset("p", "d", delete_contents=False)
    assert (refused.value.reason, refused.value.status) == ("resourceInUse", 400)
    catalog.delete_dataset("p", "d", delete_contents=True)
    with pytest.raises(ApiError, match="Not found: Dataset p:d"):
        catalog.table(table.ref)
