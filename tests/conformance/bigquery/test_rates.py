"""Published rates, queues and delays: what Google's client raises when one is passed."""

import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from google.api_core import exceptions
from google.cloud import bigquery
from google.cloud.bigquery import SchemaField, TimePartitioning

from tests.conformance.bigquery.servers import PROJECT, client_of, start_server
from tests.waiting import wait_until

# Tests set the few numbers that they are about low, and everything else beyond reach.
BEYOND_REACH = {
    "requests": 1e6,
    "requests:tables.insert": 1e6,
    "dataset_updates": 1e6,
    "table_updates": 1e6,
    "partitioned_table_updates": 1e6,
    "dml_statements": 1e6,
    "new_table_seconds": 0,
    "streaming_buffer_seconds": 0,
}
SetLimits = Callable[..., None]


@pytest.fixture(scope="module")
def server_url() -> Iterator[str]:
    server = start_server(limits=True)
    yield server.url
    server.stop()


@pytest.fixture(scope="module")
def client(server_url: str) -> bigquery.Client:
    return client_of(server_url)


@pytest.fixture
def limits(http: httpx.Client) -> Iterator[SetLimits]:
    def change(**numbers: float) -> None:
        assert http.post("/_local/limits", json={**BEYOND_REACH, **numbers}).status_code == 200

    change()
    yield change
    http.delete("/_local/faults")
    change()


@pytest.fixture
def table(client: bigquery.Client, dataset: str, limits: SetLimits) -> str:
    name = f"{dataset}.t"
    client.create_table(
        bigquery.Table(name, [SchemaField("x", "INTEGER"), SchemaField("day", "DATE")])
    )
    load(client, name, [{"x": 1, "day": "2025-01-01"}, {"x": 2, "day": "2025-01-02"}])
    return name


def load(client: bigquery.Client, table: str, rows: list[dict[str, Any]]) -> bigquery.LoadJob:
    job = client.load_table_from_json(rows, client.get_table(table))
    job.result(timeout=60)
    return job


def started(client: bigquery.Client, sql: str, job_id: str | None = None) -> bigquery.QueryJob:
    return client.query(sql, job_id=job_id or uuid.uuid4().hex, job_retry=None, retry=None)


def run(client: bigquery.Client, sql: str) -> None:
    started(client, sql).result(timeout=60)


def reason(error: exceptions.GoogleAPICallError) -> str:
    return str(error.errors[0]["reason"])


def hold(http: httpx.Client, job_id: str, seconds: float) -> None:
    """The mutating statement of that job stays with its table."""
    fault = {"method": "dml.run", "job": job_id, "delay_seconds": seconds}
    assert http.post("/_local/faults", json=fault).status_code == 200


def held(http: httpx.Client, job_id: str) -> bool:
    """Whether the job has met its fault."""
    waiting = http.get("/_local/faults").json()["waiting"]
    return all(fault["job"] != job_id for fault in waiting)


# --- requests


def test_requests_a_second_of_a_method(client: bigquery.Client, limits: SetLimits) -> None:
    limits(requests=3)

    def ask_often() -> None:
        for _ in range(200):
            list(client.list_datasets(retry=None))

    with pytest.raises(exceptions.Forbidden, match="too many api requests per user") as refused:
        ask_often()
    assert reason(refused.value) == "rateLimitExceeded"
    # Another method has a number of its own, and the client's retry waits until it may.
    assert list(client.query_and_wait("SELECT 1"))
    assert client.list_datasets() is not None


def test_users_are_counted_apart(server_url: str, limits: SetLimits) -> None:
    limits(requests=0)
    mine, other = (
        client_of(server_url.replace("http://", f"http://{user}:@")) for user in ("step-gcp", "api")
    )
    with pytest.raises(exceptions.Forbidden):
        list(mine.list_datasets(retry=None))
    limits(requests=1)
    list(mine.list_datasets(retry=None))
    list(other.list_datasets(retry=None))


def test_streaming_is_exempt_from_the_rate(
    client: bigquery.Client, table: str, limits: SetLimits
) -> None:
    target = client.get_table(table)
    limits(requests=0)
    for number in range(3):
        assert client.insert_rows_json(target, [{"x": number}]) == []


def test_requests_at_once(client: bigquery.Client, http: httpx.Client, limits: SetLimits) -> None:
    limits(concurrent_requests=1)
    slow = {"method": "jobs.run", "delay_seconds": 5}
    http.post("/_local/faults", json=slow)
    body = {"query": "SELECT 1", "useLegacySql": False, "timeoutMs": 5000}
    path = f"/bigquery/v2/projects/{PROJECT}/queries"
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(http.post, path, json=body, timeout=30)
        wait_until(lambda: not http.get("/_local/faults").json()["waiting"], message="the job")
        with pytest.raises(exceptions.Forbidden, match="concurrent api requests") as refused:
            list(client.list_datasets(retry=None))
        asked.result()
    assert reason(refused.value) == "quotaExceeded"


def test_queued_jobs_of_a_project(client: bigquery.Client, limits: SetLimits) -> None:
    limits(queued_jobs=-16)  # sixteen run; with no place in the queue, one more is refused
    with pytest.raises(exceptions.Forbidden, match="max number of jobs") as refused:
        started(client, "SELECT 1")
    assert reason(refused.value) == "quotaExceeded"


# --- tables and datasets


def test_loads_in_ten_seconds(client: bigquery.Client, table: str, limits: SetLimits) -> None:
    limits(table_updates=0)
    with pytest.raises(exceptions.TooManyRequests, match="too many table update") as refused:
        load(client, table, [{"x": 3}])
    assert reason(refused.value) == "rateLimitExceeded"


def test_query_into_a_table_counts_as_its_update(
    client: bigquery.Client, table: str, limits: SetLimits
) -> None:
    limits(table_updates=0)
    config = bigquery.QueryJobConfig(destination=table, write_disposition="WRITE_APPEND")
    job = client.query("SELECT 1 AS x", job_config=config, job_id=uuid.uuid4().hex, job_retry=None)
    with pytest.raises(exceptions.TooManyRequests, match="too many table update"):
        job.result(timeout=60)


def test_metadata_updates_in_ten_seconds(
    client: bigquery.Client, table: str, limits: SetLimits
) -> None:
    found = client.get_table(table)
    found.description = "new"
    limits(table_updates=0)
    with pytest.raises(exceptions.Forbidden, match="too many table update") as refused:
        client.update_table(found, ["description"], retry=None)
    assert reason(refused.value) == "rateLimitExceeded"
    with pytest.raises(exceptions.TooManyRequests, match="too many table update"):
        run(client, f"ALTER TABLE `{table}` SET OPTIONS (description = 'newer')")


def test_partitioned_table_may_be_updated_more_often(
    client: bigquery.Client, dataset: str, limits: SetLimits
) -> None:
    partitioned = bigquery.Table(f"{dataset}.p", [SchemaField("day", "DATE")])
    partitioned.time_partitioning = TimePartitioning(field="day")
    client.create_table(partitioned)
    limits(table_updates=0)
    load(client, f"{dataset}.p", [{"day": "2025-01-01"}])


def test_loads_a_day(client: bigquery.Client, table: str, limits: SetLimits) -> None:
    limits(table_modifications=2)  # the fixture has loaded once
    load(client, table, [{"x": 3}])
    with pytest.raises(exceptions.Forbidden, match="imports or query appends") as refused:
        load(client, table, [{"x": 4}])
    assert reason(refused.value) == "quotaExceeded"


def test_dataset_updates_in_ten_seconds(
    client: bigquery.Client, dataset: str, limits: SetLimits
) -> None:
    found = client.get_dataset(dataset)
    found.description = "new"
    limits(dataset_updates=0)
    with pytest.raises(exceptions.Forbidden, match="too many dataset metadata") as refused:
        client.update_dataset(found, ["description"], retry=None)
    assert reason(refused.value) == "rateLimitExceeded"


# --- DML


def test_statements_in_ten_seconds(client: bigquery.Client, table: str, limits: SetLimits) -> None:
    limits(dml_statements=0)
    with pytest.raises(exceptions.TooManyRequests, match="too many table dml insert"):
        run(client, f"INSERT INTO `{table}` (x) VALUES (3)")


def test_two_mutating_statements_run_and_twenty_wait(
    client: bigquery.Client, http: httpx.Client, table: str
) -> None:
    nothing = f"UPDATE `{table}` SET x = 0 WHERE x = -1"
    holders = [uuid.uuid4().hex for _ in range(2)]
    for job_id in holders:
        hold(http, job_id, 300)
        started(client, nothing, job_id)
    wait_until(lambda: all(held(http, job_id) for job_id in holders), message="two that run")
    waiting = [started(client, nothing) for _ in range(20)]
    wait_until(
        lambda: all(client.get_job(job.job_id).state == "PENDING" for job in waiting),
        message="twenty that wait",
    )
    refused = started(client, nothing)
    message = "Too many DML statements outstanding against table .*, limit is 20"
    with pytest.raises(exceptions.BadRequest, match=message) as raised:
        refused.result(timeout=60)
    assert reason(raised.value) == "resourcesExceeded"
    run(client, f"INSERT INTO `{table}` (x) VALUES (3)")  # inserts do not wait for them
    assert list(client.query_and_wait("SELECT 1"))  # and those that wait take no worker
    for job_id in holders:
        client.cancel_job(job_id)
    for job in waiting:
        job.result(timeout=60)


def test_cancelled_statement_leaves_the_line(
    client: bigquery.Client, http: httpx.Client, table: str, limits: SetLimits
) -> None:
    limits(mutating_dml_running=1)
    first, second = uuid.uuid4().hex, uuid.uuid4().hex
    hold(http, first, 300)
    started(client, f"DELETE FROM `{table}` WHERE x = 1", first)
    wait_until(lambda: held(http, first), message="the first")
    started(client, f"DELETE FROM `{table}` WHERE x = 2", second)
    client.cancel_job(second)
    with pytest.raises(exceptions.GoogleAPICallError, match="cancelled"):
        client.get_job(second).result(timeout=60)
    client.cancel_job(first)


def test_conflict_is_run_again_and_then_fails(
    client: bigquery.Client, http: httpx.Client, table: str, limits: SetLimits
) -> None:
    def overtaken() -> bigquery.QueryJob:
        """A statement that another one overtakes in its first run."""
        job_id = uuid.uuid4().hex
        hold(http, job_id, 4)
        slow = started(client, f"UPDATE `{table}` SET x = x + 10 WHERE TRUE", job_id)
        wait_until(lambda: held(http, job_id), message="the slow statement")
        run(client, f"UPDATE `{table}` SET x = x + 1 WHERE TRUE")
        return slow

    overtaken().result(timeout=60)
    rows = client.query_and_wait(f"SELECT x FROM `{table}` ORDER BY x")
    assert [row.x for row in rows] == [12, 13]
    limits(mutating_dml_reruns=0)
    with pytest.raises(exceptions.BadRequest, match="Could not serialize access") as raised:
        overtaken().result(timeout=60)
    assert reason(raised.value) == "invalidQuery"


def test_other_partitions_do_not_conflict(
    client: bigquery.Client, http: httpx.Client, dataset: str, limits: SetLimits
) -> None:
    name = f"{dataset}.p"
    partitioned = bigquery.Table(name, [SchemaField("day", "DATE"), SchemaField("x", "INTEGER")])
    partitioned.time_partitioning = TimePartitioning(field="day")
    client.create_table(partitioned)
    load(client, name, [{"day": "2025-01-01", "x": 1}, {"day": "2025-01-02", "x": 2}])
    limits(mutating_dml_reruns=0)
    job_id = uuid.uuid4().hex
    hold(http, job_id, 2)
    slow = started(client, f"UPDATE `{name}` SET x = 5 WHERE day = '2025-01-01'", job_id)
    wait_until(lambda: held(http, job_id), message="the slow statement")
    run(client, f"UPDATE `{name}` SET x = 6 WHERE day = '2025-01-02'")
    slow.result(timeout=60)
    rows = client.query_and_wait(f"SELECT x FROM `{name}` ORDER BY x")
    assert [row.x for row in rows] == [5, 6]


def test_inserts_beyond_the_free_ones_are_queued_too(
    client: bigquery.Client, table: str, limits: SetLimits
) -> None:
    limits(insert_dml_free=1, insert_dml_running=0, insert_dml_queued=0)
    run(client, f"INSERT INTO `{table}` (x) VALUES (3)")
    with pytest.raises(exceptions.BadRequest, match="Too many DML statements") as raised:
        run(client, f"INSERT INTO `{table}` (x) VALUES (4)")
    assert reason(raised.value) == "resourcesExceeded"


# --- streaming


def test_new_table_takes_no_stream_for_a_while(
    client: bigquery.Client, table: str, limits: SetLimits
) -> None:
    limits(new_table_seconds=600)
    target = client.get_table(table)
    with pytest.raises(exceptions.NotFound, match="Not found: Table"):
        client.insert_rows_json(target, [{"x": 3}], retry=None)
    load(client, table, [{"x": 3}])  # a load job sees it at once
    limits(new_table_seconds=0)
    assert client.insert_rows_json(target, [{"x": 4}]) == []


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("UPDATE `{t}` SET x = 9 WHERE x = 3", "UPDATE or DELETE"),
        ("DELETE FROM `{t}` WHERE x = 3", "UPDATE or DELETE"),
        (
            "MERGE `{t}` t USING (SELECT 3 x) s ON t.x = s.x WHEN MATCHED THEN UPDATE SET x = 9",
            "UPDATE or DELETE",
        ),
        ("TRUNCATE TABLE `{t}`", "TRUNCATE DML"),
    ],
)
def test_streamed_rows_cannot_be_changed_for_a_while(
    client: bigquery.Client, table: str, limits: SetLimits, statement: str, words: str
) -> None:
    limits(streaming_buffer_seconds=600)
    assert client.insert_rows_json(client.get_table(table), [{"x": 3}]) == []
    message = f"{words} statement over table .* would affect rows in the streaming buffer"
    with pytest.raises(exceptions.BadRequest, match=message) as raised:
        run(client, statement.format(t=table))
    assert reason(raised.value) == "invalidQuery"
    buffer = client.get_table(table).streaming_buffer
    assert buffer.estimated_rows == 1
    run(client, f"UPDATE `{table}` SET x = 8 WHERE x = 1")  # rows of load jobs can
    limits(streaming_buffer_seconds=0)
    assert client.get_table(table).streaming_buffer is None
    run(client, statement.format(t=table))


# --- switches


def test_every_limit_has_its_source(http: httpx.Client, limits: SetLimits) -> None:
    report = http.get("/_local/limits").json()
    assert report["enforced"] is True
    assert report["limits"]["mutating_dml_queued"]["number"] == 20
    assert all(limit["source"] and limit["unit"] for limit in report["limits"].values())


def test_unknown_limit_is_refused(http: httpx.Client) -> None:
    assert http.post("/_local/limits", json={"tables": 1}).status_code == 400
    assert http.post("/_local/limits", json={"requests": "many"}).status_code == 400


def test_outage_of_some_seconds_meets_every_method(
    client: bigquery.Client, http: httpx.Client, limits: SetLimits
) -> None:
    http.post("/_local/faults", json={"method": "*", "seconds": 600, "status": 503})
    for call in (
        lambda: list(client.list_datasets(retry=None)),
        lambda: started(client, "SELECT 1"),
        lambda: client.get_job("none", retry=None),
    ):
        with pytest.raises(exceptions.ServiceUnavailable):
            call()
    http.delete("/_local/faults")
    limited = {"method": "*", "seconds": 2, "status": 403, "reason": "rateLimitExceeded"}
    http.post("/_local/faults", json=limited)
    with pytest.raises(exceptions.Forbidden) as refused:
        list(client.list_datasets(retry=None))
    assert reason(refused.value) == "rateLimitExceeded"
    wait_until(lambda: not http.get("/_local/faults").json()["waiting"], message="the end")
    assert list(client.query_and_wait("SELECT 1"))


def test_without_the_switch_nothing_but_sizes_holds(
    client: bigquery.Client, http: httpx.Client, table: str, limits: SetLimits
) -> None:
    limits(requests=0, table_updates=0, dml_statements=0, enforced=False)
    try:
        load(client, table, [{"x": 3}])
        run(client, f"UPDATE `{table}` SET x = 4 WHERE x = 3")
    finally:
        limits(enforced=True)
