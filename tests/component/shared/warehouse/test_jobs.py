"""A job with a name runs once, however often and concurrently it is asked for."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from shared.clients import bigquery_client
from shared.warehouse.failures import WarehouseBusyError, WarehouseError
from shared.warehouse.jobs import Destination, JobSpec, attach, run
from shared.warehouse.queries import query
from tests.component.conftest import PROJECT, Cloud


def soon(seconds: float = 30) -> datetime:
    return datetime.now(UTC) + timedelta(seconds=seconds)


@pytest.fixture
def table(tenant: str) -> str:
    """An empty table with one column; `dataset.table`."""
    bigquery_client().query_and_wait(f"CREATE TABLE `{tenant}.numbers` (n INT64)")
    return f"{tenant}.numbers"


def count(table: str) -> int:
    (row,) = bigquery_client().query_and_wait(f"SELECT COUNT(*) AS n FROM `{table}`")
    return int(row["n"])


def append_three(table: str, work_id: str) -> JobSpec:
    """Work that would show if it were done twice."""
    return JobSpec(
        work_id=work_id,
        query=query("SELECT n FROM UNNEST([1, 2, 3]) AS n"),
        destination=Destination(f"{PROJECT}.{table}", disposition="WRITE_APPEND"),
        labels={"tenant_id": "acme"},
    )


def test_second_call_attaches_to_the_first_and_tells_the_same(
    table: str, fresh: Callable[[], str]
) -> None:
    spec = append_three(table, fresh())

    first, second = run(spec, soon()), run(spec, soon())

    assert first == second
    assert (first.job_id, first.rows_written) == (f"{spec.work_id}--1", 3)
    assert count(table) == 3


def test_concurrent_calls_run_it_once(table: str, fresh: Callable[[], str]) -> None:
    spec = append_three(table, fresh())

    with ThreadPoolExecutor(20) as pool:
        finished = set(pool.map(lambda _: run(spec, soon()), range(20)))

    assert len(finished) == 1
    assert count(table) == 3


def test_job_carries_its_labels_and_its_limit(table: str, fresh: Callable[[], str]) -> None:
    spec = append_three(table, fresh())

    done = run(spec, soon())

    job = bigquery_client().get_job(done.job_id)
    assert job.labels == {"tenant_id": "acme"}


def test_dml_tells_the_rows_it_changed(table: str, fresh: Callable[[], str]) -> None:
    run(append_three(table, fresh()), soon())

    done = run(JobSpec(fresh(), query(f"DELETE FROM `{table}` WHERE n > 1")), soon())

    assert done.rows_written == 2


def test_statement_that_cannot_succeed_fails_for_good_on_every_call(
    fresh: Callable[[], str],
) -> None:
    spec = JobSpec(fresh(), query("SELECT * FROM `nobody_has_this.table`"))

    for _ in range(2):
        with pytest.raises(WarehouseError) as caught:
            run(spec, soon())
        assert caught.value.reason == "notFound"


def test_job_that_failed_when_it_ran_fails_for_good_on_every_call(
    fresh: Callable[[], str], cloud: Cloud
) -> None:
    spec = JobSpec(fresh(), query("SELECT CAST(text AS INT64) FROM UNNEST(['x']) AS text"))

    for _ in range(2):
        with pytest.raises(WarehouseError) as caught:
            run(spec, soon())
        assert caught.value.reason == "invalidQuery"
    assert attach(f"{spec.work_id}--1").error_result["reason"] == "invalidQuery"


def test_answer_lost_on_the_way_does_not_run_it_twice(
    table: str, fresh: Callable[[], str], cloud: Cloud
) -> None:
    cloud.fail("jobs.insert", times=2, status=503, reason="backendError")

    run(append_three(table, fresh()), soon())

    assert count(table) == 3


def test_job_that_is_known_but_does_not_show_yet_is_waited_for(
    table: str, fresh: Callable[[], str], cloud: Cloud
) -> None:
    spec = append_three(table, fresh())
    run(spec, soon())
    cloud.fail("jobs.get", times=3, status=404, reason="notFound", message="Not found: Job")

    assert run(spec, soon()).rows_written == 3
    assert count(table) == 3


def test_job_that_never_shows_is_asked_for_again_later(
    fresh: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.warehouse.jobs._VISIBLE_WITHIN_SECONDS", 0.5)

    with pytest.raises(WarehouseBusyError, match="does not show"):
        attach(fresh())


def test_refusal_that_passes_is_told_apart_and_the_work_done_later(
    table: str, fresh: Callable[[], str], cloud: Cloud
) -> None:
    spec = append_three(table, fresh())
    cloud.fail("jobs.insert", status=403, reason="quotaExceeded", message="Quota exceeded")

    with pytest.raises(WarehouseBusyError) as caught:
        run(spec, soon())
    assert caught.value.reason == "quotaExceeded"
    assert run(spec, soon()).rows_written == 3


def test_work_that_outlasts_its_deadline_goes_on_and_the_next_call_attaches(
    fresh: Callable[[], str],
) -> None:
    numbers = "UNNEST(GENERATE_ARRAY(1, 200000))"
    spec = JobSpec(fresh(), query(f"SELECT SUM(a * b) AS s FROM {numbers} AS a, {numbers} AS b"))

    with pytest.raises(WarehouseBusyError, match="still running"):
        run(spec, soon(-5))

    bigquery_client().cancel_job(f"{spec.work_id}--1")
    with pytest.raises(WarehouseError) as caught:
        run(spec, soon())
    assert caught.value.reason == "stopped"


def test_bytes_above_the_limit_of_the_job_are_refused_for_good(
    table: str, fresh: Callable[[], str]
) -> None:
    run(append_three(table, fresh()), soon())
    spec = JobSpec(fresh(), query(f"SELECT * FROM `{table}`"), maximum_bytes_billed=1)

    with pytest.raises(WarehouseError) as caught:
        run(spec, soon())
    assert caught.value.reason == "bytesBilledLimitExceeded"
