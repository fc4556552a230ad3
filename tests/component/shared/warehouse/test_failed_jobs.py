"""Jobs that failed: an ID is burned, so the next try of the same work has the next number.

The failure is made in SQL: `ERROR()` says what BigQuery says when DML statements collide.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from shared.clients import bigquery_client
from shared.warehouse.failures import WarehouseBusyError
from shared.warehouse.jobs import JobSpec, run
from shared.warehouse.queries import query

COLLISION = "Could not serialize access to table p:d.t due to concurrent update"


def soon() -> datetime:
    return datetime.now(UTC) + timedelta(seconds=30)


@pytest.fixture
def blocker(tenant: str) -> str:
    """A table; as long as it is empty, work that looks at it collides."""
    bigquery_client().query_and_wait(f"CREATE TABLE `{tenant}.released` (n INT64)")
    return f"{tenant}.released"


def colliding(blocker: str, work_id: str) -> JobSpec:
    sql = (
        f"SELECT IF((SELECT COUNT(*) FROM `{blocker}`) = 0, ERROR('{COLLISION}'), 'done') AS state"
    )
    return JobSpec(work_id, query(sql))


def release(blocker: str) -> None:
    bigquery_client().query_and_wait(f"INSERT INTO `{blocker}` (n) VALUES (1)")


def test_work_that_failed_for_a_passing_reason_is_done_under_the_next_number(
    blocker: str, fresh: Callable[[], str]
) -> None:
    spec = colliding(blocker, fresh())
    with pytest.raises(WarehouseBusyError, match="Could not serialize access"):
        run(spec, soon())

    release(blocker)

    assert run(spec, soon()).job_id == f"{spec.work_id}--2"
    assert run(spec, soon()).job_id == f"{spec.work_id}--2"


def test_every_passing_failure_burns_one_number(blocker: str, fresh: Callable[[], str]) -> None:
    spec = colliding(blocker, fresh())
    for _ in range(3):
        with pytest.raises(WarehouseBusyError):
            run(spec, soon())

    release(blocker)

    assert run(spec, soon()).job_id == f"{spec.work_id}--4"


def test_callers_of_a_failed_job_agree_on_the_one_that_follows(
    blocker: str, fresh: Callable[[], str]
) -> None:
    spec = colliding(blocker, fresh())
    with pytest.raises(WarehouseBusyError):
        run(spec, soon())
    release(blocker)

    with ThreadPoolExecutor(10) as pool:
        finished = {done.job_id for done in pool.map(lambda _: run(spec, soon()), range(10))}

    assert finished == {f"{spec.work_id}--2"}
