"""Loads into partitions: once, whole, however often and wherever they break off."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest

from shared.warehouse import loads, rows, tables
from shared.warehouse.arrow import arrow_schema
from shared.warehouse.failures import WarehouseBusyError, WarehouseError
from shared.warehouse.loads import Load, load
from shared.warehouse.queries import query
from shared.warehouse.schemas import Column, TableSchema, TimePartitioning
from tests.component.conftest import PROJECT, Cloud

DAY = date(2025, 11, 15)
COLUMNS = (
    Column(name="day", type="DATE", mode="NULLABLE", description="Day."),
    Column(name="n", type="INTEGER", mode="NULLABLE", description="Number."),
)
SCHEMA = arrow_schema(COLUMNS)
Batches = Callable[[], Iterator[pa.RecordBatch]]


@pytest.fixture
def table(tenant: str) -> str:
    """An empty table, partitioned by day."""
    schema = TableSchema(
        name="numbers",
        description="Numbers.",
        time_partitioning=TimePartitioning(type="DAY", field="day"),
        fields=COLUMNS,
    )
    tables.ensure_relation(tenant, schema)
    return f"{PROJECT}.{tenant}.numbers"


def soon() -> datetime:
    return datetime.now(UTC) + timedelta(seconds=60)


def batches(*parts: range, day: date = DAY) -> Batches:
    def rows_of() -> Iterator[pa.RecordBatch]:
        for part in parts:
            yield pa.record_batch([pa.array([day] * len(part)), pa.array(part)], schema=SCHEMA)

    return rows_of


def a_load(table: str, rows_of: Batches, **changes: Any) -> Load:
    name = f"{table.split('.')[1]}--work"
    values: dict[str, Any] = {"work_id": name, "table": table, "partition": "20251115"}
    return Load(schema=SCHEMA, batches=rows_of, **(values | changes))


def numbers(table: str) -> list[int]:
    found = rows.read(query(f"SELECT n FROM `{table}` ORDER BY n"))
    return [row["n"] for row in found]


def test_a_load_is_done_once_however_often_and_concurrently(table: str) -> None:
    appended = a_load(table, batches(range(3), range(3, 5)), mode="append")
    with ThreadPoolExecutor(4) as pool:
        jobs = list(pool.map(lambda _: load(appended, soon()), range(6)))
    assert len({job.job_id for job in jobs}) == 1
    assert jobs[0].rows_written == 5
    assert numbers(table) == [0, 1, 2, 3, 4]


def test_another_version_replaces_and_the_same_one_is_not_loaded_again(table: str) -> None:
    first = load(a_load(table, batches(range(3)), version="a"), soon())
    again = load(a_load(table, batches(range(3)), version="a"), soon())
    other = load(a_load(table, batches(range(7, 9)), version="b"), soon())
    assert first.job_id == again.job_id != other.job_id
    assert numbers(table) == [7, 8]


def test_what_is_appended_comes_once_whatever_its_version(table: str) -> None:
    for version in ("a", "b"):
        load(a_load(table, batches(range(2)), version=version, mode="append"), soon())
    assert numbers(table) == [0, 1]


def test_no_rows_empty_the_partition_and_leave_the_others(table: str) -> None:
    other = DAY + timedelta(days=1)
    load(a_load(table, batches(range(2))), soon())
    load(a_load(table, batches(range(5, 6), day=other), partition="20251116"), soon())
    load(a_load(table, batches(), version="none"), soon())
    assert numbers(table) == [5]


def test_a_source_that_fails_half_way_begins_no_job(
    table: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loads, "_CHUNK_BYTES", 256 * 1024)
    load(a_load(table, batches(range(2)), version="before"), soon())

    def breaks_off() -> Iterator[pa.RecordBatch]:
        for first in range(0, 400_000, 20_000):
            yield from batches(range(first, first + 20_000))()
        raise RuntimeError("the source is gone")

    broken = a_load(table, breaks_off, version="broken")
    with pytest.raises(RuntimeError, match="the source is gone"):
        load(broken, soon())
    assert numbers(table) == [0, 1]

    whole = a_load(table, batches(range(400_000)), version="broken")
    assert load(whole, soon()).rows_written == 400_000


def test_an_upload_may_end_at_the_edge_of_a_chunk(
    table: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client does not know the size, and sends an empty last chunk then."""
    chunk = 256 * 1024
    whole = b"".join(loads._written(SCHEMA, batches(range(60_000))))
    end = len(whole) // chunk * chunk
    monkeypatch.setattr(loads, "_CHUNK_BYTES", chunk)
    monkeypatch.setattr(loads, "_written", lambda *_: iter([whole[:end]]))
    with pytest.raises(WarehouseError, match="not in Parquet format"):
        load(a_load(table, batches()), soon())
    stream = loads._ParquetStream(SCHEMA, batches())
    assert [len(stream.read(chunk)) for _ in range(end // chunk + 1)] == [chunk] * (
        end // chunk
    ) + [0]


def test_rows_of_another_day_are_refused_whole(table: str) -> None:
    wrong = a_load(table, batches(range(2), day=DAY + timedelta(days=1)))
    with pytest.raises(WarehouseError):
        load(wrong, soon())
    assert numbers(table) == []


def test_a_busy_bigquery_is_asked_again_under_the_same_name(table: str, cloud: Cloud) -> None:
    wanted = a_load(table, batches(range(3)), mode="append")
    cloud.fail("jobs.insert", status=403, reason="rateLimitExceeded")
    with pytest.raises(WarehouseBusyError):
        load(wanted, soon())
    cloud.fail("jobs.upload", status=500, reason="backendError", after=True)
    load(wanted, soon())
    load(wanted, soon())
    assert numbers(table) == [0, 1, 2]
