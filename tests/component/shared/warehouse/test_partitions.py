"""Writing a day: replaced whole or appended once, and nothing in between."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta

import pytest

from shared.clients import bigquery_client
from shared.warehouse.failures import WarehouseError
from shared.warehouse.partitions import Target, Work, write_day
from shared.warehouse.queries import query
from tests.component.conftest import PROJECT

DAY = date(2025, 11, 15)
SCHEMA = (
    {"name": "day", "type": "DATE", "mode": "NULLABLE"},
    {"name": "n", "type": "INTEGER", "mode": "NULLABLE"},
)


def soon() -> datetime:
    return datetime.now(UTC) + timedelta(seconds=30)


@pytest.fixture
def target(tenant: str) -> Target:
    """A table that is partitioned by the day it was written for."""
    made = Target(PROJECT, tenant, "numbers")
    made.create_from(SCHEMA)
    return made


@pytest.fixture
def by_column(tenant: str) -> Target:
    """A table that is partitioned by its column `day`."""
    bigquery_client().query_and_wait(
        f"CREATE TABLE `{tenant}.by_day` (day DATE, n INT64) PARTITION BY day"
    )
    return Target(PROJECT, tenant, "by_day")


def numbers(day: date, *found: int, work_id: str) -> Work:
    return Work(
        work_id=work_id,
        query=query(
            "SELECT @day AS day, n FROM UNNEST(@n) AS n WHERE n > 0", day=day, n=[0, *found]
        ),
        maximum_bytes_billed=10**9,
        labels={"tenant_id": "acme"},
    )


def rows(target: Target, where: str = "TRUE") -> list[int]:
    found = bigquery_client().query_and_wait(
        f"SELECT n FROM `{target.path}` WHERE {where} ORDER BY n"
    )
    return [row["n"] for row in found]


@pytest.mark.parametrize("table", ["target", "by_column"])
def test_day_that_is_written_twice_looks_as_if_written_once(
    table: str, request: pytest.FixtureRequest, fresh: Callable[[], str]
) -> None:
    where: Target = request.getfixturevalue(table)

    first = write_day(where, DAY, numbers(DAY, 1, 2, 3, work_id=fresh()), soon())
    second = write_day(where, DAY, numbers(DAY, 1, 2, 3, work_id=fresh()), soon())

    assert rows(where) == [1, 2, 3]
    assert first.rows_written == second.rows_written == 3
    assert first.job_id != second.job_id


@pytest.mark.parametrize("table", ["target", "by_column"])
def test_other_days_stay_as_they_are(
    table: str, request: pytest.FixtureRequest, fresh: Callable[[], str]
) -> None:
    where: Target = request.getfixturevalue(table)
    before = DAY - timedelta(days=1)
    write_day(where, before, numbers(before, 7, work_id=fresh()), soon())
    write_day(where, DAY, numbers(DAY, 1, 2, work_id=fresh()), soon())

    write_day(where, DAY, numbers(DAY, 3, work_id=fresh()), soon())

    assert rows(where) == [3, 7]
    assert rows(where, f"day = '{before}'") == [7]


def test_day_lands_in_the_partition_of_its_date(target: Target, fresh: Callable[[], str]) -> None:
    write_day(target, DAY, numbers(DAY, 1, work_id=fresh()), soon())

    assert rows(target, "_PARTITIONDATE = '2025-11-15'") == [1]
    assert rows(target, "_PARTITIONDATE != '2025-11-15'") == []


def test_day_without_rows_becomes_empty(target: Target, fresh: Callable[[], str]) -> None:
    write_day(target, DAY, numbers(DAY, 1, 2, work_id=fresh()), soon())

    done = write_day(target, DAY, numbers(DAY, work_id=fresh()), soon())

    assert (rows(target), done.rows_written) == ([], 0)


def test_replacing_concurrently_leaves_one_of_the_results_whole(
    target: Target, fresh: Callable[[], str]
) -> None:
    def write(n: int) -> None:
        write_day(target, DAY, numbers(DAY, *[n] * 5, work_id=fresh()), soon())

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(8)))

    found = rows(target)
    assert len(found) == 5
    assert len(set(found)) == 1


def test_append_adds_once_however_often_its_work_is_asked_for(
    target: Target, fresh: Callable[[], str]
) -> None:
    work = numbers(DAY, 1, 2, work_id=fresh())

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: write_day(target, DAY, work, soon(), mode="append"), range(8)))
    write_day(target, DAY, numbers(DAY, 3, work_id=fresh()), soon(), mode="append")

    assert rows(target) == [1, 2, 3]


def test_failed_write_leaves_the_day_as_it_was(target: Target, fresh: Callable[[], str]) -> None:
    write_day(target, DAY, numbers(DAY, 1, 2, work_id=fresh()), soon())
    broken = Work(
        fresh(), query("SELECT DATE '2025-11-15' AS day, CAST('x' AS INT64) AS n"), 10**9, {}
    )

    with pytest.raises(WarehouseError):
        write_day(target, DAY, broken, soon())

    assert rows(target) == [1, 2]


def test_row_of_another_day_is_refused_where_a_column_says_the_day(
    by_column: Target, fresh: Callable[[], str]
) -> None:
    with pytest.raises(WarehouseError):
        write_day(by_column, DAY, numbers(date(2025, 1, 1), 1, work_id=fresh()), soon())

    assert rows(by_column) == []


def test_existing_table_is_left_alone(target: Target, fresh: Callable[[], str]) -> None:
    write_day(target, DAY, numbers(DAY, 1, work_id=fresh()), soon())

    target.create_from(SCHEMA)

    assert rows(target) == [1]


def test_columns_keep_their_descriptions_when_a_day_is_replaced(
    tenant: str, fresh: Callable[[], str]
) -> None:
    described = Target(PROJECT, tenant, "described")
    described.create_from([{**column, "description": "kept"} for column in SCHEMA])

    write_day(described, DAY, numbers(DAY, 1, work_id=fresh()), soon())

    table = bigquery_client().get_table(described.path)
    assert {field.description for field in table.schema} == {"kept"}
